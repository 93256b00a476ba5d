"""Quota: what roles are guaranteed, what they are limited to, and how much of it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mezzo.resources import to_thousandths
from mezzo_allocator.core.arrays import NO_LIMIT, ROOT, Ints, Quota
from mezzo_allocator.core.frameworks import FrameworkTable
from mezzo_allocator.core.loops import Loops
from mezzo_allocator.core.roles import RoleTree
from mezzo_allocator.core.slices import Columns, widened


@dataclass(frozen=True, slots=True)
class RoleQuota:
    """What operators configured for a role, in thousandths by resource name."""

    guarantees: Mapping[str, int]
    limits: Mapping[str, int]

    @staticmethod
    def of(guarantees: Mapping[str, float], limits: Mapping[str, float]) -> RoleQuota:
        """From amounts as operators write them. A guarantee of nothing is none; a limit of nothing is one."""
        return RoleQuota(
            {name: to_thousandths(value) for name, value in guarantees.items() if value > 0},
            {name: to_thousandths(value) for name, value in limits.items()},
        )

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return bool(self.guarantees or self.limits)


class QuotaTable:
    """The configured quotas and, while there are any, the consumption of every role."""

    def __init__(self, columns: Columns, tree: RoleTree, frameworks: FrameworkTable, loops: Loops) -> None:
        self.loops = loops
        self._columns = columns
        self._tree = tree
        self._frameworks = frameworks
        self.configured: dict[str, RoleQuota] = {}
        self.arrays = self._new_arrays(tree.capacity, columns.width)
        columns.on_widen.append(self._widen)

    @staticmethod
    def _new_arrays(nodes: int, width: int) -> Quota:
        def cells(fill: int = 0) -> Ints:
            return np.full((nodes, width), fill, dtype=np.int64)

        return Quota(
            on=False,
            limit=cells(NO_LIMIT),
            guarantee=cells(),
            consumed=cells(),
            need=cells(),
            need_below=cells(),
            barred=np.zeros(nodes, dtype=np.uint8),
            available=np.zeros(width, dtype=np.int64),
        )

    def _widen(self, width: int) -> None:
        old = self.arrays
        self.arrays = old._replace(
            limit=widened(old.limit, width, NO_LIMIT),
            guarantee=widened(old.guarantee, width),
            consumed=widened(old.consumed, width),
            need=widened(old.need, width),
            need_below=widened(old.need_below, width),
            available=widened(old.available, width),
        )

    def fit(self) -> None:
        """Make room for as many nodes as the tree has."""
        old, nodes = self.arrays, self._tree.capacity
        if old.limit.shape[0] >= nodes:
            return
        self.arrays = self._new_arrays(nodes, self._columns.width)._replace(on=old.on, available=old.available)
        for name in ("limit", "guarantee", "consumed", "need", "need_below", "barred"):
            source = getattr(old, name)
            getattr(self.arrays, name)[: source.shape[0]] = source

    @property
    def on(self) -> bool:
        """Whether any role has a quota."""
        return self.arrays.on

    def configure(self, role: str, quota: RoleQuota) -> bool:
        """Set or, with an empty quota, remove the quota of a role. Return whether consumption must be counted anew,
        because until now nobody needed it.
        """
        known = role in self.configured
        if not quota and not known:
            return False
        for name in (*quota.guarantees, *quota.limits):
            self._columns.index(name)
        node = self._tree.roles[role] if known else self._tree.use_role(role)
        self.fit()
        self.arrays.limit[node] = NO_LIMIT
        self.arrays.guarantee[node] = 0
        for name, amount in quota.guarantees.items():
            self.arrays.guarantee[node, self._columns.index(name)] = amount
        for name, amount in quota.limits.items():
            self.arrays.limit[node, self._columns.index(name)] = amount
        self._refresh(node)
        if quota:
            self.configured[role] = quota
        else:
            del self.configured[role]
            self._tree.release_role(node)
        was_on = self.on
        self.arrays = self.arrays._replace(on=bool(self.configured))
        return self.on and not was_on

    def clear_consumption(self) -> None:
        """Set all consumption to nothing, to be counted anew."""
        self.fit()
        for cells in (self.arrays.consumed, self.arrays.need, self.arrays.need_below, self.arrays.barred):
            cells[:] = 0
        for role in self.configured:
            self._refresh(self._tree.roles[role])

    def count(self, role_node: int, reserved_for: int, vector: Ints, sign: int) -> None:
        """Count resources that are not revocable and that a client of a role took (sign 1) or gave back (-1)."""
        self.fit()
        room = np.zeros(self._columns.width, dtype=np.int64)
        clients = self._frameworks.arrays
        self.loops.consume(self._tree.arrays, clients, self.arrays, role_node, reserved_for, vector, sign, room)

    def _refresh(self, role_node: int) -> None:
        room = np.zeros(self._columns.width, dtype=np.int64)
        self.loops.refresh_quota(self._tree.arrays, self._frameworks.arrays, self.arrays, role_node, room)

    def usage(self, role: str) -> dict[str, int]:
        """What counts against a role's quota, in thousandths by name."""
        node = self._tree.roles.get(role)
        return self._columns.named(self.arrays.consumed[node]) if node is not None and self.on else {}

    def headroom(self) -> dict[str, int]:
        """What must be kept free for guarantees that are not yet used, in thousandths by name."""
        return self._columns.named(self.arrays.need_below[ROOT]) if self.on else {}
