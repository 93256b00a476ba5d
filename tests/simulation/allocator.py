"""An allocator process: its core, and cycles that start soon after each change."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo_allocator.adapters.encoding import Encoder
from mezzo_allocator.adapters.translation import Translator
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.allocator import Allocator
from tests.simulation.clock import Clock
from tests.simulation.network import Connection

CYCLE_SECONDS = 0.005
INTERVAL_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class AllocatorNode:
    clock: Clock
    random: random.Random
    core: Allocator = field(default_factory=Allocator)
    translator: Translator = field(default_factory=Translator)
    encoder: Encoder = field(default_factory=Encoder)
    connection: Connection | None = None
    alive: bool = False
    _cycle_due: bool = False
    _started: int = 0

    def start(self) -> None:
        """A new process: nothing is known."""
        self.core, self.translator, self.encoder = Allocator(), Translator(), Encoder()
        self._cycle_due = False
        self.alive = True
        self._started += 1
        self._interval(self._started)

    def crash(self) -> None:
        self.alive = False
        self._started += 1
        if self.connection:
            self.connection.break_off()
            self.connection = None

    def take_session(self, connection: Connection) -> Callable[[wire.RegistryMessage], None]:
        """A session of a registry; the one before it ends."""
        if self.connection:
            self.connection.break_off()
        self.connection = connection

        def receive(message: wire.RegistryMessage) -> None:
            if self.connection is not connection:
                return
            event = self.translator.event(message)
            if event is not None:
                self._tell(event)

        return receive

    def _interval(self, started: int) -> None:
        if self._started != started:
            return
        self._tell(ev.FullPassWanted())
        self.clock.after(INTERVAL_SECONDS, lambda: self._interval(started))

    def _tell(self, event: ev.Event) -> None:
        for effect in self.core.handle(event, now=self.clock.now):
            self._carry_out(effect)
        self.core.validate()
        if self.core.pending and not self._cycle_due:
            self._cycle_due = True
            started = self._started
            self.clock.after(CYCLE_SECONDS, lambda: self._cycle(started))

    def _cycle(self, started: int) -> None:
        if self._started == started:
            self._cycle_due = False
            self._tell(ev.CycleStarted())

    def _carry_out(self, effect: ev.Effect) -> None:
        if self.connection is None or not isinstance(effect, ev.Allocated):
            return
        cycle = wire.Cycle(number=effect.number)
        for data in self.encoder.cycle(effect.allocations, cycle, effect.inverse):
            for message in wire.SessionResponse.FromString(data).messages:
                self.connection.send(0, message)
