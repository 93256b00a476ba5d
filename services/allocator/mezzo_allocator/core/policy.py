"""What an operator may set about sharing."""

from __future__ import annotations

from dataclasses import dataclass

from mezzo_allocator.core.frameworks import Minimum

DEFAULT_MINIMUM: Minimum = ((("cpus", 10),), (("mem", 32_000),))
"""Mesos': a hundredth of a CPU, or 32 MB of memory."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Names and meanings are those of the flags of `mezzo-allocator`."""

    allocation_interval_seconds: float = 1.0
    minimum: Minimum = DEFAULT_MINIMUM
    excluded_from_shares: frozenset[str] = frozenset()
    filter_gpus: bool = True
