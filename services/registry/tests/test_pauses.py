"""A leader that did not run for a while may have been deposed: it does nothing of what waited for it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.errors import MezzoError, NotLeading
from mezzo_chassis.pauses import PauseDetector
from mezzo_registry.core import Identity, Registry, Settings, events, records
from mezzo_registry.core.records import TABLES
from mezzo_registry.metrics import RegistryMetrics
from mezzo_registry.shell.term import Term
from mezzo_registry.testing import PATIENCE_SECONDS

from .test_leader_loop import BrokenStore

PAUSE_SECONDS_MAX = 4.0


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def term(clock: Clock, pause_seconds_max: float) -> AsyncIterator[Term]:
    """A term that leads; the process uses no processor time."""
    identity = Identity(
        registry_id="r",
        master_info=mesos.MasterInfo(id="r", ip=1, port=1),
        version="test",
        started_at=time.time(),
        elected_at=time.time(),
        flags={},
    )
    pauses = PauseDetector(pause_seconds_max, clock, lambda: 0.0)
    leading = Term(Registry(identity, Settings()), BrokenStore(), RegistryMetrics("test"), pauses)
    leading.post(records.elected({table: {} for table in TABLES}))
    running = asyncio.create_task(leading.run())
    try:
        yield leading
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        leading.end(NotLeading())


async def revive(leading: Term) -> None:
    number = leading.number()
    call = scheduler.Call(type=scheduler.Call.REVIVE)
    await asyncio.wait_for(leading.admit(events.FrameworkCalled(number, "nobody", call)), PATIENCE_SECONDS)


async def test_a_call_after_a_pause_is_answered_by_nobody_who_leads() -> None:
    clock = Clock()
    async with term(clock, PAUSE_SECONDS_MAX) as leading:
        with pytest.raises(MezzoError) as refused:
            await revive(leading)
        assert not isinstance(refused.value, NotLeading), "it is the core that refuses"
        clock.now += PAUSE_SECONDS_MAX + 0.1
        with pytest.raises(NotLeading):
            await revive(leading)
        assert leading.ended.done()


async def test_the_term_ends_after_a_pause_though_nobody_asks_anything() -> None:
    clock = Clock()
    async with term(clock, 0.01) as leading:
        with contextlib.suppress(MezzoError):
            await revive(leading)
        clock.now += 1.0
        assert isinstance(await asyncio.wait_for(leading.ended, PATIENCE_SECONDS), NotLeading)
