"""The composition root: builds a gateway from its configuration, and runs it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack

from mezzo import addresses
from mezzo_chassis import log, open_files
from mezzo_chassis.build import Build
from mezzo_chassis.certificates import server_context
from mezzo_chassis.config import as_text, load
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.exporter import start_exporter
from mezzo_chassis.http.browsers import AllowedHosts
from mezzo_chassis.http.connections import ConnectionLimits
from mezzo_chassis.http.site import Site as HttpServer
from mezzo_chassis.http.site import start_site
from mezzo_chassis.leadership import detector_of
from mezzo_chassis.lifecycle import Lifecycle, freeze_gc, run
from mezzo_chassis.log_level import LogLevel
from mezzo_chassis.metrics import ProcessMetrics, RpcMetrics
from mezzo_chassis.rpc import Server as RpcServer
from mezzo_chassis.rpc import start_server
from mezzo_gateway import __version__
from mezzo_gateway.adapters.agents import Agents
from mezzo_gateway.adapters.registry import Registry
from mezzo_gateway.config import Config
from mezzo_gateway.http.endpoints import MiscEndpoints, routes
from mezzo_gateway.http.explain import Explain
from mezzo_gateway.http.files import Files
from mezzo_gateway.http.legacy_reads import LegacyReads
from mezzo_gateway.http.legacy_writes import LegacyWrites
from mezzo_gateway.http.listings import Listings
from mezzo_gateway.http.metrics_snapshot import MetricsSnapshot
from mezzo_gateway.http.operator import OperatorApi
from mezzo_gateway.http.operator_stream import OperatorStream
from mezzo_gateway.http.reads import Reads
from mezzo_gateway.http.scheduler import SchedulerApi
from mezzo_gateway.http.site import Site
from mezzo_gateway.http.tasks import Tasks
from mezzo_gateway.metrics import Metrics
from mezzo_gateway.state.copy import StateCopy

SERVICE = "gateway"
MASTER_FLAGS = ("max_operator_event_stream_subscribers", "port")
"""Of a gateway's flags those that are the master's in Mesos."""

logger = log.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a gateway until it is told to end; the exit code."""
    config = load(Config, argv, service=SERVICE, version=__version__)
    log.configure(SERVICE, config.log_level, config.log_format)
    open_files.raise_limit()
    return run(lambda lifecycle: serve(config, lifecycle), service=SERVICE)


class Gateway:
    """The parts of a gateway, put together and not yet listening."""

    def __init__(self, config: Config, agents: Agents) -> None:
        self.metrics = Metrics()
        self.registry = Registry(StateCopy(), self.metrics, __version__)
        build, log_level = Build.installed(__version__), LogLevel(config.log_level)
        own_flags = {name: text for name, text in as_text(config).items() if name in MASTER_FLAGS}
        reads = Reads(self.registry, own_flags)
        files = Files(reads, agents)
        snapshot = MetricsSnapshot(self.registry)
        self.stream = OperatorStream(
            self.registry,
            reads,
            self.metrics,
            heartbeat_seconds=config.heartbeat_interval,
            subscribers_max=config.max_operator_event_stream_subscribers,
        )
        operator = OperatorApi(self.registry, reads, self.stream, files, snapshot, log_level, build)
        table = routes(
            scheduler=SchedulerApi(self.registry, self.metrics, lambda address: address in self.site.own_addresses),
            operator=operator,
            explain=Explain(self.registry, reads),
            reads=LegacyReads(reads, build),
            writes=LegacyWrites(operator),
            files=files,
            tasks=Tasks(self.registry, reads, files, agents),
            listings=Listings(self.registry, reads),
            misc=MiscEndpoints(self.registry, operator, snapshot, build, reads),
        )
        self.site = Site(table, self.metrics)


async def serve(config: Config, lifecycle: Lifecycle) -> None:
    """Run a gateway until `lifecycle` is stopping.

    Raises:
        StartupError: a port is in use, or the certificate would not be accepted.
    """
    context = _tls(config)
    async with AsyncExitStack() as stack:
        agents = await stack.enter_async_context(Agents(config.agent_timeout))
        gateway = Gateway(config, agents)
        names = (config.hostname, config.advertise_ip, socket.gethostname(), await asyncio.to_thread(socket.getfqdn))
        learned = gateway.registry.advertised_hosts
        gateway.site.hosts = AllowedHosts.of(config.allowed_hosts, *names, learned=learned)
        detector = detector_of(config.master, session_timeout_seconds=config.zk_session_timeout)
        server = await start_site(
            gateway.site.application(config.max_body_size, config.max_total_body_size),
            config.ip,
            config.port,
            context,
            limits=ConnectionLimits(total=config.max_connections, per_peer=config.max_connections_per_peer),
            metrics=gateway.metrics.http,
        )
        stack.push_async_callback(server.stop)
        gateway.site.own_addresses = own_addresses(config, server)
        gateway.registry.own_address = advertised_address(config, server)
        rpc_metrics = RpcMetrics(gateway.metrics.registry, SERVICE)
        process_metrics = ProcessMetrics(gateway.metrics.registry, SERVICE, __version__)
        health = await start_server(config.ip, config.grpc_port, [], [], rpc_metrics, serving=False)
        stack.push_async_callback(health.stop)
        exporter = await start_exporter(config.ip, config.metrics_port, gateway.metrics.registry)
        stack.push_async_callback(exporter.stop)
        await detector.start()
        stack.push_async_callback(detector.close)
        lifecycle.spawn(process_metrics.watch(), "process metrics")
        lifecycle.spawn(gateway.registry.follow(detector.changes()), "registry")
        logger.info("serving", http=f"{config.ip}:{server.port}", grpc_port=health.port, metrics_port=exporter.port)
        lifecycle.spawn(_announce(gateway.registry, health), "health")
        await lifecycle.stopping.wait()


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.ssl_cert_file is None and config.ssl_key_file is None:
        return None
    if config.ssl_cert_file is None or config.ssl_key_file is None:
        raise StartupError(Exit.BAD_CONFIGURATION, "--ssl_cert_file and --ssl_key_file must be set together")
    return server_context(config.ssl_cert_file, config.ssl_key_file)


async def _announce(registry: Registry, health: RpcServer) -> None:
    """Healthy from the first snapshot on. Later the copy answers reads even while no registry can be reached."""
    await registry.wait_until(lambda found: found.copy.cluster is not None)
    freeze_gc()
    await health.set_serving(True)


def advertised_address(config: Config, server: HttpServer) -> str:
    """The "host:port" that others are told to reach this gateway by."""
    anywhere = config.ip in ("0.0.0.0", "::")
    host = config.hostname or config.advertise_ip or (socket.gethostname() if anywhere else config.ip)
    return str(addresses.of(host, config.advertise_port or server.port) or "")


def own_addresses(config: Config, server: HttpServer) -> frozenset[str]:
    """Every "host:port" that clients may know this gateway by."""
    hosts = {config.ip, config.hostname, config.advertise_ip}
    if config.ip in ("0.0.0.0", "::", "127.0.0.1"):
        hosts |= {"127.0.0.1", "localhost"}
    if config.ip in ("0.0.0.0", "::"):
        hosts |= {socket.gethostname()}
    ports = {server.port, config.advertise_port or server.port}
    return frozenset(f"{host}:{port}" for host in hosts if host for port in ports)
