"""What an operator may set about sharing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mezzo_allocator.core.frameworks import Minimum

DEFAULT_MINIMUM: Minimum = ((("cpus", 10),), (("mem", 32_000),))
"""Mesos': a hundredth of a CPU, or 32 MB of memory."""


class Sorter(StrEnum):
    """In what order roles, or the frameworks of a role, are served."""

    DRF = "drf"
    """Whoever has the least dominant share first."""
    RANDOM = "random"
    """At random, in proportion to the weights of roles; shares do not count."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Names and meanings are those of the flags of `mezzo-allocator`."""

    allocation_interval_seconds: float = 1.0
    minimum: Minimum = DEFAULT_MINIMUM
    excluded_from_shares: frozenset[str] = frozenset()
    filter_gpus: bool = True
    role_sorter: Sorter = Sorter.DRF
    framework_sorter: Sorter = Sorter.DRF
    seed: int = 0
    """Where the random numbers of a session begin. No flag: the service draws one when it starts."""
