"""The small framework that `mezzo local` begins with: it takes offers, and runs a few tasks to their end."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.cli.output import visible
from mezzo.resources import Resources
from mezzo.scheduler import HttpTransport, SchedulerClient
from mezzo.task_states import TERMINAL

CPUS_PER_TASK = 0.1
MEM_PER_TASK = 32.0
PATIENCE_SECONDS = 120.0
COMMAND = 'echo "task $0 of {count} on $(hostname)"; sleep 0.$(({number} % 5 + 1))'

NEEDED = Resources.parse(f"cpus:{CPUS_PER_TASK};mem:{MEM_PER_TASK}")


@dataclass(slots=True)
class Workload:
    """What is still to be launched, and how what was launched ended."""

    count: int
    waiting: deque[int] = field(default_factory=deque)
    outcomes: dict[str, mesos.TaskStatus] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.waiting.extend(range(1, self.count + 1))

    @property
    def done(self) -> bool:
        return len(self.outcomes) == self.count

    def tasks_for(self, offer: mesos.Offer) -> list[mesos.TaskInfo]:
        """As many of the waiting tasks as fit into an offer."""
        free = Resources.of(offer.resources).unallocated()
        tasks = []
        while self.waiting and free.contains(NEEDED):
            free -= NEEDED
            tasks.append(self._task(self.waiting.popleft(), offer.agent_id))
        return tasks

    def _task(self, number: int, agent_id: mesos.AgentID) -> mesos.TaskInfo:
        name = f"hello-{number}"
        task = mesos.TaskInfo(name=name, agent_id=agent_id, resources=NEEDED.messages())
        task.task_id.value = name
        task.command.value = COMMAND.format(number=number, count=self.count).replace("$0", str(number))
        return task


async def run_tasks(url: str, count: int, console: Console) -> int:
    """Run `count` tasks through the gateway at `url`, showing how far they are; returns how many did not finish."""
    workload = Workload(count)
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
                        await _handle(scheduler, workload, event)
                        progress.update(bar, completed=len(workload.outcomes))
                        if workload.done:
                            break
            except TimeoutError:
                console.print(f"after {PATIENCE_SECONDS:g} s some tasks have not ended; see the logs", style="red")
        await scheduler.teardown()
    _print_outcomes(workload, console)
    finished = sum(status.state == mesos.TASK_FINISHED for status in workload.outcomes.values())
    return count - finished


async def _handle(scheduler: SchedulerClient, workload: Workload, event: v1.Event) -> None:
    if event.type == v1.Event.OFFERS:
        for offer in event.offers.offers:
            tasks = workload.tasks_for(offer)
            if tasks:
                await scheduler.launch(offer, tasks, refuse_seconds=0)
            else:
                await scheduler.decline([offer.id], refuse_seconds=1 if workload.waiting else 3600)
    elif event.type == v1.Event.UPDATE:
        status = event.update.status
        await scheduler.acknowledge(status)
        if status.state in TERMINAL:
            workload.outcomes[status.task_id.value] = status


def _print_outcomes(workload: Workload, console: Console) -> None:
    states = Counter(mesos.TaskState.Name(status.state) for status in workload.outcomes.values())
    told = ", ".join(f"{number} {state.removeprefix('TASK_').lower()}" for state, number in states.items())
    console.print(f"{workload.count} tasks: {told or 'none ended'}")
    for name, status in workload.outcomes.items():
        if status.state != mesos.TASK_FINISHED:
            told = f" {mesos.TaskState.Name(status.state)}: {visible(status.message)}"
            console.print(Text.assemble("  ", (name, "red"), told))
