"""What `mezzo run` says besides what its task writes: why it waits, and by whom it was killed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import typer

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.cli.errors import ApiError
from mezzo.cli.job import Job, Wanted, _ask_after, _framework, _handle, _report_waiting, exit_code, killed
from mezzo.errors import Unavailable
from mezzo.resources import parse

WANTED = Wanted(["true"], 2.0, 64.0, "ports:[31000-31001]", "job", "web", [], [], "", shell=False)
RECONCILED = mesos.TaskStatus.REASON_RECONCILIATION


class Explaining:
    """A gateway with one verdict after another; the task is launched when there is none left."""

    def __init__(self, job: Job, *verdicts: str | Exception) -> None:
        self.job = job
        self.verdicts: Iterator[str | Exception] = iter(verdicts)
        self.asked: list[dict[str, str]] = []

    async def explain(self, **query: str) -> Any:
        self.asked.append(query)
        verdict = next(self.verdicts, None)
        if isinstance(verdict, Exception):
            raise verdict
        if verdict is None:
            take_offer(self.job)
        return {"explanations": [{"verdict": verdict}] if verdict else []}


def take_offer(job: Job) -> None:
    assert job.tracker.take(offered().offers.offers[0])


class Subscribed:
    framework_id = "F1"


async def told_of(capsys: pytest.CaptureFixture[str], *verdicts: str | Exception) -> list[str]:
    job = Job.of(WANTED)
    explaining = Explaining(job, *verdicts)
    await _report_waiting(explaining, Subscribed(), job, pause=0)  # type: ignore[arg-type]
    assert explaining.asked == [{"framework": "F1"}] * (len(verdicts) + 1)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()[:-1]  # the last is of the end of the verdicts


async def test_why_a_run_waits_is_told_again_when_the_reason_is_another_one(capsys: pytest.CaptureFixture[str]) -> None:
    lines = await told_of(
        capsys, "1 of 2 agents is full", "2 of 2 agents is full", "there is no agent", "there is no agent", "1 is full"
    )
    assert [line.removeprefix("mezzo: waiting for an offer: ") for line in lines] == [
        "1 of 2 agents is full (mezzo why F1 tells more)",
        "there is no agent (mezzo why F1 tells more)",
        "1 is full (mezzo why F1 tells more)",
    ]


async def test_that_nobody_can_say_why_is_a_reason_too(capsys: pytest.CaptureFixture[str]) -> None:
    lines = await told_of(capsys, ApiError(503, "no allocator leads"), aiohttp.ClientConnectionError(), TimeoutError())
    assert [line.partition("offer: ")[2] for line in lines] == [
        "no allocator leads (mezzo why F1 tells more)",
        "the gateway does not answer (mezzo why F1 tells more)",
    ]


async def test_nothing_is_said_of_a_task_that_was_launched_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job.of(WANTED)
    take_offer(job)
    async with asyncio.timeout(10):
        await _report_waiting(Explaining(job), Subscribed(), job, pause=0)  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""


class Losing:
    """A registry that a call reaches only when it is not to be lost, with what has been called."""

    framework_id = "F1"

    def __init__(self, *lost: str) -> None:
        self.lost = list(lost)
        self.called: list[str] = []
        self.given_back: list[str] = []
        self.asked = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        async def call(*said: Any) -> None:
            self.called.append(name)
            if name == "decline":
                self.given_back += [offer_id.value for offer_id in said[0]]
            if name == "reconcile":
                self.asked.set()
            if name in self.lost:
                self.lost.remove(name)
                raise Unavailable("the connection broke")

        return call


def offered() -> v1.Event:
    event = v1.Event(type=v1.Event.OFFERS)
    for name in ("O1", "O2"):
        offer = event.offers.offers.add(id=mesos.OfferID(value=name), agent_id=mesos.AgentID(value="A1"))
        offer.resources.extend(Job.of(WANTED).launch.needed.messages())
    return event


def update(job: Job, state: mesos.TaskState.ValueType, **more: Any) -> v1.Event:
    told = status(state, **more)
    told.task_id.value = job.launch.task_id
    return v1.Event(type=v1.Event.UPDATE, update=v1.Event.Update(status=told))


async def test_a_launch_that_went_down_with_a_registry_takes_another_offer(capsys: pytest.CaptureFixture[str]) -> None:
    job, registry = Job.of(WANTED), Losing("launch", "reconcile")
    await _handle(registry, job, offered())  # type: ignore[arg-type]
    assert registry.called == ["launch"]
    async with asyncio.timeout(10):
        asking = asyncio.create_task(_ask_after(registry, job, pause=0))  # type: ignore[arg-type]
        for _ in range(2):  # the first question is lost, too
            registry.asked.clear()
            await registry.asked.wait()
        # What the lost call said nothing of is given back, or nothing else would be offered.
        assert registry.given_back == ["O2"]
        registry.called.clear()
        await _handle(registry, job, update(job, mesos.TASK_GONE, reason=RECONCILED))  # type: ignore[arg-type]
        assert registry.given_back == ["O2", "O1"]
        assert not job.ended
        await _handle(registry, job, offered())  # type: ignore[arg-type]
        await _handle(registry, job, update(job, mesos.TASK_RUNNING))  # type: ignore[arg-type]
        await asking
    assert [call for call in registry.called if call != "reconcile"] == [
        "revive", "decline", "acknowledge", "launch", "suppress", "decline", "acknowledge",
    ]  # fmt: skip
    assert "the launch was lost" in capsys.readouterr().err


async def test_a_task_that_was_heard_of_is_never_launched_again() -> None:
    job, registry = Job.of(WANTED), Losing("acknowledge")
    await _handle(registry, job, offered())  # type: ignore[arg-type]
    await _handle(registry, job, update(job, mesos.TASK_RUNNING, uuid=b"1"))  # type: ignore[arg-type]
    await _handle(registry, job, update(job, mesos.TASK_UNKNOWN, reason=RECONCILED))  # type: ignore[arg-type]
    await _handle(registry, job, offered())  # type: ignore[arg-type]
    assert registry.called.count("launch") == 1
    await _handle(registry, job, update(job, mesos.TASK_FINISHED, uuid=b"2"))  # type: ignore[arg-type]
    assert job.ended


def test_what_is_too_small_for_the_task_is_not_even_offered() -> None:
    (least,) = _framework(Job.of(WANTED), WANTED).offer_filters["web"].min_allocatable_resources.quantities
    assert {name: scalar.value for name, scalar in least.quantities.items()} == {"cpus": 2.0, "mem": 64.0}


def status(state: mesos.TaskState.ValueType, message: str = "", **more: Any) -> mesos.TaskStatus:
    return mesos.TaskStatus(task_id=mesos.TaskID(value="t"), state=state, message=message, **more)


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
        Job.of(replace(WANTED, cpus=cpus, resources=resources))
    assert (refused.value.param_hint, refused.value.message) == (option, shown)


def test_resources_may_be_json_too() -> None:
    wanted = replace(WANTED, resources='[{"name": "disk", "type": "SCALAR", "scalar": {"value": 8}}]')
    assert Job.of(wanted).launch.needed == parse(f"cpus:{WANTED.cpus};mem:{WANTED.mem};disk:8")
