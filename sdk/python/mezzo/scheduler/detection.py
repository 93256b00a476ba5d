"""Following the leader where it is announced, in ZooKeeper for instance, rather than asking known addresses for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.errors import Unavailable
from mezzo.scheduler.transport import Transport


class Detector(Protocol):
    """Knows who leads; `ZooKeeperDetector` is one."""

    async def leader(self) -> str:
        """The leader's address; waits until there is one. Raises `Unavailable` where it cannot be found out."""
        ...

    async def successor(self, address: str) -> str:
        """The leader's address, once another leads than the one at `address`; waits for that. Raises `Unavailable`."""
        ...


class DetectingTransport:
    """A transport to whoever leads: `DetectingTransport(detector, GrpcTransport)`.

    A subscription ends with `Unavailable` as soon as another leads than it began with: a leader that hangs, or is cut
    off, closes no connection.
    """

    def __init__(self, detector: Detector, connect: Callable[[str], Transport]) -> None:
        """`connect` makes the transport to an address that the detector gave; they have to agree on its form."""
        self._detector = detector
        self._connect = connect
        self._address = ""
        self._leader: Transport | None = None
        self._closed = False

    def __str__(self) -> str:
        return self._address or "the leader"

    async def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """See `Transport`."""
        leader = await self._found()
        superseded = asyncio.create_task(self._superseded(self._address))
        try:
            async with contextlib.aclosing(leader.subscribe(call)) as stream:
                while (events := await _next(stream, superseded)) is not None:
                    yield events
        finally:
            superseded.cancel()
            await asyncio.gather(superseded, return_exceptions=True)

    async def _superseded(self, address: str) -> str:
        try:
            return await self._detector.successor(address)
        except Unavailable:
            # Nothing is known of another leader: the one that answers is stayed with.
            await asyncio.Event().wait()
            raise

    async def _found(self) -> Transport:
        address = await self._detector.leader()
        if self._closed:
            raise Unavailable("the client was closed")
        if self._leader is not None and address == self._address:
            return self._leader
        former, leader = self._leader, self._connect(address)
        # Before the former is closed: calls that are made meanwhile are for the new one.
        self._leader, self._address = leader, address
        if former is not None:
            await former.close()
        return leader

    async def call(self, call: v1.Call) -> v1.Response | None:
        """See `Transport`."""
        if self._leader is None:
            raise Unavailable("no leader is known")
        return await self._leader.call(call)

    async def close(self) -> None:
        """See `Transport`. The detector stays its owner's to close."""
        self._closed = True
        if self._leader is not None:
            await self._leader.close()


async def _next(stream: AsyncGenerator[list[v1.Event]], superseded: asyncio.Task[str]) -> list[v1.Event] | None:
    """The next events; None at the end of the stream. Raises `Unavailable` once another leads."""
    reading = asyncio.ensure_future(anext(stream, None))
    try:
        await asyncio.wait({reading, superseded}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            return reading.result()
        raise Unavailable(f"the leader changed to {superseded.result()}")
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
