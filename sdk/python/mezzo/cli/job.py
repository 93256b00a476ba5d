"""What `mezzo run` does: be a framework of one task, from its subscription to its end."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import shlex
import signal
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

import aiohttp
import typer

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.cli import exit_codes
from mezzo.cli.api import Api, connect, exit_on_failure
from mezzo.cli.errors import ApiError, print_error, print_note
from mezzo.cli.fields import without_path
from mezzo.cli.log_follower import Failure, Log, follow
from mezzo.cli.log_printer import raw
from mezzo.cli.selection import task_path
from mezzo.cli.settings import Settings
from mezzo.errors import Forbidden, InvalidRequest, MezzoError, Unavailable
from mezzo.resources import ResourceError, Resources, from_thousandths, parse
from mezzo.scheduler import HttpTransport, SchedulerClient
from mezzo.scheduler.tracker import Launch, LaunchTracker, Received
from mezzo.task_reasons import reason

REFUSE_SECONDS = 1.0
# How long nothing is said of why it waits; and how often it is looked whether the reason is another one.
WAIT_SECONDS = 5.0
# How long the rest of its output is asked for after its end: gateways and agents may be finding a new leader.
REST_SECONDS = 15.0
# How long nothing is heard of a launch before it is asked after.
ASK_AFTER_SECONDS = 3.0
# How long the task is left to itself when this program, or the gateway that it speaks through, is gone.
FAILOVER_SECONDS = 60.0
_EXITED = re.compile(r"exited with status (\d+)")
_KILLED = re.compile(r"terminated with signal (.+?)\s*$")
# A reason is the same reason when only its figures have changed.
_FIGURES = re.compile(r"[0-9]+(\.[0-9]+)?")
SOURCES = {
    mesos.TaskStatus.SOURCE_MASTER: "the registry says",
    mesos.TaskStatus.SOURCE_AGENT: "its agent says",
    mesos.TaskStatus.SOURCE_EXECUTOR: "its executor says",
}

# What in the request each option becomes, by the end of its path.
OPTIONS = {
    "framework_info.roles": "--role",
    "framework_info.user": "--user",
    "command.user": "--user",
    "command.uris.value": "--uri",
    "command.environment": "--env",
    "command.environment.variables": "--env",
    "command.environment.variables.name": "--env",
    "command.environment.variables.value": "--env",
    "task_infos.name": "--name",
    "task_id.value": "--name",
    "command.value": "command",
    "command.arguments": "command",
    "resources": "--resources",
    "resources.name": "--resources",
    "resources.scalar": "--resources",
    "resources.scalar.value": "--resources",
    "resources.ranges": "--resources",
    "resources.set": "--resources",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be run, and with what, as it was typed."""

    command: list[str]
    cpus: float
    mem: float
    resources: str
    name: str
    role: str
    env: list[str]
    uris: list[str]
    user: str
    shell: bool


@dataclass(slots=True)
class Job:
    """One command, and what has become of it."""

    tracker: LaunchTracker
    launch: Launch
    # Whether the call that launches it is still unanswered.
    launching: bool = False
    # Offers that are of no use, and that no call has given back yet.
    unanswered: list[mesos.OfferID] = field(default_factory=list)

    @classmethod
    def of(cls, wanted: Wanted) -> Job:
        """Raises `typer.BadParameter` for resources or variables that are none."""
        needed = _resources(wanted)
        called = wanted.name or next(iter(wanted.command[0].split()), "run")
        task = mesos.TaskInfo(name=called, agent_id=mesos.AgentID(value=""), resources=needed.messages())
        task.task_id.value = f"{(wanted.name or 'run').replace('/', '-')}-{uuid.uuid4().hex[:8]}"
        _set_command(task.command, wanted)
        tracker = LaunchTracker()
        return cls(tracker, tracker.add(task))

    @property
    def launched(self) -> bool:
        """Whether it has taken an offer, as far as is known."""
        return not self.launch.waiting

    @property
    def status(self) -> mesos.TaskStatus | None:
        """The newest that was heard of it."""
        return self.launch.status

    @property
    def ended(self) -> bool:
        return self.launch.end is not None


def _resources(wanted: Wanted) -> Resources:
    """Raises `typer.BadParameter` with the option that is wrong."""
    cpus, mem = f"cpus:{wanted.cpus}", f"mem:{wanted.mem}"
    is_json = wanted.resources.lstrip().startswith("[")
    parsed = {
        "--cpus": cpus,
        "--mem": mem,
        # As one text, in which no name is of two types.
        "--resources": wanted.resources if is_json else f"{cpus};{mem};{wanted.resources}",
    }
    for option, text in parsed.items():
        try:
            parse(text)
        except ResourceError as error:
            shown = without_path(str(error)).removeprefix("resources: ")
            raise typer.BadParameter(shown, param_hint=option) from None
    return parse(f"{cpus};{mem}") + parse(wanted.resources) if is_json else parse(parsed["--resources"])


