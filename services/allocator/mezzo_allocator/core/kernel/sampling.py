"""Serving at random instead of in share order: a weighted random shuffle, of which only the beginning is drawn.

To draw one after another by weight among those that are left gives the same orders, equally often, as to shuffle all of
them first. A draw of somebody for whom nothing is there is repeated, which leaves the odds of the others
among each other as they are.
"""

from __future__ import annotations

from mezzo_allocator.core.arrays import BIT, Bits, Quota, Sampler, Stock, Tree
from mezzo_allocator.core.kernel.admission import admits_leaf
from mezzo_allocator.core.kernel.compilation import compilable

# So many draws may be in vain before those are counted who can be drawn at all.
DRAWS_MAX = 8


@compilable
def draw(sampler: Sampler) -> float:
    """The next number of the sequence, between 0 and 1, both left out.

    L'Ecuyer's combined generator (CACM 31(6), 1988): its steps fit into 64 bits, so both forms of this code agree.
    """
    sampler.state[0] = sampler.state[0] * 40014 % 2147483563
    sampler.state[1] = sampler.state[1] * 40692 % 2147483399
    return float(((sampler.state[0] - sampler.state[1]) % 2147483562 + 1) / 2147483563.0)


@compilable
def leaf_at(sampler: Sampler, goal: float) -> int:
    """The place of the leaf within whose weight a number up to the sum of all weights falls."""
    low, high = 0, sampler.leaves.shape[0] - 1
    while low < high:
        middle = (low + high) // 2
        if sampler.cumulative[middle] < goal:
            low = middle + 1
        else:
            high = middle
    return low


@compilable
def draw_leaf(
    tree: Tree, stock: Stock, quota: Quota, sampler: Sampler, agent: int, words: Bits, stage: int, has_plain: bool
) -> int:
    """One of the leaves that an agent may have something for, by weight; -1 where there is none."""
    leaves = sampler.leaves.shape[0]
    if leaves == 0:
        return -1
    for _ in range(DRAWS_MAX):
        leaf = sampler.leaves[leaf_at(sampler, draw(sampler) * sampler.cumulative[leaves - 1])]
        if admits_leaf(tree, stock, quota, agent, leaf, words, stage, has_plain):
            return int(leaf)
    weight = 0.0
    last = 0.0
    for place in range(leaves):
        if admits_leaf(tree, stock, quota, agent, sampler.leaves[place], words, stage, has_plain):
            weight += sampler.cumulative[place] - last
        last = sampler.cumulative[place]
    if weight == 0.0:
        return -1
    goal = draw(sampler) * weight
    chosen = -1
    last = 0.0
    for place in range(leaves):
        if goal > 0.0 and admits_leaf(tree, stock, quota, agent, sampler.leaves[place], words, stage, has_plain):
            chosen = sampler.leaves[place]
            goal -= sampler.cumulative[place] - last
        last = sampler.cumulative[place]
    return int(chosen)


@compilable
def draw_client(tree: Tree, sampler: Sampler, leaf: int, words: Bits) -> int:
    """One of the clients of a leaf whose bit is set, each as likely as the others; its node. There is at least one."""
    begin, count = tree.first[leaf], tree.active[leaf]
    for _ in range(DRAWS_MAX):
        node = tree.order[begin + int(draw(sampler) * count)]
        number = tree.client[node]
        if words[number >> 6] & BIT[number & 63]:
            return int(node)
    eligible = 0
    for place in range(begin, begin + count):
        number = tree.client[tree.order[place]]
        if words[number >> 6] & BIT[number & 63]:
            eligible += 1
    goal = int(draw(sampler) * eligible)
    for place in range(begin, begin + count):
        node = tree.order[place]
        number = tree.client[node]
        if words[number >> 6] & BIT[number & 63]:
            if goal == 0:
                return int(node)
            goal -= 1
    return -1
