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
from mezzo.cli.api import EXIT_UNREACHABLE, Api, ApiError, Settings, connect, errors
from mezzo.cli.demo import TERMINAL
from mezzo.cli.logs import log_path
from mezzo.errors import MezzoError
from mezzo.resources import ResourceError, Resources, parse
from mezzo.scheduler import HttpTransport, SchedulerClient

EXIT_NOT_RUN = 125
EXIT_INTERRUPTED = 130
REFUSE_SECONDS = 1.0
_EXITED = re.compile(r"exited with status (\d+)")
_KILLED = re.compile(r"terminated with signal (.+?)\s*$")


@dataclass(slots=True)
class Job:
    """One command, and what has become of it."""

    task: mesos.TaskInfo
    needed: Resources
    launched: bool = False
    status: mesos.TaskStatus | None = None

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
    task = mesos.TaskInfo(name=name or command[0], agent_id=mesos.AgentID(value=""), resources=needed.messages())
    task.task_id.value = f"{(name or 'run').replace('/', '-')}-{uuid.uuid4().hex[:8]}"
    _set_command(task.command, command, env or [], uri or [], shell=shell)
    framework = mesos.FrameworkInfo(user=user, name=f"mezzo run {task.name}", roles=[role])
    framework.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
    settings: Settings = context.obj
    try:
        code = asyncio.run(_run(settings, framework, Job(task, needed)))
    except (aiohttp.ClientConnectionError, ApiError, MezzoError) as error:
        errors.print(f"[red]mezzo:[/] {error}", highlight=False)
        code = EXIT_UNREACHABLE
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
    """Run the job to its end. The first Ctrl-C kills it, and its end is still waited for."""
    async with connect(settings) as api, SchedulerClient(HttpTransport(settings.url), framework) as scheduler:
        # A gateway that is not there is told at once, not waited for.
        await api.get("/version")
        interrupted = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
        work = asyncio.create_task(_work(api, scheduler, job))
        interruption = asyncio.create_task(interrupted.wait())
        try:
            await asyncio.wait({work, interruption}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                if not job.launched:
                    return EXIT_INTERRUPTED
                await scheduler.kill(job.task.task_id.value, job.task.agent_id.value)
            await work
            return exit_code(job.status)
        finally:
            work.cancel()
            interruption.cancel()
            await asyncio.gather(work, interruption, return_exceptions=True)
            await scheduler.teardown()


async def _work(api: Api, scheduler: SchedulerClient, job: Job) -> None:
    """Launch the job and copy what it writes, until it has ended and everything has been copied."""
    async with asyncio.TaskGroup() as following:
        followed = False
        async for event in scheduler.events():
            await _handle(scheduler, job, event)
            if event.type == v1.Event.ERROR:
                raise ApiError(0, event.error.message)
            if job.status is None:
                continue
            if job.status.state == mesos.TASK_RUNNING and not followed:
                followed = True
                for file, out in (("stdout", sys.stdout), ("stderr", sys.stderr)):
                    following.create_task(_follow(api, scheduler.framework_id, job, file, out))
            if job.status.state in TERMINAL:
                return


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


async def _follow(api: Api, framework_id: str, job: Job, file: str, out: TextIO) -> None:
    """Copy what the task writes to here, until it ends."""
    path = log_path(framework_id, job.task.task_id.value, file)
    async for piece in api.stream(path, follow="true"):
        out.buffer.write(piece)
        out.buffer.flush()


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
    errors.print(f"[red]mezzo:[/] {mesos.TaskState.Name(status.state)}: {status.message}", highlight=False)
    return EXIT_NOT_RUN
