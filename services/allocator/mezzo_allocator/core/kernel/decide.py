"""Who takes what of which agent."""

from __future__ import annotations

from mezzo_allocator.core.arrays import (
    ALL_BUT,
    NEEDS_REVOCABLE,
    ROOT,
    STAGE_GUARANTEES,
    STAGE_SHARES,
    Bits,
    Clients,
    Indices,
    Quota,
    Sampler,
    Scratch,
    Stock,
    Taken,
    Tree,
)
from mezzo_allocator.core.kernel.allowance import (
    consume,
    measure_allowance,
    meets_any_minimum,
    meets_minimum,
    within_nested_limits,
)
from mezzo_allocator.core.kernel.compilation import compilable
from mezzo_allocator.core.kernel.order import encloses, reposition, share_of
from mezzo_allocator.core.kernel.walk import next_at_random, next_in_order


@compilable
def may_take(tree: Tree, stock: Stock, slot: int, role: int, capabilities: int, stage: int) -> bool:
    """Whether anything is free in a slice and a client of `role` with these capabilities may have it in this stage.

    Revocable resources satisfy no guarantee.
    """
    if not stock.stocked[slot] or stock.slice_needs[slot] & ~capabilities:
        return False
    if stage == STAGE_GUARANTEES and stock.slice_needs[slot] & NEEDS_REVOCABLE:
        return False
    return encloses(tree, stock.slice_role[slot], role)


@compilable
def take_plain(stock: Stock, slot: int, stage: int, row: int, scratch: Scratch) -> bool:
    """Put what quota allows of an unreserved slice into row `row` of the scratch; False where that is nothing."""
    anything = False
    granted = False
    for r in range(scratch.allowed.shape[0]):
        free = stock.free[slot, r]
        amount = min(free, scratch.allowed[r])
        if stock.slice_atomic[slot] and amount < free:
            return False
        scratch.amount[row, r] = amount
        anything = anything or amount > 0
        granted = granted or min(amount, scratch.grant[r]) > 0
    return anything and (granted or stage != STAGE_GUARANTEES)


@compilable
def draw_on_quota(
    tree: Tree, clients: Clients, stock: Stock, quota: Quota, role: int, row: int, sign: int, scratch: Scratch
) -> None:
    """Count row `row` of the scratch, gathered for a client of `role`, against quotas (sign 1), or no longer (-1)."""
    slot = scratch.slot[row]
    if not quota.on or stock.slice_needs[slot] & NEEDS_REVOCABLE:
        return
    if stock.slice_role[slot] == ROOT:
        for r in range(scratch.total.shape[0]):
            quota.available[r] -= sign * scratch.amount[row, r]
    consume(tree, clients, quota, role, stock.slice_role[slot], scratch.amount[row], sign, scratch.room)


@compilable
def gather(
    tree: Tree, clients: Clients, stock: Stock, quota: Quota, agent: int, node: int, stage: int, scratch: Scratch
) -> int:
    """Collect what a client may take of an agent into the scratch; how many slices that is, 0 for no offer at all.

    What is collected counts against quotas at once, since several slices may draw on the same limits.
    """
    role = tree.role[node]
    capabilities = clients.capabilities[tree.client[node]]
    for r in range(scratch.total.shape[0]):
        scratch.total[r] = 0
    rows = 0
    granted = stage == STAGE_SHARES
    begin = stock.slice_first[agent]
    for slot in range(begin, begin + stock.slice_count[agent]):
        if not may_take(tree, stock, slot, role, capabilities, stage):
            continue
        reserved_for = stock.slice_role[slot]
        scratch.slot[rows] = slot
        for r in range(scratch.total.shape[0]):
            scratch.amount[rows, r] = stock.free[slot, r]
        if quota.on and not stock.slice_needs[slot] & NEEDS_REVOCABLE:
            if reserved_for == ROOT:
                measure_allowance(tree, quota, role, stage, scratch)
                if not take_plain(stock, slot, stage, rows, scratch):
                    continue
                granted = True
            elif not within_nested_limits(tree, quota, role, reserved_for, stock.free[slot]):
                continue
        draw_on_quota(tree, clients, stock, quota, role, rows, 1, scratch)
        for r in range(scratch.total.shape[0]):
            scratch.total[r] += scratch.amount[rows, r]
        rows += 1
    if granted and meets_minimum(scratch.total, clients, clients.minimum[tree.client[node]]):
        return rows
    for row in range(rows):
        draw_on_quota(tree, clients, stock, quota, role, row, -1, scratch)
    return 0


@compilable
def commit(tree: Tree, stock: Stock, node: int, rows: int, scratch: Scratch) -> None:
    """Take what was gathered off the stock and counts it for the client and for every role above it."""
    for row in range(rows):
        slot = scratch.slot[row]
        rest = 0
        for r in range(scratch.total.shape[0]):
            stock.free[slot, r] -= scratch.amount[row, r]
            rest += stock.free[slot, r]
        stock.stocked[slot] = 1 if rest > 0 else 0
    while node != ROOT:
        for r in range(scratch.total.shape[0]):
            tree.alloc[node, r] += scratch.total[r]
        tree.served[node] += 1
        tree.share[node] = share_of(tree, node)
        reposition(tree, node)
        node = tree.parent[node]


@compilable
def survey(clients: Clients, stock: Stock, agent: int, scratch: Scratch) -> int:
    """What is left on an agent: 0 nothing that anybody's minimum admits, 1 reserved slices, 2 unreserved ones too."""
    for r in range(scratch.total.shape[0]):
        scratch.total[r] = 0
    found = 0
    begin = stock.slice_first[agent]
    for slot in range(begin, begin + stock.slice_count[agent]):
        if stock.stocked[slot]:
            found = max(found, 2 if stock.slice_role[slot] == ROOT else 1)
            for r in range(scratch.total.shape[0]):
                scratch.total[r] += stock.free[slot, r]
    if found and not meets_any_minimum(scratch.total, clients):
        return 0
    return found


@compilable
def decide(
    tree: Tree,
    clients: Clients,
    stock: Stock,
    quota: Quota,
    sampler: Sampler,
    stage: int,
    agents: Indices,
    eligible: Bits,
    start: int,
    scratch: Scratch,
    taken: Taken,
) -> tuple[int, int]:
    """Give the free slices of `agents` [k], from the `start`-th on, to the clients with a bit in `eligible` [k, W].

    Returns how many rows of `taken` were filled and at which agent to go on: k, or less where `taken` is full. Each
    client is asked once per agent: its bit is cleared when it was.
    """
    filled = 0
    for i in range(start, agents.shape[0]):
        agent = agents[i]
        words = eligible[i]
        left = survey(clients, stock, agent, scratch)
        node = -1
        while left:
            if filled + stock.slice_count[agent] > taken.agent.shape[0]:
                return filled, i
            if sampler.roles:
                node = next_at_random(tree, stock, quota, sampler, agent, words, stage, left == 2, node)
            else:
                node = next_in_order(tree, stock, quota, sampler, agent, words, stage, left == 2, scratch)
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
                taken.slot[filled] = scratch.slot[row]
                whole = 1
                for r in range(scratch.total.shape[0]):
                    taken.amount[filled, r] = scratch.amount[row, r]
                    if scratch.amount[row, r] != stock.free[scratch.slot[row], r]:
                        whole = 0
                taken.whole[filled] = whole
                filled += 1
            commit(tree, stock, node, rows, scratch)
            left = survey(clients, stock, agent, scratch)
    return filled, agents.shape[0]