def run(settings: Settings, wanted: Wanted) -> int:
    """Run it to its end; return its exit code, or `NOT_RUN` or `UNREACHABLE`."""
    job = Job.of(wanted)
    framework = _framework(job, wanted)
    with exit_on_failure(settings):
        try:
            return asyncio.run(_run(settings, framework, job))
        except MezzoError as error:
            print_error(without_path(str(error), OPTIONS))
            return exit_codes.UNREACHABLE if isinstance(error, Unavailable) else exit_codes.NOT_RUN


def _framework(job: Job, wanted: Wanted) -> mesos.FrameworkInfo:
    """A framework of its own, that goes with the job."""
    info = mesos.FrameworkInfo(
        user=wanted.user,
        name=f"mezzo run {job.launch.task.name}",
        roles=[wanted.role],
        failover_timeout=FAILOVER_SECONDS,
    )
    info.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
    # An agent that is out of reach for a while has not lost its task.
    info.capabilities.add(type=mesos.FrameworkInfo.Capability.PARTITION_AWARE)
    # What is smaller is not even offered; and whoever asks why nothing is offered is told what is too little.
    needed = job.launch.needed.scalars().quantities()
    if needed:
        quantities = info.offer_filters[wanted.role].min_allocatable_resources.quantities.add().quantities
        for name, thousandths in needed.items():
            quantities[name].value = from_thousandths(thousandths)
    return info


def _set_command(info: mesos.CommandInfo, wanted: Wanted) -> None:
    command = wanted.command
    info.shell = wanted.shell
    if wanted.shell:
        info.value = " ".join(command)
    elif "/" in command[0]:
        info.value = command[0]
        info.arguments.extend(command)
    else:
        # Looked up on the agent's PATH, which only a shell does.
        info.shell = True
        info.value = f"exec {shlex.join(command)}"
    for pair in wanted.env:
        variable, equals, value = pair.partition("=")
        if not equals or not variable:
            raise typer.BadParameter(f"--env {pair}: expected NAME=VALUE")
        info.environment.variables.add(name=variable, value=value)
    info.uris.extend(mesos.CommandInfo.URI(value=value) for value in wanted.uris)


async def _run(settings: Settings, framework: mesos.FrameworkInfo, job: Job) -> int:
    """Run the job to its end. The first Ctrl-C kills it, and its end is still waited for; not so after the second."""
    async with connect(settings) as api, SchedulerClient(HttpTransport(settings.url), framework) as scheduler:
        # A gateway that is not there is told at once, not waited for.
        await api.state()
        interruptions: asyncio.Queue[None] = asyncio.Queue()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, interruptions.put_nowait, None)
        work = asyncio.create_task(_work(api, scheduler, job))
        waiting = asyncio.create_task(_report_waiting(api, scheduler, job))
        asking = asyncio.create_task(_ask_after(scheduler, job))
        try:
            if await _interrupted(work, interruptions):
                if not job.launched:
                    print_note("interrupted before an offer came; nothing was launched")
                    return exit_codes.INTERRUPTED
                print_note(f"killing task {job.launch.task_id}; another Ctrl-C does not wait for its end")
                await scheduler.kill(job.launch.task_id, job.launch.task.agent_id.value)
                if await _interrupted(work, interruptions):
                    return exit_codes.INTERRUPTED
            await work
            return exit_code(job.status)
        finally:
            # While it is subscribed still: a framework without a stream cannot say anything.
            await _tear_down(scheduler)
            for each in (work, waiting, asking):
                each.cancel()
            await asyncio.gather(work, waiting, asking, return_exceptions=True)


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
        print_error(f"framework {scheduler.framework_id} was not torn down: {error}")


async def _work(api: Api, scheduler: SchedulerClient, job: Job) -> None:
    """Launch the job and copy what it writes, until it has ended and everything has been copied."""
    following: list[asyncio.Task[None]] = []
    try:
        async for event in scheduler.events():
            await _handle(scheduler, job, event)
            if job.status is not None and job.status.state == mesos.TASK_RUNNING and not following:
                following.extend(
                    asyncio.create_task(_follow(api, scheduler.framework_id, job, stream))
                    for stream in ("stdout", "stderr")
                )
            if job.ended:
                await asyncio.gather(*following)
                return
    finally:
        for each in following:
            each.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def _report_waiting(api: Api, scheduler: SchedulerClient, job: Job, pause: float = WAIT_SECONDS) -> None:
    """Say why no offer comes, once it has not for a while; and again when the reason is another one."""
    told = ""
    while True:
        await asyncio.sleep(pause)
        if job.launched:
            return
        verdict = await _verdict(api, scheduler.framework_id)
        if (gist := _FIGURES.sub("#", verdict)) != told:
            told = gist
            more = f" (mezzo why {scheduler.framework_id} tells more)" if scheduler.framework_id else ""
            print_note(f"waiting for an offer: {verdict}{more}")


