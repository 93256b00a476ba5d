"""The inner loop of a cycle: which client takes what of which agent.

The functions here work on the arrays of `mezzo_allocator.core.arrays` alone and are written so that they run both as
plain Python, which is the reference, and compiled (`mezzo_allocator.adapters.compiler`), decision by decision the same.

A node is a role, the leaf "." under a role that gathers the role's own clients, or a client: one framework in one
role. Children of a node are kept in share order: lower dominant share first, then fewer allocations, then name, as the
sorter of Mesos has it. An allocation moves only the nodes on its path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mezzo_allocator.core.arrays import (
    ALL_BUT,
    BIT,
    CLIENT,
    LEAF,
    NEEDS_REVOCABLE,
    NO_LIMIT,
    ROLE,
    ROOT,
    STAGE_GUARANTEES,
    STAGE_SHARES,
    Bits,
    Clients,
    Indices,
    Ints,
    Quota,
    Scratch,
    Stock,
    Taken,
    Tree,
)

COMPILABLE: list[Callable[..., Any]] = []


F = TypeVar("F", bound=Callable[..., Any])


def _compilable(function: F) -> F:
    """Marks a function for compilation; the order of definition is the order of compilation."""
    COMPILABLE.append(function)
    return function


@_compilable
def share_of(tree: Tree, node: int) -> float:
    """The dominant share: the largest part of any fair resource of the cluster, divided by the weight."""
    dominant = 0.0
    for r in range(tree.totals.shape[0]):
        if tree.fair[r] and tree.totals[r] > 0:
            portion = tree.alloc[node, r] / tree.totals[r]
            dominant = max(dominant, portion)
    return float(dominant / tree.weight[node])


@_compilable
def precedes(tree: Tree, left: int, right: int) -> bool:
    """Whether `left` is served before its sibling `right`."""
    if tree.share[left] != tree.share[right]:
        return bool(tree.share[left] < tree.share[right])
    if tree.served[left] != tree.served[right]:
        return bool(tree.served[left] < tree.served[right])
    return bool(tree.rank[left] < tree.rank[right])


@_compilable
def put(tree: Tree, place: int, node: int) -> None:
    """Writes a node into the order."""
    tree.order[place] = node
    tree.place[node] = place


@_compilable
def compact(tree: Tree, parent: int) -> None:
    """Moves the children of a node to the beginning of their segment."""
    begin = tree.first[parent]
    base = tree.base[parent]
    for offset in range(tree.active[parent]):
        put(tree, base + offset, tree.order[begin + offset])
    tree.first[parent] = base


@_compilable
def move_back(tree: Tree, parent: int, node: int) -> None:
    """Moves a node behind those siblings that now precede it: by moving these, or all others, whichever are fewer."""
    if tree.first[parent] + tree.active[parent] == tree.limit[parent]:
        compact(tree, parent)
    place = tree.place[node]
    begin = tree.first[parent]
    end = begin + tree.active[parent]
    low, high = place + 1, end
    while low < high:
        middle = (low + high) // 2
        if precedes(tree, tree.order[middle], node):
            low = middle + 1
        else:
            high = middle
    if low - 1 - place <= (place - begin) + (end - low):
        for other in range(place + 1, low):
            put(tree, other - 1, tree.order[other])
        put(tree, low - 1, node)
        return
    for other in range(end - 1, low - 1, -1):
        put(tree, other + 1, tree.order[other])
    for other in range(place - 1, begin - 1, -1):
        put(tree, other + 1, tree.order[other])
    put(tree, low, node)
    tree.first[parent] = begin + 1


@_compilable
def move_forward(tree: Tree, parent: int, node: int) -> None:
    """Moves a node before those siblings that it now precedes."""
    place = tree.place[node]
    begin = tree.first[parent]
    while place > begin and precedes(tree, node, tree.order[place - 1]):
        put(tree, place, tree.order[place - 1])
        place -= 1
    put(tree, place, node)


@_compilable
def reposition(tree: Tree, node: int) -> None:
    """Moves a node whose share or number of allocations has changed to its place among its siblings."""
    place = tree.place[node]
    if place < 0:
        return
    parent = tree.parent[node]
    if place + 1 < tree.first[parent] + tree.active[parent] and precedes(tree, tree.order[place + 1], node):
        move_back(tree, parent, node)
    else:
        move_forward(tree, parent, node)


@_compilable
def refresh_path(tree: Tree, node: int) -> None:
    """Recomputes the shares from a node up to the root, and moves each to its place."""
    while node != ROOT:
        tree.share[node] = share_of(tree, node)
        reposition(tree, node)
        node = tree.parent[node]


@_compilable
def encloses(tree: Tree, ancestor: int, role: int) -> bool:
    """Whether a role is another one or lies below it."""
    while role != ancestor and role != ROOT:
        role = tree.parent[role]
    return bool(role == ancestor)


@_compilable
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


@_compilable
def meets_any_minimum(amount: Ints, clients: Clients) -> bool:
    """Whether an amount is worth offering to anybody at all."""
    for row in range(clients.least_length.shape[0]):  # noqa: SIM110 - generators do not compile
        if meets_minimum(amount, clients, row):
            return True
    return False


@_compilable
def refresh_quota(tree: Tree, clients: Clients, quota: Quota, role: int, room: Ints) -> None:
    """Brings `need`, `need_below` and `barred` up to date from a role up to the root. `room` is scratch, [R]."""
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


@_compilable
def consume(
    tree: Tree, clients: Clients, quota: Quota, role: int, reserved_for: int, amount: Ints, sign: int, room: Ints
) -> None:
    """Counts what a client of `role` takes (sign 1) or gives back (-1) against the quota of each role on its path.

    What is reserved for a role counts there and above from the moment of the reservation, so an allocation counts only
    below the role that holds the reservation.
    """
    node = role
    while node != reserved_for and node != ROOT:
        for r in range(amount.shape[0]):
            quota.consumed[node, r] += sign * amount[r]
        node = tree.parent[node]
    refresh_quota(tree, clients, quota, role, room)


@_compilable
def measure_allowance(tree: Tree, quota: Quota, role: int, stage: int, scratch: Scratch) -> None:
    """Computes how much that is unreserved a client of `role` may take: `scratch.allowed`, and the part of it that
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


