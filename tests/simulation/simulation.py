"""A whole cluster from one seed: who runs where, what goes wrong, and what must be true all the same.

First everything runs with faults, and whatever a core, a framework or the network shows that cannot be true ends the
simulation. Then it is calm, and everything has to come to its end.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mezzo.errors import MezzoError
from mezzo.resources import Resources, parse
from mezzo_agent.core import Agent
from mezzo_allocator.core.allocator import Allocator
from mezzo_chassis.errors import Exit, StartupError
from mezzo_registry.core import Registry
from tests.simulation import environment
from tests.simulation.checks import Checks, Probe, ViolationError
from tests.simulation.containers import Host
from tests.simulation.disk import Disk
from tests.simulation.election import ZooKeeper
from tests.simulation.faults import Faults
from tests.simulation.frameworks import FrameworkNode
from tests.simulation.hostile import HostileFramework
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Delays, Network
from tests.simulation.operators import Operator
from tests.simulation.options import Options, draw
from tests.simulation.programs import Program
from tests.simulation.services import PORT, AgentService, AllocatorService, RegistryService

STUCK_SECONDS = 200.0
"""Simulated: where nothing has come nearer to its end for so long without faults, nothing ever will."""
PROBE_SECONDS_MAX = 100.0
VALIDATE_EVERY = 20
"""After so many events of all cores the one that handled the last is checked."""


class Simulation:
    """Use it as a context manager: outside of it, time is real."""

    def __init__(self, seed: int, options: Options | None = None, *, logs: bool = False) -> None:
        self.seed = seed
        self.options = options or draw(seed)
        self.random = random.Random(seed)
        self.loop = SimulatedLoop()
        self.calm = False
        self._over = False
        """Whether nothing is started any more."""
        self.agent_hosts: dict[str, Host] = {}
        """By agent id, whoever had it."""
        self._logs = logs
        self._stack = ExitStack()
        self._events = 0
        self._progress: object = None
        self._progress_at = 0.0

    def __str__(self) -> str:
        return f"seed {self.seed}, step {self.loop.steps}, at {self.loop.time():.3f} s, with\n{self.options}"

    def __enter__(self) -> Self:
        folder = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
        self._root = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="simulation-")))
        options = self.options
        delays = Delays(options.message_seconds, options.break_noticed_seconds)
        self.network = Network(self.loop, self.chooser(), delays)
        self.disk = Disk(self.loop, self.chooser())
        self.zookeeper = ZooKeeper(self.loop, self.chooser(), options.zk_session_timeout)
        self.zookeeper.store_seconds = options.store_seconds
        jobs = self.chooser()
        self.loop.job_seconds = lambda _: jobs.uniform(*options.disk_seconds)
        self._stack.enter_context(environment.logging(self.loop, shown=self._logs))
        self._stack.enter_context(environment.simulated(self.loop, self.network, self.disk, self.chooser()))
        for core in (Registry, Agent, Allocator):
            self._stack.enter_context(self._checked(core))
        self._build()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._shut_down()
        finally:
            self._stack.close()
            self.loop.close()

    def chooser(self) -> random.Random:
        """Chance of its own, so that one part's choices do not depend on another's."""
        return random.Random(self.random.getrandbits(64))

    def _build(self) -> None:
        options = self.options
        self.registry_programs: list[Program] = []
        self.allocator_programs: list[Program] = []
        self.agent_programs: list[Program] = []
        self.framework_programs: list[Program] = []
        self.hostile_programs: list[Program] = []
        self.other_programs: list[Program] = []
        self.registries = [
            RegistryService(self.loop, self.zookeeper, options, f"10.0.1.{number}")
            for number in range(options.registries)
        ]
        for number, registry in enumerate(self.registries):
            self._add(self.registry_programs, f"registry-{number}", f"10.0.1.{number}", registry.serve)
        self.allocators = [
            AllocatorService(self.zookeeper, options, f"10.0.2.{number}", self.random.getrandbits(60))
            for number in range(options.allocators)
        ]
        for number, allocator in enumerate(self.allocators):
            self._add(self.allocator_programs, f"allocator-{number}", f"10.0.2.{number}", allocator.serve)
        self.agents: list[AgentService] = []
        for number in range(options.agents):
            ip = f"10.0.3.{number}"
            host = Host(f"agent-{number}", ip, self.loop, self.chooser(), options, self._root / ip, self.kill)
            agent = AgentService(self.zookeeper, options, host, self._resources())
            self.agents.append(agent)
            self._add(self.agent_programs, host.name, ip, agent.serve, self._agent_ended)
        addresses = self.addresses = [f"10.0.1.{number}:{PORT}" for number in range(options.registries)]
        self.frameworks = [
            FrameworkNode(
                f"framework-{number}",
                (options.roles[number % len(options.roles)],),
                self.chooser(),
                options,
                addresses,
                self._may_lose,
            )
            for number in range(options.frameworks)
        ]
        for number, framework in enumerate(self.frameworks):
            self._add(self.framework_programs, framework.name, f"10.0.4.{number}", framework.run, self._framework_ended)
        self.operator = Operator(self, self.chooser(), addresses)
        if options.operator_seconds is not None:
            self._add(self.other_programs, "operator", "10.0.5.0", self.operator.run)
        for number in range(options.hostile_frameworks):
            hostile = HostileFramework(self, f"hostile-{number}", self.chooser(), addresses)
            self._add(self.hostile_programs, hostile.name, f"10.0.6.{number}", hostile.run)
        self.checks = Checks(self)
        self.network.watch = self.checks.sent
        self.faults = Faults(self)
        for program in self.programs:
            self.start_later(program, self.random.uniform(0, 1))
        self.faults.begin()

    def _add(
        self,
        programs: list[Program],
        name: str,
        host: str,
        main: Any,
        ended: Callable[[Program, BaseException | None], None] | None = None,
    ) -> Program:
        program = Program(name, host, self.loop, main, ended=ended)
        program.wall_offset_seconds = self.random.uniform(-1, 1) * self.options.clock_offset
        programs.append(program)
        return program

    def _resources(self) -> Resources:
        return parse(f"cpus:{self.random.randint(1, 8)};mem:{self.random.randint(1, 8) * 512};ports:[31000-31010]")

    # --- programs

    @property
    def programs(self) -> list[Program]:
        return [
            *self.registry_programs,
            *self.allocator_programs,
            *self.agent_programs,
            *self.framework_programs,
            *self.hostile_programs,
            *self.other_programs,
        ]

    @property
    def service_programs(self) -> list[Program]:
        return [*self.registry_programs, *self.allocator_programs, *self.agent_programs]

    def start_later(self, program: Program, seconds: float) -> None:
        self.loop.call_at_as(self.loop.world, self.loop.time() + seconds, self._start, program)

    def _start(self, program: Program) -> None:
        if not self._over:
            program.start()

    def kill(self, program: Program, *, silently: bool = False) -> None:
        """`kill -9`; with `silently`, its peers are not told, as when its machine has lost its power."""
        process = program.kill(self.disk.lose_power)
        if process is not None:
            self.network.kill(process, silently=silently)
            self.zookeeper.process_died(process)

    def _agent_ended(self, program: Program, error: BaseException | None) -> None:
        """Somebody starts it again: whoever watches services, or an operator where it will not start."""
        agent = self._agent(program)
        if isinstance(error, StartupError) and error.code == Exit.INCOMPATIBLE_STATE and agent.host.lost_records:
            agent.strict = False
        elif error is not None and not isinstance(error, StartupError):
            self.loop.fail(error)
        self.start_later(program, 1.0)

    def _framework_ended(self, program: Program, error: BaseException | None) -> None:
        framework = self.frameworks[self.framework_programs.index(program)]
        if error is not None or not framework.removed:
            self.loop.fail(error or ViolationError(f"{framework.name} ended by itself"))

    def _agent(self, program: Program) -> AgentService:
        return self.agents[self.agent_programs.index(program)]

    def host_of(self, agent: Program) -> Host:
        return self._agent(agent).host

    def journal_of(self, agent: Program) -> Path | None:
        """The file that counts."""
        journals = [
            each for each in (self.host_of(agent).work_dir / "meta").glob("journal.*") if each.suffix[1:].isdigit()
        ]
        return max(journals, key=lambda each: int(each.suffix[1:]), default=None)

    def damaged(self, agent: Program) -> None:
        self.note_agents()
        self.host_of(agent).lost_records = True

    def note_agents(self) -> None:
        """Remember which host has which agent's id, as soon as it is on its disk: before, it may yet be lost."""
        for agent, program in zip(self.agents, self.agent_programs, strict=True):
            agent_id = agent.core.state.agent_id if agent.core is not None else ""
            if agent_id and agent_id not in self.agent_hosts:
                journal = self.journal_of(program)
                if journal is not None and agent_id.encode() in journal.read_bytes():
                    self.agent_hosts[agent_id] = agent.host

    def _may_lose(self, agent_id: str) -> bool:
        self.note_agents()
        host = self.agent_hosts.get(agent_id)
        return host is None or host.lost_records or host.taken_down

    def leading_program(self) -> Program | None:
        """The registry that leads, or one of those that believe so."""
        for program, registry in zip(self.registry_programs, self.registries, strict=True):
            if program.runs and registry.core is not None:
                return program
        return None

    # --- running

    def run(self, steps: int) -> None:
        """So many steps with faults, then none until everything has come to its end.

        Raises:
            AssertionError: something is not as it must be. Whatever is raised says how to see it again.
        """
        try:
            self._run(steps)
        except BaseException as error:
            again = f"\nmake sim SEED={self.seed} STEPS={steps}" if self.options == draw(self.seed) else ""
            error.add_note(f"{self}{again}")
            raise

    def _run(self, steps: int) -> None:
        self.loop.run(lambda: self.loop.steps >= steps)
        self.calm = True
        self.disk.full_until.clear()
        for program in self.hostile_programs:
            self.kill(program)
        self.loop.run(lambda: self.checks.at_rest() or self._stuck())
        self.checks.at_the_end()
        self._probe()

    def _stuck(self) -> bool:
        progress, now = self.checks.progress(), self.loop.time()
        if progress != self._progress:
            self._progress, self._progress_at = progress, now
        return now - self._progress_at > STUCK_SECONDS

    def _probe(self) -> None:
        """When all others have gone, a new framework is offered everything."""
        for program in (*self.framework_programs, *self.other_programs):
            self.kill(program)
        probe = Probe(self, self.addresses)
        self._add(self.other_programs, "probe", "10.0.7.0", probe.run).start()
        until = self.loop.time() + PROBE_SECONDS_MAX
        self.loop.run(lambda: not probe.missing() or self.loop.time() > until)
        if missing := probe.missing():
            raise ViolationError(f"is held for nobody: {missing}")

    @contextmanager
    def _checked(self, core: type[Any]) -> Iterator[None]:
        """Whatever a core raises that is no refusal ends the simulation; and its state is checked now and then."""
        handle = core.handle

        def checked(this: Any, event: Any, *, now: float) -> Any:
            try:
                effects = handle(this, event, now=now)
                self._events += 1
                if self._events % VALIDATE_EVERY == 0:
                    this.validate()
            except MezzoError:
                raise
            except Exception as error:
                self.loop.fail(error)
                raise
            return effects

        core.handle = checked
        try:
            yield
        finally:
            core.handle = handle

    def _shut_down(self) -> None:
        """End everything, so that nothing is left that could complain."""
        self.loop.failure = None
        self.loop.tolerant = True
        self.calm = self._over = True
        self.loop.set_exception_handler(lambda *_: None)
        for host in self.agents:
            host.host.power_off()
        for program in self.programs:
            self.kill(program)
        until = self.loop.time() + 30
        self.loop.call_at_as(self.loop.world, until, lambda: None)
        try:
            self.loop.run(lambda: self.loop.time() >= until)
        except AssertionError:
            return
