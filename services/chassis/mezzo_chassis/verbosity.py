"""How much a service logs: raised for a while by an operator, as Mesos' logging endpoints do."""

from __future__ import annotations

import asyncio

from mezzo_chassis.log import set_level

# Mesos knows levels 0 to 3, each telling more; from 1 on everything is told here.
LEVEL_MAX = 3


class Verbosity:
    """The level that is in force. Level 0 is what the service was started with."""

    def __init__(self, usual: str) -> None:
        self.level = 0
        self._usual = usual
        self._back: asyncio.TimerHandle | None = None

    def raise_to(self, level: int, duration_seconds: float) -> None:
        """Log at `level` for a while, then as usual again. Above the highest is as good as the highest: so in Mesos."""
        self._set(min(level, LEVEL_MAX))
        self._back = asyncio.get_running_loop().call_later(duration_seconds, self._set, 0)

    def close(self) -> None:
        """Log as usual, from now on."""
        self._set(0)

    def _set(self, level: int) -> None:
        if self._back is not None:
            self._back.cancel()
            self._back = None
        self.level = level
        set_level("debug" if level else self._usual)
