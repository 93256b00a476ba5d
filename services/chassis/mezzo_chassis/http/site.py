"""A running HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from pathlib import Path

from aiohttp import web
from aiohttp.http import HttpProcessingError

from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.http.connections import DEFAULT_LIMITS, ConnectionLimits, Connections
from mezzo_chassis.metrics import HttpMetrics
from mezzo_chassis.ports import cannot_listen

SHUTDOWN_SECONDS = 1.0
BACKLOG = 1024
# Of TLS. A connection is counted when it is over, so that it has to be over soon.
HANDSHAKE_SECONDS_MAX = 10.0


class Site:
    """A server on a port or a Unix socket; made by `start_site` or `start_unix_site`."""

    def __init__(self, runner: web.AppRunner, listener: asyncio.Server) -> None:
        self._runner = runner
        self._listener = listener

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._listener.close()
        await self._runner.cleanup()


async def start_site(
    application: web.Application,
    host: str,
    port: int,
    context: ssl.SSLContext | None = None,
    *,
    limits: ConnectionLimits = DEFAULT_LIMITS,
    metrics: HttpMetrics | None = None,
) -> Site:
    """Serve on `host:port` (0: any free port), with TLS where there is a `context`.

    Raises `StartupError` naming the port that is in use, and by whom.
    """
    runner, connections = await _prepare(application, limits, metrics)
    loop = asyncio.get_running_loop()
    handshake_seconds = None if context is None else HANDSHAKE_SECONDS_MAX
    try:
        listener = await loop.create_server(
            connections, host, port, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=handshake_seconds
        )
    except OSError as error:
        await runner.cleanup()
        raise cannot_listen(host, port, error) from None
    return Site(runner, listener)


async def start_unix_site(
    application: web.Application,
    path: Path,
    *,
    limits: ConnectionLimits = DEFAULT_LIMITS,
    metrics: HttpMetrics | None = None,
) -> Site:
    """Serve on a Unix socket that every user may connect to; what an earlier process left there is removed."""
    if await asyncio.to_thread(_answers, path):
        raise StartupError(Exit.PORT_IN_USE, f"{path} is in use by another process")
    runner, connections = await _prepare(application, limits, metrics)
    loop = asyncio.get_running_loop()
    try:
        _make_room(path)
        listener = await loop.create_unix_server(connections, str(path), backlog=BACKLOG)
        os.chmod(path, 0o666)  # noqa: S103  executors run as other users; each has a token of its own
    except OSError as error:
        await runner.cleanup()
        raise StartupError(Exit.UNWRITABLE, f"cannot listen on {path}: {error.strerror or error}") from None
    return Site(runner, listener)


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        return True
    return False


def _make_room(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


class _NotOfClients(logging.Filter):
    """Leaves out what a client alone has done wrong: it has got its answer, and may repeat it without end."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


logging.getLogger("aiohttp.server").addFilter(_NotOfClients())


async def _prepare(
    application: web.Application, limits: ConnectionLimits, metrics: HttpMetrics | None
) -> tuple[web.AppRunner, Connections]:
    # A client that goes away cancels what it asked for: its stream ends at once.
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    assert runner.server is not None
    return runner, Connections(runner.server, limits, metrics)
