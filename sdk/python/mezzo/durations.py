"""Lengths of time as Mesos writes them: `500ms`, `15secs`, `10mins`, `1weeks`."""

from __future__ import annotations

import re

UNITS_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "secs": 1.0,
    "mins": 60.0,
    "hrs": 3600.0,
    "days": 86400.0,
    "weeks": 604800.0,
}
NANOSECONDS_MAX = 2**63 - 1
"""As in messages, and in Mesos: about 292 years."""
TEXT_SHOWN_MAX = 100
"""Characters of what is no duration that an error repeats."""
_DURATION = re.compile(rf"\s*(\d+(?:\.\d+)?)({'|'.join(UNITS_SECONDS)})?\s*\Z")


def parse(text: str) -> float:
    """Seconds; a number without a unit is seconds. Raises ValueError."""
    matched = _DURATION.match(text)
    if matched is None:
        raise ValueError(f"{text[:TEXT_SHOWN_MAX]!r} is not a duration such as 500ms, 15secs or 10mins")
    seconds = float(matched[1]) * UNITS_SECONDS[matched[2] or "secs"]
    if seconds * 1e9 >= NANOSECONDS_MAX:
        raise ValueError(f"{text[:TEXT_SHOWN_MAX]!r} is too long: a duration is shorter than 292 years")
    return seconds


def text_of(seconds: float) -> str:
    """In the largest unit in which it is a whole number."""
    nanoseconds = round(seconds * 1e9)
    for unit, size in reversed(UNITS_SECONDS.items()):
        if nanoseconds and nanoseconds % round(size * 1e9) == 0:
            return f"{nanoseconds // round(size * 1e9)}{unit}"
    return "0ns"
