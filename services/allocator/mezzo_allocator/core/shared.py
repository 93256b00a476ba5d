"""Shared resources: many may hold the same volume, which is one thing wherever amounts are added up.

What counts for a role is what is held in it and below it, each shared resource of an agent once, however many
frameworks hold it and however many copies. This is how the sorter of Mesos counts (docs/shared-resources.md of
apache/mesos).
"""

from __future__ import annotations

from mezzo.resources import Kind
from mezzo_allocator.core.arrays import Indices


class SharedUses:
    """How many copies of each shared resource are held at a node of the role tree or below it."""

    def __init__(self) -> None:
        self._copies: dict[tuple[int, int, Kind], int] = {}  # (row of the agent, node, what)

    def change(self, row: int, path: Indices, kind: Kind, copies: int) -> int:
        """Count copies that a client took, or, negative, gave back; `path` leads from its node up.

        Returns at how many nodes, from the beginning of the path, the first copy came or the last one went: what is
        held at a node is held at all nodes above it.
        """
        changed = 0
        for node in path.tolist():
            key = (row, node, kind)
            before = self._copies.get(key, 0)
            after = before + copies
            if after:
                self._copies[key] = after
            else:
                del self._copies[key]
            changed += not (before and after)
        return changed