async def _verdict(api: Api, framework_id: str) -> str:
    if not framework_id:
        return "no registry has taken the framework in"
    try:
        explanations = (await api.explain(framework=framework_id))["explanations"]
    except ApiError as error:
        return str(error)
    except (aiohttp.ClientError, TimeoutError):
        return "the gateway does not answer"
    return str(explanations[0]["verdict"]) if explanations else "the allocator does not know the framework"


async def _ask_after(scheduler: SchedulerClient, job: Job, pause: float = ASK_AFTER_SECONDS) -> None:
    """Ask after a launch until something is heard of it: its call may be lost, with a gateway or with a registry."""
    while job.status is None:
        await asyncio.sleep(pause)
        with contextlib.suppress(Unavailable):
            await _decline_unanswered(scheduler, job)
            # Not while the call is under way, which would be overtaken.
            if job.launched and not job.launching:
                await scheduler.reconcile([(job.launch.task_id, job.launch.task.agent_id.value)])


async def _handle(scheduler: SchedulerClient, job: Job, event: v1.Event) -> None:
    if event.type == v1.Event.ERROR:
        raise MezzoError(event.error.message)
    # What does not get through is made up for: offers are given back later, an update comes again until it is
    # acknowledged, and a launch is asked after.
    with contextlib.suppress(Unavailable):
        if event.type == v1.Event.OFFERS:
            await _answer(scheduler, job, event.offers.offers)
        elif event.type == v1.Event.UPDATE:
            await _record_status(scheduler, job, event.update.status)


async def _answer(scheduler: SchedulerClient, job: Job, offers: Iterable[mesos.Offer]) -> None:
    taken = None
    for offer in offers:
        if job.tracker.take(offer):
            taken = offer
        else:
            job.unanswered.append(offer.id)
    if taken is not None:
        job.launching = True
        try:
            await scheduler.launch(taken, [job.launch.task])
        finally:
            job.launching = False
        await scheduler.suppress()
    await _decline_unanswered(scheduler, job)


async def _decline_unanswered(scheduler: SchedulerClient, job: Job) -> None:
    if job.unanswered:
        declined = list(job.unanswered)
        await scheduler.decline(declined, REFUSE_SECONDS)
        job.unanswered = [offer_id for offer_id in job.unanswered if offer_id not in declined]


async def _record_status(scheduler: SchedulerClient, job: Job, status: mesos.TaskStatus) -> None:
    received = job.tracker.receive(status)
    if received is Received.NEW and status.state == mesos.TASK_UNREACHABLE:
        print_note(f"agent {status.agent_id.value} is unreachable; waiting for it to come back")
    if received is Received.LAUNCH_LOST:
        print_note("the launch was lost; waiting for another offer")
        # It may be held still: nobody has heard that it was taken.
        job.unanswered.append(job.launch.offer_id)
        await scheduler.revive()
        await _decline_unanswered(scheduler, job)
    await scheduler.acknowledge(status)


class _UntilRest:
    """Go on while the job does, and for `REST_SECONDS` after its end."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._ended_at = math.inf

    def read(self) -> None:
        pass

    def lasts(self, _failure: Failure) -> bool:
        if self._job.ended:
            self._ended_at = min(self._ended_at, time.monotonic())
        return time.monotonic() < self._ended_at + REST_SECONDS


async def _follow(api: Api, framework_id: str, job: Job, stream: str) -> None:
    """Copy what the task writes to here, until it ends; across restarts of whoever stands in between."""
    log = Log(task_path(framework_id, job.launch.task_id), stream)
    try:
        await follow(api, log, raw(stream), _UntilRest(job))
    except (aiohttp.ClientError, TimeoutError, ApiError) as error:
        print_error(f"cannot read the rest of {stream}: {error}")


def exit_code(status: mesos.TaskStatus | None) -> int:
    """What a shell would give for the same command: its exit code, or 128 and the signal that ended it."""
    if status is None:
        return exit_codes.NOT_RUN
    if status.state == mesos.TASK_FINISHED:
        return 0
    if status.state == mesos.TASK_KILLED:
        print_error(killed(status))
    if exited := _EXITED.search(status.message):
        return int(exited[1])
    if signalled := _KILLED.search(status.message):
        names = {signal.strsignal(number): int(number) for number in signal.valid_signals()}
        return 128 + names.get(signalled[1].strip(), 0)
    if status.state != mesos.TASK_KILLED:
        print_error(f"{mesos.TaskState.Name(status.state)}: {without_path(status.message, OPTIONS)}")
    return exit_codes.NOT_RUN


def killed(status: mesos.TaskStatus) -> str:
    """`task x was killed: its executor says that …`."""
    because = f", because {reason(status.reason)}" if status.HasField("reason") else ""
    said = f"; {SOURCES.get(status.source, 'it is said')}: {status.message}" if status.message else ""
    return f"task {status.task_id.value} was killed{because}{said}"
