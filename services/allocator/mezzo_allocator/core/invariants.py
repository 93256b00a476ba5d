"""The invariants of the state: every number that is kept incrementally, counted anew."""

from __future__ import annotations

import itertools

import numpy as np

from mezzo.resources import Kind, Resources
from mezzo_allocator.core.agents import Agent
from mezzo_allocator.core.arrays import NEEDS_REVOCABLE, ROLE, ROOT, Ints
from mezzo_allocator.core.kernel import precedes
from mezzo_allocator.core.slices import NEEDS_SHARED
from mezzo_allocator.core.state import AllocatorState


class InvariantViolation(AssertionError):
    """The state contradicts itself; the message says where."""


def check(state: AllocatorState) -> None:
    """Check every invariant. It costs as much as the cluster is large: for tests and simulation.

    Raises:
        InvariantViolation: one does not hold; the message says where.
    """
    allocated = np.zeros_like(state.tree.arrays.alloc)
    consumed = np.zeros_like(state.tree.arrays.alloc)
    totals = np.zeros_like(state.tree.arrays.totals)
    holdings: dict[int, int] = {}
    for agent in state.agents.by_number.values():
        _validate_agent(state, agent)
        for portion in agent.portions:
            totals += portion.vector
            if portion.key.role and not portion.key.needs & NEEDS_REVOCABLE:
                _climb(state, state.tree.roles[portion.key.role], ROOT, portion.vector, consumed)
        _count_shared(state, agent, allocated, consumed)
        for number in agent.held:
            holdings[number] = holdings.get(number, 0) + 1
            client = state.frameworks.clients[number]
            for portion in state.slicer.split(agent.held_by(number).nonshared()):
                allocated[client.path] += portion.vector
                if not portion.key.needs & NEEDS_REVOCABLE:
                    role = int(state.tree.arrays.role[client.node])
                    _climb(state, role, state.tree.roles[portion.key.role], portion.vector, consumed)
    _expect((state.tree.arrays.totals == totals).all(), "the cluster's totals differ from the sum of its agents'")
    used = len(state.tree.name)
    alike = state.tree.arrays.alloc[1:used] == allocated[1:used]
    _expect(alike.all(), f"allocations differ at nodes {np.flatnonzero(~alike.all(axis=1)) + 1}")
    for client in state.frameworks.clients.values():
        _expect(client.holdings == holdings.get(client.number, 0), f"{client.framework.id} in {client.role}: holdings")
    if state.quota.on:
        alike = state.quota.arrays.consumed[:used] == consumed[: state.quota.arrays.consumed.shape[0]][:used]
        _expect(alike.all(), f"consumption differs at nodes {np.flatnonzero(~alike.all(axis=1))}")
    _validate_order(state)
    state.filters.validate()
    state.maintenance.validate(state.agents, state.frameworks)
    state.fairness_rounds.validate({agent.row for agent in state.agents.by_number.values()}, state.frameworks.clients)


def _expect(holds: bool | np.bool_, message: str) -> None:
    if not holds:
        raise InvariantViolation(message)


def _climb(state: AllocatorState, role: int, reserved_for: int, vector: Ints, consumed: Ints) -> None:
    while role not in (reserved_for, ROOT):
        consumed[role] += vector
        role = int(state.tree.arrays.parent[role])


def _count_shared(state: AllocatorState, agent: Agent, allocated: Ints, consumed: Ints) -> None:
    """Count each shared resource that is held of an agent once at each node."""
    seen: set[tuple[int, Kind]] = set()
    for number in agent.held:
        client = state.frameworks.clients[number]
        for kind in agent.held_by(number).shared():
            vector = state.columns.vector([(kind.name, kind.thousandths(1))])
            counts = True  # against the quota of the role at hand: what is reserved for it counts there anyway
            for node in client.path.tolist():
                counts = counts and node != state.tree.roles[kind.role]
                if (node, kind) not in seen:
                    seen.add((node, kind))
                    allocated[node] += vector
                    if counts and state.tree.arrays.kind[node] == ROLE:
                        consumed[node] += vector


def _validate_agent(state: AllocatorState, agent: Agent) -> None:
    free = state.agents.free_of(agent)
    held = Resources.sum(map(agent.held_by, agent.held)).nonshared()
    _expect(
        free + held == agent.total.nonshared() + agent.overdraft, f"agent {agent.number}: {free} free and {held} held"
    )
    _expect(
        agent.overdraft == agent.overdraft.revocable(), f"agent {agent.number}: {agent.overdraft} is held and not there"
    )
    for slot, key in state.agents.slots(agent):
        contents = state.agents.contents[slot]
        vector = sum((p.vector for p in state.slicer.split(contents)), np.zeros_like(state.tree.arrays.totals))
        _expect((state.agents.arrays.free[slot] == vector).all(), f"agent {agent.number}: slice {key} counts wrong")
        stocked = bool(state.agents.arrays.stocked[slot])
        _expect(stocked == bool(contents), f"agent {agent.number}: slice {key} stocked {stocked}")
        node = state.tree.roles[key.role]
        _expect(state.agents.arrays.slice_role[slot] == node, f"agent {agent.number}: slice {key} at another role")
        _expect(key.needs & NEEDS_SHARED == 0, f"agent {agent.number}: shared resources in stock")
    _expect(bool(state.agents.active[agent.row]) == agent.active, f"agent {agent.number}: active or not")


def _validate_order(state: AllocatorState) -> None:
    if not state.tree.in_order:
        return
    tree = state.tree.arrays
    for node in range(len(state.tree.name)):
        children = tree.order[tree.first[node] : tree.first[node] + tree.active[node]]
        for left, right in itertools.pairwise(children):
            _expect(precedes(tree, left, right), f"children of {state.tree.name[node]!r} are out of order")
