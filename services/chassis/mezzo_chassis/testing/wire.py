"""A connection that a test can cut, and mend again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

PIECE_BYTES = 64 * 1024


@dataclass(slots=True)
class _Passage:
    """What happens to the connections of one time between two changes."""

    # Nothing comes back through it; nor goes there, unless only answers are lost.
    silent: bool = False
    answers_only: bool = False


class Wire:
    """Passes on what comes to `port` on loopback to another port there: the network between two processes.

    It lives on the event loop of the test. While it is cut, nothing passes and nobody gets through. While it is silent,
    connections are accepted and stay open, and nothing passes.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._cut = False
        self._passage = _Passage()
        self.accepted = 0
        """How many connections there were."""
        self._news = asyncio.Event()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        self._cut = True
        for connection in self._connections:
            connection.cancel()

    def silence(self, *, answers_only: bool = False) -> None:
        """Drop whatever is sent from now on, as a firewall does, but accept connections. They stay silent for ever.

        With `answers_only`, what is asked still arrives.
        """
        self._cut, self._passage.silent, self._passage.answers_only = False, True, answers_only

    def mend(self) -> None:
        """Let new connections pass."""
        self._cut, self._passage = False, _Passage()

    async def until_accepted(self, count: int) -> None:
        """Wait until there were `count` connections in all."""
        while self.accepted < count:
            self._news.clear()
            await self._news.wait()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self.cut()
        self._server.close()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._proxy(reader, writer, self._passage))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        self.accepted += 1
        self._news.set()

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passage: _Passage) -> None:
        # What goes wrong with either connection ends both.
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            if self._cut:
                return
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            with contextlib.closing(target_writer):
                there = asyncio.create_task(
                    _copy(reader, target_writer, lambda: passage.silent and not passage.answers_only)
                )
                back = asyncio.create_task(_copy(target_reader, writer, lambda: passage.silent))
                try:
                    await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
                    if passage.silent:
                        # The end of a connection is not heard of either.
                        await asyncio.wait({there, back})
                finally:
                    there.cancel()
                    back.cancel()
                    await asyncio.gather(there, back, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dropped: Callable[[], bool]) -> None:
    while piece := await reader.read(PIECE_BYTES):
        if not dropped():
            writer.write(piece)
            await writer.drain()
