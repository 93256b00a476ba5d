"""gRPC without sockets: what `grpc.aio` gives to clients and servicers, over connections that the simulation owns.

A connection delivers in order, after delays. It may be held up (a partition: everything arrives later, or, when gRPC's
keepalive gives up first, not at all), break (each end notices in its own time) or fall silent (nothing arrives any
more, and only keepalive notices). Messages travel as bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from tests.simulation.channel import SimulatedChannel
from tests.simulation.connection import CLIENT, KEEPALIVE_SECONDS, SERVER, Connection
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.server import SimulatedServer


@dataclass(slots=True)
class Delays:
    """How long things take on the way. Seconds."""

    message: tuple[float, float] = (0.0002, 0.02)
    break_noticed: tuple[float, float] = (0.001, 1.0)


class Network:
    """All servers and connections of the cluster."""

    def __init__(self, loop: SimulatedLoop, chooser: random.Random, delays: Delays | None = None) -> None:
        self.loop = loop
        self.random = chooser
        self.delays = delays or Delays()
        self.servers: dict[str, SimulatedServer] = {}
        """Those that listen, by address."""
        self.connections: dict[Connection, None] = {}
        self.watch: Callable[[Process, Process, str, bytes], None] = lambda _from, _to, _method, _message: None
        """Is told of every message as it is sent: by whom, to whom, of which method, the bytes."""
        self._blocked: dict[frozenset[str], float] = {}
        self._ports = 40_000

    def channel(self, target: str, *_: Any, **__: Any) -> SimulatedChannel:
        """Stands for `grpc.aio.insecure_channel`."""
        return SimulatedChannel(self, self.loop.process, target)

    def server(self, *_: Any, interceptors: Sequence[grpc.aio.ServerInterceptor] = (), **__: Any) -> SimulatedServer:
        """Stands for `grpc.aio.server`."""
        return SimulatedServer(self, self.loop.process, interceptors)

    def delay(self) -> float:
        return self.random.uniform(*self.delays.message)

    def new_port(self) -> int:
        self._ports += 1
        return self._ports

    # --- faults

    def block(self, host: str, other: str, seconds: float) -> None:
        """Nothing arrives between two hosts for so long; it does afterwards, where nobody has given up."""
        pair = frozenset((host, other))
        until = self._blocked[pair] = max(self.blocked_until(host, other), self.loop.time() + seconds)
        for connection in list(self.connections):
            if {each.host for each in connection.processes} == pair:
                connection.hold(until)

    def blocked_until(self, host: str, other: str) -> float:
        return self._blocked.get(frozenset((host, other)), 0.0)

    def kill(self, process: Process, *, silently: bool = False) -> None:
        """Everything of a process that died: with `silently`, as of a machine that lost its power, nobody is told."""
        for address in [each for each, server in self.servers.items() if server.process is process]:
            del self.servers[address]
        for connection in list(self.connections):
            if process in connection.processes:
                if silently:
                    connection.go_silent()
                else:
                    connection.break_off()

    def pause(self, process: Process, seconds: float) -> None:
        """A process stands still: its peers' keepalive is not answered."""
        for connection in list(self.connections):
            for end in (CLIENT, SERVER):
                if connection.processes[1 - end] is process and seconds > KEEPALIVE_SECONDS[0]:
                    connection.give_up_later(end, self.loop.time() + seconds)
