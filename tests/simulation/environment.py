"""Between the programs and the machine: what they ask of clocks, chance, sockets and disks, the simulation answers.

The programs run as they are. What is replaced, for as long as a simulation runs, is below them: the clocks of `time`,
the bytes of `os.urandom`, writes to disk, and gRPC's channels and servers. Threads are the event loop's.
"""

from __future__ import annotations

import asyncio
import gc
import logging as stdlib_logging
import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import grpc
import structlog

from mezzo_chassis import rpc
from tests.simulation.disk import Disk
from tests.simulation.loop import START_SECONDS, SimulatedLoop
from tests.simulation.network import Network


@contextmanager
def simulated(loop: SimulatedLoop, network: Network, disk: Disk, chooser: random.Random) -> Iterator[None]:
    """Everything that runs meanwhile runs in the simulation."""

    def wall() -> float:
        return START_SECONDS + loop.time() + loop.process.wall_offset_seconds

    def clock_gettime(_clock: int) -> float:
        return loop.time()

    def nothing(*_: Any) -> int:
        return 0

    state = random.getstate()
    random.seed(chooser.getrandbits(64))
    with ExitStack() as stack:
        stack.callback(random.setstate, state)
        for module, name, stand_in in (
            (time, "time", wall),
            (time, "monotonic", loop.time),
            (time, "perf_counter", loop.time),
            (time, "clock_gettime", clock_gettime),
            (os, "urandom", chooser.randbytes),
            (os, "pwrite", disk.pwrite),
            (os, "fdatasync", disk.sync),
            (os, "fsync", disk.sync),
            # A collection of everything costs more than all that is simulated in between.
            (gc, "collect", nothing),
            (gc, "freeze", nothing),
            (gc, "unfreeze", nothing),
            (grpc.aio, "insecure_channel", network.channel),
            (grpc.aio, "server", network.server),
            (rpc, "check_port_is_free", nothing),
        ):
            stack.enter_context(mock.patch.object(module, name, stand_in))
        asyncio.set_event_loop(loop)
        stack.callback(asyncio.set_event_loop, None)
        yield


@contextmanager
def logging(loop: SimulatedLoop, *, shown: bool) -> Iterator[None]:
    """Logs with simulated time and the name of the process; or none."""

    def drop(*_: Any) -> structlog.typing.EventDict:
        raise structlog.DropEvent

    def simulated_time(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {"at": f"{loop.time():.4f}", "process": loop.process.name, **event}

    show: list[structlog.typing.Processor] = [
        simulated_time,
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(colors=False),
    ]
    before, disabled = structlog.get_config(), stdlib_logging.root.manager.disable
    stdlib_logging.disable(stdlib_logging.NOTSET if shown else stdlib_logging.CRITICAL)
    structlog.configure(
        processors=show if shown else [drop],
        wrapper_class=structlog.make_filtering_bound_logger("debug" if shown else "critical"),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
        stdlib_logging.disable(disabled)
