"""Log a failure that repeats: at once, and then after pauses that double."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_MIN = 10.0
SECONDS_MAX = 300.0


class LogThrottle:
    """Decide whether a repeated message is logged now: the first time, and again after pauses that double."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._text: str | None = None
        self._pause = SECONDS_MIN
        self._due = 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds until the same message is due again."""
        return max(0.0, self._due - self._clock())

    def due(self, text: str = "") -> bool:
        """Whether to log the message now. Another text is another message, and due at once."""
        now = self._clock()
        if text != self._text:
            self._text, self._pause = text, SECONDS_MIN
        elif now < self._due:
            return False
        else:
            self._pause = min(2 * self._pause, SECONDS_MAX)
        self._due = now + self._pause
        return True

    def reset(self) -> None:
        """Forget the message after a success: the next failure is logged at once."""
        self._text = None
