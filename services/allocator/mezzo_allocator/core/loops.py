"""The two forms in which the inner loop can run: plain Python and compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mezzo_allocator.core import kernel


@dataclass(frozen=True, slots=True)
class Loops:
    """The entry points of the inner loop; see the functions of the same names in `mezzo_allocator.core.kernel`."""

    decide: Callable[..., tuple[int, int]]
    refresh_path: Callable[..., None]
    consume: Callable[..., None]
    refresh_quota: Callable[..., None]


REFERENCE = Loops(
    decide=kernel.decide,
    refresh_path=kernel.refresh_path,
    consume=kernel.consume,
    refresh_quota=kernel.refresh_quota,
)
