"""Why somebody is offered nothing, or what they could be offered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from mezzo.resources import Resources
from mezzo_allocator.core.agents import Agent
from mezzo_allocator.core.arrays import BIT, CLIENT, NEEDS_REVOCABLE, NO_LIMIT, ROOT, STAGE_SHARES, Ints, Scratch
from mezzo_allocator.core.cycle import Cycle
from mezzo_allocator.core.frameworks import Client
from mezzo_allocator.core.kernel import measure_allowance, within_nested_limits
from mezzo_allocator.core.quota_in_use import BindingQuota, Headroom, binding_quotas, headroom
from mezzo_allocator.core.state import AllocatorState

OFFERABLE = "offerable"
INACTIVE = "inactive"
NOTHING_FREE = "nothing_free"
NOT_VISIBLE = "not_visible"
BELOW_MINIMUM = "below_minimum"
QUOTA_LIMIT = "quota_limit"
QUOTA_HEADROOM = "quota_headroom"
REFUSED = "refused"

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node of the role tree stands among its active siblings; `place` counts from 1, 0: it is inactive."""

    name: str
    share: float
    place: int
    of: int
    allocations: int
    drawn_by_lot: bool


class Inactivity(Enum):
    """Why a client is inactive; the values are for people."""

    NOT_SUBSCRIBED = "the framework is not subscribed in the role"
    DISCONNECTED = "the framework is not connected"
    SUPPRESSED = "the framework suppressed offers in the role"


@dataclass(frozen=True, slots=True)
class Explanation:
    """About one framework in one role."""

    framework_id: str
    role: str
    inactive_because: Inactivity | None
    verdicts: dict[int, str]
    """What is said of each agent, by its number: OFFERABLE, or the first rule that turns it away."""
    largest_free: dict[str, int]
    """Of each resource the most that an offer of one agent could contain: what limits and headroom leave of it."""
    minimum: Sequence[dict[str, int]]
    binding_quotas: Sequence[BindingQuota]
    refusals: int
    next_refusal_ends: float | None
    places: Sequence[Place]
    last_offered: float | None
    requested: Sequence[Mapping[str, int]]
    agents_large_enough: int
    """Of those that are OFFERABLE: how many have any of the requested amounts for it."""
    agents_gone_by: int
    """Of those that are OFFERABLE: how many were offered to it in a fairness round that is under way."""
    headroom: Headroom | None
    """Where what is set aside for others keeps anything from it."""


def explain(state: AllocatorState, cycle: Cycle, client: Client, agents: Sequence[Agent]) -> Explanation:
    """What the rules say of these agents for a client, as things stand. The tree must be in order."""
    view = _View(state, client, agents)
    cycle.refresh_filters(view.rows)
    ends = next(iter(state.filters.ends_of(client.number)), None)
    verdicts = view.verdicts()
    requested = client.framework.requested
    offerable = [agent for agent in agents if verdicts[agent.number] == OFFERABLE]
    return Explanation(
        framework_id=client.framework.id,
        role=client.role,
        inactive_because=_inactivity(client),
        verdicts=verdicts,
        largest_free=state.columns.named(view.with_headroom.max(axis=0, initial=0)),
        minimum=_minimum(state, client),
        binding_quotas=binding_quotas(state, client, view.visible.max(axis=0, initial=0)),
        refusals=state.filters.count.get(client.number, 0),
        next_refusal_ends=ends[0] if ends else None,
        places=[_place(state, int(node)) for node in client.path[::-1]],
        last_offered=client.last_offered,
        requested=requested,
        agents_large_enough=view.with_any_of(requested, {agent.number for agent in offerable}),
        agents_gone_by=sum(state.fairness_rounds.was_offered(agent.row, client.number) for agent in offerable),
        headroom=headroom(state) if (view.with_headroom < view.within_limits).any() else None,
    )


def _inactivity(client: Client) -> Inactivity | None:
    if not client.subscribed:
        return Inactivity.NOT_SUBSCRIBED
    if not client.framework.active:
        return Inactivity.DISCONNECTED
    if client.role in client.framework.suppressed:
        return Inactivity.SUPPRESSED
    return None


