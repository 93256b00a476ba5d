"""Simulated time: things happen in the order of their times, and nothing takes time by itself."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

START_SECONDS = 1_800_000_000.0


class Handle:
    """Something that is to happen, and can be called off."""

    __slots__ = ("action", "cancelled")

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    def __init__(self) -> None:
        self.now = START_SECONDS
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Handle]] = []

    def after(self, seconds: float, action: Callable[[], None]) -> Handle:
        handle = Handle(action)
        heapq.heappush(self._waiting, (self.now + seconds, next(self._order), handle))
        return handle

    def step(self) -> bool:
        """Let the next thing happen; false when nothing is left to happen."""
        while self._waiting:
            at, _, handle = heapq.heappop(self._waiting)
            if handle.cancelled:
                continue
            self.now = at
            handle.action()
            return True
        return False
