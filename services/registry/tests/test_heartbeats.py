"""Heartbeats of a term: nothing comes before what a peer waits for."""

import asyncio
import time

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.errors import NotLeading
from mezzo_registry.core import Identity, Registry, Settings
from mezzo_registry.metrics import RegistryMetrics
from mezzo_registry.shell.streams import FRAMEWORK_EVENTS_MAX, EventStream
from mezzo_registry.shell.term import HEARTBEAT_SLOTS, Term
from mezzo_registry.testing import PATIENCE_SECONDS

from .test_leader_loop import BrokenStore


async def test_no_heartbeat_comes_before_subscribed() -> None:
    identity = Identity(
        registry_id="r",
        master_info=mesos.MasterInfo(id="r", ip=1, port=1),
        version="test",
        started_at=time.time(),
        elected_at=time.time(),
        flags={},
    )
    settings = Settings(scheduler_heartbeat_interval=0.001)
    term = Term(Registry(identity, settings), BrokenStore(), RegistryMetrics("test"))
    # Of the same slot, the one that waits first: whatever the other has got, it would have got as well.
    waiting = EventStream("framework", FRAMEWORK_EVENTS_MAX, 1)
    subscribed = EventStream("framework", FRAMEWORK_EVENTS_MAX, 1 + HEARTBEAT_SLOTS)
    term.open_framework("waiting", waiting, scheduler.Call())
    term.open_framework("subscribed", subscribed, scheduler.Call())
    subscribed.send_event(scheduler.Event(type=scheduler.Event.SUBSCRIBED))
    running = asyncio.create_task(term.run())
    received: list[scheduler.Event] = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for batch in subscribed.outbox:
                received += [event for event, _ in batch]
                if len(received) > 2:
                    break
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        term.end(NotLeading())
    assert received[1].type == scheduler.Event.HEARTBEAT
    assert len(waiting.outbox) == 0
