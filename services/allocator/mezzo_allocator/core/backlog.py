"""Which agents the next cycle looks at."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Consecutive full passes begin at agents far from each other, so that no agent is always the first to be given out.
STRIDE = 7919


class Backlog:
    """The agents about which something has changed since a cycle looked at them."""

    def __init__(self, agents: int) -> None:
        self._marked = np.zeros(agents, dtype=bool)
        self._any = False
        self._start = 0

    def __bool__(self) -> bool:
        return self._any

    def __contains__(self, row: int) -> bool:
        return bool(self._marked[row])

    def reshape(self, agents: int) -> None:
        """Make room for more agents."""
        self._marked = np.concatenate([self._marked, np.zeros(agents - self._marked.shape[0], dtype=bool)])

    def mark(self, row: int) -> None:
        """Have the next cycle look at an agent."""
        self._marked[row] = True
        self._any = True

    def mark_all(self, rows: Iterable[int]) -> None:
        """Have the next cycle look at these agents."""
        for row in rows:
            self.mark(row)

    def mark_everything(self, active: NDArray[np.bool_]) -> None:
        """Have the next cycle look at all agents that are active, [A]."""
        np.logical_or(self._marked, active, out=self._marked)
        self._any = True
        self._start += STRIDE

    def take(self, active: NDArray[np.bool_], agents_max: int) -> NDArray[np.int64]:
        """Up to `agents_max` marked agents that are active; the rest waits for the next call."""
        rows = np.flatnonzero(self._marked & active)
        if rows.size:
            rows = np.roll(rows, -(self._start % rows.size))[:agents_max]
        self._marked[rows] = False
        self._any = bool(np.any(self._marked & active))
        if not self._any:
            self._marked[:] = False
        return rows
