"""What goes wrong. Each method is one kind of fault; its name is what options and reports call it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.simulation import disk
from tests.simulation.containers import Host
from tests.simulation.programs import Program

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


class Faults:
    """Happen again and again, until the simulation is calm."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._options = simulation.options
        self._random = simulation.chooser()
        self._loop = simulation.loop
        self.counts: Counter[str] = Counter()

    def begin(self) -> None:
        if self._options.faults:
            self._next()

    def _next(self) -> None:
        self._loop.call_later(self._random.uniform(*self._options.fault_seconds), self._happen)

    def _happen(self) -> None:
        if self._simulation.calm:
            return
        name = self._random.choice(self._options.faults)
        if getattr(self, name)():
            self.counts[name] += 1
        self._next()

    def _down_seconds(self) -> float:
        return self._random.uniform(*self._options.down_seconds)

    def _kill(self, program: Program, seconds: float | None = None, *, silently: bool = False) -> bool:
        """Kill it, and start it again after a while."""
        if not program.runs:
            return False
        self._simulation.kill(program, silently=silently)
        self._simulation.start_later(program, self._down_seconds() if seconds is None else seconds)
        return True

    def _running(self, programs: list[Program]) -> Program | None:
        running = [each for each in programs if each.runs]
        return self._random.choice(running) if running else None

    # --- the network

    def break_connection(self) -> bool:
        connections = list(self._simulation.network.connections)
        if not connections:
            return False
        connection = self._random.choice(connections)
        if self._random.random() < 0.3:
            connection.go_silent()
        else:
            connection.break_off()
        return True

    def partition_hosts(self) -> bool:
        hosts = sorted({each.host for each in self._simulation.programs})
        if len(hosts) < 2:
            return False
        one = self._random.choice(hosts)
        others = [host for host in hosts if host != one]
        if self._random.random() < 0.5:
            others = [self._random.choice(others)]
        seconds = self._random.uniform(*self._options.partition_seconds)
        for other in others:
            self._simulation.network.block(one, other, seconds)
        return True

    # --- agents

    def kill_agent(self) -> bool:
        agent = self._running(self._simulation.agent_programs)
        return agent is not None and self._kill(agent)

    def power_off_agent(self) -> bool:
        """The whole machine: its tasks die, and its connections fall silent."""
        agent = self._running(self._simulation.agent_programs)
        if agent is None or not self._kill(agent, silently=True):
            return False
        self._host(agent).power_off()
        return True

    def lose_agent_for_long(self) -> bool:
        """For so long that it is marked unreachable."""
        agent = self._running(self._simulation.agent_programs)
        limit = self._options.agent_ping_timeout * self._options.max_agent_ping_timeouts
        limit = max(limit, self._options.agent_reregister_timeout if self._random.random() < 0.3 else 0.0)
        return agent is not None and self._kill(agent, self._random.uniform(1.0, 2.0) * limit)

    def pause_agent(self) -> bool:
        return self._pause(self._running(self._simulation.agent_programs))

    def swap_addresses(self) -> bool:
        """Two agents go down, and each comes back at the address that the other had, as pods do."""
        agents = [each for each in self._simulation.agent_programs if each.runs]
        if len(agents) < 2:
            return False
        one, other = self._random.sample(agents, 2)
        for agent in (one, other):
            self._kill(agent)
        hosts = [self._host(agent) for agent in (one, other)]
        hosts[0].ip, hosts[1].ip = hosts[1].ip, hosts[0].ip
        one.host, other.host = other.host, one.host
        return True

    def _host(self, agent: Program) -> Host:
        return self._simulation.host_of(agent)

    # --- registries and allocators

    def kill_registry(self) -> bool:
        registry = self._simulation.leading_program() or self._running(self._simulation.registry_programs)
        return registry is not None and self._kill(registry)

    def pause_registry(self) -> bool:
        """It hangs while its connections live, and may believe afterwards that it leads."""
        return self._pause(self._simulation.leading_program())

    def kill_allocator(self) -> bool:
        allocator = self._running(self._simulation.allocator_programs)
        return allocator is not None and self._kill(allocator)

    def _pause(self, program: Program | None) -> bool:
        if program is None or program.process is None:
            return False
        timeout = self._options.zk_session_timeout
        seconds = self._random.choice((self._random.uniform(0.1, 2.0), self._random.uniform(1.0, 4.0) * timeout))
        self._simulation.network.pause(program.process, seconds)
        self._simulation.zookeeper.process_paused(program.process, seconds)
        program.pause(seconds)
        return True

    # --- ZooKeeper and the store

    def cut_off_from_zookeeper(self) -> bool:
        registry = self._simulation.leading_program() or self._running(self._simulation.registry_programs)
        if registry is None:
            return False
        seconds = self._random.uniform(0.2, 3.0) * self._options.zk_session_timeout
        self._simulation.zookeeper.cut_off(registry.host, seconds)
        return True

    def stop_zookeeper(self) -> bool:
        self._simulation.zookeeper.stop(self._random.uniform(0.1, 2.0) * self._options.zk_session_timeout)
        return True

    def refuse_writes(self) -> bool:
        self._simulation.zookeeper.refuses_until = self._loop.time() + self._random.uniform(0.1, 3.0)
        return True

    # --- frameworks

    def restart_framework(self) -> bool:
        framework = self._running(self._simulation.framework_programs)
        return framework is not None and self._kill(framework)

    # --- disks and clocks

    def fill_disk(self) -> bool:
        agent = self._running(self._simulation.agent_programs)
        if agent is None:
            return False
        self._simulation.disk.full_until[agent.host] = self._loop.time() + self._random.uniform(0.5, 8.0)
        return True

    def tear_journal(self) -> bool:
        """An append was not finished when the process died."""
        agent = self._running(self._simulation.agent_programs)
        if agent is None:
            return False
        self._kill(agent)
        journal = self._simulation.journal_of(agent)  # the last thing it did may have been to begin another
        if journal is None:
            return False
        disk.tear(journal, self._random)
        return True

    def damage_journal(self) -> bool:
        """Bits turn over. What the agent held then may be lost, and somebody has to say that it is to go on."""
        agent = self._running(self._simulation.agent_programs)
        if agent is None:
            return False
        self._kill(agent)
        journal = self._simulation.journal_of(agent)  # the last thing it did may have been to begin another
        if journal is None or not disk.damage(journal, self._random):
            return False
        self._simulation.damaged(agent)
        return True

    def jump_clock(self) -> bool:
        program = self._running(
            [
                *self._simulation.registry_programs,
                *self._simulation.agent_programs,
                *self._simulation.allocator_programs,
            ]
        )
        if program is None:
            return False
        jump = self._options.clock_jump
        program.jump(self._random.uniform(-jump, jump))
        return True