def _place(state: AllocatorState, node: int) -> Place:
    tree, sampler = state.tree.arrays, state.random_sorter.arrays
    parent = int(tree.parent[node])
    place = int(tree.place[node])
    return Place(
        name=state.tree.path_of_role.get(node, state.tree.name[node]),
        share=float(tree.share[node]),
        place=place - int(tree.first[parent]) + 1 if place >= 0 else 0,
        of=int(tree.active[parent]),
        allocations=int(tree.served[node]),
        drawn_by_lot=sampler.frameworks if tree.kind[node] == CLIENT else sampler.roles,
    )


def _minimum(state: AllocatorState, client: Client) -> list[dict[str, int]]:
    arrays = state.frameworks.arrays
    row = int(arrays.minimum[client.number])
    return [state.columns.named(arrays.least[row, m]) for m in range(int(arrays.least_length[row]))]


class _View:
    """What a client sees of some agents, in arrays whose rows are those agents'."""

    def __init__(self, state: AllocatorState, client: Client, agents: Sequence[Agent]) -> None:
        self._state = state
        self._client = client
        self._agents = agents
        self.rows = np.array([agent.row for agent in agents], dtype=np.int64)
        stock = state.agents.arrays
        lengths = stock.slice_count[self.rows]
        owner = np.repeat(np.arange(len(agents)), lengths)
        offsets = np.arange(owner.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        slots = np.repeat(stock.slice_first[self.rows], lengths) + offsets
        stocked = stock.stocked[slots] != 0
        self.anything = np.zeros(len(agents), dtype=bool)
        self.anything[owner[stocked]] = True
        seen = stocked & self._may_see(slots)
        self.sees = np.zeros(len(agents), dtype=bool)
        self.sees[owner[seen]] = True
        self._owner, self._slots = owner[seen], slots[seen]
        self.visible = self._sum(stock.free[self._slots])
        self.within_limits = self._sum(self._after_quota(with_headroom=False))
        self._left = self._after_quota(with_headroom=True)
        self.with_headroom = self._sum(self._left)

    def _sum(self, amounts: Ints) -> Ints:
        total = np.zeros((len(self._agents), self._state.columns.width), dtype=np.int64)
        np.add.at(total, self._owner, amounts)
        return total

    def _may_see(self, slots: NDArray[np.int64]) -> Mask:
        stock = self._state.agents.arrays
        on_path = np.zeros(self._state.tree.capacity, dtype=bool)
        on_path[ROOT] = True
        on_path[self._client.path] = True
        unmet = stock.slice_needs[slots] & ~np.uint8(self._client.framework.needs_met())
        admitted: Mask = on_path[stock.slice_role[slots]] & (unmet == 0)
        return admitted

    def verdicts(self) -> dict[int, str]:
        """By agent number."""
        state, client = self._state, self._client
        rules = state.eligibility.rules_against(client, self._agents)
        refused = self._refused()
        enough = self._suffices(self.visible)
        within_limits = self._suffices(self.within_limits)
        with_headroom = self._suffices(self.with_headroom)
        verdicts = {}
        for index, agent in enumerate(self._agents):
            if not agent.active:
                verdict = INACTIVE
            elif agent.row in rules:
                verdict = rules[agent.row]
            elif not self.anything[index]:
                verdict = NOTHING_FREE
            elif not self.sees[index]:
                verdict = NOT_VISIBLE
            elif not enough[index]:
                verdict = BELOW_MINIMUM
            elif not within_limits[index]:
                verdict = QUOTA_LIMIT
            elif not with_headroom[index]:
                verdict = QUOTA_HEADROOM
            elif refused[index]:
                verdict = REFUSED
            else:
                verdict = OFFERABLE
            verdicts[agent.number] = verdict
        return verdicts

    def with_any_of(self, amounts: Sequence[Mapping[str, int]], numbers: set[int]) -> int:
        """How many of some agents have any of these amounts for the client; all of them where no amount is given."""
        of_agents = [index for index, agent in enumerate(self._agents) if agent.number in numbers]
        if not amounts:
            return len(of_agents)
        enough = np.zeros(len(of_agents), dtype=bool)
        for amount in amounts:
            if self._state.columns.knows(amount):
                enough |= np.all(self.with_headroom[of_agents] >= self._state.columns.vector(amount.items()), axis=1)
        return int(enough.sum())

    def _suffices(self, amounts: Ints) -> Mask:
        arrays = self._state.frameworks.arrays
        row = int(arrays.minimum[self._client.number])
        alternatives = arrays.least[row, : int(arrays.least_length[row])]
        if not alternatives.shape[0]:
            return np.ones(amounts.shape[0], dtype=bool)
        sufficient: Mask = np.zeros(amounts.shape[0], dtype=bool)
        for alternative in alternatives:
            sufficient |= np.all(amounts >= alternative, axis=1)
        return sufficient

    def _refused(self) -> Mask:
        """On which agents a refusal of the client holds against what it would be offered."""
        state, number = self._state, self._client.number
        filters = state.filters
        refused: Mask = (filters.bits[self.rows, number >> 6] & BIT[number & 63]) != 0
        if not filters.count.get(number):
            return refused
        # The bits are about all that is free, or about an offer that quota cut at an earlier time.
        cut = np.zeros(len(self._agents), dtype=bool)
        cut[self._owner[(self._left < self._state.agents.arrays.free[self._slots]).any(axis=1)]] = True
        anybody, overruled = filters.refused_agents(), filters.overruled_agents()
        for index, agent in enumerate(self._agents):
            if agent.row in overruled or (cut[index] and agent.row in anybody and not refused[index]):
                refused[index] = any(
                    filters.refuses(agent.row, number, each) for each in (self._free(agent), self._offer(index, agent))
                )
        return refused

    def _free(self, agent: Agent) -> Resources:
        return self._state.visible_to(agent, self._client.role, self._client.framework.needs_met())

    def _offer(self, index: int, agent: Agent) -> Resources:
        """What the client would be offered of an agent: of each slice what quota leaves, and what is shared."""
        state, stock = self._state, self._state.agents.arrays
        begin, end = np.searchsorted(self._owner, [index, index + 1])
        pieces = []
        for slot, left in zip(self._slots[begin:end].tolist(), self._left[begin:end], strict=True):
            content = state.agents.contents[slot]
            if (left == stock.free[slot]).all():
                pieces.append(content)
            elif left.any():
                pieces.append(state.slicer.cut(content, left)[0])
        return Resources.sum([*pieces, state.shared_visible_to(agent, self._client)])

    def _after_quota(self, *, with_headroom: bool) -> Ints:
        """What quota leaves of each slice that is visible, were its agent the next to be given out."""
        state, stock = self._state, self._state.agents.arrays
        free: Ints = stock.free[self._slots]
        if not state.quota.on:
            return free
        state.quota.fit()
        quota = state.quota.arrays
        quota.available[:] = state.agents.plain_free() if with_headroom else NO_LIMIT
        scratch = Scratch.blank(state.columns.width, 1)
        role = int(state.tree.arrays.role[self._client.node])
        measure_allowance(state.tree.arrays, quota, role, STAGE_SHARES, scratch)
        counted = stock.slice_needs[self._slots] & NEEDS_REVOCABLE == 0
        plain = (stock.slice_role[self._slots] == ROOT) & counted
        left: Ints = free.copy()
        left[plain] = np.minimum(free[plain], scratch.allowed)
        cut = (left < free).any(axis=1)
        left[plain & cut & (stock.slice_atomic[self._slots] != 0)] = 0
        within: dict[tuple[int, bytes], bool] = {}  # many agents reserve the same
        for index in np.flatnonzero(counted & ~plain).tolist():
            reserved_for = int(stock.slice_role[self._slots[index]])
            key = (reserved_for, free[index].tobytes())
            if key not in within:
                within[key] = within_nested_limits(state.tree.arrays, quota, role, reserved_for, free[index])
            if not within[key]:
                left[index] = 0
        return left
