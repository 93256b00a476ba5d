"""To the client that is served next: down the tree in share order, or at random."""

from __future__ import annotations

from mezzo_allocator.core.arrays import BIT, LEAF, ROOT, Bits, Quota, Sampler, Scratch, Stock, Tree
from mezzo_allocator.core.kernel.admission import admits_leaf, has_client, sees_slice, skips
from mezzo_allocator.core.kernel.compilation import compilable
from mezzo_allocator.core.kernel.sampling import draw_client, draw_leaf


@compilable
def first_client(tree: Tree, leaf: int, words: Bits) -> int:
    """The first client of a leaf in share order whose bit is set; its node, or -1."""
    begin = tree.first[leaf]
    for place in range(begin, begin + tree.active[leaf]):
        number = tree.client[tree.order[place]]
        if words[number >> 6] & BIT[number & 63]:
            return int(tree.order[place])
    return -1


@compilable
def client_of(tree: Tree, sampler: Sampler, leaf: int, words: Bits) -> int:
    """The client of a leaf that is next; at least one has its bit set."""
    if sampler.frameworks:
        return draw_client(tree, sampler, leaf, words)
    return first_client(tree, leaf, words)


@compilable
def next_in_order(
    tree: Tree,
    stock: Stock,
    quota: Quota,
    sampler: Sampler,
    agent: int,
    words: Bits,
    stage: int,
    has_plain: bool,
    scratch: Scratch,
) -> int:
    """The client that is next, by share order of the roles at each level of the tree; its node, or -1."""
    depth = 0
    scratch.stack[0] = ROOT
    scratch.at[0] = 0
    has_reserved = stock.slice_count[agent] > 1 or not has_plain
    while depth >= 0:
        node = scratch.stack[depth]
        at = scratch.at[depth]
        if at >= tree.active[node]:
            depth -= 1
            continue
        scratch.at[depth] = at + 1
        child = tree.order[tree.first[node] + at]
        if tree.kind[child] == LEAF:
            if not has_client(tree, child, words):
                continue
            if has_plain or sees_slice(tree, stock, agent, tree.role[child]):
                return client_of(tree, sampler, child, words)
        elif not skips(tree, quota, child, stage, has_reserved):
            depth += 1
            scratch.stack[depth] = child
            scratch.at[depth] = 0
    return -1


@compilable
def next_at_random(
    tree: Tree,
    stock: Stock,
    quota: Quota,
    sampler: Sampler,
    agent: int,
    words: Bits,
    stage: int,
    has_plain: bool,
    before: int,
) -> int:
    """The client that is next where roles are served at random; its node, or -1.

    `before` is the client that was served of this agent before, or -1: all of a role are served before another is.
    """
    leaf = -1 if before < 0 else tree.parent[before]
    if leaf < 0 or not admits_leaf(tree, stock, quota, agent, leaf, words, stage, has_plain):
        leaf = draw_leaf(tree, stock, quota, sampler, agent, words, stage, has_plain)
    if leaf < 0:
        return -1
    return client_of(tree, sampler, leaf, words)
