"""One cycle: from the agents that changed to the allocations that are advised."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mezzo.resources import Resources
from mezzo_allocator.core.agents import Agent
from mezzo_allocator.core.arrays import (
    DEPTH_MAX,
    STAGE_GUARANTEES,
    STAGE_SHARES,
    Bits,
    Indices,
    Scratch,
    Taken,
)
from mezzo_allocator.core.books import Books
from mezzo_allocator.core.events import Allocated, Allocation
from mezzo_allocator.core.frameworks import Client
from mezzo_allocator.core.loops import Loops
from mezzo_allocator.core.parts import NEEDS_SHARED

TAKEN_ROWS_MIN = 1024
# Consecutive full passes begin at agents far from each other, so that no agent is always the first to be given out.
STRIDE = 7919


class Cycle:
    """Runs cycles over the books, and numbers them from 1."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.number = 0
        self._taken = self._new_taken(TAKEN_ROWS_MIN)

    def _new_taken(self, rows: int) -> Taken:
        return Taken(
            agent=np.zeros(rows, dtype=np.int32),
            client=np.zeros(rows, dtype=np.int32),
            part=np.zeros(rows, dtype=np.int32),
            whole=np.zeros(rows, dtype=np.uint8),
            amount=np.zeros((rows, self._books.columns.width), dtype=np.int64),
        )

    def run(self, loops: Loops, agents_max: int, now: float) -> Allocated:
        """Decides about at most `agents_max` of the agents that somebody may be offered; the others stay dirty."""
        books = self._books
        self.number += 1
        books.tree.refresh(loops)
        books.quota.fit()
        rows, eligible = self._candidates(agents_max)
        outcome = _Outcome(books, self.number, now)
        if rows.size:
            if books.quota.on:
                books.quota.arrays.available[:] = books.agents.plain_free()
                self._decide(loops, STAGE_GUARANTEES, rows, eligible.copy(), outcome)
            self._decide(loops, STAGE_SHARES, rows, eligible, outcome)
        return Allocated(self.number, outcome.allocations(), int(rows.size))

    def _candidates(self, agents_max: int) -> tuple[Indices, Bits]:
        """The agents to look at [k] and who may be offered anything of each [k, W]."""
        books = self._books
        if books.full_pass:
            books.filters.reconsider()
            every = np.flatnonzero(books.agents.active)
            rows = np.roll(every, -(self.number * STRIDE % max(1, every.size)))
        else:
            rows = np.array(sorted(books.dirty), dtype=np.int64)
        books.full_pass = False
        books.dirty.clear()
        self._settle_filters(rows)
        refused = books.filters.bits[rows] | books.eligibility.denied[rows]
        eligible = books.frameworks.active & ~refused
        chosen = np.flatnonzero(eligible.any(axis=1))
        if chosen.size > agents_max:
            books.dirty.update(rows[chosen[agents_max:]].tolist())
            chosen = chosen[:agents_max]
        return rows[chosen].astype(np.int32), np.ascontiguousarray(eligible[chosen])

    def _settle_filters(self, rows: NDArray[np.int64]) -> None:
        books = self._books
        if not books.filters.stale():
            return
        wanted = np.zeros(books.agents.capacity, dtype=bool)
        wanted[rows] = True
        for row in [row for row in books.filters.stale() if wanted[row]]:
            agent = books.agents.by_row[row]
            assert agent is not None
            books.filters.settle(row, self._visible(agent))

    def _visible(self, agent: Agent) -> Resources | Callable[[int], Resources]:
        """What is free of an agent: for everybody alike, or as a function of the client."""
        books = self._books
        if len(agent.keys) == 1 and agent.keys[0] == ("", 0, "") and not agent.shared:
            return books.agents.contents[agent.first]
        seen: dict[tuple[str, int], Resources] = {}

        def visible(number: int) -> Resources:
            client = books.frameworks.clients[number]
            needs_met = client.framework.needs_met()
            key = (client.role, needs_met)
            if key not in seen:
                seen[key] = books.visible_to(agent, client.role, needs_met)
            return seen[key]

        return visible

    def _decide(self, loops: Loops, stage: int, rows: Indices, eligible: Bits, outcome: _Outcome) -> None:
        books = self._books
        width = books.columns.width
        most = books.agents.parts_most
        wanted = max(TAKEN_ROWS_MIN, rows.size + most)
        if self._taken.agent.shape[0] < wanted or self._taken.amount.shape[1] != width:
            self._taken = self._new_taken(wanted)
        scratch = Scratch(
            stack=np.zeros(DEPTH_MAX, dtype=np.int32),
            at=np.zeros(DEPTH_MAX, dtype=np.int32),
            path=np.zeros(DEPTH_MAX, dtype=np.int32),
            allowed=np.zeros(width, dtype=np.int64),
            grant=np.zeros(width, dtype=np.int64),
            total=np.zeros(width, dtype=np.int64),
            part=np.zeros(most, dtype=np.int32),
            amount=np.zeros((most, width), dtype=np.int64),
        )
        at = 0
        while at < rows.size:
            filled, at = loops.decide(
                books.tree.arrays,
                books.frameworks.arrays,
                books.agents.arrays,
                books.quota.arrays,
                stage,
                rows,
                eligible,
                at,
                scratch,
                self._taken,
            )
            outcome.add(self._taken, filled)


