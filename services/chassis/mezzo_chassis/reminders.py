"""What is the matter for a long time is told at first, and then more and more seldom."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_MIN = 10.0
SECONDS_MAX = 300.0


class Reminder:
    """Whether something that happens over and over is to be told now: once, and again after pauses that double."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._text: str | None = None
        self._pause = SECONDS_MIN
        self._due = 0.0

    @property
    def seconds_left(self) -> float:
        """Until it would be told again."""
        return max(0.0, self._due - self._clock())

    def due(self, text: str = "") -> bool:
        """Whether to tell it now. Another text is another matter."""
        now = self._clock()
        if text != self._text:
            self._text, self._pause = text, SECONDS_MIN
        elif now < self._due:
            return False
        else:
            self._pause = min(2 * self._pause, SECONDS_MAX)
        self._due = now + self._pause
        return True

    def over(self) -> None:
        """It is well again: the next time is the first."""
        self._text = None
