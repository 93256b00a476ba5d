"""The services as they are, put together as their `app.py` does, on a simulated machine."""

from __future__ import annotations

import time
import uuid
from contextlib import AsyncExitStack

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2_grpc
from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.errors import NotLeading
from mezzo.executor.v1 import executor_pb2_grpc
from mezzo.operator.v1 import operator_pb2_grpc
from mezzo.resources import Resources
from mezzo.scheduler.v1 import scheduler_pb2_grpc
from mezzo_agent.containers.gc import GarbageCollector
from mezzo_agent.core import Agent
from mezzo_agent.core import Settings as AgentSettings
from mezzo_agent.metrics import AgentMetrics
from mezzo_agent.rpc.executor_service import SERVICE as EXECUTOR_SERVICE
from mezzo_agent.rpc.executor_service import ExecutorService
from mezzo_agent.shell.agent_runtime import AgentRuntime
from mezzo_agent.shell.readiness_gate import ReadinessGate
from mezzo_agent.shell.registry_session import RegistrySession
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.core.policy import Policy, Sorter
from mezzo_allocator.metrics import AllocatorMetrics
from mezzo_allocator.shell.session import SERVICE_NAME, SessionServicer
from mezzo_chassis.leadership import Health, Leadership, master_info_json
from mezzo_chassis.leadership.payload import address_json
from mezzo_chassis.lifecycle import Lifecycle
from mezzo_chassis.log_level import LogLevel
from mezzo_chassis.rpc import start_server
from mezzo_registry.adapters.candidates import Candidates
from mezzo_registry.app import SERVICES
from mezzo_registry.core import Registry, Settings
from mezzo_registry.metrics import RegistryMetrics
from mezzo_registry.ports import Store
from mezzo_registry.rpc.agent_sessions import AgentSessions
from mezzo_registry.rpc.operators import Operators
from mezzo_registry.rpc.schedulers import Schedulers
from mezzo_registry.shell.current_term import CurrentTerm
from mezzo_registry.shell.leader_loop import LeaderLoop
from tests.simulation.containers import Host, SimulatedContainerizer
from tests.simulation.election import SimulatedCandidate, SimulatedDetector, SimulatedStore, ZooKeeper
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.options import Options

REGISTRIES, ALLOCATORS = "/mezzo", "/mezzo/allocators"
PORT = 5050
AGENT_PORT = 5051
AGENT_GRPC_PORT = 5052
VERSION = "0.0.0"
UPDATE_RETRY_SECONDS_MAX = 30.0


class RegistryService:
    """One of the registries: leads or stands by."""

    def __init__(self, loop: SimulatedLoop, zookeeper: ZooKeeper, options: Options, ip: str) -> None:
        self._loop = loop
        self._zookeeper = zookeeper
        self._options = options
        self._ip = ip
        self.current_term = CurrentTerm()

    @property
    def core(self) -> Registry | None:
        """While it leads."""
        return self.current_term.get().core if self.current_term.leads else None

    async def serve(self, process: Process) -> None:
        options, zookeeper = self._options, self._zookeeper
        settings = Settings(
            agent_ping_timeout=options.agent_ping_timeout,
            max_agent_ping_timeouts=options.max_agent_ping_timeouts,
            agent_reregister_timeout=options.agent_reregister_timeout,
            offer_timeout=options.offer_timeout,
        )
        address = f"{self._ip}:{PORT}"
        info = mesos.MasterInfo(id=str(uuid.uuid4()), ip=1, port=PORT, hostname=self._ip)
        metrics, current_term, level = RegistryMetrics(VERSION), CurrentTerm(), LogLevel("error")
        self.current_term = current_term
        candidate = SimulatedCandidate(zookeeper, REGISTRIES, master_info_json(info, address), process)
        registries = SimulatedDetector(zookeeper, REGISTRIES, process)
        allocators = SimulatedDetector(zookeeper, ALLOCATORS, process)

        def store_of(leadership: Leadership) -> Store:
            assert leadership.epoch is not None
            return SimulatedStore(zookeeper, process, leadership.epoch)

        async def announce(led_by: mesos.MasterInfo, leadership: Leadership) -> None:
            candidate.announce(leadership, master_info_json(led_by, address))

        life = Lifecycle()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(life.close)
            server = await start_server(
                self._ip,
                PORT,
                [
                    (agent_session_pb2_grpc.add_AgentSessionServicer_to_server, AgentSessions(current_term)),
                    (scheduler_pb2_grpc.add_SchedulerServicer_to_server, Schedulers(current_term)),
                    (
                        operator_pb2_grpc.add_OperatorServicer_to_server,
                        Operators(current_term, level, Candidates(), VERSION),
                    ),
                ],
                SERVICES,
                metrics.rpc,
                serving=False,
            )
            stack.push_async_callback(server.stop)
            health = Health(candidate, server)
            leader_loop = LeaderLoop(
                settings=settings,
                flags={},
                first_info=info,
                started_at=time.time(),
                candidate=candidate,
                allocators=allocators,
                store_of=store_of,
                current_term=current_term,
                metrics=metrics,
                announce=announce,
                hinder=health.hinder,
                pause_seconds_max=options.zk_session_timeout * 2 / 3,
            )
            for each in (allocators, candidate, registries):
                stack.push_async_callback(each.close)
                await each.start()
            stack.push_async_callback(leader_loop.end, NotLeading())
            stack.callback(current_term.clear)
            life.spawn(_follow_leader(registries, current_term), "follow the leader")
            life.spawn(leader_loop.run(), "lead")
            life.spawn(health.follow(), "health")
            await life.stopping.wait()


