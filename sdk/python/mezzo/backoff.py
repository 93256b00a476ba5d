"""Delays between attempts: longer after each failure, and different for clients that failed together."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

GROWTH = 2.0
JITTER = 0.5


class Backoff(Iterator[float]):
    """Delays in seconds, one for each attempt that failed; endless.

    The longest delay allowed doubles from `seconds_min` to `seconds_max`. Each is that, or up to `jitter` of it
    shorter: with the default, something between one half of it and all of it.
    """

    def __init__(
        self,
        seconds_min: float,
        seconds_max: float,
        *,
        jitter: float = JITTER,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`chance` gives numbers from 0 up to 1, and is asked once for each delay.

        Raises:
            ValueError: a delay could be zero, or less.
        """
        if min(seconds_min, seconds_max) <= 0 or not 0 <= jitter < 1:
            raise ValueError(f"no backoff from {seconds_min} to {seconds_max} s with jitter {jitter}")
        self._seconds_min = seconds_min
        self._seconds_max = seconds_max
        self._jitter = jitter
        self._chance = chance
        self.attempts = 0
        """How many delays were given since the beginning, or since `reset`."""

    def __next__(self) -> float:
        """The delay before the next attempt."""
        longest = self.longest
        self.attempts += 1
        return longest * (1 - self._jitter * self._chance())

    @property
    def longest(self) -> float:
        """The longest that the next delay may be."""
        longest = self._seconds_min
        for _ in range(self.attempts):
            if longest >= self._seconds_max:
                break
            longest *= GROWTH
        return min(longest, self._seconds_max)

    def reset(self) -> None:
        """Begin with the shortest delay again: an attempt succeeded."""
        self.attempts = 0
