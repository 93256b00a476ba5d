"""The order in which nodes of the role tree are served.

Lower dominant share first, then fewer allocations, then name, as the sorter of Mesos has it.
"""

from __future__ import annotations

from mezzo_allocator.core.arrays import ROOT, Tree
from mezzo_allocator.core.kernel.compilation import compilable


@compilable
def share_of(tree: Tree, node: int) -> float:
    """The dominant share: the largest part of any fair resource of the cluster, divided by the weight."""
    dominant = 0.0
    for r in range(tree.totals.shape[0]):
        if tree.fair[r] and tree.totals[r] > 0:
            portion = tree.alloc[node, r] / tree.totals[r]
            dominant = max(dominant, portion)
    return float(dominant / tree.weight[node])


@compilable
def precedes(tree: Tree, left: int, right: int) -> bool:
    """Whether `left` is served before its sibling `right`."""
    if tree.share[left] != tree.share[right]:
        return bool(tree.share[left] < tree.share[right])
    if tree.served[left] != tree.served[right]:
        return bool(tree.served[left] < tree.served[right])
    return bool(tree.rank[left] < tree.rank[right])


@compilable
def put(tree: Tree, place: int, node: int) -> None:
    """Write a node into the order."""
    tree.order[place] = node
    tree.place[node] = place


@compilable
def compact(tree: Tree, parent: int) -> None:
    """Move the children of a node to the beginning of their segment."""
    begin = tree.first[parent]
    base = tree.base[parent]
    for offset in range(tree.active[parent]):
        put(tree, base + offset, tree.order[begin + offset])
    tree.first[parent] = base


@compilable
def move_back(tree: Tree, parent: int, node: int) -> None:
    """Move a node behind those siblings that now precede it: by moving these, or all others, whichever are fewer."""
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


@compilable
def move_forward(tree: Tree, parent: int, node: int) -> None:
    """Move a node before those siblings that it now precedes."""
    place = tree.place[node]
    begin = tree.first[parent]
    while place > begin and precedes(tree, node, tree.order[place - 1]):
        put(tree, place, tree.order[place - 1])
        place -= 1
    put(tree, place, node)


@compilable
def reposition(tree: Tree, node: int) -> None:
    """Move a node whose share or number of allocations has changed to its place among its siblings."""
    place = tree.place[node]
    if place < 0:
        return
    parent = tree.parent[node]
    if place + 1 < tree.first[parent] + tree.active[parent] and precedes(tree, tree.order[place + 1], node):
        move_back(tree, parent, node)
    else:
        move_forward(tree, parent, node)


@compilable
def refresh_path(tree: Tree, node: int) -> None:
    """Recompute the shares from a node up to the root, and move each to its place."""
    while node != ROOT:
        tree.share[node] = share_of(tree, node)
        reposition(tree, node)
        node = tree.parent[node]


@compilable
def encloses(tree: Tree, ancestor: int, role: int) -> bool:
    """Whether a role is another one or lies below it."""
    while role != ancestor and role != ROOT:
        role = tree.parent[role]
    return bool(role == ancestor)
