"""The session with the allocator when allocators hang, and when another one is elected."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from mesos.v1 import mesos_pb2 as mesos
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.allocator.v1 import allocator_pb2_grpc
from mezzo.errors import NotLeading, Unavailable
from mezzo_chassis.leadership import Epoch, Leadership, Session
from mezzo_chassis.leadership.latest_value import LatestValue
from mezzo_chassis.rpc import REGISTRY_KEY, start_server
from mezzo_chassis.testing import AnnouncedLeader
from mezzo_registry.adapters.sqlite_store import SqliteStore
from mezzo_registry.core import Settings
from mezzo_registry.metrics import RegistryMetrics
from mezzo_registry.shell import allocator_session
from mezzo_registry.shell.current_term import CurrentTerm
from mezzo_registry.shell.leader_loop import LeaderLoop
from mezzo_registry.testing import PATIENCE_SECONDS, PlayedAllocator

EPOCH = 7
ADDRESS = "rack7.example:5060"


class Elected:
    """A candidate that leads, by an election in ZooKeeper."""

    def __init__(self) -> None:
        self._latest = LatestValue(
            Leadership(Session.CONNECTED, Epoch("/mezzo/json.info_0000000007", EPOCH), standing=True)
        )

    @property
    def leadership(self) -> Leadership:
        return self._latest.value

    def changes(self) -> AsyncIterator[Leadership]:
        return aiter(self._latest)

    async def start(self) -> None:
        """It stands already."""

    async def close(self) -> None:
        """No other candidate waits to lead."""


async def nothing(*_: object) -> None:
    """Nobody is told."""


class HangingAllocator(PlayedAllocator):
    """Answers no question."""

    def __init__(self) -> None:
        super().__init__()
        self.was_asked = asyncio.Event()

    async def Explain(self, _request: allocator.ExplainRequest, _context: object) -> allocator.ExplainResponse:
        self.was_asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")


@pytest.fixture
async def allocators() -> AsyncIterator[dict[str, HangingAllocator]]:
    """Two, by their addresses."""
    async with AsyncExitStack() as stack:
        served = {}
        for _ in range(2):
            played = HangingAllocator()
            add = (allocator_pb2_grpc.add_AllocatorServicer_to_server, played)
            server = await start_server("127.0.0.1", 0, [add], ["mezzo.allocator.v1.Allocator"])
            stack.push_async_callback(server.stop, 0)
            served[f"127.0.0.1:{server.port}"] = played
        yield served


@asynccontextmanager
async def leading(detector: AnnouncedLeader, folder: Path) -> AsyncIterator[CurrentTerm]:
    """A registry that leads, and finds its allocator by the detector."""
    store, current_term = SqliteStore(folder / "registry.sqlite"), CurrentTerm()
    await store.open()
    leader_loop = LeaderLoop(
        settings=Settings(),
        flags={},
        first_info=mesos.MasterInfo(id="first", ip=1, port=1),
        started_at=time.time(),
        candidate=Elected(),
        allocators=detector,
        store_of=lambda _leadership: store,
        current_term=current_term,
        metrics=RegistryMetrics("test"),
        announce=nothing,
        hinder=nothing,
        address=ADDRESS,
    )
    running = asyncio.create_task(leader_loop.run())
    try:
        yield current_term
    finally:
        await leader_loop.end(NotLeading())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()


async def test_an_allocator_that_hangs_is_left_when_another_is_elected(
    allocators: dict[str, HangingAllocator], tmp_path: Path
) -> None:
    (first, hung), (second, next_one) = allocators.items()
    detector = AnnouncedLeader(first)
    async with leading(detector, tmp_path) as current_term:
        await hung.described()
        question = asyncio.create_task(current_term.get().explain(allocator.ExplainRequest()))
        await hung.was_asked.wait()
        detector.announce(second)
        await next_one.described()
        with pytest.raises(Unavailable, match="the allocator session ended"):
            await asyncio.wait_for(question, PATIENCE_SECONDS)
    assert hung.epochs == next_one.epochs == [str(EPOCH)], "by which an allocator knows a deposed registry"


async def test_an_allocator_that_is_silent_for_too_long_gets_another_session(
    allocators: dict[str, HangingAllocator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocator_session, "SILENCE_SECONDS_MAX", 0.05)
    address, silent = next(iter(allocators.items()))
    async with leading(AnnouncedLeader(address), tmp_path):
        await silent.described(sessions=2)


class TakenAllocator(HangingAllocator):
    """It serves another registry until that has left."""

    def __init__(self) -> None:
        super().__init__()
        self.taken_by = "registry rack1.example:5060 (10.0.0.7)"
        self.addresses: list[str] = []
        self.refused = asyncio.Semaphore(0)

    async def Session(self, request_iterator: Any, context: Any) -> AsyncIterator[allocator.SessionResponse]:
        self.addresses.append(dict(context.invocation_metadata())[REGISTRY_KEY])
        if self.taken_by:
            self.refused.release()
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{self.taken_by} has a session with this allocator")
        yield allocator.SessionResponse(messages=[allocator.AllocatorMessage(ready=allocator.Ready(version="v"))])
        async for response in super().Session(request_iterator, context):
            yield response


async def test_a_registry_that_is_refused_says_by_whom_and_for_whom_until_there_is_room(tmp_path: Path) -> None:
    played = TakenAllocator()
    add = (allocator_pb2_grpc.add_AllocatorServicer_to_server, played)
    server = await start_server("127.0.0.1", 0, [add], ["mezzo.allocator.v1.Allocator"])
    address = f"127.0.0.1:{server.port}"
    try:
        with capture_logs() as logs:
            async with leading(AnnouncedLeader(address), tmp_path) as current_term:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    for _ in range(3):
                        await played.refused.acquire()
                refusal = f"the allocator at {address} refuses: {played.taken_by} has a session with this allocator"
                with pytest.raises(Unavailable, match=re.escape(refusal)):
                    await current_term.get().explain(allocator.ExplainRequest())
                played.taken_by = ""
                await played.described()
                asked = asyncio.create_task(played.was_asked.wait())
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not asked.done():  # the registry may not have heard yet that there is room
                        question = asyncio.create_task(current_term.get().explain(allocator.ExplainRequest()))
                        await asyncio.wait({question, asked}, return_when=asyncio.FIRST_COMPLETED)
                        question.cancel()
                        await asyncio.gather(question, return_exceptions=True)
        (told,) = [each for each in logs if each["event"] == "no allocator session; retrying"]
        assert told["log_level"] == "warning"
        assert told["reason"] == "registry rack1.example:5060 (10.0.0.7) has a session with this allocator"
        assert set(played.addresses) == {ADDRESS}
    finally:
        await server.stop(0)
