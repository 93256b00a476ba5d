"""Connections as TCP gives them: in order, delayed, and, when they break, with their last messages lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.clock import Clock

DELAY_SECONDS = (0.0002, 0.02)
BREAK_NOTICED_SECONDS = (0.001, 1.0)


@dataclass(slots=True)
class End:
    """What one side does with what arrives."""

    receive: Callable[[Any], None]
    closed: Callable[[], None]
    # When the last message arrives: nothing overtakes it.
    last_arrival: float = 0.0


@dataclass(slots=True, eq=False)
class Connection:
    """Two ends. A partition holds everything back; a break loses what is under way."""

    clock: Clock
    random: random.Random
    ends: tuple[End, End]
    broken: bool = False
    _held_until: float = 0.0
    _noticed: list[bool] = field(default_factory=lambda: [False, False])

    def send(self, to: int, message: Any) -> None:
        """Towards the end numbered `to`."""
        if self.broken:
            return
        end = self.ends[to]
        arrival = max(self.clock.now + self.random.uniform(*DELAY_SECONDS), end.last_arrival, self._held_until)
        end.last_arrival = arrival

        def deliver() -> None:
            if not self.broken:
                end.receive(message)

        self.clock.after(arrival - self.clock.now, deliver)

    def hold(self, seconds: float) -> None:
        """A partition: what is sent from now on arrives after it."""
        self._held_until = max(self._held_until, self.clock.now + seconds)

    def break_off(self) -> None:
        """Both sides notice, each in its own time."""
        if self.broken:
            return
        self.broken = True
        for number in (0, 1):
            self.clock.after(self.random.uniform(*BREAK_NOTICED_SECONDS), lambda number=number: self._notice(number))  # type: ignore[misc]

    def close(self, by: int) -> None:
        """One side ends it: it needs no telling, and what it sent before still arrives."""
        if self._noticed[by]:
            return
        self._noticed[by] = True
        other = 1 - by
        arrival = max(self.clock.now + self.random.uniform(*DELAY_SECONDS), self.ends[other].last_arrival)

        def deliver() -> None:
            self.broken = True
            self._notice(other)

        self.clock.after(arrival - self.clock.now, deliver)

    def _notice(self, number: int) -> None:
        if not self._noticed[number]:
            self._noticed[number] = True
            self.ends[number].closed()
