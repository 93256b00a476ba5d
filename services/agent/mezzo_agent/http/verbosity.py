"""How much the agent logs: raised for a while by an operator, as Mesos' logging endpoints do."""

from __future__ import annotations

import asyncio

from mezzo_chassis.log import set_level


class Verbosity:
    """The level in force: 0 is what the agent was started with; from 1 to Mesos' 3 everything is told."""

    def __init__(self, usual: str) -> None:
        self.level = 0
        self._usual = usual
        self._back: asyncio.TimerHandle | None = None

    def raise_to(self, level: int, duration_seconds: float) -> None:
        """Log at `level` for a while, then as usual again."""
        self._set(level)
        self._back = asyncio.get_running_loop().call_later(duration_seconds, self._set, 0)

    def close(self) -> None:
        self._set(0)

    def _set(self, level: int) -> None:
        if self._back is not None:
            self._back.cancel()
            self._back = None
        self.level = level
        set_level("debug" if level else self._usual)
