"""A detector of leaders that knows what a test announces."""

from __future__ import annotations

from collections.abc import AsyncIterator

from mezzo_chassis.leadership import LeaderInfo
from mezzo_chassis.leadership.latest_value import LatestValue


class AnnouncedLeader:
    """A `LeaderDetector` without ZooKeeper, whose leader changes when a test says so."""

    def __init__(self, grpc_address: str | None = None) -> None:
        """`grpc_address`: the "host:port" of whoever leads; None while nobody does."""
        self._latest: LatestValue[LeaderInfo | None] = LatestValue(_info(grpc_address))

    @property
    def leader(self) -> LeaderInfo | None:
        return self._latest.value

    def announce(self, grpc_address: str | None) -> None:
        self._latest.set(_info(grpc_address))

    def changes(self) -> AsyncIterator[LeaderInfo | None]:
        return aiter(self._latest)

    async def start(self) -> None:
        """There is nothing to start."""

    async def close(self) -> None:
        """There is nothing to close."""


def _info(grpc_address: str | None) -> LeaderInfo | None:
    return LeaderInfo(grpc_address, {}) if grpc_address is not None else None
