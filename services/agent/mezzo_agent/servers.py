"""Every server of the agent: HTTP, the executors' Unix socket, gRPC, and the Prometheus exporter."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterable
from pathlib import Path

from aiohttp import web

from mezzo.executor.v1 import executor_pb2_grpc
from mezzo_agent import __version__
from mezzo_agent.adapters.detection import hostname
from mezzo_agent.config import Config
from mezzo_agent.http.endpoints import executor_routes, routes
from mezzo_agent.http.sandboxes import SandboxTree
from mezzo_agent.metrics import AgentMetrics
from mezzo_agent.rpc.executor_service import SERVICE, ExecutorService
from mezzo_agent.shell.agent_runtime import AgentRuntime
from mezzo_agent.shell.readiness_gate import ReadinessGate
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.exporter import start_exporter
from mezzo_chassis.http.bodies import REQUEST_BYTES_MAX
from mezzo_chassis.http.browsers import EVERY_HOST, AllowedHosts
from mezzo_chassis.http.connections import ConnectionLimits
from mezzo_chassis.http.site import Site, start_site, start_unix_site
from mezzo_chassis.log import get_logger
from mezzo_chassis.log_level import LogLevel
from mezzo_chassis.rpc import Server, start_server

log = get_logger(__name__)


class Servers:
    """Binds every port before anything else is done, and serves when the agent has recovered."""

    def __init__(self, config: Config, metrics: AgentMetrics) -> None:
        self._config = config
        self._metrics = metrics
        self._gate = ReadinessGate()
        self._tree = SandboxTree(self._gate, config.work_dir)
        self._log_level = LogLevel(config.log_level)
        self._limits = ConnectionLimits(total=config.max_connections, per_peer=config.max_connections_per_peer)
        self._sites: list[Site] = []
        self._grpc: Server | None = None
        self.http_port = 0
        self.grpc_port = 0

    async def bind(self) -> None:
        """Bind every port; nothing is served yet.

        Raises:
            StartupError: a port is in use, or the Unix socket cannot be made; the error names it.
        """
        config, gate = self._config, self._gate
        try:
            names = (hostname(config), config.advertise_ip, socket.gethostname())
            hosts = AllowedHosts.of(config.allowed_hosts, *names)
            table = routes(gate, self._tree, self._log_level, config.as_mesos_flags())
            application = table.application(hosts=hosts)
            site = await start_site(
                application, config.ip, config.port, limits=self._limits, metrics=self._metrics.http
            )
            self._sites.append(site)
            self.http_port = site.port
            if config.domain_socket is not None:
                application = executor_routes(gate).application(hosts=EVERY_HOST)
                self._sites.append(await self._listen_on(application, config.domain_socket))
            self._sites.append(await start_exporter(config.ip, config.metrics_port, self._metrics.registry))
            servicer = (executor_pb2_grpc.add_ExecutorServicer_to_server, ExecutorService(gate))
            rpc = self._metrics.rpc
            self._grpc = await start_server(
                config.ip,
                config.grpc_port,
                [servicer],
                [SERVICE],
                rpc,
                serving=False,
                # Of executors, which are tasks: no more than over HTTP. Parsed, it may take 25 times that of memory.
                request_bytes_max=REQUEST_BYTES_MAX,
            )
            self.grpc_port = self._grpc.port
        except BaseException:
            await self.close()
            raise

    async def _listen_on(self, application: web.Application, path: Path) -> Site:
        try:
            return await start_unix_site(application, path, limits=self._limits, metrics=self._metrics.http)
        except OSError as error:
            raise StartupError(Exit.UNWRITABLE, f"--domain_socket: cannot listen on {path}: {error}") from None

    async def open(self, runtime: AgentRuntime) -> None:
        """The agent has recovered: answer."""
        self._gate.open(runtime)
        log.info("serving", http=f"{self._config.ip}:{self.http_port}", grpc_port=self.grpc_port, version=__version__)
        if self._grpc is not None:
            await self._grpc.set_serving(True, SERVICE)

    async def announce(self, registered: AsyncIterable[bool]) -> None:
        """As a whole it is healthy while a registry knows it; executors it serves in any case. Until cancelled."""
        async for known in registered:
            if self._grpc is not None:
                await self._grpc.set_serving(known, "")

    async def close(self) -> None:
        """Answer nobody any more."""
        if self._grpc is not None:
            await self._grpc.stop()
        for site in self._sites:
            await site.stop()
        self._log_level.close()
