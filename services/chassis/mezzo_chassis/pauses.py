"""Finding out that this process did not run for a while: stopped by a signal, a debugger, its host or its memory limit.

Whoever leads may have been deposed meanwhile, and must not act on what it believed before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

CHECKS_PER_PAUSE = 4
"""A pause of the length that matters is noticed by so many checks that did not come."""


def _boot_time() -> float:
    # Goes on while the machine sleeps, as the monotonic clock does not.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class PauseDetector:
    """Tells a process that did not run from one that was busy: only the latter has used the processor meanwhile."""

    def __init__(
        self,
        seconds_max: float,
        clock: Callable[[], float] = _boot_time,
        processor_clock: Callable[[], float] = time.process_time,
    ) -> None:
        """`seconds_max`: how long a process may stand still before that matters."""
        self._seconds_max = seconds_max
        self._clock = clock
        self._processor_clock = processor_clock
        self._checked_at = clock()
        self._used = processor_clock()

    @property
    def check_interval_seconds(self) -> float:
        """How often `check` is to be called."""
        return self._seconds_max / CHECKS_PER_PAUSE

    @property
    def overdue(self) -> bool:
        """Whether the last check is so long ago that this process may have been paused. Costs next to nothing."""
        return self._clock() - self._checked_at > self._seconds_max

    def check(self) -> float:
        """For how many seconds the process did not run since the last check; 0 where that is no pause."""
        now, used = self._clock(), self._processor_clock()
        idle = (now - self._checked_at) - (used - self._used)
        self._checked_at, self._used = now, used
        return idle if idle > self._seconds_max else 0.0
