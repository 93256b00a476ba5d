"""Quotas that keep somebody from being offered more: which they are, who uses them, and for whom what is set aside."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mezzo_allocator.core.arrays import CLIENT, NO_LIMIT, ROLE, ROOT, Ints
from mezzo_allocator.core.frameworks import Client
from mezzo_allocator.core.state import AllocatorState

CONSUMERS_MAX = 5
UNMET_MAX = 5


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who uses a role's quota: a role directly below it, or a framework in it. `amount` is in thousandths."""

    name: str
    is_role: bool
    amount: int


@dataclass(frozen=True, slots=True)
class BindingQuota:
    """A limit that leaves less than there is, in thousandths, and those who use most of it."""

    role: str
    resource: str
    limit: int
    consumed: int
    consumers: Sequence[Consumer]


@dataclass(frozen=True, slots=True)
class UnmetGuarantee:
    """What a role is guaranteed of a resource and does not use yet, in thousandths."""

    role: str
    resource: str
    guarantee: int
    consumed: int


@dataclass(frozen=True, slots=True)
class Headroom:
    """What guarantees lay away, in thousandths by name, and those that are furthest from being met."""

    needed: Mapping[str, int]
    free: Mapping[str, int]
    unmet: Sequence[UnmetGuarantee]


def binding_quotas(state: AllocatorState, client: Client, available: Ints) -> list[BindingQuota]:
    """The limits on a client's path, from the top of the tree, that are used up, or leave less than is `available`: the
    most of each resource [R] that one agent has for the client.
    """
    if not state.quota.on:
        return []
    quota = state.quota.arrays
    binding = []
    for node in client.path[::-1].tolist():
        role = state.tree.path_of_role.get(node)
        if role is None:
            continue
        for column, name in enumerate(state.columns.names):
            limit, consumed = int(quota.limit[node, column]), int(quota.consumed[node, column])
            if limit < NO_LIMIT and consumed + max(int(available[column]), 1) > limit:
                consumers = heapq.nlargest(CONSUMERS_MAX, _consumers(state, node, column), key=lambda c: c.amount)
                binding.append(BindingQuota(role, name, limit, consumed, consumers))
    return binding


def _consumers(state: AllocatorState, role: int, column: int) -> Iterator[Consumer]:
    tree, consumed = state.tree.arrays, state.quota.arrays.consumed
    for node, path in state.tree.path_of_role.items():
        if node != ROOT and tree.parent[node] == role and tree.kind[node] == ROLE and consumed[node, column]:
            yield Consumer(path, is_role=True, amount=int(consumed[node, column]))
    for client in state.frameworks.clients.values():
        if tree.role[client.node] == role and tree.kind[client.node] == CLIENT and tree.alloc[client.node, column]:
            yield Consumer(client.framework.id, is_role=False, amount=int(tree.alloc[client.node, column]))


def headroom(state: AllocatorState) -> Headroom:
    """What must stay free, and for whom."""
    unmet = heapq.nlargest(UNMET_MAX, _unmet_guarantees(state), key=lambda u: (u.guarantee - u.consumed) / u.guarantee)
    return Headroom(state.quota.headroom(), state.columns.named(state.agents.plain_free()), unmet)


def _unmet_guarantees(state: AllocatorState) -> Iterator[UnmetGuarantee]:
    for role, quota in sorted(state.quota.configured.items()):
        usage = state.quota.usage(role)
        for name, guarantee in sorted(quota.guarantees.items()):
            if usage.get(name, 0) < guarantee:
                yield UnmetGuarantee(role, name, guarantee, usage.get(name, 0))
