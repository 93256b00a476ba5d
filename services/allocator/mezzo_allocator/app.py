"""The allocator's composition root."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.errors import Unavailable
from mezzo_allocator.config import Config
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.core.policy import Policy
from mezzo_allocator.metrics import AllocatorMetrics
from mezzo_allocator.shell.cold_start import compiled_loops
from mezzo_allocator.shell.session import SERVICE_NAME, SessionServicer
from mezzo_chassis.config import as_text, load
from mezzo_chassis.exporter import start_exporter
from mezzo_chassis.leadership import ALLOCATORS_FOLDER, Candidate, Contender, Health, StandaloneCandidate
from mezzo_chassis.leadership.payload import address_json
from mezzo_chassis.lifecycle import Lifecycle, run
from mezzo_chassis.log import configure, get_logger
from mezzo_chassis.log_level import LogLevel
from mezzo_chassis.rpc import start_server

VERSION = version("mezzo-allocator")
SEED_BITS = 60
MASTER_FLAGS = (
    "allocation_interval",
    "fair_sharing_excluded_resource_names",
    "filter_gpu_resources",
    "framework_sorter",
    "min_allocatable_resources",
    "role_sorter",
)
"""Of an allocator's flags those that are the master's in Mesos, whose allocator is a part of it."""

log = get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run an allocator until it is told to stop; return its exit code."""
    config = load(Config, argv, service="allocator", version=VERSION)
    configure("allocator", config.log_level, config.log_format)
    return run(partial(serve, config), service="allocator")


async def serve(config: Config, lifecycle: Lifecycle) -> None:
    """Start everything, wait for `lifecycle.stopping`, and end everything."""
    core = Allocator(_policy(config))
    metrics = AllocatorMetrics(VERSION)
    metrics.watch(core)
    log_level = LogLevel(config.log_level)
    servicer = SessionServicer(core, metrics, _ready(config), log_level)
    server = await start_server(
        config.ip, config.grpc_port, [(SessionServicer.add_to, servicer)], [SERVICE_NAME], metrics.rpc, serving=False
    )
    candidate = _candidate(config, server.port)
    try:
        exporter = await start_exporter(config.ip, config.metrics_port, metrics.registry)
        try:
            await candidate.start()
            lifecycle.spawn(_follow(candidate, servicer), "follow leadership")
            lifecycle.spawn(Health(candidate, server).follow(), "health")
            lifecycle.spawn(metrics.leadership.follow(candidate), "measure leadership")
            lifecycle.spawn(metrics.process.watch(), "watch the process")
            lifecycle.spawn(_compile(config, core, metrics), "compile the inner loop")
            log.info("serving", grpc_port=server.port, version=VERSION)
            await lifecycle.stopping.wait()
        finally:
            await candidate.close()
            await exporter.stop()
    finally:
        servicer.lead(leading=False)
        await server.stop()
        log_level.close()


def _ready(config: Config) -> wire.Ready:
    flags = as_text(config)
    return wire.Ready(version=VERSION, flags={name: flags[name] for name in MASTER_FLAGS if name in flags})


def _policy(config: Config) -> Policy:
    return Policy(
        allocation_interval_seconds=config.allocation_interval,
        minimum=config.min_allocatable_resources,
        excluded_from_shares=config.fair_sharing_excluded_resource_names,
        filter_gpus=config.filter_gpu_resources,
        role_sorter=config.role_sorter,
        framework_sorter=config.framework_sorter,
        seed=secrets.randbits(SEED_BITS),
    )


def _candidate(config: Config, grpc_port: int) -> Candidate:
    if config.zk is None:
        return StandaloneCandidate()
    host = config.advertise_ip or config.hostname or socket.getfqdn()
    payload = address_json(f"{host}:{grpc_port}")
    return Contender(config.zk.below(ALLOCATORS_FOLDER), payload, session_timeout_seconds=config.zk_session_timeout)


async def _follow(candidate: Candidate, servicer: SessionServicer) -> None:
    async for leadership in candidate.changes():
        servicer.lead(leading=leadership.leading)


async def _compile(config: Config, core: Allocator, metrics: AllocatorMetrics) -> None:
    """Compile beside the service, which decides with the plain inner loop until then."""
    if not config.compile_inner_loop:
        return
    try:
        loops = await compiled_loops()
    except Unavailable as error:
        log.error("numba compilation failed; using the interpreted allocator (about 100x slower)", error=str(error))
        return
    core.use_loops(loops)
    metrics.compiled.set(1)
    log.info("inner loop compiled")
