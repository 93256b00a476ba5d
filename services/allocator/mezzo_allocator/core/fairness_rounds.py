"""Fairness rounds: an agent is offered to everybody who wants it before anybody is offered it twice.

Shares alone would let a framework that holds nothing keep an agent from others for ever: by leaving offers unanswered,
since it is the poorest again whenever one is rescinded, or by declining and reviving over and over. So a round
begins for such an agent: it is offered once to each of those who want it, in share order, before anybody
gets it a second time. The round ends when it was offered to all of them.
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from mezzo_allocator.core.arrays import Bits
from mezzo_allocator.core.filters import bits_of


class FairnessRounds:
    """The rounds under way: by the row of the agent a bit for each client that was offered it. Falsy without any."""

    def __init__(self) -> None:
        self._offered: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._offered)

    def __contains__(self, row: int) -> bool:
        return row in self._offered

    def begin(self, row: int, client: int) -> None:
        """A client was offered an agent in vain: begin a round, or go on with the one that is under way."""
        self._offered[row] = self._offered.get(row, 0) | 1 << client

    def record_offer(self, row: int, client: int) -> None:
        """A client is offered an agent whose round is under way."""
        self._offered[row] |= 1 << client

    def was_offered(self, row: int, client: int) -> bool:
        """Whether an agent was offered to a client in the round that is under way."""
        return bool(self._offered.get(row, 0) >> client & 1)

    def end(self, row: int) -> None:
        """The agent was offered to everybody, or is gone."""
        self._offered.pop(row, None)

    def forget_client(self, client: int) -> None:
        """A client is gone, and its number may be given to another."""
        for row in self._offered:
            self._offered[row] &= ~(1 << client)

    def validate(self, rows: Container[int], clients: Container[int]) -> None:
        """Check that rounds name agents and clients that are there.

        Raises:
            AssertionError: one is not.
        """
        for row, offered in self._offered.items():
            assert row in rows, row
            assert all(client in clients for client in bits_of(offered)), (row, offered)

    def exclude_offered(self, rows: NDArray[np.int64], eligible: Bits) -> None:
        """Clear the bits [k, W] of clients that were offered them in this round, for the agents at `rows` [k]."""
        bytes_per_row = eligible.shape[1] * 8
        for index in np.flatnonzero(np.isin(rows, list(self._offered))):
            offered = self._offered[int(rows[index])].to_bytes(bytes_per_row, "little")
            eligible[index] &= ~np.frombuffer(offered, dtype="<u8")
