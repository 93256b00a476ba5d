"""What `mezzo run` says besides what its tasks write: why it waits, and by whom they were killed; and what it does."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import typer

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.cli.errors import ApiError
from mezzo.cli.jobs import framework as module
from mezzo.cli.jobs import output, restarts
from mezzo.cli.jobs.framework import JobFramework
from mezzo.cli.jobs.job import Instance, Job
from mezzo.cli.jobs.outcome import exit_code, exit_code_of_job, killed
from mezzo.cli.jobs.spec import JobSpec, Restart
from mezzo.cli.jobs.tasks import framework_info, task_info
from mezzo.errors import MezzoError, Unavailable
from mezzo.resources import parse

SPEC = JobSpec(["true"], 2.0, 64.0, "ports:[31000-31001]", "job", "web")
RECONCILED = mesos.TaskStatus.REASON_RECONCILIATION


def job_of(**more: Any) -> Job:
    return Job(replace(SPEC, **more), "job-1")


class Losing:
    """A registry that a call reaches only when it is not to be lost, with what has been called."""

    framework_id = "F1"

    def __init__(self, *lost: str) -> None:
        self.lost = list(lost)
        self.called: list[str] = []
        self.given_back: list[str] = []
        self.killed: list[str] = []
        self.suppressed_roles: list[str] = []
        self.closed = False
        self.events_of: asyncio.Queue[v1.Event] = asyncio.Queue()

    async def events(self) -> Any:
        try:
            while True:
                yield await self.events_of.get()
        finally:
            self.closed = True

    def __getattr__(self, name: str) -> Any:
        async def call(*said: Any) -> None:
            self.called.append(name)
            if name == "decline":
                self.given_back += [offer_id.value for offer_id in said[0]]
            if name == "kill":
                self.killed.append(said[0])
            if name in self.lost:
                self.lost.remove(name)
                raise Unavailable("the connection broke")
            if name in ("suppress", "revive"):
                self.suppressed_roles = ["web"] if name == "suppress" else []

        return call


class Listening:
    """Who is told, and can wait until something changes."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self._changed = asyncio.Event()

    def changed(self) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def running(self, instance: Instance) -> None:
        self.ran.append(instance.launch.task_id)


class Explaining:
    """A gateway with one verdict after another."""

    def __init__(self, *verdicts: str | Exception) -> None:
        self.verdicts: Iterator[str | Exception] = iter(verdicts)
        self.asked: list[dict[str, str]] = []

    async def explain(self, **query: str) -> Any:
        self.asked.append(query)
        verdict = next(self.verdicts, None)
        if isinstance(verdict, Exception):
            raise verdict
        return {"explanations": [{"verdict": verdict}] if verdict else []}


def framework_of(
    job: Job, registry: Losing | None = None, api: Explaining | None = None, listening: Listening | None = None
) -> JobFramework:
    return JobFramework(api or Explaining(), registry or Losing(), job, listening or Listening())  # type: ignore[arg-type]


def offered(*names: str, **attributes: str) -> v1.Event:
    event = v1.Event(type=v1.Event.OFFERS)
    for name in names or ("O1", "O2"):
        offer = event.offers.offers.add(id=mesos.OfferID(value=name), agent_id=mesos.AgentID(value="A1"))
        offer.framework_id.value, offer.hostname = "F1", f"host-{name}"
        offer.resources.extend(parse("cpus:2;mem:64;ports:[31000-31001]").messages())
        for key, value in attributes.items():
            offer.attributes.add(name=key, type=mesos.Value.TEXT, text=mesos.Value.Text(value=value))
    return event


def status(state: mesos.TaskState.ValueType, message: str = "", **more: Any) -> mesos.TaskStatus:
    return mesos.TaskStatus(task_id=mesos.TaskID(value="t"), state=state, message=message, **more)


def update(job: Job, state: mesos.TaskState.ValueType, message: str = "", instance: int = 0, **more: Any) -> v1.Event:
    told = status(state, message, **more)
    told.task_id.value = job.instances[instance].launch.task_id
    return v1.Event(type=v1.Event.UPDATE, update=v1.Event.Update(status=told))


# ------------------------------------------------------------------------------------------------------- why it waits


async def told_of(capsys: pytest.CaptureFixture[str], job: Job, *verdicts: str | Exception) -> list[str]:
    explaining = Explaining(*verdicts)
    framework = framework_of(job, api=explaining)
    for _ in verdicts:
        await framework.report_waiting()
    assert explaining.asked == [{"framework": "F1"}] * len(verdicts)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


