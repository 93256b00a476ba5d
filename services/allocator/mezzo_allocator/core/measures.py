"""How resources are shared, in numbers: for operators, dashboards and the registry."""

from __future__ import annotations

import numpy as np

from mezzo_allocator.core.arrays import ROLE, ROOT
from mezzo_allocator.core.kernel import share_of
from mezzo_allocator.core.state import AllocatorState


def active_filters(state: AllocatorState) -> dict[str, int]:
    """Refusals in force, by role."""
    by_role: dict[str, int] = {}
    for number, count in state.filters.count.items():
        if count:
            role = state.frameworks.clients[number].role
            by_role[role] = by_role.get(role, 0) + count
    return by_role


def dominant_shares(state: AllocatorState) -> dict[str, float]:
    """Dominant share of each role that has frameworks or quota, weights applied."""
    tree = state.tree.arrays
    return {role: share_of(tree, node) for role, node in state.tree.roles.items() if role and tree.kind[node] == ROLE}


def totals(state: AllocatorState) -> dict[str, int]:
    """What all agents have together, in thousandths by name."""
    return state.columns.named(state.tree.arrays.totals)


def allocated(state: AllocatorState) -> dict[str, int]:
    """What frameworks hold or are offered, in thousandths by name."""
    tree = state.tree.arrays
    top = np.array(
        [node for node in state.tree.roles.values() if node != ROOT and tree.parent[node] == ROOT], dtype=int
    )
    return state.columns.named(tree.alloc[top].sum(axis=0))


def starvation(state: AllocatorState, now: float) -> dict[str, float]:
    """For how many seconds somebody in the role has taken part without being offered anything."""
    by_role: dict[str, float] = {}
    for client in state.frameworks.clients.values():
        if client.taking_part_since is not None:
            waited = max(0.0, now - max(client.taking_part_since, client.last_offered or 0.0))
            by_role[client.role] = max(waited, by_role.get(client.role, 0.0))
    return by_role


def quota_consumed(state: AllocatorState) -> dict[str, dict[str, int]]:
    """What counts against the quota of each role that has one, in thousandths by name."""
    return {role: state.quota.usage(role) for role in state.quota.configured}


def quota_limits(state: AllocatorState) -> dict[str, dict[str, int]]:
    """What each role is limited to, in thousandths by name."""
    return {role: dict(quota.limits) for role, quota in state.quota.configured.items()}


def quota_guarantees(state: AllocatorState) -> dict[str, dict[str, int]]:
    """What each role is guaranteed, in thousandths by name."""
    return {role: dict(quota.guarantees) for role, quota in state.quota.configured.items()}