@_compilable
def within_nested_limits(tree: Tree, quota: Quota, role: int, reserved_for: int, amount: Ints) -> bool:
    """Whether limits below the holder of a reservation admit that `role` takes this amount of it."""
    while role != reserved_for and role != ROOT:
        for r in range(amount.shape[0]):
            if amount[r] > 0 and quota.consumed[role, r] + amount[r] > quota.limit[role, r]:
                return False
        role = tree.parent[role]
    return True


@_compilable
def has_client(tree: Tree, leaf: int, words: Bits) -> bool:
    """Whether any client of a leaf has its bit set in `words` [W]."""
    begin = tree.mask_first[leaf]
    for entry in range(begin, begin + tree.mask_length[leaf]):
        if words[tree.mask_word[entry]] & tree.mask_bits[entry]:
            return True
    return False


@_compilable
def sees_part(tree: Tree, stock: Stock, agent: int, role: int) -> bool:
    """Whether anything free on an agent is visible to a role, capabilities aside."""
    begin = stock.part_first[agent]
    for part in range(begin, begin + stock.part_length[agent]):
        if stock.stocked[part] and encloses(tree, stock.part_role[part], role):
            return True
    return False


@_compilable
def skips(tree: Tree, quota: Quota, node: int, stage: int, has_reserved: bool) -> bool:
    """Whether quota rules out a whole role before anybody looks at its clients."""
    if not quota.on or tree.kind[node] != ROLE:
        return False
    if stage == STAGE_GUARANTEES and tree.parent[node] == ROOT:
        needed = False
        for r in range(quota.need.shape[1]):
            if quota.need[node, r] > 0:
                needed = True
                break
        if not needed:
            return True
    return bool(quota.barred[node] and not has_reserved)


