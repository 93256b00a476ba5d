"""One line of the table that `make bench` prints."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured, what others published, and ours."""

    id: str
    what: str
    published: str
    ours: str


def milliseconds(seconds: Sequence[float]) -> str:
    """The fastest of several runs, which a busy machine disturbs least, and the median."""
    fastest = f"{min(seconds) * 1000:.1f} ms"
    return fastest if len(seconds) == 1 else f"{fastest} ({statistics.median(seconds) * 1000:.1f})"


def per_second(rates: Sequence[float]) -> str:
    """The highest rate of several runs, and the median."""
    return f"{max(rates):,.0f}/s ({statistics.median(rates):,.0f})"