async def _follow_leader(registries: SimulatedDetector, current_term: CurrentTerm) -> None:
    async for leader in registries.changes():
        current_term.leader = leader.grpc_address if leader is not None else None


class AllocatorService:
    """One of the allocators."""

    def __init__(self, zookeeper: ZooKeeper, options: Options, ip: str, seed: int) -> None:
        self._zookeeper = zookeeper
        self._options = options
        self._ip = ip
        self._seed = seed
        self.core: Allocator | None = None

    async def serve(self, process: Process) -> None:
        sorter = Sorter.RANDOM if self._options.random_sorter else Sorter.DRF
        core = self.core = Allocator(Policy(seed=self._seed, role_sorter=sorter, framework_sorter=sorter))
        ready, level = wire.Ready(version=VERSION), LogLevel("error")
        servicer = SessionServicer(core, AllocatorMetrics(VERSION), ready, level, now=time.monotonic)
        candidate = SimulatedCandidate(self._zookeeper, ALLOCATORS, address_json(f"{self._ip}:{PORT}"), process)
        life = Lifecycle()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(life.close)
            server = await start_server(self._ip, PORT, [(SessionServicer.add_to, servicer)], [SERVICE_NAME])
            stack.push_async_callback(server.stop)
            stack.callback(servicer.lead, leading=False)
            stack.push_async_callback(candidate.close)
            await candidate.start()
            life.spawn(_follow_election(candidate, servicer), "follow leadership")
            await life.stopping.wait()


async def _follow_election(candidate: SimulatedCandidate, servicer: SessionServicer) -> None:
    async for leadership in candidate.changes():
        servicer.lead(leading=leadership.leading)


class AgentService:
    """The agent of a host."""

    def __init__(self, zookeeper: ZooKeeper, options: Options, host: Host, resources: Resources) -> None:
        self._zookeeper = zookeeper
        self._options = options
        self.host = host
        self.resources = resources
        self.strict = True
        """As --strict; an operator turns it off when the agent will not start."""
        self.runtime: AgentRuntime | None = None

    @property
    def core(self) -> Agent | None:
        """While it runs, and has recovered."""
        return self.runtime.core if self.runtime is not None else None

    async def serve(self, process: Process) -> None:
        """Raises `StartupError`: what is on the disk cannot be used."""
        options, host = self._options, self.host
        settings = AgentSettings(
            work_dir=host.work_dir,
            ip=host.ip,
            port=AGENT_PORT,
            grpc_port=AGENT_GRPC_PORT,
            recovery_timeout=options.recovery_timeout,
            update_retry_min=options.update_retry_min,
            update_retry_max=UPDATE_RETRY_SECONDS_MAX,
        )
        info = mesos.AgentInfo(hostname=host.name, port=AGENT_PORT, resources=self.resources.messages())
        detector = SimulatedDetector(self._zookeeper, REGISTRIES, process)
        session = RegistrySession(detector, retry_seconds_max=1.0)
        runtime = AgentRuntime(
            settings,
            info,
            SimulatedContainerizer(host, process),
            session,
            GarbageCollector(1e9, 0.1, clock=time.time),
            AgentMetrics(VERSION),
            0,
        )
        gate = ReadinessGate()
        life = Lifecycle()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(life.close)
            stack.push_async_callback(detector.close)
            stack.push_async_callback(runtime.close)
            await runtime.recover(strict=self.strict)
            self.strict = True
            self.runtime = runtime
            server = await start_server(
                host.ip,
                AGENT_GRPC_PORT,
                [(executor_pb2_grpc.add_ExecutorServicer_to_server, ExecutorService(gate))],
                [EXECUTOR_SERVICE],
            )
            stack.push_async_callback(server.stop)
            stack.callback(runtime.streams.close_all)
            gate.open(runtime)
            await detector.start()
            life.spawn(runtime.run_session(), "registry session")
            for over in (runtime.ended, runtime.failed):
                over.add_done_callback(lambda _: life.stop())
            await life.stopping.wait()
            if runtime.ended.done():
                await runtime.finish_removal(runtime.ended.result())
