"""The level of a service's log: raised for a while by an operator, as Mesos' logging endpoints do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from mezzo import durations
from mezzo.errors import InvalidRequest
from mezzo_chassis.log import get_logger, set_level

# Mesos knows levels 0 to 3, each telling more; from 1 on everything is told here.
LEVEL_MAX = 3
# What nanoseconds in 64 bits can say.
DURATION_SECONDS_MAX = 9e9

log = get_logger(__name__)


class LogLevel:
    """The level that is in force. Level 0 is what the service was started with."""

    def __init__(self, usual: str) -> None:
        self.level = 0
        self._usual = usual
        self._back: asyncio.TimerHandle | None = None

    def raise_to(self, level: int, duration_seconds: float) -> None:
        """Log at `level` for a while, then as usual again. Above the highest is as good as the highest: so in Mesos.

        Raises:
            InvalidRequest: the while is less than nothing.
        """
        if duration_seconds < 0:
            raise InvalidRequest("set_logging_level.duration", "must not be negative")
        self._set(min(level, LEVEL_MAX))
        log.info("log level changed", level_now=self.level, duration_seconds=duration_seconds)
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


def toggled(query: Mapping[str, str]) -> tuple[int, float] | None:
    """The level, and for how many seconds, that the query of `/logging/toggle` asks for; None where it only asks.

    A level above the highest is as good as the highest: so in Mesos.

    Raises:
        InvalidRequest: one is missing or makes no sense.
    """
    if "level" not in query and "duration" not in query:
        return None
    for name in ("duration", "level"):
        if name not in query:
            raise InvalidRequest("", f"Expecting '{name}=value' in query.")  # Mesos' words
    try:
        level, seconds = int(query["level"]), durations.parse(query["duration"])
    except ValueError as error:
        raise InvalidRequest("", str(error)) from None
    if level < 0:
        raise InvalidRequest("level", "must not be negative")
    if not 0 <= seconds <= DURATION_SECONDS_MAX:
        raise InvalidRequest("duration", f"{query['duration']} is not between 0 and {DURATION_SECONDS_MAX:g} seconds")
    return min(level, LEVEL_MAX), seconds
