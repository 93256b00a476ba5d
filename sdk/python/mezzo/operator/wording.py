"""Amounts, numbers and lengths of time in words: short, rounded, and nothing but the standard library behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping

# Resources are named in this order; others follow by name.
RESOURCES_IN_ORDER = ("cpus", "mem", "disk", "gpus")

MINUTE_SECONDS, HOUR_SECONDS, DAY_SECONDS = 60, 3600, 86400
# What is said where a number should stand and there is none.
UNKNOWN = "an unknown amount"


def amounts(quantities: Mapping[str, float]) -> str:
    """`cpus 2, mem 1024`; "nothing" for none."""
    order = {name: number for number, name in enumerate(RESOURCES_IN_ORDER)}
    names = sorted((name for name, value in quantities.items() if value), key=lambda name: (order.get(name, 9), name))
    return ", ".join(f"{name} {number(quantities[name])}" for name in names) or "nothing"


def number(value: float) -> str:
    """A number to the thousandth, without an exponent: `1024`, `0.25`; to six places where it is smaller than that."""
    if not math.isfinite(value):
        return UNKNOWN
    places = 3 if value == 0 or abs(value) >= 0.001 else 6
    return f"{value:.{places}f}".rstrip("0").rstrip(".")


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `5 min`, `3 h`, `2 days`; rounded."""
    if not math.isfinite(seconds):
        return UNKNOWN
    for unit, name in ((DAY_SECONDS, "days"), (HOUR_SECONDS, "h"), (MINUTE_SECONDS, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"


def counted(count: int, noun: str) -> str:
    """`1 offer`, `3 offers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def own_frameworks(role: str) -> str:
    """Those that are subscribed in a role itself; in the order of turns they stand together, beside the roles below."""
    return f"the frameworks of {role} itself"
