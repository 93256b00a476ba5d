"""The arrays that the inner loop works on, and their shapes.

R is the number of resource columns, N of tree nodes, F of clients, W = ceil(F / 64), A of agents, P of slots, all of
them capacities: rows that are not in use are zero. Quantities are int64 thousandths.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
Ints = NDArray[np.int64]
Indices = NDArray[np.int32]
Flags = NDArray[np.uint8]
Shares = NDArray[np.float64]

ROLE, LEAF, CLIENT = 0, 1, 2
ROOT = 0

# Capabilities that a slice of an agent asks of whoever is to see it, as bits.
NEEDS_REVOCABLE, NEEDS_REFINEMENT = 1, 2

STAGE_GUARANTEES, STAGE_SHARES = 1, 2

NO_LIMIT = 1 << 60
DEPTH_MAX = 64

BIT: Bits = np.array([1 << position for position in range(64)], dtype=np.uint64)
ALL_BUT: Bits = ~BIT


class Tree(NamedTuple):
    """Roles and their clients.

    `order[first[n] : first[n] + active[n]]` are the active children of n in share order. They lie within a segment from
    `base[n]` to `limit[n]` that is twice as long: whoever is served mostly moves from the front to the back, and with
    room behind the back nobody else has to move for that.
    """

    parent: Indices  # [N]
    kind: Flags  # [N] ROLE, LEAF or CLIENT
    role: Indices  # [N] of a leaf or a client: the role node that it belongs to; of a role: itself
    client: Indices  # [N] of a client node: its number, the position of its bit; else -1
    weight: Shares  # [N]
    rank: Ints  # [N] place of its name among all names
    served: Ints  # [N] allocations made so far
    share: Shares  # [N] dominant share, weight applied
    alloc: Ints  # [N, R]
    first: Indices  # [N]
    active: Indices  # [N]
    base: Indices  # [N]
    limit: Indices  # [N]
    order: Indices  # [2 N]
    place: Indices  # [N] where in `order` it stands; -1 while it is inactive
    mask_first: Indices  # [N] of a leaf: where its clients' bits begin in mask_word and mask_bits
    mask_length: Indices  # [N]
    mask_word: Indices
    mask_bits: Bits
    totals: Ints  # [R] of the cluster
    fair: Flags  # [R] 1 where the resource counts in shares


class Clients(NamedTuple):
    """What the walk has to know of a client beyond its place in the tree."""

    capabilities: Indices  # [F] bits of NEEDS_*
    minimum: Indices  # [F] row of `least`
    least: Ints  # [K, M, R] an offer must contain one of these M amounts; -1 in column 0 where there is none
    least_length: Indices  # [K] how many of the M are in use; 0: anything will do


class Stock(NamedTuple):
    """What is free, by agent and slice. A slice is what the same clients may see: one reservation, one set of needs."""

    slice_first: Indices  # [A]
    slice_count: Indices  # [A]
    slice_role: Indices  # [P] role node that it is reserved for; ROOT: unreserved
    slice_needs: Flags  # [P] bits of NEEDS_*
    slice_atomic: Flags  # [P] 1 where it can only be taken whole
    stocked: Flags  # [P] 1 where anything is free, be it no scalar
    free: Ints  # [P, R]


class Quota(NamedTuple):
    """Guarantees and limits by role node, and how far they are used. Rows of leaves and clients are unused."""

    on: bool
    limit: Ints  # [N, R] NO_LIMIT where there is none
    guarantee: Ints  # [N, R]
    consumed: Ints  # [N, R] reserved for the role or allocated in it, not revocable
    need: Ints  # [N, R] what the guarantees of this node and of all below it still ask for
    need_below: Ints  # [N, R] the sum of the children's need; of ROOT: the headroom that must be kept
    barred: Flags  # [N] 1 where the limit leaves less than anybody's minimum
    available: Ints  # [R] free, unreserved and not revocable, on all active agents


class Sampler(NamedTuple):
    """What is sampled at random instead of going by share, and where the sequence of random numbers stands."""

    roles: bool
    frameworks: bool
    leaves: Indices  # [L] the leaves that have active clients; none while roles go by share
    cumulative: Shares  # [L] the sums of their weights, relative to each other across the tree
    state: Ints  # [2]


class Scratch(NamedTuple):
    """Room for the loop's intermediate results, so that it allocates nothing."""

    stack: Indices  # [DEPTH_MAX] nodes on the way down
    at: Indices  # [DEPTH_MAX] which child of each comes next
    path: Indices  # [DEPTH_MAX] role nodes on the way up
    allowed: Ints  # [R]
    grant: Ints  # [R]
    room: Ints  # [R]
    total: Ints  # [R]
    slot: Indices  # [the most slices of any agent]
    amount: Ints  # [the same, R]

    @staticmethod
    def blank(width: int, slices_max: int) -> Scratch:
        """Room for R columns and agents of so many slices."""
        return Scratch(
            stack=np.zeros(DEPTH_MAX, dtype=np.int32),
            at=np.zeros(DEPTH_MAX, dtype=np.int32),
            path=np.zeros(DEPTH_MAX, dtype=np.int32),
            allowed=np.zeros(width, dtype=np.int64),
            grant=np.zeros(width, dtype=np.int64),
            room=np.zeros(width, dtype=np.int64),
            total=np.zeros(width, dtype=np.int64),
            slot=np.zeros(slices_max, dtype=np.int32),
            amount=np.zeros((slices_max, width), dtype=np.int64),
        )


class Taken(NamedTuple):
    """The outcome: a row for each slice that was taken, wholly or partly."""

    agent: Indices  # [capacity]
    client: Indices
    slot: Indices
    whole: Flags
    amount: Ints  # [capacity, R]
