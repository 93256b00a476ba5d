"""One cycle: from the agents that changed to the allocations that are advised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mezzo.resources import Resources
from mezzo_allocator.core.agents import Agent
from mezzo_allocator.core.arrays import (
    STAGE_GUARANTEES,
    STAGE_SHARES,
    Bits,
    Indices,
    Ints,
    Scratch,
    Taken,
)
from mezzo_allocator.core.events import Allocated, Allocation
from mezzo_allocator.core.frameworks import Client
from mezzo_allocator.core.loops import Loops
from mezzo_allocator.core.state import AllocatorState

TAKEN_ROWS_MIN = 1024


class Cycle:
    """Runs cycles over the state, and numbers them from 1."""

    def __init__(self, state: AllocatorState) -> None:
        self._state = state
        self.number = 0
        self._taken = self._new_taken(TAKEN_ROWS_MIN)

    def _new_taken(self, rows: int) -> Taken:
        return Taken(
            agent=np.zeros(rows, dtype=np.int32),
            client=np.zeros(rows, dtype=np.int32),
            slot=np.zeros(rows, dtype=np.int32),
            whole=np.zeros(rows, dtype=np.uint8),
            amount=np.zeros((rows, self._state.columns.width), dtype=np.int64),
        )

    def run(self, loops: Loops, agents_max: int, now: float) -> Allocated:
        """Decide about at most `agents_max` of the agents in the backlog."""
        state = self._state
        self.number += 1
        looked_at = state.backlog.take(state.agents.active, agents_max)
        self.refresh_filters(looked_at)
        outcome = _Outcome(state, self.number, now)
        considered = self._pass(loops, looked_at, outcome)
        if state.fairness_rounds:
            self._advance_rounds(loops, looked_at, outcome)
        state.maintenance.mark_holders_of(looked_at)
        inverse = state.maintenance.inverse_allocations(state.agents, state.frameworks)
        return Allocated(self.number, outcome.allocations(), considered, inverse)

    def _pass(
        self, loops: Loops, looked_at: NDArray[np.int64], outcome: _Outcome, *, to_those_offered: bool = False
    ) -> int:
        """Give out these agents; return for how many of them anybody could be found."""
        state = self._state
        rows, eligible = self._candidates(looked_at, to_those_offered=to_those_offered)
        if rows.size:
            state.tree.refresh(loops)
            state.random_sorter.refresh(state.tree)
            state.quota.fit()
            if state.quota.on:
                state.quota.arrays.available[:] = state.agents.plain_free()
                self._decide(loops, STAGE_GUARANTEES, rows, eligible.copy(), outcome)
            self._decide(loops, STAGE_SHARES, rows, eligible, outcome)
        return int(rows.size)

    def _advance_rounds(self, loops: Loops, looked_at: NDArray[np.int64], outcome: _Outcome) -> None:
        """Record to whom agents in a fairness round were offered. Where nobody else wants one, its round is over,
        and it is offered to those who were offered it before.
        """
        rounds, backlog = self._state.fairness_rounds, self._state.backlog
        given = self._record_offered(outcome.allocations())
        left = [row for row in looked_at.tolist() if row in rounds and row not in given and row not in backlog]
        first = len(outcome.allocations())
        rows = np.array(left, dtype=np.int64)
        self.refresh_filters(rows)
        self._pass(loops, rows, outcome, to_those_offered=True)
        for row in self._record_offered(outcome.allocations()[first:]):
            rounds.end(row)

    def _record_offered(self, allocations: Sequence[Allocation]) -> set[int]:
        """Record who was offered agents in a fairness round; return the rows of those agents."""
        state = self._state
        rows = set()
        for allocation in allocations:
            row = state.agents.by_number[allocation.agent].row
            if row in state.fairness_rounds:
                client = state.frameworks.by_number[allocation.framework].clients[allocation.role]
                state.fairness_rounds.record_offer(row, client.number)
                rows.add(row)
        return rows

    def _candidates(self, rows: NDArray[np.int64], *, to_those_offered: bool) -> tuple[Indices, Bits]:
        """Those of the agents [k] that anybody may be offered anything of, and who may be [k, W]."""
        state = self._state
        # In place: with fifty thousand agents each copy of these bits costs as much as deciding about the agents.
        eligible = state.filters.bits[rows]
        eligible |= state.eligibility.denied[rows]
        np.invert(eligible, out=eligible)
        eligible &= state.frameworks.active
        if state.fairness_rounds and not to_those_offered:
            state.fairness_rounds.exclude_offered(rows, eligible)
        chosen = np.flatnonzero(eligible.any(axis=1))
        if chosen.size < rows.size:
            rows, eligible = rows[chosen], eligible[chosen]
        return rows.astype(np.int32), eligible

    def refresh_filters(self, rows: NDArray[np.int64]) -> None:
        """Bring the bits of refusals on these agents up to date with what is free."""
        state = self._state
        if not state.filters.stale():
            return
        wanted = np.zeros(state.agents.capacity, dtype=bool)
        wanted[rows] = True
        for row in [row for row in state.filters.stale() if wanted[row]]:
            agent = state.agents.by_row[row]
            assert agent is not None
            state.filters.refresh(row, self._visible(agent))

    def _visible(self, agent: Agent) -> Resources | Callable[[int], Resources]:
        """What is free of an agent: for everybody alike, or as a function of the client."""
        state = self._state
        if len(agent.keys) == 1 and agent.keys[0] == ("", 0, "") and not agent.shared:
            return state.agents.contents[agent.first]
        seen: dict[tuple[str, int], Resources] = {}

        def visible(number: int) -> Resources:
            client = state.frameworks.clients[number]
            needs_met = client.framework.needs_met()
            key = (client.role, needs_met)
            if key not in seen:
                seen[key] = state.visible_to(agent, client.role, needs_met)
            return seen[key]

        return visible

    def _decide(self, loops: Loops, stage: int, rows: Indices, eligible: Bits, outcome: _Outcome) -> None:
        state = self._state
        width = state.columns.width
        most = state.agents.slices_max
        wanted = max(TAKEN_ROWS_MIN, rows.size + most)
        if self._taken.agent.shape[0] < wanted or self._taken.amount.shape[1] != width:
            self._taken = self._new_taken(wanted)
        scratch = Scratch.blank(width, most)
        at = 0
        while at < rows.size:
            filled, at = loops.decide(
                state.tree.arrays,
                state.frameworks.arrays,
                state.agents.arrays,
                state.quota.arrays,
                state.random_sorter.arrays,
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

    def __init__(self, state: AllocatorState, number: int, now: float) -> None:
        self._state = state
        self._number = number
        self._now = now
        self._allocations: list[Allocation] = []
        self._places: dict[tuple[int, int], int] = {}
        self._refused: list[Callable[[], None]] = []

    def allocations(self) -> list[Allocation]:
        """What was advised in this cycle."""
        return self._allocations

    def add(self, taken: Taken, filled: int) -> None:
        """Take in the first `filled` rows. Rows of one agent and client that follow each other are one allocation."""
        if not filled:
            return
        agents, clients = taken.agent[:filled], taken.client[:filled]
        alone = np.r_[True, (np.diff(agents) != 0) | (np.diff(clients) != 0)]
        if alone.all() and taken.whole[:filled].all() and not self._state.quota.on:
            self._add_whole_slices(agents.tolist(), clients.tolist(), taken.slot[:filled].tolist(), taken)
        else:
            starts = np.flatnonzero(alone).tolist()
            for first, end in zip(starts, [*starts[1:], filled], strict=True):
                self._add_group(int(agents[first]), int(clients[first]), taken, range(first, end))
        # Only now: later rows count on what earlier ones took being gone.
        for undo in self._refused:
            undo()
        self._refused.clear()

    def _add_whole_slices(self, agents: list[int], clients: list[int], slots: list[int], taken: Taken) -> None:
        """The way of nearly all allocations, kept short: one slice of an agent, all of it, for one client."""
        state = self._state
        contents, by_row = state.agents.contents, state.agents.by_row
        refused = state.filters.refused_agents()
        known = {number: state.frameworks.clients[number] for number in set(clients)}
        nothing, now, cycle, append = Resources.EMPTY, self._now, self._number, self._allocations.append
        for index, (row, number, slot) in enumerate(zip(agents, clients, slots, strict=True)):
            agent = by_row[row]
            assert agent is not None
            if row in refused:
                state.filters.stock_changed(row)
            # Of an agent of one slice all that was free is offered, and against that the bits say who refuses it.
            if agent.shared or (len(agent.keys) > 1 and row in refused):
                self._add_group(row, number, taken, range(index, index + 1))
                continue
            client = known[number]
            resources = contents[slot]
            contents[slot] = nothing
            if number in agent.held:
                agent.held[number].append((cycle, resources))
            else:
                agent.held[number] = [(cycle, resources)]
                client.holdings += 1
            client.last_offered = now
            append(Allocation(client.framework.number, agent.number, client.role, (resources,)))

    def _add_group(self, row: int, number: int, taken: Taken, rows: range) -> None:
        """One allocation: what one client takes of one agent.

        The bits say whether refusals hold against all that was free; what is now to be offered may be less.
        """
        state = self._state
        contents = state.agents.contents
        agent, client = state.agents.by_row[row], state.frameworks.clients[number]
        assert agent is not None
        pieces = []
        for i in rows:
            slot = int(taken.slot[i])
            if taken.whole[i]:
                piece, contents[slot] = contents[slot], Resources.EMPTY
            else:
                piece, contents[slot] = state.slicer.cut(contents[slot], taken.amount[i])
            pieces.append(piece)
        shared = self._shared_with(agent, client)
        offered = Resources.sum([*pieces, shared])
        if state.filters.refuses(row, number, offered):
            taken_slots = [
                (int(taken.slot[i]), piece, taken.amount[i].copy()) for i, piece in zip(rows, pieces, strict=True)
            ]
            self._refused.append(partial(self._undo, agent, client, taken_slots))
            return
        state.filters.stock_changed(row)
        state.account_shared(agent, client, shared, 1)
        state.note_holding(agent, client, (self._number, offered))
        client.last_offered = self._now
        self._append(agent, client, (*pieces, shared) if shared else tuple(pieces))

    def _undo(self, agent: Agent, client: Client, taken: list[tuple[int, Resources, Ints]]) -> None:
        """Take back what a client refuses, and have the agent looked at again without it."""
        state = self._state
        for slot, piece, vector in taken:
            state.undo_take(agent, client, slot, piece, vector)
        state.undo_served(client)
        state.filters.overrule(agent.row, client.number)
        state.backlog.mark(agent.row)

    def _shared_with(self, agent: Agent, client: Client) -> Resources:
        """The shared resources of an agent that a client may see, held or not, once in each cycle."""
        visible = self._state.shared_visible_to(agent, client)
        if not visible:
            return Resources.EMPTY
        pieces = agent.held.get(client.number, ())
        given = Resources.sum([resources for cycle, resources in pieces if cycle == self._number])
        return visible.minus_what_is_there(given)

    def _append(self, agent: Agent, client: Client, resources: tuple[Resources, ...]) -> None:
        """Add an allocation; what one client gets of one agent in both stages is one."""
        key = (agent.row, client.number)
        place = self._places.get(key)
        if place is not None:
            earlier = self._allocations[place]
            self._allocations[place] = earlier._replace(resources=earlier.resources + resources)
            return
        self._places[key] = len(self._allocations)
        self._allocations.append(Allocation(client.framework.number, agent.number, client.role, resources))
