"""How long to wait between two attempts to subscribe."""

from __future__ import annotations

import random
from collections.abc import Callable

STEP_SECONDS = 0.2


class Backoff:
    """Pauses that grow by a step each time, up to a limit, and are no two executors' the same.

    The limit is half of what the agent names in MESOS_SUBSCRIPTION_BACKOFF_MAX: a restarted agent waits that long for
    its executors before it ends them, and each has to have tried within it (docs/executor-http-api.md of apache/mesos,
    "Backoff Strategies").
    """

    def __init__(self, seconds_max: float, jitter: Callable[[], float] = random.random) -> None:
        """`jitter` gives numbers from 0 to 1."""
        self._ceiling_max = seconds_max / 2
        self._jitter = jitter
        self._attempts = 0

    def succeeded(self) -> None:
        """The next pause is a short one again."""
        self._attempts = 0

    def pause(self) -> float:
        """Seconds to wait before the next attempt: somewhere between half of what is allowed by now and all of it."""
        self._attempts += 1
        ceiling = min(self._ceiling_max, self._attempts * STEP_SECONDS)
        return ceiling * (1 + self._jitter()) / 2
