"""How old offers were when they ended: whether frameworks answer soon, late or never."""

from bisect import bisect_left
from dataclasses import dataclass, field

BOUNDS_SECONDS = (0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 600.0, 1800.0)


@dataclass(slots=True)
class OfferAges:
    """The ages, in seconds, of the offers that ended in one way."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_SECONDS) + 1))
    """By the first bound that is not less; the last is for those beyond all."""
    seconds: float = 0.0
    """All together."""

    def add(self, seconds: float) -> None:
        """Count an offer of this age that has ended; clocks are set back, ages are not."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self.seconds += seconds
