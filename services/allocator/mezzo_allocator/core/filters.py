"""Refusals: what a framework declined on an agent, it is not offered there again for a while.

A refusal holds against offers that are contained in what was refused; once more is free on the agent than was refused,
it no longer holds. The inner loop sees one bit per agent and client: whether a refusal holds against what is free now.
Behind the bits, refusals of the same resources on the same agent share one record, so that a million of them cost a
bit and a number each.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mezzo.resources import Resources
from mezzo_allocator.core.arrays import ALL_BUT, BIT, Bits

TICK_SECONDS = 0.02


@dataclass(slots=True)
class Refusal:
    """What some clients refused on one agent."""

    number: int
    row: int
    refused: Resources
    clients: int  # a bit for each client that refused it


class RefuseFilters:
    """All refusals in force.

    `bits` is [A, W]. Refusals end at the tick after their time: never early, and late by a tick at most.
    """

    def __init__(self, agents: int, words: int) -> None:
        self.bits: Bits = np.zeros((agents, words), dtype=np.uint64)
        self.count: dict[int, int] = {}  # of refusals, by client
        self._by_agent: dict[int, dict[Resources, Refusal]] = {}
        self._by_number: dict[int, Refusal] = {}
        self._ends: dict[int, dict[int, array[int]]] = {}  # client -> tick -> numbers of refusals
        self._extended: dict[tuple[int, int], int] = {}  # (refusal, client) -> the later of several ticks
        self._queue: list[tuple[int, int]] = []  # (tick, client)
        self._next_number = 0
        self._stale: set[int] = set()
        self._overruled: set[int] = set()

    def reshape(self, agents: int, words: int) -> None:
        """Make room for more agents and clients."""
        bits = np.zeros((agents, words), dtype=np.uint64)
        bits[: self.bits.shape[0], : self.bits.shape[1]] = self.bits
        self.bits = bits

    # -- coming and going ----------------------------------------------------------------------------------------------

    def refuse(self, row: int, client: int, refused: Resources, until: float) -> None:
        """Record that a client refused resources of an agent until a time."""
        tick = int(until / TICK_SECONDS) + 1
        here = self._by_agent.setdefault(row, {})
        refusal = here.get(refused)
        if refusal is None:
            refusal = here[refused] = Refusal(self._next_number, row, refused, 0)
            self._by_number[refusal.number] = refusal
            self._next_number += 1
        ends = self._ends.setdefault(client, {})
        if refusal.clients >> client & 1:
            key = (refusal.number, client)
            known = [t for t, numbers in ends.items() if refusal.number in numbers]
            self._extended[key] = max([tick, self._extended.get(key, 0), *known])
        else:
            refusal.clients |= 1 << client
            self.count[client] = self.count.get(client, 0) + 1
        numbers = ends.get(tick)
        if numbers is None:
            numbers = ends[tick] = array("Q")
            heapq.heappush(self._queue, (tick, client))
        numbers.append(refusal.number)
        self._stale.add(row)

    def expire(self, now: float) -> Iterator[int]:
        """End what is due; yield the rows of the agents concerned."""
        while self._queue and self._queue[0][0] * TICK_SECONDS <= now:
            tick, client = heapq.heappop(self._queue)
            for number in self._ends.get(client, {}).pop(tick, ()):
                refusal = self._by_number.get(number)
                if refusal is None:
                    continue
                if self._extended.get((number, client), tick) > tick:
                    continue
                self._extended.pop((number, client), None)
                yield from self._end(refusal, client)

    def clear(self, client: int) -> Iterator[int]:
        """End all refusals of a client; yield the rows of the agents concerned."""
        for numbers in self._ends.pop(client, {}).values():
            for number in numbers:
                refusal = self._by_number.get(number)
                if refusal is not None:
                    self._extended.pop((number, client), None)
                    yield from self._end(refusal, client)
        self.count.pop(client, None)

    def drop_agent(self, row: int) -> None:
        """Forget all refusals on an agent that is gone."""
        for refusal in self._by_agent.pop(row, {}).values():
            for client in bits_of(refusal.clients):
                self.count[client] -= 1
                self._extended.pop((refusal.number, client), None)
            del self._by_number[refusal.number]
        self.bits[row] = 0
        self._stale.discard(row)
        self._overruled.discard(row)

    def _end(self, refusal: Refusal, client: int) -> Iterator[int]:
        if not refusal.clients >> client & 1:
            return
        refusal.clients &= ~(1 << client)
        self.count[client] -= 1
        here = self._by_agent[refusal.row]
        if not refusal.clients:
            del here[refusal.refused], self._by_number[refusal.number]
            if not here:
                del self._by_agent[refusal.row]
        if any(other.clients >> client & 1 for other in here.values()):
            self._stale.add(refusal.row)
        else:
            self.bits[refusal.row, client >> 6] &= ALL_BUT[client & 63]
        yield refusal.row

    def next_end(self) -> float | None:
        """When the next refusal may end."""
        while self._queue:
            tick, client = self._queue[0]
            if tick in self._ends.get(client, {}):
                return tick * TICK_SECONDS
            heapq.heappop(self._queue)
        return None

    # -- what holds ----------------------------------------------------------------------------------------------------

    def stock_changed(self, row: int) -> None:
        """Note that more or less than before is free on an agent."""
        if row in self._by_agent:
            self._stale.add(row)

    def stale(self) -> set[int]:
        """The agents whose bits have to be refreshed before they are read."""
        return self._stale

    def reconsider(self) -> None:
        """Let refusals that were found to hold only after quota had cut an offer be judged again."""
        self._stale |= self._overruled
        self._overruled.clear()

    def reconsider_all(self) -> None:
        """Let all refusals be judged again."""
        self._stale.update(self._by_agent)

    def refresh(self, row: int, visible: Callable[[int], Resources] | Resources) -> None:
        """Recompute the bits of an agent: `visible` is what is free, or a function of the client that sees it."""
        self._stale.discard(row)
        holds = 0
        for refusal in self._by_agent.get(row, {}).values():
            if isinstance(visible, Resources):
                if refusal.refused is visible or refusal.refused.contains(visible):
                    holds |= refusal.clients
                continue
            for client in bits_of(refusal.clients):
                if refusal.refused.contains(visible(client)):
                    holds |= 1 << client
        words = self.bits.shape[1]
        self.bits[row] = np.frombuffer(holds.to_bytes(words * 8, "little"), dtype="<u8")

    def refuses(self, row: int, client: int, offered: Resources) -> bool:
        """Whether a refusal holds against offering exactly this."""
        return any(
            refusal.clients >> client & 1 and refusal.refused.contains(offered)
            for refusal in self._by_agent.get(row, {}).values()
        )

    def overrule(self, row: int, client: int) -> None:
        """Set a bit because a refusal holds against what would be offered, though not against all that is free."""
        self.bits[row, client >> 6] |= BIT[client & 63]
        self._overruled.add(row)

    def refused_agents(self) -> Container[int]:
        """The agents on which anybody refused anything."""
        return self._by_agent.keys()

    def overruled_agents(self) -> Container[int]:
        """The agents on which a bit may be about an offer that quota had cut."""
        return self._overruled

    def ends_of(self, client: int) -> Iterable[tuple[float, int]]:
        """When refusals of a client end, and how many then."""
        return sorted((tick * TICK_SECONDS, len(numbers)) for tick, numbers in self._ends.get(client, {}).items())

    def validate(self) -> None:
        """Check that the counts are those of the records.

        Raises:
            AssertionError: they differ.
        """
        seen: dict[int, int] = {}
        for row, here in self._by_agent.items():
            for refused, refusal in here.items():
                assert refusal.row == row, refusal
                assert refusal.refused == refused, refusal
                assert refusal.clients, refusal
                assert self._by_number[refusal.number] is refusal, refusal
                for client in bits_of(refusal.clients):
                    seen[client] = seen.get(client, 0) + 1
        assert seen == {client: count for client, count in self.count.items() if count}, (seen, self.count)


def bits_of(mask: int) -> Iterator[int]:
    """The positions of the bits of a mask."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
