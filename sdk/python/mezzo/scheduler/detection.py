"""Following the leader where it is announced, in ZooKeeper for instance, rather than asking known addresses for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.errors import Unavailable
from mezzo.scheduler.transport import Transport


class Detector(Protocol):
    """Knows who leads. The SDK has none of its own, so that it needs no client of ZooKeeper."""

    async def leader(self) -> str:
        """The leader's address; waits until there is one. Raises `Unavailable` where it cannot be found out."""
        ...


class DetectingTransport:
    """A transport to whoever leads when a subscription begins: `DetectingTransport(detector, GrpcTransport)`."""

    def __init__(self, detector: Detector, connect: Callable[[str], Transport]) -> None:
        """`connect` makes the transport to an address that the detector gave; they have to agree on its form."""
        self._detector = detector
        self._connect = connect
        self._address = ""
        self._leader: Transport | None = None
        self._closed = False

    async def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """See `Transport`."""
        leader = await self._found()
        async with contextlib.aclosing(leader.subscribe(call)) as stream:
            async for events in stream:
                yield events

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
            raise Unavailable("nobody is known to lead")
        return await self._leader.call(call)

    async def close(self) -> None:
        """See `Transport`. The detector stays its owner's to close."""
        self._closed = True
        if self._leader is not None:
            await self._leader.close()
