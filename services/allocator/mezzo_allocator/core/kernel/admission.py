"""Whom nothing of an agent is for, before anybody looks at what exactly is free."""

from __future__ import annotations

from mezzo_allocator.core.arrays import ROLE, ROOT, STAGE_GUARANTEES, Bits, Quota, Stock, Tree
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
def sees_slice(tree: Tree, stock: Stock, agent: int, role: int) -> bool:
    """Whether anything free on an agent is visible to a role, capabilities aside."""
    begin = stock.slice_first[agent]
    for slot in range(begin, begin + stock.slice_count[agent]):
        if stock.stocked[slot] and encloses(tree, stock.slice_role[slot], role):
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
def admits_leaf(
    tree: Tree, stock: Stock, quota: Quota, agent: int, leaf: int, words: Bits, stage: int, has_plain: bool
) -> bool:
    """Whether anything of an agent may be for a client of a leaf, as far as the leaf and the roles above it tell.

    `has_plain` says that something unreserved is free, which everybody sees.
    """
    if not has_client(tree, leaf, words):
        return False
    if not has_plain and not sees_slice(tree, stock, agent, tree.role[leaf]):
        return False
    has_reserved = stock.slice_count[agent] > 1 or not has_plain
    node = tree.role[leaf]
    while node != ROOT:
        if skips(tree, quota, node, stage, has_reserved):
            return False
        node = tree.parent[node]
    return True