@_compilable
def next_client(
    tree: Tree, stock: Stock, quota: Quota, agent: int, words: Bits, stage: int, has_plain: bool, scratch: Scratch
) -> int:
    """The first client in share order, at each level of the tree, whose bit is set; its node, or -1.

    `has_plain` says that something unreserved is free, which everybody sees.
    """
    depth = 0
    scratch.stack[0] = ROOT
    scratch.at[0] = 0
    has_reserved = stock.part_length[agent] > 1 or not has_plain
    while depth >= 0:
        node = scratch.stack[depth]
        at = scratch.at[depth]
        if at >= tree.active[node]:
            depth -= 1
            continue
        scratch.at[depth] = at + 1
        child = tree.order[tree.first[node] + at]
        kind = tree.kind[child]
        if kind == CLIENT:
            number = tree.client[child]
            if words[number >> 6] & BIT[number & 63]:
                return int(child)
            continue
        if kind == LEAF:
            if not has_client(tree, child, words):
                continue
            if not has_plain and not sees_part(tree, stock, agent, tree.role[child]):
                continue
        elif skips(tree, quota, child, stage, has_reserved):
            continue
        depth += 1
        scratch.stack[depth] = child
        scratch.at[depth] = 0
    return -1


@_compilable
def take_plain(stock: Stock, part: int, stage: int, row: int, scratch: Scratch) -> bool:
    """Puts what quota allows of an unreserved part into row `row` of the scratch; False where that is nothing."""
    anything = False
    granted = False
    for r in range(scratch.allowed.shape[0]):
        free = stock.free[part, r]
        amount = min(free, scratch.allowed[r])
        if stock.part_atomic[part] and amount < free:
            return False
        scratch.amount[row, r] = amount
        anything = anything or amount > 0
        granted = granted or min(amount, scratch.grant[r]) > 0
    if not anything or (stage == STAGE_GUARANTEES and not granted):
        return False
    for r in range(scratch.allowed.shape[0]):
        scratch.allowed[r] -= scratch.amount[row, r]
        scratch.grant[r] = max(0, scratch.grant[r] - scratch.amount[row, r])
    return True


@_compilable
def may_take(tree: Tree, stock: Stock, part: int, role: int, capabilities: int, stage: int) -> bool:
    """Whether anything is free in a part and a client of `role` with these capabilities may have it in this stage.

    Revocable resources satisfy no guarantee.
    """
    if not stock.stocked[part] or stock.part_needs[part] & ~capabilities:
        return False
    if stage == STAGE_GUARANTEES and stock.part_needs[part] & NEEDS_REVOCABLE:
        return False
    return encloses(tree, stock.part_role[part], role)


@_compilable
def gather(
    tree: Tree, clients: Clients, stock: Stock, quota: Quota, agent: int, node: int, stage: int, scratch: Scratch
) -> int:
    """Collects what a client may take of an agent into the scratch; how many parts that is, 0 for no offer at all."""
    role = tree.role[node]
    capabilities = clients.capabilities[tree.client[node]]
    if quota.on:
        measure_allowance(tree, quota, role, stage, scratch)
    for r in range(scratch.total.shape[0]):
        scratch.total[r] = 0
    rows = 0
    granted = stage == STAGE_SHARES
    begin = stock.part_first[agent]
    for part in range(begin, begin + stock.part_length[agent]):
        if not may_take(tree, stock, part, role, capabilities, stage):
            continue
        reserved_for = stock.part_role[part]
        for r in range(scratch.total.shape[0]):
            scratch.amount[rows, r] = stock.free[part, r]
        if quota.on and not stock.part_needs[part] & NEEDS_REVOCABLE:
            if reserved_for == ROOT:
                if not take_plain(stock, part, stage, rows, scratch):
                    continue
                granted = True
            elif not within_nested_limits(tree, quota, role, reserved_for, stock.free[part]):
                continue
        scratch.part[rows] = part
        for r in range(scratch.total.shape[0]):
            scratch.total[r] += scratch.amount[rows, r]
        rows += 1
    if not granted or not meets_minimum(scratch.total, clients, clients.minimum[tree.client[node]]):
        return 0
    return rows


