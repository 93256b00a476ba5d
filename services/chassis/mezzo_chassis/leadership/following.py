"""Work with whoever leads, for as long as nobody else is known to: a leader that hangs closes no connection."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from mezzo_chassis.leadership.detector import LeaderDetector

T = TypeVar("T")


class Superseded(Exception):
    """Another one leads than the one that was being worked with."""

    def __init__(self, leader: str) -> None:
        """`leader` is the "host:port" of the gRPC server of whoever leads now."""
        super().__init__(f"{leader} leads now")
        self.leader = leader


async def while_leading(
    detector: LeaderDetector, address: str, work: Coroutine[Any, Any, T], *, named: str | None = None
) -> T:
    """Do `work` with the one at `address` ("host:port"), and cancel it as soon as the detector names another.

    `named` is whom the detector names now, where that is not `address`: somebody else may have pointed there, who knew
    before the detector did. While nobody leads, the work goes on.

    Raises:
        Superseded: another one leads.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.create_task(_another(detector, address, named or address))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Superseded(watching.result())
        return working.result()
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _another(detector: LeaderDetector, address: str, named: str) -> str:
    async for leader in detector.changes():
        if leader is not None and leader.grpc_address != named:
            named = leader.grpc_address
            if named != address:
                return named
    raise AssertionError("a detector never ends")