class _Outcome:
    """Turns rows of numbers into allocations of exact resources, and writes down who holds them."""

    def __init__(self, books: Books, number: int, now: float) -> None:
        self._books = books
        self._number = number
        self._now = now
        self._allocations: list[Allocation] = []
        self._places: dict[tuple[int, int], int] = {}

    def allocations(self) -> list[Allocation]:
        """What was advised in this cycle."""
        return self._allocations

    def add(self, taken: Taken, filled: int) -> None:
        """Takes in the first `filled` rows. Rows of one agent and client that follow each other are one allocation."""
        books = self._books
        agents = taken.agent[:filled].tolist()
        clients = taken.client[:filled].tolist()
        parts = taken.part[:filled].tolist()
        whole = taken.whole[:filled].tolist()
        contents, by_row, by_client = books.agents.contents, books.agents.by_row, books.frameworks.clients
        i = 0
        while i < filled:
            row, number = agents[i], clients[i]
            first = i
            pieces = []
            while i < filled and agents[i] == row and clients[i] == number:
                part = parts[i]
                if whole[i]:
                    piece, contents[part] = contents[part], Resources.EMPTY
                else:
                    piece, contents[part] = books.divider.cut(contents[part], taken.amount[i])
                pieces.append(piece)
                i += 1
            agent, client = by_row[row], by_client[number]
            assert agent is not None
            if agent.shared or books.filters.has_refusals(row):
                self._add_carefully(agent, client, pieces, taken, first)
            else:
                self._note(agent, client, pieces)

    def _add_carefully(self, agent: Agent, client: Client, pieces: list[Resources], taken: Taken, first: int) -> None:
        """An allocation that may come with shared resources, or that a refusal may hold against.

        The bits told whether refusals hold against all that was free; what is now to be offered may be less.
        """
        books = self._books
        shared = self._shared_with(agent, client)
        if books.filters.refuses(agent.row, client.number, Resources.sum([*pieces, shared])):
            for i, piece in enumerate(pieces, start=first):
                books.untake(agent, client, int(taken.part[i]), piece, taken.amount[i].copy())
            books.filters.overrule(agent.row, client.number)
            books.dirty.add(agent.row)
            return
        self._note(agent, client, [*pieces, shared] if shared else pieces)

    def _shared_with(self, agent: Agent, client: Client) -> Resources:
        """The shared resources of an agent that a client may see and does not hold yet."""
        if not agent.shared or not client.framework.needs_met() & NEEDS_SHARED:
            return Resources.EMPTY
        held = Resources.sum(agent.held.get(client.number, ()))
        return agent.shared.allocatable_to(client.role).minus_what_is_there(held)

    def _note(self, agent: Agent, client: Client, pieces: list[Resources]) -> None:
        books = self._books
        held = pieces[0] if len(pieces) == 1 else Resources.sum(pieces)
        books.note_holding(agent, client, held)
        agent.in_flight.append((self._number, client.number, held))
        books.filters.stock_changed(agent.row)
        client.last_offered = self._now
        client.waiting_since = self._now
        allocation = Allocation(client.framework.number, agent.number, client.role, tuple(pieces))
        if books.quota.on:
            key = (agent.row, client.number)
            place = self._places.get(key)
            if place is not None:
                earlier = self._allocations[place]
                self._allocations[place] = earlier._replace(resources=earlier.resources + allocation.resources)
                return
            self._places[key] = len(self._allocations)
        self._allocations.append(allocation)
