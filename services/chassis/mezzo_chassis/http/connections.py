"""The connections of an HTTP server: how many there may be, and how long one may take for what it has to send or read.

aiohttp closes connections that are idle; it waits without end for the rest of a request's head, and takes connections
until the process has no files left.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import EMPTY_PAYLOAD, StreamReader, web

from mezzo_chassis.log import get_logger
from mezzo_chassis.log_throttle import LogThrottle
from mezzo_chassis.metrics import HttpMetrics

CONNECTIONS_MAX: Final = 10_000
"""Open at once, where a service has no flag for it."""
CONNECTIONS_PER_PEER_MAX: Final = 5_000
"""The same, of one address. Proxies and hosts of many frameworks hold hundreds."""
FILES_FOR_CONNECTIONS: Final = 0.75
"""Of the files that the process may have open: the rest is for everything else that it does."""
TOTAL_FOR_ONE_PEER: Final = 0.75
"""Of all connections: whatever one peer does, others get through."""
IDLE_SECONDS_MAX: Final = 75.0
"""Between two requests, and before the first."""
HEAD_SECONDS_MAX = 30.0
"""From the first byte of a request's head to its end."""
HEAD_BYTES_MAX: Final = 64 * 1024
HEADERS_MAX: Final = 100
PIPELINED_BYTES_MAX: Final = 64 * 1024
"""Of requests that follow one that is being answered. Nobody pipelines but tests; a stream is never followed by any."""
UNREAD_ANSWER_SECONDS_MAX = 600.0
"""From the end of a handler to the next request: the client has not read the answer, or it would be idle."""
LINGERING_SECONDS: Final = 5.0
"""For the rest of a body that nobody wants to arrive, so that the client gets to read the answer."""

_HEAD_END = b"\r\n\r\n"

log = get_logger(__name__)

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many connections a server takes; more are answered with 503 and closed."""

    total: int = CONNECTIONS_MAX
    per_peer: int = CONNECTIONS_PER_PEER_MAX


DEFAULT_LIMITS: Final = ConnectionLimits()


class Connections:
    """Makes the protocol of each connection of one server, and counts them. Call it as asyncio's protocol factory."""

    def __init__(self, server: web.Server, limits: ConnectionLimits, metrics: HttpMetrics | None = None) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        fit = limits.total if files == resource.RLIM_INFINITY else round(files * FILES_FOR_CONNECTIONS)
        self._total_max = min(limits.total, fit)
        self._per_peer_max = min(limits.per_peer, max(1, round(self._total_max * TOTAL_FOR_ONE_PEER)))
        self._metrics = metrics
        self._server = server
        self._by_peer: Counter[str] = Counter()
        self._throttles: defaultdict[str, LogThrottle] = defaultdict(LogThrottle)
        self._respond: Respond = server.request_handler
        server.request_handler = self._answer

    def __call__(self) -> asyncio.Protocol:
        return _Connection(self, self._server)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        connection.began(request)
        try:
            return await self._respond(request)
        except web.HTTPRequestTimeout:
            self.dropped("body_timeout", connection.peer)
            raise
        finally:
            connection.answered()

    def admit(self, peer: str) -> str | None:
        """Count a connection; or else why there may not be another."""
        if self._by_peer.total() >= self._total_max:
            reason, text = "total", f"the limit of {self._total_max} connections is reached (--max_connections)"
        elif peer and self._by_peer[peer] >= self._per_peer_max:
            reason, text = (
                "peer",
                f"the limit of {self._per_peer_max} connections of {peer} is reached (--max_connections_per_peer)",
            )
        else:
            self._by_peer[peer] += 1
            if self._metrics is not None:
                self._metrics.connections.inc()
            return None
        self.dropped(f"{reason}_limit", peer)
        return text

    def leave(self, peer: str) -> None:
        """An admitted connection has ended."""
        self._by_peer[peer] -= 1
        if self._by_peer[peer] <= 0:
            del self._by_peer[peer]
        if self._metrics is not None:
            self._metrics.connections.dec()

    def dropped(self, reason: str, peer: str) -> None:
        """Count a connection that is refused or ended by this server, and log it now and then."""
        if self._metrics is not None:
            self._metrics.dropped.labels(reason).inc()
        if self._throttles[reason].due():
            log.warning("HTTP connection refused or dropped", reason=reason, peer=peer)


