"""Down the tree to the client that is next in share order."""

from __future__ import annotations

from mezzo_allocator.core.arrays import (
    BIT,
    CLIENT,
    LEAF,
    ROLE,
    ROOT,
    STAGE_GUARANTEES,
    Bits,
    Quota,
    Scratch,
    Stock,
    Tree,
)
from mezzo_allocator.core.kernel.compilation import compilable
from mezzo_allocator.core.kernel.order import encloses


@compilable
def has_client(tree: Tree, leaf: int, words: Bits) -> bool:
    """Whether any client of a leaf has its bit set in `words` [W]."""
    begin = tree.mask_first[leaf]
    for entry in range(begin, begin + tree.mask_length[leaf]):
        if words[tree.mask_word[entry]] & tree.mask_bits[entry]:
            return True
    return False


@compilable
def sees_part(tree: Tree, stock: Stock, agent: int, role: int) -> bool:
    """Whether anything free on an agent is visible to a role, capabilities aside."""
    begin = stock.part_first[agent]
    for part in range(begin, begin + stock.part_length[agent]):
        if stock.stocked[part] and encloses(tree, stock.part_role[part], role):
            return True
    return False


@compilable
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


@compilable
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
