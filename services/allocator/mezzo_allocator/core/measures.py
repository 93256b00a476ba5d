"""What is told about the state of sharing: to operators, dashboards and the registry."""

from __future__ import annotations

import numpy as np

from mezzo_allocator.core.arrays import ROLE, ROOT
from mezzo_allocator.core.books import Books
from mezzo_allocator.core.kernel import share_of


def active_filters(books: Books) -> dict[str, int]:
    """Refusals in force, by role."""
    by_role: dict[str, int] = {}
    for number, count in books.filters.count.items():
        if count:
            role = books.frameworks.clients[number].role
            by_role[role] = by_role.get(role, 0) + count
    return by_role


def dominant_shares(books: Books) -> dict[str, float]:
    """Dominant share of each role that has frameworks or quota, weights applied."""
    tree = books.tree.arrays
    return {role: share_of(tree, node) for role, node in books.tree.roles.items() if role and tree.kind[node] == ROLE}


def totals(books: Books) -> dict[str, int]:
    """What all agents have together, in thousandths by name."""
    return books.columns.named(books.tree.arrays.totals)


def allocated(books: Books) -> dict[str, int]:
    """What frameworks hold or are offered, in thousandths by name."""
    tree = books.tree.arrays
    top = np.array(
        [node for node in books.tree.roles.values() if node != ROOT and tree.parent[node] == ROOT], dtype=int
    )
    return books.columns.named(tree.alloc[top].sum(axis=0))


def starvation(books: Books, now: float) -> dict[str, float]:
    """For how many seconds somebody in the role has taken part without being offered anything."""
    by_role: dict[str, float] = {}
    for client in books.frameworks.clients.values():
        if client.taking_part_since is not None:
            waited = max(0.0, now - max(client.taking_part_since, client.last_offered or 0.0))
            by_role[client.role] = max(waited, by_role.get(client.role, 0.0))
    return by_role


def quota_consumed(books: Books) -> dict[str, dict[str, int]]:
    """What counts against the quota of each role that has one, in thousandths by name."""
    return {role: books.quota.usage(role) for role in books.quota.configured}


def quota_limits(books: Books) -> dict[str, dict[str, int]]:
    """What each role is limited to, in thousandths by name."""
    return {role: dict(quota.limits) for role, quota in books.quota.configured.items()}


def quota_guarantees(books: Books) -> dict[str, dict[str, int]]:
    """What each role is guaranteed, in thousandths by name."""
    return {role: dict(quota.guarantees) for role, quota in books.quota.configured.items()}