class _Connection(web.RequestHandler):
    """One connection."""

    def __init__(self, connections: Connections, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,  # bodies are decompressed as they are read, within their limit
            keepalive_timeout=IDLE_SECONDS_MAX,
            lingering_time=LINGERING_SECONDS,
            max_headers=HEADERS_MAX,
        )
        self._connections = connections
        self.peer = ""
        self._admitted = False
        # What happens when, unless it is called off before; and a timer that fires then, or earlier.
        self._overdue: Callable[[], Any] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        # Of the latest request; it may go on to arrive when that has been answered.
        self._body: StreamReader = EMPTY_PAYLOAD
        self._is_answering = False
        # Of the head that is arriving: 0 while none is.
        self._head_bytes = 0
        self._head_is_whole = False
        self._last_bytes = b""
        self._pipelined_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.peer = _peer_of(transport)
        refusal = self._connections.admit(self.peer)
        if refusal is not None:
            transport.write(_answer(HTTPStatus.SERVICE_UNAVAILABLE, refusal))
            transport.close()
            return
        self._admitted = True
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self._admitted:
            return
        self._stop_waiting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._connections.leave(self.peer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._admitted:
            return
        if self._body.is_eof() and not self._is_within_limits(data):
            return
        super().data_received(data)

    def _is_within_limits(self, data: bytes) -> bool:
        """Measure what arrives and is no body. False where it is too much, and the connection has ended."""
        if not self._is_answering:
            return self._head_is_whole or self._receive_head(data)
        self._pipelined_bytes += len(data)
        if self._pipelined_bytes > PIPELINED_BYTES_MAX:
            self._drop("pipelined")
            return False
        return True

    def _receive_head(self, data: bytes) -> bool:
        """Measure a request's head. False where it is too large, and the connection has ended."""
        if self._head_bytes == 0 and data:
            self._wait(HEAD_SECONDS_MAX, self._head_is_late)
        end = (self._last_bytes + data).find(_HEAD_END)
        self._head_is_whole = end >= 0
        self._head_bytes += len(data) if end < 0 else end - len(self._last_bytes)
        self._last_bytes = data[-len(_HEAD_END) + 1 :]
        if self._head_bytes <= HEAD_BYTES_MAX:
            return True
        text = f"the head of the request has more than {HEAD_BYTES_MAX} bytes"
        self._refuse("head_size", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text)
        return False

    def began(self, request: web.BaseRequest) -> None:
        """A request's head is there, and a handler begins to answer."""
        self._stop_waiting()
        self._body, self._is_answering = request.content, True
        self._head_bytes, self._head_is_whole, self._last_bytes, self._pipelined_bytes = 0, False, b"", 0

    def answered(self) -> None:
        """The handler is done; what it answers may still have to be sent."""
        self._is_answering = False
        if self.transport is not None:
            self._wait(UNREAD_ANSWER_SECONDS_MAX, self._answer_is_unread)

    def _head_is_late(self) -> None:
        text = f"the head of the request did not arrive within {HEAD_SECONDS_MAX:g} seconds"
        self._refuse("head_timeout", HTTPStatus.REQUEST_TIMEOUT, text)

    def _answer_is_unread(self) -> None:
        self._drop("unread_answer")

    def _refuse(self, reason: str, status: HTTPStatus, text: str) -> None:
        """End the connection with an answer of its own: no handler knows of the request."""
        if self.transport is not None:
            self.transport.write(_answer(status, text))
        self._connections.dropped(reason, self.peer)
        self.force_close()

    def _drop(self, reason: str) -> None:
        self._connections.dropped(reason, self.peer)
        if self.transport is not None:
            self.transport.abort()

    def _wait(self, seconds: float, then: Callable[[], Any]) -> None:
        """Have something happen later. Nearly always it is called off, so that one timer serves all that is awaited.

        One that is left from before fires earlier than it is wanted, and is started again for what is left.
        """
        loop = asyncio.get_running_loop()
        self._overdue, self._deadline = then, loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._start_timer(loop)

    def _stop_waiting(self) -> None:
        self._overdue = None

    def _start_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._deadline, self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        overdue = self._overdue
        if overdue is None:
            return
        if loop.time() < self._deadline:
            self._start_timer(loop)
            return
        self._overdue = None
        overdue()


def _peer_of(transport: asyncio.Transport) -> str:
    """The address at the other end, without its port; empty on a Unix socket."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _answer(status: HTTPStatus, text: str) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body
