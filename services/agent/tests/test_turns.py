"""Turns: decide, write, act, in this order whatever happens."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.errors import InternalError, InvalidRequest
from mezzo_agent.core.events import ExecutorCalled, RegistryMessageReceived, TimerFired
from mezzo_agent.shell import turns as module
from mezzo_agent.shell.turns import Turns

SECONDS_MAX = 20.0


class SlowDisk:
    """A disk that finishes a write when it is told to, and can be full."""

    def __init__(self):
        self.commits = []
        self.rewrites = 0
        self.writing = asyncio.Event()
        self.go = asyncio.Event()
        self.full = False
        self.grown = False

    async def commit(self, records):
        self.writing.set()
        await self.go.wait()
        if self.full:
            self.full = False
            raise OSError(28, "No space left on device")
        self.commits.append(list(records))

    async def rewrite(self, records):
        self.rewrites += 1
        self.grown = False


@pytest.fixture
async def shop(agent):
    """Turns over a registered core; `done` is what was acted upon."""

    disk, done = SlowDisk(), []
    turns = Turns(agent.agent, disk, done.append, clock=lambda: 1000.0)
    running = asyncio.create_task(turns.run())
    yield SimpleNamespace(disk=disk, done=done, turns=turns)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def run_task(tasks, task_id="t1"):
    info = tasks.command(task_id)
    message = session.RunTask(framework_id={"value": "F1"}, task=info)
    return RegistryMessageReceived(session.RegistryMessage(run_task=message))


async def test_nothing_is_done_before_it_is_on_disk(shop, tasks):
    asked = asyncio.create_task(shop.turns.request(run_task(tasks)))
    await shop.disk.writing.wait()
    assert shop.done == []
    shop.disk.go.set()
    await asked
    assert [type(effect).__name__ for effect in shop.done] == ["SendToRegistry", "StartTimer", "LaunchContainer"]


async def test_what_comes_during_a_write_shares_the_next(shop, tasks):
    first = asyncio.create_task(shop.turns.request(run_task(tasks, "t0")))
    await shop.disk.writing.wait()
    others = [asyncio.create_task(shop.turns.request(run_task(tasks, f"t{number}"))) for number in range(1, 50)]
    await asyncio.sleep(0)
    shop.disk.go.set()
    await asyncio.gather(first, *others)
    assert len(shop.disk.commits) == 2


async def test_full_disk_is_waited_for(shop, tasks, monkeypatch):
    monkeypatch.setattr(module, "DISK_RETRY_SECONDS", 0.0)
    shop.disk.full = True
    shop.disk.go.set()
    async with asyncio.timeout(SECONDS_MAX):
        await shop.turns.request(run_task(tasks))
    assert len(shop.disk.commits) == 1
    assert shop.done


async def test_refusal_reaches_whoever_asked_and_nobody_else(shop, tasks):
    shop.disk.go.set()
    from mesos.v1.executor.executor_pb2 import Call

    wrong = Call(executor_id={"value": "E"}, framework_id={"value": "F1"}, type=Call.MESSAGE)
    refused = asyncio.create_task(shop.turns.request(ExecutorCalled(wrong, None)))
    taken = asyncio.create_task(shop.turns.request(run_task(tasks)))
    with pytest.raises(InvalidRequest):
        await refused
    await taken


async def test_event_that_the_core_cannot_digest_ends_nothing(shop, tasks):
    shop.disk.go.set()
    with pytest.raises(InternalError):
        await shop.turns.request(TimerFired("no timer"))
    await shop.turns.request(run_task(tasks))
    assert shop.done


async def test_grown_journal_is_rewritten(shop, tasks):
    shop.disk.go.set()
    shop.disk.grown = True
    await shop.turns.request(run_task(tasks))
    async with asyncio.timeout(SECONDS_MAX):
        await shop.turns.request(run_task(tasks))  # the same task: nothing to write, and the turn before is over
    assert shop.disk.rewrites == 1


async def test_whoever_asks_after_the_last_turn_is_not_left_waiting(agent, tasks):
    turns = Turns(agent.agent, SlowDisk(), lambda effect: None)
    running = asyncio.create_task(turns.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with pytest.raises(InternalError, match="shutting down"):
        await turns.request(run_task(tasks))
