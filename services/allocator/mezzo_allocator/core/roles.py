"""The tree of roles and clients, and the order in which they are served."""

from __future__ import annotations

import numpy as np

from mezzo_allocator.core.arrays import CLIENT, LEAF, ROLE, ROOT, Indices, Ints, Shares, Tree
from mezzo_allocator.core.loops import Loops
from mezzo_allocator.core.slices import Columns, widened

CAPACITY_AT_START = 64
LEAF_NAME = "."
PATHS_ALONE_MAX = 8
"""So many clients are moved one by one however small the tree is; from then on, an eighth of all nodes."""


class RoleTree:
    """Nodes are numbers that stay while they are in use; `arrays` holds what the inner loop reads and writes.

    A change of a client's allocation moves its path alone. A change of the cluster's totals, of weights, or of who is
    active puts the whole tree in order again, in one vectorised pass before the next cycle.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self.roles: dict[str, int] = {"": ROOT}
        self.name: list[str] = [""]
        self.path_of_role: dict[int, str] = {ROOT: ""}
        self._leaf: dict[int, int] = {}
        self._uses: dict[int, int] = {ROOT: 1}
        self._free: list[int] = []
        self._weights: dict[str, float] = {}
        self._wanted = np.zeros(CAPACITY_AT_START, dtype=bool)
        self._depth = np.zeros(CAPACITY_AT_START, dtype=np.int32)
        self._touched: set[int] = set()
        self._renamed = True
        self._stale = True
        self.orders = 0
        """How often the whole tree was put in order: who is active, and with what weight, is as it was then."""
        self.arrays = self._new_arrays(CAPACITY_AT_START, columns.width)
        self.arrays.place[:] = -1
        self.arrays.client[:] = -1
        self.arrays.weight[:] = 1.0
        columns.on_widen.append(self._widen)

    @staticmethod
    def _new_arrays(nodes: int, width: int) -> Tree:
        def indices() -> Indices:
            return np.zeros(nodes, dtype=np.int32)

        return Tree(
            parent=indices(),
            kind=np.zeros(nodes, dtype=np.uint8),
            role=indices(),
            client=indices(),
            weight=np.ones(nodes, dtype=np.float64),
            rank=np.zeros(nodes, dtype=np.int64),
            served=np.zeros(nodes, dtype=np.int64),
            share=np.zeros(nodes, dtype=np.float64),
            alloc=np.zeros((nodes, width), dtype=np.int64),
            first=indices(),
            active=indices(),
            base=indices(),
            limit=indices(),
            order=np.zeros(2 * nodes, dtype=np.int32),
            place=indices(),
            mask_first=indices(),
            mask_length=indices(),
            mask_word=indices(),
            mask_bits=np.zeros(nodes, dtype=np.uint64),
            totals=np.zeros(width, dtype=np.int64),
            fair=np.ones(width, dtype=np.uint8),
        )

    @property
    def capacity(self) -> int:
        """How many nodes the arrays have room for."""
        return int(self.arrays.parent.shape[0])

    # -- structure -----------------------------------------------------------------------------------------------------

    def use_role(self, role: str) -> int:
        """The node of a role, made with all its ancestors if need be. Each use is to be released."""
        node = self.roles.get(role)
        if node is None:
            above, slash, last = role.rpartition("/")
            parent = self.use_role(above) if slash else ROOT
            node = self._new_node(last, parent, ROLE)
            self.arrays.role[node] = node
            self.arrays.weight[node] = self._weights.get(role, 1.0)
            self.roles[role] = node
            self.path_of_role[node] = role
            self._uses[node] = 0
        self._uses[node] += 1
        return node

    def release_role(self, node: int) -> None:
        """End a use of a role. With the last one its node goes, and the parent's use by it ends."""
        self._uses[node] -= 1
        if self._uses[node] or node == ROOT:
            return
        parent = int(self.arrays.parent[node])
        leaf = self._leaf.pop(node, None)
        if leaf is not None:
            self._drop_node(leaf)
        del self.roles[self.path_of_role.pop(node)], self._uses[node]
        self._drop_node(node)
        if parent != ROOT:
            self.release_role(parent)

    def add_client(self, role: str, framework_id: str, number: int) -> int:
        """Add an inactive client to a role; return its node."""
        role_node = self.use_role(role)
        leaf = self._leaf.get(role_node)
        if leaf is None:
            leaf = self._leaf[role_node] = self._new_node(LEAF_NAME, role_node, LEAF)
            self.arrays.role[leaf] = role_node
        node = self._new_node(framework_id, leaf, CLIENT)
        self.arrays.role[node] = role_node
        self.arrays.client[node] = number
        return node

    def remove_client(self, node: int) -> None:
        """Remove a client that holds nothing."""
        role_node = int(self.arrays.role[node])
        self._touched.discard(node)
        self._drop_node(node)
        self.release_role(role_node)

    def path(self, node: int) -> Indices:
        """The nodes from one up to the root, which is left out."""
        path = []
        while node != ROOT:
            path.append(node)
            node = int(self.arrays.parent[node])
        return np.array(path, dtype=np.int32)

    def _new_node(self, name: str, parent: int, kind: int) -> int:
        if self._free:
            node = self._free.pop()
            self.name[node] = name
        else:
            node = len(self.name)
            self.name.append(name)
            if node >= self.capacity:
                self._grow(self.capacity * 2)
        arrays = self.arrays
        arrays.parent[node] = parent
        arrays.kind[node] = kind
        arrays.client[node] = -1
        arrays.weight[node] = 1.0
        arrays.served[node] = 0
        arrays.share[node] = 0.0
        arrays.alloc[node] = 0
        arrays.place[node] = -1
        arrays.active[node] = 0
        arrays.mask_length[node] = 0
        self._wanted[node] = False
        self._depth[node] = self._depth[parent] + 1
        self._renamed = self._stale = True
        return node

    def _drop_node(self, node: int) -> None:
        self._wanted[node] = False
        self.arrays.alloc[node] = 0
        self.name[node] = ""
        self._free.append(node)
        self._stale = True

    def _grow(self, capacity: int) -> None:
        old = self.arrays
        self.arrays = self._new_arrays(capacity, old.totals.shape[0])
        count = old.parent.shape[0]
        for name in Tree._fields:
            source = getattr(old, name)
            target = getattr(self.arrays, name)
            target[: source.shape[0]] = source
        self.arrays.place[count:] = -1
        self.arrays.client[count:] = -1
        self._wanted = np.concatenate([self._wanted, np.zeros(capacity - count, dtype=bool)])
        self._depth = np.concatenate([self._depth, np.zeros(capacity - count, dtype=np.int32)])

    def _widen(self, width: int) -> None:
        old = self.arrays
        fair = np.ones(width, dtype=np.uint8)
        fair[: old.fair.shape[0]] = old.fair
        self.arrays = old._replace(alloc=widened(old.alloc, width), totals=widened(old.totals, width), fair=fair)

    # -- facts ---------------------------------------------------------------------------------------------------------

    def set_weight(self, role: str, weight: float) -> None:
        """Set a role's weight, now or for when the role appears."""
        self._weights[role] = weight
        node = self.roles.get(role)
        if node is not None:
            self.arrays.weight[node] = weight
            self._stale = True

    def set_active(self, client_node: int, *, active: bool) -> None:
        """Set whether a client takes part."""
        if bool(self._wanted[client_node]) != active:
            self._wanted[client_node] = active
            self._stale = True

    def is_active(self, client_node: int) -> bool:
        """Whether a client takes part."""
        return bool(self._wanted[client_node])

    def add_total(self, vector: Ints) -> None:
        """Add to the cluster's totals (or, negative, subtracts)."""
        if vector.any():
            self.arrays.totals[:] += vector
            self._stale = True

    def exclude_from_shares(self, column: int) -> None:
        """Leave a resource out of all shares."""
        self.arrays.fair[column] = 0
        self._stale = True

    def add_allocation(self, path: Indices, vector: Ints) -> None:
        """Add to what a client holds (or, negative, subtracts); `path` is its node's path, or the beginning of it."""
        self.arrays.alloc[path] += vector
        self._touched.add(int(path[0]))

    @property
    def in_order(self) -> bool:
        """Whether nothing has changed since the last `refresh`."""
        return not (self._stale or self._renamed or self._touched)

    # -- order ---------------------------------------------------------------------------------------------------------

    def refresh(self, loops: Loops) -> None:
        """Put the tree in order; the cost is that of what has changed."""
        if self._renamed:
            self._rank_names()
        if self._stale or len(self._touched) > max(PATHS_ALONE_MAX, len(self.name) // 8):
            self._order_all()
        else:
            for node in self._touched:
                loops.refresh_path(self.arrays, node)
        self._touched.clear()

    def _rank_names(self) -> None:
        ordered = sorted(range(len(self.name)), key=self.name.__getitem__)
        self.arrays.rank[ordered] = np.arange(len(ordered))
        self._renamed = False

    def _order_all(self) -> None:
        arrays, used = self.arrays, len(self.name)
        fair = np.flatnonzero((arrays.fair != 0) & (arrays.totals > 0))
        dominant = np.zeros(used)
        for column in fair:
            np.maximum(dominant, arrays.alloc[:used, column] / arrays.totals[column], out=dominant)
        arrays.share[:used] = dominant / arrays.weight[:used]

        active = self._wanted[:used].copy()
        depth = self._depth[:used]
        for level in range(int(depth.max(initial=0)), 1, -1):
            active[arrays.parent[:used][active & (depth == level)]] = True
        active[ROOT] = False

        nodes = np.flatnonzero(active)
        keys = (arrays.rank[nodes], arrays.served[nodes], arrays.share[nodes], arrays.parent[nodes])
        nodes = nodes[np.lexsort(keys)].astype(np.int32)
        parents = arrays.parent[nodes]
        children = np.bincount(parents, minlength=used).astype(np.int32)
        before = np.cumsum(children) - children
        arrays.active[:used] = children
        arrays.base[:used] = arrays.first[:used] = 2 * before
        arrays.limit[:used] = 2 * (before + children)
        arrays.place[:] = -1
        arrays.place[nodes] = arrays.base[parents] + np.arange(nodes.size) - before[parents]
        arrays.order[arrays.place[nodes]] = nodes
        self._mask_leaves(nodes[arrays.kind[nodes] == CLIENT])
        self._stale = False
        self.orders += 1

    def weights_of_leaves(self) -> tuple[Indices, Shares]:
        """The leaves that have active clients, and what part of the whole each is due to by the weights alone."""
        arrays, used = self.arrays, len(self.name)
        active = np.flatnonzero((arrays.place[:used] >= 0) & (arrays.kind[:used] != CLIENT))
        among = np.bincount(arrays.parent[active], weights=arrays.weight[active], minlength=used)
        part = np.ones(used)
        for level in range(1, int(self._depth[active].max(initial=0)) + 1):
            nodes = active[self._depth[active] == level]
            parents = arrays.parent[nodes]
            part[nodes] = part[parents] * arrays.weight[nodes] / among[parents]
        leaves = active[arrays.kind[active] == LEAF].astype(np.int32)
        return leaves, part[leaves]

    def _mask_leaves(self, clients: Indices) -> None:
        """List, for each leaf, the words of client bits that are its own."""
        arrays = self.arrays
        arrays.mask_length[:] = 0
        if not clients.size:
            return
        numbers = arrays.client[clients]
        leaves = arrays.parent[clients]
        by_leaf = np.lexsort((numbers, leaves))
        numbers, leaves = numbers[by_leaf], leaves[by_leaf]
        words = numbers >> 6
        bits = np.left_shift(np.uint64(1), (numbers & 63).astype(np.uint64))
        starts = np.flatnonzero(np.r_[True, (np.diff(leaves) != 0) | (np.diff(words) != 0)])
        arrays.mask_word[: starts.size] = words[starts]
        arrays.mask_bits[: starts.size] = np.bitwise_or.reduceat(bits, starts)
        entry_leaves = leaves[starts]
        first_entries = np.flatnonzero(np.r_[True, np.diff(entry_leaves) != 0])
        arrays.mask_first[entry_leaves[first_entries]] = first_entries
        arrays.mask_length[entry_leaves[first_entries]] = np.diff(np.r_[first_entries, starts.size])
