"""What is ordered to be persisted is on the disk before anything is done, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest
from google.protobuf.message import EncodeError
from prometheus_client import CollectorRegistry

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1.checkpoint_pb2 import CheckpointRecord, FrameworkRemoved, UpdateRecord
from mezzo.errors import InternalError, InvalidRequest, MezzoError, Unavailable
from mezzo_agent.core.effects import Effect, Persist, SendToRegistry
from mezzo_agent.core.events import ExecutorCalled, RegistryMessageReceived, Timer, TimerFired
from mezzo_agent.shell import journal_writer as module
from mezzo_agent.shell.journal_writer import JournalWriter
from mezzo_chassis.defect import Defect
from mezzo_chassis.engine import Engine
from mezzo_chassis.metrics import EngineMetrics
from mezzo_chassis.quarantine import Quarantine, Suspect
from services.agent.tests.conftest import Conversation, Tasks

SECONDS_MAX = 20.0


class SlowDisk:
    """A disk that finishes a write when it is told to, and can be full."""

    def __init__(self) -> None:
        self.commits: list[list[CheckpointRecord]] = []
        self.rewrites = 0
        self.writing = asyncio.Event()
        self.go = asyncio.Event()
        self.full = False
        self.grown = False
        self.written: list[list[CheckpointRecord]] = []

    def write(self, records: Sequence[CheckpointRecord]) -> bool:
        """An acknowledgement may wait to be synced."""
        if not all(record.HasField("acknowledgement") for record in records):
            return False
        if self.full:
            raise OSError(28, "No space left on device")
        self.written.append(list(records))
        return True

    async def commit(self, records: Sequence[CheckpointRecord]) -> None:
        self.writing.set()
        await self.go.wait()
        if self.full:
            self.full = False
            raise OSError(28, "No space left on device")
        self.commits.append(list(records))

    async def rewrite(self, records: Iterable[CheckpointRecord]) -> None:
        self.rewrites += 1
        self.grown = False


@pytest.fixture
async def shop(agent: Conversation) -> AsyncIterator[SimpleNamespace]:
    """An engine with a registered core; `done` is what was acted upon."""

    disk, done = SlowDisk(), []
    writer = JournalWriter(disk, agent.agent.checkpoint)

    def act(effect: Effect) -> None:
        if not isinstance(effect, Persist):
            done.append(effect)

    engine = Engine(
        agent.agent,
        dict.fromkeys(get_args(Effect), act),
        name="agent",
        metrics=EngineMetrics(CollectorRegistry(), "agent"),
        timer_fired=TimerFired,
        suspect_of=lambda event: Suspect(type(event).__name__),
        quarantine=Quarantine(),
        refusals=(MezzoError,),
        commit=writer.commit,
        now=lambda: 1000.0,
    )
    yield SimpleNamespace(disk=disk, done=done, engine=engine)
    await engine.close(Unavailable("the test is over"))


def run_task(tasks: type[Tasks], task_id: str = "t1") -> RegistryMessageReceived:
    info = tasks.command(task_id)
    message = session.RunTask(framework_id=mesos.FrameworkID(value="F1"), task=info)
    return RegistryMessageReceived(session.RegistryMessage(run_task=message))


async def test_nothing_is_done_before_it_is_on_disk(shop: SimpleNamespace, tasks: type[Tasks]) -> None:
    asked = asyncio.create_task(shop.engine.request(run_task(tasks)))
    await shop.disk.writing.wait()
    assert shop.done == []
    shop.disk.go.set()
    await asked
    assert [type(effect).__name__ for effect in shop.done] == ["SendToRegistry", "StartTimer", "LaunchContainer"]


async def test_what_comes_during_a_write_shares_the_next(shop: SimpleNamespace, tasks: type[Tasks]) -> None:
    first = asyncio.create_task(shop.engine.request(run_task(tasks, "t0")))
    await shop.disk.writing.wait()
    others = [asyncio.create_task(shop.engine.request(run_task(tasks, f"t{number}"))) for number in range(1, 50)]
    await asyncio.sleep(0)
    shop.disk.go.set()
    await asyncio.gather(first, *others)
    assert len(shop.disk.commits) == 2


async def starting(shop: SimpleNamespace, tasks: type[Tasks]) -> RegistryMessageReceived:
    """Run a task; return the acknowledgement of its first update."""
    shop.disk.go.set()
    await shop.engine.request(run_task(tasks))
    (sent,) = [effect.message.task_update for effect in shop.done if isinstance(effect, SendToRegistry)]
    acknowledged = session.AcknowledgeUpdate(
        framework_id=sent.framework_id, task_id=sent.status.task_id, uuid=sent.status.uuid
    )
    return RegistryMessageReceived(session.RegistryMessage(acknowledge_update=acknowledged))


async def test_what_may_wait_to_be_synced_holds_nothing_up(shop: SimpleNamespace, tasks: type[Tasks]) -> None:
    acknowledgement = await starting(shop, tasks)
    shop.disk.go.clear()
    shop.done.clear()
    await shop.engine.request(acknowledgement)
    assert len(shop.disk.written) == 1
    assert len(shop.disk.commits) == 1
    assert [type(effect).__name__ for effect in shop.done] == ["CancelTimer"]


async def test_what_may_wait_is_committed_where_it_cannot_be_written(
    shop: SimpleNamespace, tasks: type[Tasks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS_MIN", 0.001)
    acknowledgement = await starting(shop, tasks)
    shop.disk.full = True
    async with asyncio.timeout(SECONDS_MAX):
        await shop.engine.request(acknowledgement)
    assert shop.disk.written == []
    assert len(shop.disk.commits) == 2


async def test_full_disk_is_waited_for(
    shop: SimpleNamespace, tasks: type[Tasks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS_MIN", 0.001)
    shop.disk.full = True
    shop.disk.go.set()
    async with asyncio.timeout(SECONDS_MAX):
        await shop.engine.request(run_task(tasks))
    assert len(shop.disk.commits) == 1
    assert shop.done


async def test_refusal_reaches_whoever_asked_and_nobody_else(shop: SimpleNamespace, tasks: type[Tasks]) -> None:
    shop.disk.go.set()
    from mesos.v1.executor.executor_pb2 import Call

    wrong = Call(executor_id=mesos.ExecutorID(value="E"), framework_id=mesos.FrameworkID(value="F1"), type=Call.MESSAGE)
    refused = asyncio.create_task(shop.engine.request(ExecutorCalled(wrong, None)))
    taken = asyncio.create_task(shop.engine.request(run_task(tasks)))
    with pytest.raises(InvalidRequest):
        await refused
    await taken


async def test_nothing_is_done_after_a_defect(shop: SimpleNamespace, tasks: type[Tasks]) -> None:
    shop.disk.go.set()
    with pytest.raises(InternalError):
        await shop.engine.request(TimerFired(cast("Timer", "no timer")))
    with pytest.raises(InternalError):
        await shop.engine.request(run_task(tasks))
    assert shop.done == []
    assert isinstance(await shop.engine.ended, Defect)


async def test_journal_that_cannot_be_written_for_another_reason_is_a_defect(
    shop: SimpleNamespace, tasks: type[Tasks]
) -> None:
    async def commit(_records: Any) -> None:
        raise TypeError("no record")

    shop.disk.commit = commit
    with pytest.raises(InternalError):
        await shop.engine.request(run_task(tasks))
    assert shop.done == []


async def test_record_that_cannot_be_encoded_is_known_among_others() -> None:
    sound = CheckpointRecord(framework_removed=FrameworkRemoved(framework_id=mesos.FrameworkID(value="F1")))
    of_no_task = CheckpointRecord(update=UpdateRecord(status=mesos.TaskStatus(message="it has no task_id")))
    JournalWriter.check_commit([Persist(sound)])
    with pytest.raises(EncodeError):
        JournalWriter.check_commit([Persist(sound), Persist(of_no_task)])


async def test_grown_journal_is_rewritten(shop: SimpleNamespace, tasks: type[Tasks]) -> None:
    shop.disk.go.set()
    shop.disk.grown = True
    await shop.engine.request(run_task(tasks))
    async with asyncio.timeout(SECONDS_MAX):
        await shop.engine.request(run_task(tasks))  # the same task: nothing to write, and the turn before is over
    assert shop.disk.rewrites == 1
