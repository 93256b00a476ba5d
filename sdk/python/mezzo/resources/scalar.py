"""Scalars as whole thousandths: sums and differences are exact, as they are in Mesos, which keeps three decimals."""

from __future__ import annotations

import math

from mezzo.errors import InvalidRequest

THOUSANDTHS = 1000
# Far beyond any cluster, and far below where a double stops telling neighbouring thousandths apart.
SCALAR_MAX = 10**12


class ResourceError(InvalidRequest):
    """A resource makes no sense; `field` says which part of it."""


def to_thousandths(value: float, field: str = "scalar.value") -> int:
    """The nearest number of thousandths, halves upwards; raises `ResourceError` for what is no amount."""
    if 0 <= value <= SCALAR_MAX:
        return int(value * THOUSANDTHS + 0.5)
    if not math.isfinite(value):
        raise ResourceError(field, f"{value} is not a number")
    if value < 0:
        raise ResourceError(field, f"{value:g} is negative")
    raise ResourceError(field, f"{value:g} is larger than {SCALAR_MAX}")


def from_thousandths(thousandths: int) -> float:
    return thousandths / THOUSANDTHS


def text_of(thousandths: int) -> str:
    """The shortest decimal form: `8`, `0.1`, `2.125`."""
    whole, rest = divmod(thousandths, THOUSANDTHS)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)
