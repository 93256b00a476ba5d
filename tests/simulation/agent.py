"""A machine: an agent process that comes and goes, a disk that stays, and containers that outlive the process."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo.resources import Resources, parse
from mezzo_agent.core import Agent, effects, events
from mezzo_agent.core.state import Settings
from mezzo_agent.ports import ContainerConfig, RecoveredContainer, RecoveredState, Termination
from tests.simulation.clock import Clock, Handle
from tests.simulation.network import Connection

DISK_SECONDS = (0.0005, 0.02)
START_SECONDS = (0.001, 0.05)
RUN_SECONDS = (0.01, 8.0)
RECONNECT_SECONDS = (0.05, 0.5)
HEARTBEAT_SECONDS = 1.0
FAILS_ONE_IN = 5
PORT = 5051


@dataclass(slots=True)
class Container:
    config: ContainerConfig
    pid: int
    wait_status: int | None = None
    ended: bool = False
    end: Handle | None = None


@dataclass(slots=True, eq=False)
class Machine:
    name: str
    ip: str
    clock: Clock
    random: random.Random
    resources: Resources
    connect: Callable[[Machine], Connection | None]
    journal: list[checkpoint.CheckpointRecord] = field(default_factory=list)
    containers: dict[str, Container] = field(default_factory=dict)
    # How often each task was really started: more than once is a violation.
    starts: Counter[tuple[str, str]] = field(default_factory=Counter)
    core: Agent | None = None
    connection: Connection | None = None
    _process: int = 0
    _inbox: list[events.Event] = field(default_factory=list)
    _busy: bool = False
    _timers: dict[events.Timer, Handle] = field(default_factory=dict)

    # ------------------------------------------------------------------------------------------- the process

    def start(self) -> None:
        """A new agent process reads the journal, and finds its containers."""
        self._process += 1
        process = self._process
        info = mesos.AgentInfo(hostname=self.name, port=PORT, resources=self.resources.messages())
        settings = Settings(work_dir=Path("/sim") / self.name, ip=self.ip, port=PORT)
        self.core = Agent(settings, info, lambda: self.random.randbytes(16))
        self.core.restore(self.journal)
        self._inbox.clear()
        self._busy = False
        known = self.core.containers()
        for container_id in [each for each in self.containers if each not in known]:
            self._end(container_id, 9)
        self.post(events.ContainersRecovered({each: self._recovered(each) for each in known}))
        self.clock.after(0.01, lambda: self._while(process, self.open_session))
        self._heartbeat(process)

    def crash(self) -> None:
        """`kill -9` of the agent: containers go on, and so does what is on the disk."""
        self._process += 1
        self.core = None
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self.connection:
            self.connection.break_off()
            self.connection = None

    def _while(self, process: int, action: Callable[[], None]) -> None:
        if self._process == process and self.core is not None:
            action()

    def _recovered(self, container_id: str) -> RecoveredContainer:
        container = self.containers.get(container_id)
        if container is None:
            return RecoveredContainer(container_id, RecoveredState.UNKNOWN)
        if container.ended:
            return RecoveredContainer(
                container_id, RecoveredState.ENDED, container.pid, Termination(container.wait_status)
            )
        return RecoveredContainer(container_id, RecoveredState.RUNNING, container.pid)

    # ------------------------------------------------------------------------------------------- the session

    def open_session(self) -> None:
        process = self._process
        connection = self.connect(self)
        if connection is None:
            self._reconnect_later(process)
            return
        self.connection = connection
        self.post(events.SessionOpened())

    def _reconnect_later(self, process: int) -> None:
        delay = self.random.uniform(*RECONNECT_SECONDS)
        self.clock.after(delay, lambda: self._while(process, self.open_session))

    def receive(self, connection: Connection, message: Any) -> None:
        if self.connection is connection:
            self.post(events.RegistryMessageReceived(message))

    def closed(self, connection: Connection) -> None:
        if self.connection is connection:
            self.connection = None
            self.post(events.SessionClosed())
            self._reconnect_later(self._process)

    def _heartbeat(self, process: int) -> None:
        def beat() -> None:
            if self.connection and self.core and self.core.state.registered:
                from mezzo.agent.v1 import agent_session_pb2 as session

                self.connection.send(0, session.AgentMessage(heartbeat=session.Heartbeat()))
            self._heartbeat(process)

        self.clock.after(HEARTBEAT_SECONDS, lambda: self._while(process, beat))

    # --------------------------------------------------------------------------------------------- the turns

    def post(self, event: events.Event) -> None:
        if self.core is None:
            return
        self._inbox.append(event)
        self._turn()

    def _turn(self) -> None:
        """As the real shell: decide, write to disk once, then act. Nothing is acted on that is not on disk."""
        if self._busy or not self._inbox or self.core is None:
            return
        self._busy = True
        batch, self._inbox = self._inbox, []
        ordered = [effect for event in batch for effect in self.core.handle(event, now=self.clock.now)]
        self.core.validate()
        records = [effect.record for effect in ordered if isinstance(effect, effects.Persist)]
        process = self._process

        def act() -> None:
            self.journal.extend(records)
            for effect in ordered:
                self._perform(effect)
            self._busy = False
            self._turn()

        def lost() -> None:
            # The process died while it wrote: any part of it, from the beginning, may have reached the disk.
            self.journal.extend(records[: self.random.randint(0, len(records))])

        def written() -> None:
            if self._process == process and self.core is not None:
                act()
            else:
                lost()

        if records:
            self.clock.after(self.random.uniform(*DISK_SECONDS), written)
        else:
            act()

    def _perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.SendToRegistry(message):
                if self.connection:
                    self.connection.send(0, message)
            case effects.LaunchContainer(config):
                self._launch(config)
            case effects.WatchContainer(container_id):
                container = self.containers[container_id]
                if container.ended:
                    self.post(events.ContainerEnded(container_id, Termination(container.wait_status)))
            case effects.KillContainer(container_id, signal):
                self._end_soon(container_id, signal)
            case effects.DestroyContainer(container_id):
                self._end_soon(container_id, 9)
            case effects.ForgetContainer(container_id):
                self.containers.pop(container_id, None)
            case effects.StartTimer(timer, seconds):
                self._cancel(timer)
                self._timers[timer] = self.clock.after(seconds, lambda: self._fire(timer))
            case effects.CancelTimer(timer):
                self._cancel(timer)
            case effects.EndAgent(forget=forget):
                if forget:
                    self.journal.clear()
                self.crash()
                self.clock.after(1.0, self.start)

    def _cancel(self, timer: events.Timer) -> None:
        running = self._timers.pop(timer, None)
        if running:
            running.cancel()

    def _fire(self, timer: events.Timer) -> None:
        self._timers.pop(timer, None)
        self.post(events.TimerFired(timer))

    # ---------------------------------------------------------------------------------------- the containers

    def _launch(self, config: ContainerConfig) -> None:
        process = self._process

        def start() -> None:
            if self._process != process:
                return  # the agent died before the process was started
            assert config.task_id is not None
            self.starts[config.framework_id, config.task_id] += 1
            container = Container(config, self.random.randrange(2, 2**22))
            self.containers[config.container_id] = container
            status = 256 * 3 if self.random.randrange(FAILS_ONE_IN) == 0 else 0
            seconds = self.random.uniform(*RUN_SECONDS)
            container.end = self.clock.after(seconds, lambda: self._end(config.container_id, status))
            self.post(events.ContainerStarted(config.container_id, container.pid))

        self.clock.after(self.random.uniform(*START_SECONDS), start)

    def _end_soon(self, container_id: str, signal: int) -> None:
        self.clock.after(self.random.uniform(*START_SECONDS), lambda: self._end(container_id, signal))

    def _end(self, container_id: str, wait_status: int) -> None:
        container = self.containers.get(container_id)
        if container is None or container.ended:
            return
        container.ended, container.wait_status = True, wait_status
        if container.end:
            container.end.cancel()
        self.post(events.ContainerEnded(container_id, Termination(wait_status)))


def resources_of_a_machine(chooser: random.Random) -> Resources:
    return parse(f"cpus:{chooser.randint(1, 8)};mem:{chooser.randint(1, 8) * 512};ports:[31000-31010]")
