"""Everything together: who is connected to whom, what goes wrong, and what must be true all the same."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from mezzo_registry.core import events
from tests.simulation.agent import Machine, resources_of_a_machine
from tests.simulation.allocator import AllocatorNode
from tests.simulation.clock import Clock
from tests.simulation.framework import FrameworkNode
from tests.simulation.network import Connection, End
from tests.simulation.registry import RegistryNode, Store

SESSION_TIMEOUT_SECONDS = 2.0
FAULT_SECONDS = (0.2, 4.0)
DOWN_SECONDS = (0.05, 6.0)
PARTITION_SECONDS = (0.1, 10.0)
ALLOCATOR_RETRY_SECONDS = 0.3
CALM_STEPS_MAX = 400_000


class ViolationError(AssertionError):
    """Something is not as it must be."""


@dataclass(eq=False)
class World:
    """A cluster from one seed."""

    seed: int
    registries: int = 3
    machines: int = 4
    frameworks: int = 3
    tasks_per_framework: int = 60
    faults: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    _calm: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.clock = Clock()
        self.store = Store()
        self.leader: RegistryNode | None = None
        self.connections: list[Connection] = []
        self.registry_nodes = [
            RegistryNode(f"registry-{number}", self.clock, self._chooser(), self.store, self._connect_allocator)
            for number in range(self.registries)
        ]
        self.allocator = AllocatorNode(self.clock, self._chooser())
        self.machine_nodes = [
            Machine(
                f"agent-{number}",
                f"10.0.0.{number}",
                self.clock,
                self._chooser(),
                resources_of_a_machine(self.random),
                self._agent,
            )
            for number in range(self.machines)
        ]
        self.framework_nodes = [
            FrameworkNode(f"framework-{number}", self.clock, self._chooser(), self.tasks_per_framework, self._framework)
            for number in range(self.frameworks)
        ]
        self.allocator.start()
        self._elect()
        for start in [node.start for node in self.machine_nodes] + [node.start for node in self.framework_nodes]:
            self.clock.after(self.random.uniform(0, 1), start)
        self._next_fault()

    def _chooser(self) -> random.Random:
        return random.Random(self.random.getrandbits(64))

    # ---------------------------------------------------------------------------------------------- running

    def run(self, steps: int) -> None:
        """So many steps with faults, then none until everything has come to its end."""
        for _ in range(steps):
            self._step()
        self._calm = True
        for _ in range(CALM_STEPS_MAX):
            if self._at_rest():
                break
            self._step()
        self._check_the_end()

    def _step(self) -> None:
        self.steps += 1
        if not self.clock.step():
            raise ViolationError("nothing is left to happen")
        if self.steps % 50 == 0:
            self.connections = [each for each in self.connections if not each.broken]

    def _at_rest(self) -> bool:
        return all(node.tracker.finished for node in self.framework_nodes) and not any(
            machine.core and self._tasks_on(machine) for machine in self.machine_nodes
        )

    @staticmethod
    def _tasks_on(machine: Machine) -> int:
        assert machine.core is not None
        return sum(len(framework.tasks) for framework in machine.core.state.frameworks.values())

    def _check_the_end(self) -> None:
        open_launches = [launch.task_id for node in self.framework_nodes for launch in node.tracker.unfinished()]
        if open_launches:
            raise ViolationError(f"never ended: {open_launches}")
        waiting = [node.name for node in self.framework_nodes if node.tracker.any_waiting]
        if waiting:
            raise ViolationError(f"never offered enough: {waiting}")
        if sum(len(machine.starts) for machine in self.machine_nodes) * 2 < self.frameworks * self.tasks_per_framework:
            raise ViolationError("most tasks never started: nothing was shown")
        for machine in self.machine_nodes:
            twice = [key for key, count in machine.starts.items() if count > 1]
            if twice:
                raise ViolationError(f"started more than once on {machine.name}: {twice}")
            if machine.core and self._tasks_on(machine):
                raise ViolationError(f"{machine.name} still holds tasks")

    # -------------------------------------------------------------------------------------------- elections

    def _elect(self) -> None:
        alive = [node for node in self.registry_nodes if node.alive]
        if self.leader is not None or not alive:
            return
        self.leader = self.random.choice(alive)
        self.leader.lead()

    def _election_later(self) -> None:
        self.leader = None
        self.clock.after(SESSION_TIMEOUT_SECONDS, self._elect)

    # ------------------------------------------------------------------------------------------ connections

    def _open(self, left: End, right: End) -> Connection:
        connection = Connection(self.clock, self._chooser(), (left, right))
        self.connections.append(connection)
        return connection

    def _known_leader(self) -> RegistryNode | None:
        """Whoever leads; now and then somebody who only believes so."""
        believers = [node for node in self.registry_nodes if node.core is not None]
        return self.random.choice(believers) if believers else None

    def _agent(self, machine: Machine) -> Connection | None:
        leader = self._known_leader()
        if leader is None:
            return None
        ours, theirs = End(_ignore, _nothing), End(_ignore, _nothing)
        connection = self._open(ours, theirs)
        ours.receive, ours.closed = leader.take_agent(connection, 0)
        theirs.receive = lambda message: machine.receive(connection, message)
        theirs.closed = lambda: machine.closed(connection)
        return connection

    def _framework(self, framework: FrameworkNode) -> Connection | None:
        leader = self._known_leader()
        if leader is None:
            return None
        ours, theirs = End(_ignore, _nothing), End(_ignore, _nothing)
        connection = self._open(ours, theirs)
        ours.receive, ours.closed = leader.take_framework(connection)
        theirs.receive = lambda event: framework.receive(connection, event)
        theirs.closed = lambda: framework.closed(connection)
        return connection

    def _connect_allocator(self, leader: RegistryNode) -> None:
        epoch = leader.epoch
        if leader.core is None:
            return

        def receive(message: object) -> None:
            if leader.epoch == epoch and message.HasField("allocations"):  # type: ignore[attr-defined]
                leader.tell(events.AllocationsMade(message.allocations))  # type: ignore[attr-defined]

        def closed() -> None:
            if leader.epoch == epoch and leader.core is not None:
                leader.to_allocator = None
                leader.tell(events.AllocatorDisconnected())
                self.clock.after(ALLOCATOR_RETRY_SECONDS, lambda: self._reconnect_allocator(leader, epoch))

        if not self.allocator.alive:
            self.clock.after(ALLOCATOR_RETRY_SECONDS, lambda: self._reconnect_allocator(leader, epoch))
            return
        theirs = End(_ignore, _nothing)
        connection = self._open(End(receive, closed), theirs)
        theirs.receive = self.allocator.take_session(connection)
        leader.to_allocator = lambda message: connection.send(1, message)
        leader.tell(events.AllocatorConnected())

    def _reconnect_allocator(self, leader: RegistryNode, epoch: int) -> None:
        if leader.epoch == epoch and leader.core is not None and leader.to_allocator is None:
            self._connect_allocator(leader)

    # ----------------------------------------------------------------------------------------------- faults

    def _next_fault(self) -> None:
        def happen() -> None:
            if not self._calm:
                fault = self.random.choice(
                    (
                        self._break_a_connection,
                        self._hold_a_connection,
                        self._crash_an_agent,
                        self._swap_addresses,
                        self._crash_the_leader,
                        self._depose_the_leader,
                        self._crash_the_allocator,
                        self._pause_a_framework,
                    )
                )
                self.faults[fault.__name__.strip("_")] += 1
                fault()
            self._next_fault()

        self.clock.after(self.random.uniform(*FAULT_SECONDS), happen)

    def _break_a_connection(self) -> None:
        if self.connections:
            self.random.choice(self.connections).break_off()

    def _hold_a_connection(self) -> None:
        if self.connections:
            held = self.random.choice(self.connections)
            held.hold(self.random.uniform(*PARTITION_SECONDS))

    def _crash_an_agent(self) -> None:
        machine = self.random.choice(self.machine_nodes)
        if machine.core is not None:  # else it is down already, and its start is on its way
            machine.crash()
            self.clock.after(self.random.uniform(*DOWN_SECONDS), machine.start)

    def _swap_addresses(self) -> None:
        """Two machines go down, and each comes back at the address that the other had, as pods do."""
        one, other = self.random.sample(self.machine_nodes, 2)
        if one.core is None or other.core is None:
            return
        one.ip, other.ip = other.ip, one.ip
        for machine in (one, other):
            machine.crash()
            self.clock.after(self.random.uniform(*DOWN_SECONDS), machine.start)

    def _crash_the_leader(self) -> None:
        leader = self.leader
        if leader is not None:
            leader.crash()
            self._election_later()
            self.clock.after(self.random.uniform(*DOWN_SECONDS), lambda: self._revive(leader))

    def _revive(self, node: RegistryNode) -> None:
        node.alive = True
        self._elect()

    def _depose_the_leader(self) -> None:
        """Its session is gone and it does not know: for a moment two believe that they lead."""
        leader = self.leader
        if leader is None or sum(node.alive for node in self.registry_nodes) < 2:
            return
        self.store.epoch += 1
        epoch = leader.epoch
        self.leader = None
        others = [node for node in self.registry_nodes if node.alive and node is not leader]
        successor = self.random.choice(others)
        self.leader = successor
        self.clock.after(self.random.uniform(0, 0.5), successor.lead)

        def notice() -> None:
            if leader.epoch == epoch:
                leader.step_down()

        self.clock.after(self.random.uniform(0, SESSION_TIMEOUT_SECONDS), notice)

    def _crash_the_allocator(self) -> None:
        if not self.allocator.alive:
            return  # its start is on its way
        self.allocator.crash()
        self.clock.after(self.random.uniform(*DOWN_SECONDS), self.allocator.start)

    def _pause_a_framework(self) -> None:
        framework = self.random.choice(self.framework_nodes)
        if framework.connection:
            framework.connection.break_off()


def _ignore(_: object) -> None:
    """Before an end is complete nothing can arrive."""


def _nothing() -> None:
    """Nobody has to be told."""
