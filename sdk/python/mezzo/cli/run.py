"""`mezzo run`: run one command on the cluster as if it ran here."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sys
import uuid
from dataclasses import dataclass
from typing import Annotated, TextIO

import aiohttp
import typer

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.cli.api import (
    EXIT_INTERRUPTED,
    EXIT_UNREACHABLE,
    Api,
    ApiError,
    Settings,
    complain,
    connect,
    failures_told,
)
from mezzo.cli.logs import log_path
from mezzo.errors import Forbidden, InvalidRequest, MezzoError, Unavailable
from mezzo.resources import ResourceError, Resources, parse
from mezzo.scheduler import HttpTransport, SchedulerClient
from mezzo.task_states import TERMINAL

EXIT_NOT_RUN = 125
REFUSE_SECONDS = 1.0
FOLLOW_AGAIN_SECONDS = 0.3
# How long the task is left to itself when this program, or the gateway that it speaks through, is gone.
FAILOVER_SECONDS = 60.0
_EXITED = re.compile(r"exited with status (\d+)")
_KILLED = re.compile(r"terminated with signal (.+?)\s*$")


@dataclass(slots=True)
class Job:
    """One command, and what has become of it."""

    task: mesos.TaskInfo
    needed: Resources
    launched: bool = False
    status: mesos.TaskStatus | None = None

    @property
    def ended(self) -> bool:
        return self.status is not None and self.status.state in TERMINAL

    def accept(self, offer: mesos.Offer) -> mesos.TaskInfo | None:
        """The task for an offer that is large enough, once."""
        if self.launched or not Resources.of(offer.resources).unallocated().contains(self.needed):
            return None
        self.launched = True
        self.task.agent_id.CopyFrom(offer.agent_id)
        return self.task


def run(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(help="The program and its arguments.")],
    cpus: Annotated[float, typer.Option(help="CPUs that it is given.")] = 0.1,
    mem: Annotated[float, typer.Option(help="Memory that it is given, in MiB.")] = 32,
    resources: Annotated[str, typer.Option(help="Further resources, as in disk:100;ports:[31000-31001].")] = "",
    name: Annotated[str, typer.Option(help="What the task is called.")] = "",
    role: Annotated[str, typer.Option(help="The role in which resources are asked for.")] = "*",
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE; may be repeated.")] = None,
    uri: Annotated[list[str] | None, typer.Option(help="Fetched into the sandbox first; may be repeated.")] = None,
    user: Annotated[str, typer.Option(help="The user that it runs as.")] = "",
    shell: Annotated[bool, typer.Option(help="Run the words as one line of a shell.")] = False,
) -> None:
    """Run a command on the cluster, follow its output, and exit with its exit code."""
    try:
        needed = parse(f"cpus:{cpus};mem:{mem};{resources}")
    except ResourceError as error:
        raise typer.BadParameter(str(error)) from None
    called = name or next(iter(command[0].split()), "run")
    task = mesos.TaskInfo(name=called, agent_id=mesos.AgentID(value=""), resources=needed.messages())
    task.task_id.value = f"{(name or 'run').replace('/', '-')}-{uuid.uuid4().hex[:8]}"
    _set_command(task.command, command, env or [], uri or [], shell=shell)
    framework = mesos.FrameworkInfo(
        user=user, name=f"mezzo run {task.name}", roles=[role], failover_timeout=FAILOVER_SECONDS
    )
    framework.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
    settings: Settings = context.obj
    with failures_told(settings):
        try:
            code = asyncio.run(_run(settings, framework, Job(task, needed)))
        except MezzoError as error:
            complain(str(error))
            code = EXIT_UNREACHABLE if isinstance(error, Unavailable) else EXIT_NOT_RUN
    raise typer.Exit(code)


def _set_command(info: mesos.CommandInfo, command: list[str], env: list[str], uris: list[str], *, shell: bool) -> None:
    info.shell = shell
    if shell:
        info.value = " ".join(command)
    elif "/" in command[0]:
        info.value = command[0]
        info.arguments.extend(command)
    else:
        # Looked up on the agent's PATH, which only a shell does.
        info.shell = True
        info.value = f"exec {shlex.join(command)}"
    for pair in env:
        variable, equals, value = pair.partition("=")
        if not equals or not variable:
            raise typer.BadParameter(f"--env {pair}: expected NAME=VALUE")
        info.environment.variables.add(name=variable, value=value)
    info.uris.extend(mesos.CommandInfo.URI(value=value) for value in uris)


async def _run(settings: Settings, framework: mesos.FrameworkInfo, job: Job) -> int:
    """Run the job to its end. The first Ctrl-C kills it, and its end is still waited for; not so after the second."""
    async with connect(settings) as api, SchedulerClient(HttpTransport(settings.url), framework) as scheduler:
        # A gateway that is not there is told at once, not waited for.
        await api.state()
        interruptions: asyncio.Queue[None] = asyncio.Queue()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, interruptions.put_nowait, None)
        work = asyncio.create_task(_work(api, scheduler, job))
        try:
            if await _interrupted(work, interruptions):
                if not job.launched:
                    return EXIT_INTERRUPTED
                await scheduler.kill(job.task.task_id.value, job.task.agent_id.value)
                if await _interrupted(work, interruptions):
                    return EXIT_INTERRUPTED
            await work
            return exit_code(job.status)
        finally:
            # While it is subscribed still: a framework without a stream cannot say anything.
            await _tear_down(scheduler)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def _interrupted(work: asyncio.Task[None], interruptions: asyncio.Queue[None]) -> bool:
    """Wait for the work to end, or for somebody who will not wait for that; whether it was the latter."""
    interruption = asyncio.create_task(interruptions.get())
    try:
        await asyncio.wait({work, interruption}, return_when=asyncio.FIRST_COMPLETED)
        return not work.done()
    finally:
        interruption.cancel()


async def _tear_down(scheduler: SchedulerClient) -> None:
    """Leave nothing behind. What became of the job counts, and not whether this succeeds."""
    if not scheduler.framework_id:
        return
    try:
        await scheduler.teardown()
    except (InvalidRequest, Forbidden):
        return  # it is gone already
    except MezzoError as error:
        complain(f"framework {scheduler.framework_id} was not torn down: {error}")


async def _work(api: Api, scheduler: SchedulerClient, job: Job) -> None:
    """Launch the job and copy what it writes, until it has ended and everything has been copied."""
    following: list[asyncio.Task[None]] = []
    try:
        async for event in scheduler.events():
            await _handle(scheduler, job, event)
            if job.status is not None and job.status.state == mesos.TASK_RUNNING and not following:
                for file, out in (("stdout", sys.stdout), ("stderr", sys.stderr)):
                    following.append(asyncio.create_task(_follow(api, scheduler.framework_id, job, file, out)))
            if job.ended:
                await asyncio.gather(*following)
                return
    finally:
        for each in following:
            each.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def _handle(scheduler: SchedulerClient, job: Job, event: v1.Event) -> None:
    if event.type == v1.Event.OFFERS:
        for offer in event.offers.offers:
            task = job.accept(offer)
            if task:
                await scheduler.launch(offer, [task])
                await scheduler.suppress()
            else:
                await scheduler.decline([offer.id], REFUSE_SECONDS)
    elif event.type == v1.Event.UPDATE:
        await scheduler.acknowledge(event.update.status)
        job.status = event.update.status
    elif event.type == v1.Event.ERROR:
        raise MezzoError(event.error.message)


async def _follow(api: Api, framework_id: str, job: Job, file: str, out: TextIO) -> None:
    """Copy what the task writes to here, until it ends; across restarts of whoever stands in between."""
    path = log_path(framework_id, job.task.task_id.value, file)
    offset = 0
    while True:
        last = job.ended
        try:
            async for piece in api.stream(path, follow="true", offset=str(offset)):
                out.buffer.write(piece)
                out.buffer.flush()
                offset += len(piece)
            return
        except (aiohttp.ClientError, ApiError) as error:
            if last:
                complain(f"the end of its {file} is missing: {error}")
                return
            await asyncio.sleep(FOLLOW_AGAIN_SECONDS)


def exit_code(status: mesos.TaskStatus | None) -> int:
    """What a shell would give for the same command: its exit code, or 128 and the signal that ended it."""
    if status is None:
        return EXIT_NOT_RUN
    if status.state == mesos.TASK_FINISHED:
        return 0
    if exited := _EXITED.search(status.message):
        return int(exited[1])
    if killed := _KILLED.search(status.message):
        names = {signal.strsignal(number): int(number) for number in signal.valid_signals()}
        return 128 + names.get(killed[1].strip(), 0)
    complain(f"{mesos.TaskState.Name(status.state)}: {status.message}")
    return EXIT_NOT_RUN
