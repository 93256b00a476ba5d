"""A registry process: its core while it leads, and a shell that does what the real one does."""

from __future__ import annotations

import itertools
import random
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo_registry.core import Identity, Registry, Settings, effects, events
from mezzo_registry.core import records as stored
from tests.simulation.clock import Clock, Handle
from tests.simulation.network import Connection

STORE_SECONDS = (0.001, 0.05)
SETTINGS = Settings(agent_ping_timeout=2.0, max_agent_ping_timeouts=3, agent_reregister_timeout=20.0, offer_timeout=5.0)

_FROM_AGENT: dict[str, Callable[[int, Any], events.Event]] = {
    "register": lambda session, message: events.AgentRegistering(session, message.register),
    "task_update": lambda session, message: events.TaskUpdated(session, message.task_update),
    "executor_exited": lambda session, message: events.ExecutorExited(session, message.executor_exited),
    "executor_message": lambda session, message: events.ExecutorMessageReceived(session, message.executor_message),
    "heartbeat": lambda session, _: events.AgentHeartbeatReceived(session),
    "leave": lambda session, message: events.AgentLeaving(session, message.leave.reason),
}


@dataclass(slots=True)
class Store:
    """What survives registries. Only the newest leader may write."""

    tables: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    epoch: int = 0

    def write(self, epoch: int, writes: tuple[stored.Write, ...]) -> bool:
        if epoch != self.epoch:
            return False
        for write in writes:
            if write.value is None:
                self.tables[write.table].pop(write.key, None)
            else:
                self.tables[write.table][write.key] = write.value
        return True


@dataclass(slots=True, eq=False)
class RegistryNode:
    """One of several; leads or waits."""

    name: str
    clock: Clock
    random: random.Random
    store: Store
    # Tells the world that there is a leader to connect an allocator to.
    elected: Callable[[RegistryNode], None] = lambda _: None
    alive: bool = True
    core: Registry | None = None
    epoch: int = 0
    agents: dict[int, Connection] = field(default_factory=dict)
    frameworks: dict[str, Connection] = field(default_factory=dict)
    to_allocator: Callable[[allocator.RegistryMessage], None] | None = None
    _timers: dict[events.Timer, Handle] = field(default_factory=dict)
    _writes: list[effects.Persist] = field(default_factory=list)
    _writing: bool = False
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def new_id(self) -> str:
        return str(uuid.UUID(bytes=self.random.randbytes(16), version=4))

    # ------------------------------------------------------------------------------------------------- leading

    def lead(self) -> None:
        """A new term, from the store."""
        self.store.epoch += 1
        self.epoch = self.store.epoch
        registry_id = self.new_id()
        info = mesos.MasterInfo(id=registry_id, ip=1, port=5050, hostname=self.name)
        identity = Identity(registry_id=registry_id, master_info=info, started_at=0.0, elected_at=self.clock.now)
        self.core = Registry(identity, SETTINGS)
        self.tell(stored.elected(self.store.tables))
        self.elected(self)

    def step_down(self) -> None:
        """The term is over; every stream ends."""
        self.core = None
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._writes.clear()
        for connection in (*self.agents.values(), *self.frameworks.values()):
            connection.break_off()
        self.agents.clear()
        self.frameworks.clear()
        self.to_allocator = None

    def crash(self) -> None:
        self.alive = False
        self.step_down()

    # -------------------------------------------------------------------------------------------------- events

    def tell(self, event: events.Event) -> None:
        if self.core is None:
            return
        for effect in self.core.handle(event, now=self.clock.now):
            self._carry_out(effect)
        if self.core is not None:
            self.core.validate()

    def take_agent(self, connection: Connection, by: int) -> tuple[Callable[[Any], None], Callable[[], None]]:
        """A new session of an agent: what to do with its messages, and with its end. `by` is our end."""
        session = next(self._numbers)
        self.agents[session] = connection
        epoch = self.epoch
        del by

        def receive(message: Any) -> None:
            if self.epoch == epoch:
                self.tell(_FROM_AGENT[message.WhichOneof("message")](session, message))

        def closed() -> None:
            if self.epoch == epoch and session in self.agents:
                del self.agents[session]
                self.tell(events.AgentDisconnected(session, "the stream broke"))

        return receive, closed

    def take_framework(self, connection: Connection) -> tuple[Callable[[Any], None], Callable[[], None]]:
        """A new stream of a framework: its first message is the subscription, the others are calls."""
        stream_id = self.new_id()
        self.frameworks[stream_id] = connection
        epoch = self.epoch

        def receive(call: Any) -> None:
            if self.epoch != epoch:
                return
            request = next(self._numbers)
            if call.type == call.SUBSCRIBE:
                self.tell(events.FrameworkSubscribing(request, stream_id, call))
            else:
                self.tell(events.FrameworkCalled(request, stream_id, call))

        def closed() -> None:
            if self.epoch == epoch and stream_id in self.frameworks:
                del self.frameworks[stream_id]
                self.tell(events.FrameworkStreamClosed(stream_id))

        return receive, closed

    # ------------------------------------------------------------------------------------------------- effects

    def _carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.SendToAgent(session, message):
                self._send(self.agents.get(session), message)
            case effects.CloseAgentSession(session):
                self._close(self.agents.pop(session, None))
            case effects.SendToFramework(stream_id, event):
                self._send(self.frameworks.get(stream_id), event)
            case effects.CloseFrameworkStream(stream_id):
                self._close(self.frameworks.pop(stream_id, None))
            case effects.SendToAllocator(message):
                if self.to_allocator:
                    self.to_allocator(message)
            case effects.Persist():
                self._writes.append(effect)
                self._write()
            case effects.StartTimer(timer, seconds):
                self._cancel(timer)
                self._timers[timer] = self.clock.after(seconds, lambda: self._fire(timer))
            case effects.CancelTimer(timer):
                self._cancel(timer)
            case effects.Refuse() | effects.Answer() | effects.Note() | effects.Publish() | effects.PublishSnapshot():
                pass  # nobody here asks as an operator, observes, or reads logs

    @staticmethod
    def _send(connection: Connection | None, message: Any) -> None:
        if connection is not None:
            copied = type(message)()
            copied.CopyFrom(message)
            connection.send(1, copied)

    @staticmethod
    def _close(connection: Connection | None) -> None:
        if connection is not None:
            connection.close(by=0)

    def _cancel(self, timer: events.Timer) -> None:
        running = self._timers.pop(timer, None)
        if running:
            running.cancel()

    def _fire(self, timer: events.Timer) -> None:
        del self._timers[timer]
        self.tell(events.TimerFired(timer))

    def _write(self) -> None:
        """One write at a time, everything that waits in one."""
        if self._writing or not self._writes:
            return
        self._writing = True
        batch, self._writes = self._writes, []
        epoch = self.epoch

        def done() -> None:
            self._writing = False
            if self.core is None or self.epoch != epoch:
                return
            if not self.store.write(epoch, tuple(write for persist in batch for write in persist.writes)):
                self.step_down()  # somebody else leads: the real store says so by failing
                return
            for persist in batch:
                if persist.then is not None:
                    self.tell(persist.then)
            self._write()

        self.clock.after(self.random.uniform(*STORE_SECONDS), done)
