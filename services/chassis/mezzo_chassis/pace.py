"""How often a reader of a stream is told: at once while there is little to say, and at intervals while there is much.

What a message costs both ends is nearly the same whatever it contains.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Lets so many messages pass at once, and again as many as time brings back; then it asks for pauses."""

    def __init__(
        self, *, burst: int, per_second: float, pause_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._left = float(burst)
        self._counted_at = clock()

    def pause(self) -> float:
        """Count a message that was sent; return how many seconds to collect what comes before the next, 0 for none."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        if self._left < 1:
            return self._pause_seconds
        self._left -= 1
        return 0.0