@_compilable
def commit(tree: Tree, clients: Clients, stock: Stock, quota: Quota, node: int, rows: int, scratch: Scratch) -> None:
    """Takes what was gathered off the stock and counts it for the client and for every role above it."""
    role = tree.role[node]
    for row in range(rows):
        part = scratch.part[row]
        rest = 0
        for r in range(scratch.total.shape[0]):
            stock.free[part, r] -= scratch.amount[row, r]
            rest += stock.free[part, r]
        stock.stocked[part] = 1 if rest > 0 else 0
        if stock.part_needs[part] & NEEDS_REVOCABLE:
            continue
        if stock.part_role[part] == ROOT:
            for r in range(scratch.total.shape[0]):
                quota.available[r] -= scratch.amount[row, r]
        if quota.on:
            consume(tree, clients, quota, role, stock.part_role[part], scratch.amount[row], 1, scratch.allowed)
    while node != ROOT:
        for r in range(scratch.total.shape[0]):
            tree.alloc[node, r] += scratch.total[r]
        tree.served[node] += 1
        tree.share[node] = share_of(tree, node)
        reposition(tree, node)
        node = tree.parent[node]


@_compilable
def survey(clients: Clients, stock: Stock, agent: int, scratch: Scratch) -> int:
    """What is left on an agent: 0 nothing that anybody's minimum admits, 1 reserved parts, 2 unreserved ones too."""
    for r in range(scratch.total.shape[0]):
        scratch.total[r] = 0
    found = 0
    begin = stock.part_first[agent]
    for part in range(begin, begin + stock.part_length[agent]):
        if stock.stocked[part]:
            found = max(found, 2 if stock.part_role[part] == ROOT else 1)
            for r in range(scratch.total.shape[0]):
                scratch.total[r] += stock.free[part, r]
    if found and not meets_any_minimum(scratch.total, clients):
        return 0
    return found


@_compilable
def decide(
    tree: Tree,
    clients: Clients,
    stock: Stock,
    quota: Quota,
    stage: int,
    agents: Indices,
    eligible: Bits,
    start: int,
    scratch: Scratch,
    taken: Taken,
) -> tuple[int, int]:
    """Gives the free parts of `agents` [k], from the `start`-th on, to the clients with a bit in `eligible` [k, W].

    Returns how many rows of `taken` were filled and at which agent to go on: k, or less where `taken` is full. Each
    client is asked once per agent: its bit is cleared when it was.
    """
    filled = 0
    for i in range(start, agents.shape[0]):
        agent = agents[i]
        words = eligible[i]
        left = survey(clients, stock, agent, scratch)
        while left:
            if filled + stock.part_length[agent] > taken.agent.shape[0]:
                return filled, i
            node = next_client(tree, stock, quota, agent, words, stage, left == 2, scratch)
            if node < 0:
                break
            number = tree.client[node]
            words[number >> 6] &= ALL_BUT[number & 63]
            rows = gather(tree, clients, stock, quota, agent, node, stage, scratch)
            if rows == 0:
                continue
            for row in range(rows):
                taken.agent[filled] = agent
                taken.client[filled] = number
                taken.part[filled] = scratch.part[row]
                whole = 1
                for r in range(scratch.total.shape[0]):
                    taken.amount[filled, r] = scratch.amount[row, r]
                    if scratch.amount[row, r] != stock.free[scratch.part[row], r]:
                        whole = 0
                taken.whole[filled] = whole
                filled += 1
            commit(tree, clients, stock, quota, node, rows, scratch)
            left = survey(clients, stock, agent, scratch)
    return filled, agents.shape[0]
