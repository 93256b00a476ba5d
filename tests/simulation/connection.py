"""A connection between a client and a server, as HTTP/2 over TCP is one, and what goes wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.channel import SimulatedChannel
    from tests.simulation.network import Network
    from tests.simulation.server import ServerCall, SimulatedServer

KEEPALIVE_SECONDS = (20.0, 30.0)
"""After so long without an answer each end gives a connection up."""
CLIENT, SERVER = 0, 1

Metadata = Sequence[tuple[str, Any]]


class Connection:
    """Between a client and a server, for all calls of a channel."""

    def __init__(self, network: Network, channel: SimulatedChannel, server: SimulatedServer) -> None:
        self.network = network
        self.loop = network.loop
        self.channel = channel
        self.server = server
        self.processes = (channel.process, server.process)
        self.open = [True, True]
        """Whether each end believes in it."""
        self.lost = False
        """Nothing arrives any more."""
        self.calls: dict[ServerCall, None] = {}
        self.peer = f"ipv4:{channel.process.host}:{network.new_port()}"
        self._held_until = network.blocked_until(channel.process.host, server.process.host)
        self._last_arrival = [0.0, 0.0]
        network.connections[self] = None

    def send(self, to: int, action: Callable[[], None]) -> None:
        """Let the end numbered `to` do something when a message has arrived there."""
        if self.lost or not self.open[1 - to] or not self.processes[1 - to].alive:
            return
        now = self.loop.time()
        arrival = max(now + self.network.delay(), self._last_arrival[to], self._held_until)
        self._last_arrival[to] = arrival

        def deliver() -> None:
            if self.open[to] and not self.lost:
                action()

        self.loop.call_at_as(self.processes[to], arrival, deliver)

    def hold(self, until: float) -> None:
        """What is sent before that arrives after it, unless keepalive gives up."""
        self._held_until = max(self._held_until, until)
        for end in (CLIENT, SERVER):
            self.give_up_later(end, self._held_until)

    def give_up_later(self, end: int, until: float) -> None:
        """An end gives up if it hears nothing before `until`."""
        at = self.loop.time() + self.network.random.uniform(*KEEPALIVE_SECONDS)
        if at < until:
            self.loop.call_at_as(self.processes[end], at, self._notice, end)

    def break_off(self) -> None:
        """It is gone, with all that is under way; both ends are told, each in its own time."""
        if not self.lost:
            self.lost = True
            self._notice_both(self.network.delays.break_noticed)

    def go_silent(self) -> None:
        """It is gone, and nobody is told."""
        if not self.lost:
            self.lost = True
            self._notice_both(KEEPALIVE_SECONDS)

    def close(self, by: int) -> None:
        """One end closes it: what it sent before still arrives."""
        if self.open[by]:
            self.send(1 - by, lambda: self._notice(1 - by))
            self._end(by)

    def _notice_both(self, seconds: tuple[float, float]) -> None:
        for end in (CLIENT, SERVER):
            at = self.loop.time() + self.network.random.uniform(*seconds)
            self.loop.call_at_as(self.processes[end], at, self._notice, end)

    def _notice(self, end: int) -> None:
        """An end finds out that nothing will arrive any more, or gives up."""
        if not self.open[end]:
            return
        self._end(end)
        if self.open[1 - end] and not self.lost:
            # The reset that this end sends tells the other.
            self.lost = True
            at = max(self.loop.time() + self.network.delay(), self._held_until)
            self.loop.call_at_as(self.processes[1 - end], at, self._notice, 1 - end)

    def _end(self, end: int) -> None:
        self.open[end] = False
        if not self.open[1 - end]:
            self.network.connections.pop(self, None)
        if end == CLIENT:
            self.channel.connection_lost(self)
        else:
            for call in list(self.calls):
                call.peer_gone()
