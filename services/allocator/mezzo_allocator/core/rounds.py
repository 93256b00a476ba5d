"""Agents that go around: nobody is offered one of these twice in a round.

Shares alone would let a framework that holds nothing keep an agent from others for ever: by leaving offers unanswered,
since it is the poorest again whenever one is rescinded, or by declining and reviving over and over. So from then on the
agent goes to each of those who want it once, in share order, before anybody gets it a second time. The round ends when
nobody is left who was not asked.
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from mezzo_allocator.core.arrays import Bits
from mezzo_allocator.core.filters import bits_of


class Rounds:
    """Who was asked, by the row of the agent: a bit for each client. Truthy while any agent goes around."""

    def __init__(self) -> None:
        self._asked: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._asked)

    def __contains__(self, row: int) -> bool:
        return row in self._asked

    def begin(self, row: int, client: int) -> None:
        """A client was offered an agent for nothing; the round that is under way goes on, if there is one."""
        self._asked[row] = self._asked.get(row, 0) | 1 << client

    def ask(self, row: int, client: int) -> None:
        """A client is offered an agent that goes around."""
        self._asked[row] |= 1 << client

    def was_asked(self, row: int, client: int) -> bool:
        """Whether an agent goes around and was offered to a client in this round already."""
        return bool(self._asked.get(row, 0) >> client & 1)

    def end(self, row: int) -> None:
        """Everybody was asked, or the agent is gone."""
        self._asked.pop(row, None)

    def forget_client(self, client: int) -> None:
        """A client is gone, and its number may be given to another."""
        for row in self._asked:
            self._asked[row] &= ~(1 << client)

    def validate(self, rows: Container[int], clients: Container[int]) -> None:
        """Raises AssertionError where an agent goes around that is not there, or was offered to nobody there is."""
        for row, asked in self._asked.items():
            assert row in rows, row
            assert all(client in clients for client in bits_of(asked)), (row, asked)

    def leave_out_asked(self, rows: NDArray[np.int64], eligible: Bits) -> None:
        """Clears the bits [k, W] of clients that were asked already, for the agents at `rows` [k]."""
        bytes_per_row = eligible.shape[1] * 8
        for index in np.flatnonzero(np.isin(rows, list(self._asked))):
            asked = self._asked[int(rows[index])].to_bytes(bytes_per_row, "little")
            eligible[index] &= ~np.frombuffer(asked, dtype="<u8")