async def test_why_a_run_waits_is_told_again_when_the_reason_is_another_one(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = ("1 of 2 agents is full", "2 of 2 agents is full", "there is no agent", "there is no agent", "1 is full")
    lines = await told_of(capsys, job_of(), *verdicts)
    assert [line.removeprefix("mezzo: waiting for an offer: ") for line in lines] == [
        "1 of 2 agents is full (mezzo why F1 tells more)",
        "there is no agent (mezzo why F1 tells more)",
        "1 is full (mezzo why F1 tells more)",
    ]


async def test_that_nobody_can_say_why_is_a_reason_too(capsys: pytest.CaptureFixture[str]) -> None:
    failures = (ApiError(503, "no allocator leads"), aiohttp.ClientConnectionError(), TimeoutError())
    lines = await told_of(capsys, job_of(), *failures)
    assert [line.partition("offer: ")[2] for line in lines] == [
        "no allocator leads (mezzo why F1 tells more)",
        "the gateway does not answer (mezzo why F1 tells more)",
    ]


async def test_of_several_tasks_it_is_told_how_many_wait(capsys: pytest.CaptureFixture[str]) -> None:
    job = job_of(count=3)
    assert job.take(offered("O1").offers.offers[0])
    (line,) = await told_of(capsys, job, "all is full")
    assert line == "mezzo: 2 of 3 tasks are waiting for an offer: all is full (mezzo why F1 tells more)"


async def test_nothing_is_said_of_a_task_that_was_launched_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    job = job_of()
    assert job.take(offered().offers.offers[0])
    await framework_of(job).report_waiting()
    assert capsys.readouterr().err == ""


async def test_offers_that_constraints_turn_down_are_told_with_what_their_agents_have(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job, registry = job_of(constraints=["rack=a"]), Losing()
    framework = framework_of(job, registry, Explaining("offers are out"))
    await framework.handle(offered("O1", rack="b"))
    await framework.handle(offered("O2"))
    assert (registry.called, registry.given_back) == (["decline", "decline"], ["O1", "O2"])
    await framework.report_waiting()
    assert "offers are declined for --constraint: host-O1 has rack b, host-O2 has no rack" in capsys.readouterr().err
    await framework.handle(offered("O3", rack="a"))
    assert not job.waiting()


# -------------------------------------------------------------------------------------------------- what may be lost


async def test_a_launch_that_went_down_with_a_registry_takes_another_offer(capsys: pytest.CaptureFixture[str]) -> None:
    job, registry = job_of(), Losing("launch", "reconcile")
    framework = framework_of(job, registry)
    await framework.handle(offered())
    assert registry.called == ["launch"]
    for _ in range(2):  # the first question is lost, too
        await framework.ask_after()
    # What the lost call said nothing of is given back, or nothing else would be offered.
    assert (registry.called.count("reconcile"), registry.given_back) == (2, ["O2"])
    registry.called.clear()
    await framework.handle(update(job, mesos.TASK_GONE, reason=RECONCILED))
    assert registry.given_back == ["O2", "O1"]
    assert not job.ended
    await framework.handle(offered())
    await framework.handle(update(job, mesos.TASK_RUNNING))
    await framework.ask_after()
    assert registry.called == ["revive", "decline", "acknowledge", "launch", "suppress", "decline", "acknowledge"]
    assert "the launch was lost" in capsys.readouterr().err


async def test_a_task_that_was_heard_of_is_never_launched_again() -> None:
    job, registry = job_of(), Losing("acknowledge")
    framework = framework_of(job, registry)
    await framework.handle(offered())
    await framework.handle(update(job, mesos.TASK_RUNNING, uuid=b"1"))
    await framework.handle(update(job, mesos.TASK_UNKNOWN, reason=RECONCILED))
    await framework.handle(offered())
    assert registry.called.count("launch") == 1
    await framework.handle(update(job, mesos.TASK_FINISHED, uuid=b"2"))
    assert job.ended


async def test_what_runs_is_asked_after_when_it_subscribes_again() -> None:
    job, registry = job_of(), Losing()
    framework = framework_of(job, registry)
    await framework.handle(v1.Event(type=v1.Event.SUBSCRIBED))
    assert registry.called == []
    await framework.handle(offered())
    await framework.handle(update(job, mesos.TASK_RUNNING))
    registry.called.clear()
    await framework.handle(v1.Event(type=v1.Event.SUBSCRIBED))
    assert registry.called == ["reconcile"]


async def test_a_revival_that_was_lost_is_made_up_for() -> None:
    job, registry = job_of(restart=Restart.ALWAYS), Losing()
    framework = framework_of(job, registry)
    await framework.handle(offered())
    assert registry.suppressed_roles == ["web"]
    await framework.handle(update(job, mesos.TASK_FINISHED))
    job.restart(job.instances[0])
    await framework.ask_after()
    assert registry.called[-1] == "revive"


async def test_a_kill_is_asked_for_until_the_task_has_ended() -> None:
    job, registry = job_of(count=2, restart=Restart.ALWAYS), Losing("kill")
    framework = framework_of(job, registry)
    await framework.handle(offered("O1"))
    await framework.stop()
    assert (registry.killed, job.ended) == (["job-1-0"], False)
    await framework.ask_after()
    assert registry.killed == ["job-1-0"] * 2
    await framework.handle(update(job, mesos.TASK_KILLED))
    assert job.ended
    # Whatever is offered now: nothing is launched any more.
    await framework.handle(offered("O2"))
    assert registry.called.count("launch") == 1


async def test_a_framework_that_the_cluster_ends_is_an_error() -> None:
    error = v1.Event(type=v1.Event.ERROR)
    error.error.message = "Framework has been removed"
    registry = Losing()
    registry.events_of.put_nowait(error)
    framework = framework_of(job_of(), registry)
    with pytest.raises(MezzoError, match="Framework has been removed"):
        async with asyncio.timeout(10):
            await framework.run()
    await framework.close()


async def test_a_job_that_has_ended_is_still_subscribed_until_its_framework_is_closed() -> None:
    job, registry = job_of(), Losing()
    framework = framework_of(job, registry)
    job.stop()
    async with asyncio.timeout(10):
        await framework.run()
    assert not registry.closed  # it can be torn down yet
    await framework.close()
    assert registry.closed


# ------------------------------------------------------------------------------------------------------------ restarts


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarts that wait for nothing, and questions that are never asked."""
    monkeypatch.setattr(restarts, "RESTART_SECONDS_MIN", 1e-6)
    monkeypatch.setattr(restarts, "RESTART_SECONDS_MAX", 1e-6)
    monkeypatch.setattr(module, "WAIT_SECONDS", math.inf)
    monkeypatch.setattr(module, "ASK_AFTER_SECONDS", math.inf)


@pytest.mark.usefixtures("at_once")
async def test_a_task_that_fails_is_started_again_as_another_one_until_it_has_been_so_often_enough(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job, registry, listening = job_of(restart=Restart.ON_FAILURE, max_restarts=2), Losing(), Listening()
    framework = framework_of(job, registry, listening=listening)
    running = asyncio.create_task(framework.run())
    ids = []
    async with asyncio.timeout(10):
        for attempt in range(3):
            await listening.until(job.waiting)
            registry.events_of.put_nowait(offered(f"O{attempt}"))
            await listening.until(lambda: not job.waiting())
            ids.append(job.instances[0].launch.task_id)
            registry.events_of.put_nowait(update(job, mesos.TASK_FAILED, "Command exited with status 7"))
        await running
    await framework.close()
    assert ids == ["job-1", "job-1.r1", "job-1.r2"]
    assert exit_code_of_job(job.instances) == 7
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[2] for line in told] == ["restart 1 of 2)", "restart 2 of 2)"]
    assert told[0].startswith("mezzo: task job-1 exited with 7; starting it again in 0.0 s")


@pytest.mark.parametrize(
    ("restart", "state", "again"),
    [
        (Restart.NEVER, mesos.TASK_FAILED, False),
        (Restart.ON_FAILURE, mesos.TASK_FAILED, True),
        (Restart.ON_FAILURE, mesos.TASK_LOST, True),
        (Restart.ON_FAILURE, mesos.TASK_GONE, True),
        (Restart.ON_FAILURE, mesos.TASK_FINISHED, False),
        (Restart.ON_FAILURE, mesos.TASK_KILLED, False),
        (Restart.ON_FAILURE, mesos.TASK_ERROR, False),
        (Restart.ALWAYS, mesos.TASK_FINISHED, True),
        (Restart.ALWAYS, mesos.TASK_KILLED, True),
        (Restart.ALWAYS, mesos.TASK_ERROR, False),
    ],
)
def test_the_restart_policy_says_what_is_started_again(
    restart: Restart, state: mesos.TaskState.ValueType, again: bool
) -> None:
    assert restarts.RestartPolicy(restart, None).restarts(status(state), 1000) is again
    assert not restarts.RestartPolicy(restart, 3).restarts(status(state), 3)


def test_a_task_that_ran_for_a_while_begins_with_the_shortest_delay_again() -> None:
    delays = restarts.RestartDelays()
    longest = [delays.next(0.0) for _ in range(12)][-1]
    assert longest >= restarts.RESTART_SECONDS_MAX / 2
    assert delays.next(restarts.STEADY_SECONDS) <= restarts.RESTART_SECONDS_MIN


def test_how_long_it_ran_is_by_its_agents_clock() -> None:
    job = job_of(restart=Restart.ALWAYS)
    assert job.take(offered().offers.offers[0])
    for state, at in ((mesos.TASK_RUNNING, 100.0), (mesos.TASK_FAILED, 175.0)):
        job.receive(update(job, state, timestamp=at).update.status)
    assert job.instances[0].ran_seconds == 75.0


# ----------------------------------------------------------------------------------------------------- several of them


def test_several_tasks_share_an_offer_that_is_large_enough() -> None:
    job = job_of(count=3, resources="")
    offer = offered("O1").offers.offers[0]
    del offer.resources[:]
    offer.resources.extend(parse("cpus:5;mem:1000").messages())
    assert [task.task_id.value for task in job.take(offer)] == ["job-1-0", "job-1-1"]
    assert [each.number for each in job.waiting()] == [2]


def test_where_something_is_unique_a_place_is_taken_once_until_its_task_has_ended() -> None:
    job = job_of(count=3, constraints=["unique:rack"], restart=Restart.ALWAYS)
    for rack, taken in (("a", True), ("a", False), ("b", True)):
        assert bool(job.take(offered("O1", rack=rack).offers.offers[0])) is taken
        assert job.mismatches == {"host-O1": f"has rack {rack}, as another task of the run"}
    assert job.mismatch(offered("O1", rack="b").offers.offers[0]) == "has rack b, as another task of the run"
    assert job.mismatch(offered("O1").offers.offers[0]) == "has no rack"
    job.receive(update(job, mesos.TASK_FAILED).update.status)
    assert job.take(offered("O1", rack="a").offers.offers[0])


def test_the_exit_code_of_several_is_that_of_the_first_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    job = job_of(count=3)
    for number, (state, message) in enumerate(
        [(mesos.TASK_FINISHED, ""), (mesos.TASK_FAILED, "Command exited with status 4"), (mesos.TASK_FAILED, "x")]
    ):
        assert job.take(offered("O1").offers.offers[0])
        job.receive(update(job, state, message, instance=number).update.status)
    assert exit_code_of_job(job.instances) == 4
    assert capsys.readouterr().err.splitlines() == ["mezzo: task job-1-1 exited with 4", "mezzo: TASK_FAILED: x"]


# -------------------------------------------------------------------------------------------------------- what it asks


def test_what_is_too_small_for_the_task_is_not_even_offered() -> None:
    (least,) = framework_info(SPEC).offer_filters["web"].min_allocatable_resources.quantities
    assert {name: scalar.value for name, scalar in least.quantities.items()} == {"cpus": 2.0, "mem": 64.0}


def test_a_task_has_the_labels_the_variables_and_the_time_that_it_was_given() -> None:
    spec = replace(SPEC, labels=["tier=front", "x="], env=["A=1=2"], timeout_seconds=1.5)
    task = task_info(spec, "t")
    assert [(each.key, each.value) for each in task.labels.labels] == [("tier", "front"), ("x", "")]
    assert [(each.name, each.value) for each in task.command.environment.variables] == [("A", "1=2")]
    assert task.max_completion_time.nanoseconds == 1_500_000_000


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            status(mesos.TASK_KILLED, "signalled", source=mesos.TaskStatus.SOURCE_EXECUTOR),
            "task t was killed; its executor says: signalled",
        ),
        (
            status(
                mesos.TASK_KILLED,
                "too slow",
                source=mesos.TaskStatus.SOURCE_AGENT,
                reason=mesos.TaskStatus.REASON_MAX_COMPLETION_TIME_REACHED,
            ),
            "task t was killed, because it took longer than it was allowed to; its agent says: too slow",
        ),
        (
            status(mesos.TASK_KILLED, reason=mesos.TaskStatus.REASON_TASK_KILLED_DURING_LAUNCH),
            "task t was killed, because it was killed before it began",
        ),
    ],
)
def test_a_kill_is_told_with_its_reason_and_who_says_so(told: mesos.TaskStatus, said: str) -> None:
    assert killed(told) == said


@pytest.mark.parametrize(
    ("told", "code", "lines"),
    [
        (status(mesos.TASK_FINISHED), 0, 0),
        (status(mesos.TASK_FAILED, "Command exited with status 7"), 7, 0),
        (status(mesos.TASK_FAILED, "Command terminated with signal Killed"), 137, 0),
        (status(mesos.TASK_KILLED, "Command terminated with signal Terminated"), 143, 1),
        (status(mesos.TASK_KILLED, "Command exited with status 0"), 0, 1),
        (status(mesos.TASK_KILLED, "killed during launch"), 125, 1),
        (status(mesos.TASK_LOST, "the agent is gone"), 125, 1),
        (
            status(
                mesos.TASK_FAILED,
                "Command terminated with signal Terminated",
                reason=mesos.TaskStatus.REASON_MAX_COMPLETION_TIME_REACHED,
            ),
            124,
            1,
        ),
        (None, 125, 0),
    ],
)
def test_the_exit_code_is_that_of_the_command_and_a_kill_is_never_silent(
    told: mesos.TaskStatus | None, code: int, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(told) == code
    assert len(capsys.readouterr().err.splitlines()) == lines


@pytest.mark.parametrize(
    ("cpus", "resources", "option", "shown"),
    [
        (math.nan, "", "--cpus", "nan is not a number"),
        (-1.0, "", "--cpus", "-1 is negative"),
        (1.0, "disk:1e400", "--resources", "inf is not a number"),
        (1.0, "foo", "--resources", "foo: expected name:value"),
        (1.0, "cpus:{a}", "--resources", "cpus: has more than one type"),
        (1.0, '[{"type": "SCALAR"}]', "--resources", "name: is required"),
    ],
)
def test_resources_that_are_none_are_told_by_their_option(cpus: float, resources: str, option: str, shown: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        job_of(cpus=cpus, resources=resources)
    assert (refused.value.param_hint, refused.value.message) == (option, shown)


def test_resources_may_be_json_too() -> None:
    job = job_of(resources='[{"name": "disk", "type": "SCALAR", "scalar": {"value": 8}}]')
    assert job.instances[0].launch.needed == parse(f"cpus:{SPEC.cpus};mem:{SPEC.mem};disk:8")


# -------------------------------------------------------------------------------------------------------- what it shows


class Silent:
    """A gateway whose logs have nothing in them, and go on for as long as they are let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.over = asyncio.Event()

    async def stream(self, path: str, *_opened: object, **_query: str) -> AsyncIterator[bytes]:
        self.asked.append(path)
        await self.over.wait()
        return
        yield b""


async def test_of_many_tasks_only_so_many_are_followed_and_that_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "FOLLOWED_TASKS_MAX", 2)
    gateway = Silent()
    shown = output.JobOutput(gateway, lambda: None, prefixed=True)  # type: ignore[arg-type]
    for _ in range(2):
        for number in range(4):
            shown.follow("F", f"t{number}", number, lambda: True)
    await asyncio.sleep(0)
    assert gateway.asked == [f"/mezzo/v1/tasks/F/t{n}/files/{stream}" for n in (0, 1) for stream in output.STREAMS]
    gateway.over.set()
    await shown.rest()
    shown.follow("F", "t3", 3, lambda: True)
    await shown.rest()
    assert gateway.asked[-1] == "/mezzo/v1/tasks/F/t3/files/stderr"
    assert capsys.readouterr().err.splitlines() == [
        "mezzo: the output of 2 tasks is shown at once, and that of t2 and others is not; mezzo logs shows it"
    ]


# ------------------------------------------------------------------------------------------------------- kept on disk


def test_a_job_is_the_same_after_it_was_kept() -> None:
    job = job_of(count=4, constraints=["unique:rack"], restart=Restart.ON_FAILURE)
    for rack in "abc":
        assert job.take(offered("O1", rack=rack).offers.offers[0])
    job.receive(update(job, mesos.TASK_RUNNING, instance=0, uuid=b"1").update.status)
    job.receive(update(job, mesos.TASK_FINISHED, instance=1, uuid=b"2").update.status)
    job.receive(update(job, mesos.TASK_FAILED, instance=2, uuid=b"3").update.status)
    job.restart(job.instances[2])
    again = Job.of(job.document())
    assert again.document() == job.document()
    assert [each.over for each in again.instances] == [False, True, False, False]
    assert [each.number for each in again.waiting()] == [2, 3]
    # What was heard of is known to have been; rack a is still taken, rack c no more.
    assert [each.task_id for each in again.unfinished()] == ["job-1-0"]
    assert again.mismatch(offered("O1", rack="a").offers.offers[0])
    assert [task.task_id.value for task in again.take(offered("O1", rack="c").offers.offers[0])] == ["job-1-2.r1"]
