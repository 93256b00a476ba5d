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
from mezzo_chassis.listening import cannot_listen

SHUTDOWN_SECONDS = 1.0
BACKLOG = 1024


class Site:
    """A server on a port or a Unix socket; made by `start_site` or `start_unix_site`."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()


async def start_site(application: web.Application, host: str, port: int, context: ssl.SSLContext | None = None) -> Site:
    """Serve on `host:port` (0: any free port), with TLS where there is a `context`.

    Raises `StartupError` naming the port that is in use, and by whom.
    """
    runner = await _runner(application)
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG, ssl_context=context).start()
    except OSError as error:
        await runner.cleanup()
        raise cannot_listen(host, port, error) from None
    return Site(runner)


async def start_unix_site(application: web.Application, path: Path) -> Site:
    """Serve on a Unix socket that every user may connect to; what an earlier process left there is removed."""
    if await asyncio.to_thread(_answers, path):
        raise StartupError(Exit.PORT_IN_USE, f"{path} is in use by another process")
    runner = await _runner(application)
    try:
        _make_room(path)
        await web.UnixSite(runner, str(path), backlog=BACKLOG).start()
        os.chmod(path, 0o666)  # noqa: S103  executors run as other users; each has a token of its own
    except OSError as error:
        await runner.cleanup()
        raise StartupError(Exit.UNWRITABLE, f"{path} cannot be listened on: {error.strerror or error}") from None
    return Site(runner)


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


async def _runner(application: web.Application) -> web.AppRunner:
    # A client that goes away cancels what it asked for: its stream ends at once.
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS, access_log=None)
    await runner.setup()
    return runner
