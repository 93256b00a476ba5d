"""The small framework that `mezzo local` begins with: it takes offers, and runs a few tasks to their end."""

from __future__ import annotations

import asyncio
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.cli.output import visible
from mezzo.resources import parse
from mezzo.scheduler import HttpTransport, SchedulerClient
from mezzo.scheduler.tracker import LaunchTracker, Received

CPUS_PER_TASK = 0.1
MEM_PER_TASK = 32.0
PATIENCE_SECONDS = 120.0
COMMAND = 'echo "task $0 of {count} on $(hostname)"; sleep 0.$(({number} % 5 + 1))'

NEEDED = parse(f"cpus:{CPUS_PER_TASK};mem:{MEM_PER_TASK}")


def _task(number: int, count: int) -> mesos.TaskInfo:
    name = f"hello-{number}"
    task = mesos.TaskInfo(name=name, agent_id=mesos.AgentID(value=""), resources=NEEDED.messages())
    task.task_id.value = name
    task.command.value = COMMAND.format(number=number, count=count).replace("$0", str(number))
    return task


async def run_tasks(url: str, count: int, console: Console) -> int:
    """Run `count` tasks through the gateway at `url`, showing how far they are; returns how many did not finish."""
    tracker = LaunchTracker()
    for number in range(1, count + 1):
        tracker.add(_task(number, count))
    progress = Progress(
        TextColumn("Running {task.total} tasks"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    framework = mesos.FrameworkInfo(user="", name="mezzo hello")
    async with SchedulerClient(HttpTransport(url), framework) as scheduler:
        with progress:
            bar = progress.add_task("run", total=count)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    async for event in scheduler.events():
                        await _handle(scheduler, tracker, event)
                        progress.update(bar, completed=len(_outcomes(tracker)))
                        if tracker.finished:
                            break
            except TimeoutError:
                console.print(f"after {PATIENCE_SECONDS:g} s some tasks have not ended; see the logs", style="red")
        await scheduler.teardown()
    outcomes = _outcomes(tracker)
    _print_outcomes(outcomes, count, console)
    return count - sum(status.state == mesos.TASK_FINISHED for status in outcomes.values())


def _outcomes(tracker: LaunchTracker) -> dict[str, mesos.TaskStatus]:
    """How what has ended did, by name."""
    return {launch.name: launch.end for launch in tracker.launches if launch.end is not None}


async def _handle(scheduler: SchedulerClient, tracker: LaunchTracker, event: v1.Event) -> None:
    if event.type == v1.Event.SUBSCRIBED:
        lost = [(launch.task_id, launch.task.agent_id.value) for launch in tracker.unfinished()]
        if lost:
            await scheduler.reconcile(lost)
    elif event.type == v1.Event.OFFERS:
        for offer in event.offers.offers:
            tasks = tracker.take(offer)
            if tasks:
                await scheduler.launch(offer, tasks, refuse_seconds=0)
            else:
                await scheduler.decline([offer.id], refuse_seconds=1 if tracker.any_waiting else 3600)
    elif event.type == v1.Event.UPDATE:
        await scheduler.acknowledge(event.update.status)
        if tracker.receive(event.update.status) is Received.LAUNCH_LOST:
            await scheduler.revive()


def _print_outcomes(outcomes: dict[str, mesos.TaskStatus], count: int, console: Console) -> None:
    states = Counter(mesos.TaskState.Name(status.state) for status in outcomes.values())
    told = ", ".join(f"{number} {state.removeprefix('TASK_').lower()}" for state, number in states.items())
    console.print(f"{count} tasks: {told or 'none ended'}")
    for name, status in outcomes.items():
        if status.state != mesos.TASK_FINISHED:
            told = f" {mesos.TaskState.Name(status.state)}: {visible(status.message)}"
            console.print(Text.assemble("  ", (name, "red"), told))
