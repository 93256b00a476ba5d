"""The time that cores are told: seconds since the epoch, which neither jump nor go back."""

from __future__ import annotations

import time
from collections.abc import Callable


def steady_clock() -> Callable[[], float]:
    """A clock that says what the wall clock says now, and goes on with the monotonic one.

    Cores compare times: how long an agent was silent, which offer is the oldest. A wall clock that is set, by an
    operator or by NTP, would make every agent silent at once, or none for hours.
    """
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
