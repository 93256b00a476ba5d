"""The frameworks and their clients: a client is one framework in one role."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mesos.v1.mesos_pb2 import FrameworkInfo
from mezzo.resources import to_thousandths
from mezzo_allocator.core.arrays import ALL_BUT, BIT, NEEDS_REFINEMENT, NEEDS_REVOCABLE, Bits, Clients, Indices
from mezzo_allocator.core.constraints import NO_CONSTRAINTS, Constraints
from mezzo_allocator.core.roles import RoleTree
from mezzo_allocator.core.slices import NEEDS_SHARED, Columns, widened

CLIENTS_AT_START = 64
MINIMA_AT_START = 4
ALTERNATIVES_AT_START = 4

Minimum = tuple[tuple[tuple[str, int], ...], ...]
"""Alternatives, each a set of (name, thousandths). None at all: anything will do."""

_NEEDS_BY_CAPABILITY = {
    FrameworkInfo.Capability.REVOCABLE_RESOURCES: NEEDS_REVOCABLE,
    FrameworkInfo.Capability.RESERVATION_REFINEMENT: NEEDS_REFINEMENT,
    FrameworkInfo.Capability.SHARED_RESOURCES: NEEDS_SHARED,
}


NO_ROLES: frozenset[str] = frozenset()
"""One for all: an empty set has two hundred bytes."""


@dataclass(slots=True, eq=False)
class Client:
    """One framework in one role."""

    number: int
    node: int
    path: Indices
    framework: Framework
    role: str
    holdings: int = 0
    """On how many agents it holds anything."""
    subscribed: bool = False
    taking_part_since: float | None = None
    last_offered: float | None = None


@dataclass(slots=True, eq=False)
class Framework:
    """One framework and its clients, by role."""

    number: int
    id: str
    capabilities: frozenset[int] = frozenset()
    suppressed: frozenset[str] = NO_ROLES
    active: bool = False
    removed: bool = False
    clients: dict[str, Client] = field(default_factory=dict)
    constraints: Mapping[str, Constraints] = field(default_factory=lambda: NO_CONSTRAINTS)
    requested: Sequence[Mapping[str, int]] = ()
    """What it hinted at: thousandths by name, each of which would do."""

    def needs_met(self) -> int:
        """The bits of NEEDS_* that it has the capabilities for."""
        return sum(need for capability, need in _NEEDS_BY_CAPABILITY.items() if capability in self.capabilities)


def roles_of(info: FrameworkInfo) -> frozenset[str]:
    """The roles that a framework subscribes in."""
    if any(c.type == FrameworkInfo.Capability.MULTI_ROLE for c in info.capabilities):
        return frozenset(info.roles)
    return frozenset([info.role or "*"])


class FrameworkTable:
    """All frameworks; `arrays` and `active` [W] are what the inner loop reads of their clients."""

    def __init__(self, columns: Columns, tree: RoleTree, minimum: Minimum) -> None:
        self._columns = columns
        self._tree = tree
        self.by_number: dict[int, Framework] = {}
        self.clients: dict[int, Client] = {}
        self._free_numbers: list[int] = []
        self._numbers_used = 0
        self._minima: dict[Minimum, int] = {}
        self._capabilities: dict[frozenset[int], frozenset[int]] = {}
        self.active: Bits = np.zeros(CLIENTS_AT_START // 64, dtype=np.uint64)
        self.arrays = Clients(
            capabilities=np.zeros(CLIENTS_AT_START, dtype=np.int32),
            minimum=np.zeros(CLIENTS_AT_START, dtype=np.int32),
            least=np.zeros((1, ALTERNATIVES_AT_START, columns.width), dtype=np.int64),
            least_length=np.zeros(1, dtype=np.int32),
        )
        columns.on_widen.append(self._widen)
        self.default_minimum = minimum
        self._row_of_minimum(minimum)

    def _widen(self, width: int) -> None:
        self.arrays = self.arrays._replace(least=widened(self.arrays.least, width))

    @property
    def words(self) -> int:
        """W: how many words of 64 bits cover all clients."""
        return int(self.active.shape[0])

    # -- frameworks ----------------------------------------------------------------------------------------------------

    def add(self, number: int, framework_id: str) -> Framework:
        """Add a framework that is subscribed to nothing yet."""
        framework = self.by_number[number] = Framework(number, framework_id)
        return framework

    def describe(self, framework: Framework, info: FrameworkInfo) -> list[Client]:
        """Replace what is known of a framework. Return the clients that are no longer subscribed."""
        framework.removed = False
        capabilities = frozenset(c.type for c in info.capabilities)
        framework.capabilities = self._capabilities.setdefault(capabilities, capabilities)
        roles = roles_of(info)
        for role in sorted(roles - framework.clients.keys()):
            self.client(framework, role)
        left = [c for role, c in framework.clients.items() if role not in roles and c.subscribed]
        for role, client in framework.clients.items():
            client.subscribed = role in roles
            self.arrays.capabilities[client.number] = framework.needs_met()
            self.arrays.minimum[client.number] = self._row_of_minimum(self._minimum_of(info, role))
        return left

    def _minimum_of(self, info: FrameworkInfo, role: str) -> Minimum:
        if role not in info.offer_filters or not info.offer_filters[role].HasField("min_allocatable_resources"):
            return self.default_minimum
        alternatives = info.offer_filters[role].min_allocatable_resources.quantities
        return tuple(
            tuple(sorted((name, to_thousandths(scalar.value)) for name, scalar in alternative.quantities.items()))
            for alternative in alternatives
        )

    def _row_of_minimum(self, minimum: Minimum) -> int:
        row = self._minima.get(minimum)
        if row is not None:
            return row
        for name in (name for alternative in minimum for name, _ in alternative):
            self._columns.index(name)  # all before the first vector, or the vectors would differ in width
        vectors = [self._columns.vector(alternative) for alternative in minimum]
        row = self._minima[minimum] = len(self._minima)
        least, length = self.arrays.least, self.arrays.least_length
        rows = max(least.shape[0], row + 1)
        alternatives = max(least.shape[1], len(vectors))
        grown = np.zeros((rows, alternatives, self._columns.width), dtype=np.int64)
        grown[: least.shape[0], : least.shape[1]] = least
        grown[row, : len(vectors)] = vectors or 0
        lengths = np.zeros(rows, dtype=np.int32)
        lengths[: length.shape[0]] = length
        lengths[row] = len(vectors)
        self.arrays = self.arrays._replace(least=grown, least_length=lengths)
        return row

    def remove(self, framework: Framework) -> None:
        """Forget a framework whose clients were all removed."""
        del self.by_number[framework.number]

    # -- clients -------------------------------------------------------------------------------------------------------

    def client(self, framework: Framework, role: str) -> Client:
        """The client of a framework in a role, made if need be: not subscribed, not active."""
        client = framework.clients.get(role)
        if client is None:
            number = self._new_number()
            node = self._tree.add_client(role, framework.id, number)
            client = Client(number, node, self._tree.path(node), framework, role)
            framework.clients[role] = self.clients[number] = client
            self.arrays.capabilities[number] = framework.needs_met()
            self.arrays.minimum[number] = 0
        return client

    def remove_client(self, client: Client) -> None:
        """Forget a client that holds nothing."""
        self.refresh_activity(client, now=0.0, gone=True)
        self._tree.remove_client(client.node)
        del client.framework.clients[client.role], self.clients[client.number]
        heapq.heappush(self._free_numbers, client.number)

    def _new_number(self) -> int:
        if self._free_numbers:
            return heapq.heappop(self._free_numbers)
        number = self._numbers_used
        self._numbers_used += 1
        if number >= self.words * 64:
            more = np.zeros(self.words * 64, dtype=np.int32)
            self.active = np.concatenate([self.active, np.zeros(self.words, dtype=np.uint64)])
            self.arrays = self.arrays._replace(
                capabilities=np.concatenate([self.arrays.capabilities, more]),
                minimum=np.concatenate([self.arrays.minimum, more]),
            )
        return number

    def refresh_activity(self, client: Client, *, now: float, gone: bool = False) -> bool:
        """Decide anew whether a client takes part. Return whether it now does and did not before."""
        framework = client.framework
        active = framework.active and client.subscribed and client.role not in framework.suppressed and not gone
        if active == self._tree.is_active(client.node):
            return False
        self._tree.set_active(client.node, active=active)
        word, bit = client.number >> 6, client.number & 63
        if active:
            self.active[word] |= BIT[bit]
        else:
            self.active[word] &= ALL_BUT[bit]
        client.taking_part_since = now if active else None
        return active

    def named_roles(self, framework: Framework, roles: Collection[str]) -> Iterator[Client]:
        """The clients of a framework in the named roles; in all of its roles where none is named."""
        for role, client in list(framework.clients.items()):
            if not roles or role in roles:
                yield client
