"""The composition root: builds the registry out of its parts, and leads terms whenever it is elected."""

import socket
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2_grpc
from mezzo.errors import NotLeading
from mezzo.operator.v1 import operator_pb2_grpc
from mezzo.scheduler.v1 import scheduler_pb2_grpc
from mezzo_chassis import lifecycle, log, open_files
from mezzo_chassis.build import MESOS_VERSION
from mezzo_chassis.config import load
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.exporter import start_exporter
from mezzo_chassis.leadership import (
    ALLOCATORS_FOLDER,
    Candidate,
    Contender,
    Detector,
    FixedDetector,
    Health,
    LeaderDetector,
    Leadership,
    StandaloneCandidate,
    master_info_json,
)
from mezzo_chassis.log_level import LogLevel
from mezzo_chassis.rpc import Server, start_server
from mezzo_registry import __version__
from mezzo_registry.adapters.candidates import Candidates
from mezzo_registry.adapters.leader_node import LeaderNode
from mezzo_registry.adapters.sqlite_store import SqliteStore
from mezzo_registry.adapters.whitelist import Whitelist
from mezzo_registry.adapters.zookeeper_store import ZooKeeperStore
from mezzo_registry.config import Config
from mezzo_registry.metrics import RegistryMetrics
from mezzo_registry.rpc.agent_sessions import AgentSessions
from mezzo_registry.rpc.operators import Operators
from mezzo_registry.rpc.schedulers import Schedulers
from mezzo_registry.shell.current_term import CurrentTerm
from mezzo_registry.shell.leader_loop import LeaderLoop

logger = log.get_logger(__name__)

PAUSE_PART_MAX = 2 / 3
"""Of the session time-out. ZooKeeper has received something within a third of it: a shorter pause ends no session."""
SERVICES = ("mezzo.scheduler.v1.Scheduler", "mezzo.agent.v1.AgentSession", "mezzo.operator.v1.Operator")
"""Below the registries' path in ZooKeeper, where allocators stand for election."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a registry until it is asked to stop. Returns the exit code."""
    config = load(Config, argv, service="registry", version=__version__)
    log.configure("registry", config.log_level, config.log_format)
    open_files.raise_limit()
    return lifecycle.run(lambda life: serve(config, life), service="registry")


async def serve(config: Config, life: lifecycle.Lifecycle) -> None:
    """Serve until `life` is stopping.

    Raises:
        StartupError: a port is in use, the store or the whitelist cannot be used, or a flag makes no sense.
    """
    started_at = time.time()
    host = _reachable_host(config)
    info = master_info(config, host, str(uuid.uuid4()))
    metrics, current_term = RegistryMetrics(__version__), CurrentTerm()
    metrics.follow(current_term)
    async with AsyncExitStack() as stack:
        whitelist = Whitelist(config.whitelist) if config.whitelist is not None else None
        if whitelist is not None:
            await whitelist.open()
        sqlite = SqliteStore(config.work_dir / "registry.sqlite")
        stack.push_async_callback(sqlite.close)
        if config.zk is None:
            await sqlite.open()
        exporter = await start_exporter(config.ip, config.metrics_port, metrics.registry)
        stack.push_async_callback(exporter.stop)
        log_level = LogLevel(config.log_level)
        stack.callback(log_level.close)
        candidates = Candidates()
        operators = Operators(current_term, log_level, candidates, __version__)
        server = await _serve_peers(config, current_term, metrics, operators)
        stack.push_async_callback(server.stop)
        address = f"{host}:{server.port}"
        logger.info("serving", grpc=address, metrics_port=exporter.port, version=__version__)
        candidate, registries, allocators = _election(config, info, address)
        candidates.follow(candidate, config.zk, address, allocators)

        def store_of(leadership: Leadership) -> Any:
            if config.zk is None or leadership.epoch is None:
                return sqlite
            assert isinstance(candidate, Contender)
            return ZooKeeperStore(candidate.client, config.zk, leadership.epoch)

        health = Health(candidate, server)
        leader_loop = LeaderLoop(
            settings=config.settings(),
            flags=config.as_mesos_flags(),
            first_info=info,
            started_at=started_at,
            candidate=candidate,
            allocators=allocators,
            store_of=store_of,
            current_term=current_term,
            metrics=metrics,
            announce=LeaderNode(candidate, info.id, address).announce,
            hinder=health.hinder,
            whitelist=whitelist,
            pause_seconds_max=config.zk_session_timeout * PAUSE_PART_MAX if config.zk is not None else None,
            address=address,
        )
        finding: list[Candidate | LeaderDetector] = [allocators, candidate]
        if registries is not None:
            finding.append(registries)
        for each in finding:
            stack.push_async_callback(each.close)
            await each.start()
        stack.push_async_callback(leader_loop.end, NotLeading())
        stack.callback(current_term.clear)
        if registries is not None:
            life.spawn(_follow_leader(registries, current_term), "follow the leader")
        life.spawn(metrics.process.watch(), "process metrics")
        life.spawn(metrics.leadership.follow(candidate), "leadership metrics")
        life.spawn(leader_loop.run(), "lead")
        life.spawn(health.follow(), "health")
        await life.stopping.wait()


