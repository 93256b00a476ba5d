"""How much an offer must have, and how much quota lets it have."""

from __future__ import annotations

from mezzo_allocator.core.arrays import NO_LIMIT, ROOT, STAGE_SHARES, Clients, Ints, Quota, Scratch, Tree
from mezzo_allocator.core.kernel.compilation import compilable


@compilable
def meets_minimum(amount: Ints, clients: Clients, row: int) -> bool:
    """Whether an amount contains one of the minimal amounts of this row of `least`."""
    if clients.least_length[row] == 0:
        return True
    for m in range(clients.least_length[row]):
        enough = True
        for r in range(amount.shape[0]):
            if amount[r] < clients.least[row, m, r]:
                enough = False
                break
        if enough:
            return True
    return False


@compilable
def meets_any_minimum(amount: Ints, clients: Clients) -> bool:
    """Whether an amount is worth offering to anybody at all."""
    for row in range(clients.least_length.shape[0]):  # noqa: SIM110 - generators do not compile
        if meets_minimum(amount, clients, row):
            return True
    return False


@compilable
def refresh_quota(tree: Tree, clients: Clients, quota: Quota, role: int, room: Ints) -> None:
    """Bring `need`, `need_below` and `barred` up to date from a role up to the root. `room` is scratch, [R]."""
    while role != ROOT:
        parent = tree.parent[role]
        for r in range(room.shape[0]):
            own = max(0, quota.guarantee[role, r] - quota.consumed[role, r])
            need = max(own, quota.need_below[role, r])
            quota.need_below[parent, r] += need - quota.need[role, r]
            quota.need[role, r] = need
            room[r] = quota.limit[role, r] - quota.consumed[role, r]
        quota.barred[role] = 0 if meets_any_minimum(room, clients) else 1
        role = parent


@compilable
def consume(
    tree: Tree, clients: Clients, quota: Quota, role: int, reserved_for: int, amount: Ints, sign: int, room: Ints
) -> None:
    """Count what a client of `role` takes (sign 1) or releases (-1) against the quota of each role on its path.

    What is reserved for a role counts there and above from the moment of the reservation, so an allocation counts only
    below the role that holds the reservation.
    """
    node = role
    while node != reserved_for and node != ROOT:
        for r in range(amount.shape[0]):
            quota.consumed[node, r] += sign * amount[r]
        node = tree.parent[node]
    refresh_quota(tree, clients, quota, role, room)


@compilable
def measure_allowance(tree: Tree, quota: Quota, role: int, stage: int, scratch: Scratch) -> None:
    """Compute how much that is unreserved a client of `role` may take: `scratch.allowed`, and the part of it that
    guarantees on its path ask for: `scratch.grant`.

    Going down the path, a child's share of its parent's guarantee is the child's own need and whatever of the parent's
    is not needed by the parent's other children.
    """
    depth = 0
    node = role
    while node != ROOT:
        scratch.path[depth] = node
        depth += 1
        node = tree.parent[node]
    for r in range(scratch.allowed.shape[0]):
        room = NO_LIMIT
        grant = 0
        guaranteed = False
        for step in range(depth - 1, -1, -1):
            node = scratch.path[step]
            room = min(room, quota.limit[node, r] - quota.consumed[node, r])
            guaranteed = guaranteed or quota.guarantee[node, r] > 0
            if step == depth - 1:
                grant = quota.need[node, r]
            else:
                grant = quota.need[node, r] + max(0, grant - quota.need_below[tree.parent[node], r])
        surplus = max(0, quota.available[r] - quota.need_below[ROOT, r])
        if stage == STAGE_SHARES:
            allowed = surplus + grant
        elif guaranteed:
            allowed = grant
        else:
            allowed = surplus
        scratch.grant[r] = grant
        scratch.allowed[r] = max(0, min(room, allowed))


@compilable
def within_nested_limits(tree: Tree, quota: Quota, role: int, reserved_for: int, amount: Ints) -> bool:
    """Whether limits below the holder of a reservation admit that `role` takes this amount of it."""
    while role != reserved_for and role != ROOT:
        for r in range(amount.shape[0]):
            if amount[r] > 0 and quota.consumed[role, r] + amount[r] > quota.limit[role, r]:
                return False
        role = tree.parent[role]
    return True
