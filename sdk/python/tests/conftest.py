"""Servers in this process, on sockets of the loopback, that tests give their own handlers to."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nobody listens on: it is bound, and that is all."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
async def serve_http() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Answer every POST with a handler; gives `http://host:port`, or listens at a Unix socket's path."""
    async with AsyncExitStack() as running:

        async def serve(handler: Handler, path: Path | None = None) -> str:
            app = web.Application()
            app.router.add_post("/{path:.*}", handler)
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
            await runner.setup()
            running.push_async_callback(runner.cleanup)
            if path is not None:
                await web.UnixSite(runner, str(path)).start()
                return "http://localhost"
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            return f"http://{host}:{port}"

        yield serve


@pytest.fixture
async def serve_grpc() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Serve one servicer; gives `host:port`."""
    async with AsyncExitStack() as running:

        async def serve(add_to_server: Callable[[Any, Any], None], servicer: object) -> str:
            server = grpc.aio.server()
            add_to_server(servicer, server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            running.push_async_callback(server.stop, None)
            return f"127.0.0.1:{port}"

        yield serve