async def _serve_peers(
    config: Config, current_term: CurrentTerm, metrics: RegistryMetrics, operators: Operators
) -> Server:
    return await start_server(
        config.ip,
        config.grpc_port,
        [
            (agent_session_pb2_grpc.add_AgentSessionServicer_to_server, AgentSessions(current_term)),
            (scheduler_pb2_grpc.add_SchedulerServicer_to_server, Schedulers(current_term)),
            (operator_pb2_grpc.add_OperatorServicer_to_server, operators),
        ],
        SERVICES,
        metrics.rpc,
        serving=False,
    )


def _reachable_host(config: Config) -> str:
    if config.hostname:
        return config.hostname
    if config.ip not in ("0.0.0.0", "::"):
        return config.ip
    return socket.getfqdn()


def master_info(config: Config, host: str, registry_id: str) -> mesos.MasterInfo:
    """Describe the leader to clients: the address is that of a gateway's HTTP API."""
    ip = config.advertise_ip or _ip_of(config, host)
    # The port is a gateway's: so is the name. Where gRPC is, --hostname, nobody answers HTTP.
    name = config.advertise_ip or host
    info = mesos.MasterInfo(
        id=registry_id,
        ip=int.from_bytes(socket.inet_aton(ip), "little"),
        port=config.advertise_port,
        pid=f"master@{ip}:{config.advertise_port}",
        hostname=name,
        version=MESOS_VERSION,
    )
    info.address.hostname = name
    info.address.ip = ip
    info.address.port = config.advertise_port
    if config.domain is not None:
        info.domain.CopyFrom(config.domain)
    info.capabilities.add(type=mesos.MasterInfo.Capability.AGENT_UPDATE)
    return info


def _ip_of(config: Config, host: str) -> str:
    anywhere = config.ip in ("0.0.0.0", "::")
    try:
        return socket.gethostbyname(host if anywhere else config.ip)
    except OSError:
        if anywhere:
            return "127.0.0.1"
    problem = f"--advertise_ip: is required: clients need an IPv4 address, and --ip={config.ip} is not one"
    raise StartupError(Exit.BAD_CONFIGURATION, problem)


def _election(
    config: Config, info: mesos.MasterInfo, address: str
) -> tuple[Candidate, LeaderDetector | None, LeaderDetector]:
    """Return how this registry stands for election, learns of another leader, and finds the allocator."""
    if config.zk is None:
        logger.warning("no --zk: this registry leads alone, with a store of its own", work_dir=str(config.work_dir))
        return StandaloneCandidate(), None, FixedDetector("{}:{}".format(*config.allocator))
    timeout = config.zk_session_timeout
    return (
        Contender(config.zk, master_info_json(info, address), session_timeout_seconds=timeout),
        Detector(config.zk, session_timeout_seconds=timeout),
        Detector(config.zk.below(ALLOCATORS_FOLDER), session_timeout_seconds=timeout),
    )


async def _follow_leader(registries: LeaderDetector, current_term: CurrentTerm) -> None:
    """Record who leads, for those who ask here."""
    async for leader in registries.changes():
        current_term.leader = leader.grpc_address if leader is not None else None


if __name__ == "__main__":
    sys.exit(main())
