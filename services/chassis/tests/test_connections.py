"""How many connections an HTTP server takes, and what it waits for on each."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trustme
from aiohttp import web
from prometheus_client import CollectorRegistry

from mezzo_chassis.http import bodies, connections
from mezzo_chassis.http import site as site_module
from mezzo_chassis.http.bodies import read_body
from mezzo_chassis.http.connections import ConnectionLimits
from mezzo_chassis.http.routes import Routes
from mezzo_chassis.http.site import Site, start_site
from mezzo_chassis.metrics import HttpMetrics
from mezzo_chassis.testing import raw_http

GET = b"GET /length HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE_SECONDS = 20

StartServer = Callable[..., Awaitable[Site]]


async def length(request: web.Request) -> web.StreamResponse:
    return web.Response(text=str(len(await read_body(request))))


async def unread(_: web.Request) -> web.StreamResponse:
    return web.Response(status=415, text="not of interest")


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begun")
    await asyncio.Event().wait()
    return response


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def serve(registry: CollectorRegistry) -> AsyncIterator[StartServer]:
    running: list[Site] = []

    async def start(limits: ConnectionLimits | None = None) -> Site:
        routes = Routes("master")
        for handler in (length, unread, endless):
            routes.add(f"/{handler.__name__}", handler)
        metrics = HttpMetrics(registry, "test")
        site = await start_site(
            routes.application(), "127.0.0.1", 0, limits=limits or ConnectionLimits(), metrics=metrics
        )
        running.append(site)
        return site

    yield start
    for site in running:
        await site.stop()


def dropped(registry: CollectorRegistry, reason: str) -> float | None:
    return registry.get_sample_value("mezzo_test_http_connections_dropped_total", {"reason": reason})


@pytest.mark.parametrize("sent", [b"GET /len", GET[:-2], b"POST /length HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_head_that_never_ends_is_given_up(
    serve: StartServer, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.1)
    site = await serve()
    assert raw_http.status_of(await raw_http.exchange(site.port, sent)) == 408
    assert dropped(registry, "head_timeout") == 1


async def test_a_second_head_that_never_ends_is_given_up_too(
    serve: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.1)
    site = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(GET)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await reader.readuntil(b"\r\n\r\n0")
    writer.write(b"GET")
    assert raw_http.status_of(await raw_http.receive_all(reader)) == 408
    await raw_http.close(writer)


async def test_one_timer_serves_all_requests_of_a_connection(
    serve: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    start_timer = connections._Connection._start_timer

    def counted(connection: connections._Connection, loop: asyncio.AbstractEventLoop) -> None:
        started.append(connection)
        start_timer(connection, loop)

    monkeypatch.setattr(connections._Connection, "_start_timer", counted)
    site = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(5):
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n0")
    assert len(started) == 1
    await raw_http.close(writer)


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
async def test_a_body_that_never_ends_is_given_up(
    serve: StartServer, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, framing: bytes
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS_MAX", 0.1)
    monkeypatch.setattr(connections, "LINGERING_SECONDS", 0.1)
    site = await serve()
    head = b"POST /length HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % framing
    answer = await raw_http.exchange(site.port, head + b"1\r\nx\r\n")
    assert raw_http.status_of(answer) == 408
    assert dropped(registry, "body_timeout") == 1


async def test_a_connection_on_which_nothing_is_sent_is_closed(
    serve: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS_MAX", 0.1)
    site = await serve()
    assert await raw_http.exchange(site.port, b"") == b""
    answer = await raw_http.exchange(site.port, GET)
    assert raw_http.status_of(answer) == 200


async def test_a_handshake_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is over the connection counts nowhere."""
    monkeypatch.setattr(site_module, "HANDSHAKE_SECONDS_MAX", 0.1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    site = await start_site(Routes("master").application(), "127.0.0.1", 0, context)
    try:
        assert await raw_http.exchange(site.port, b"") == b""
    finally:
        await site.stop()


async def test_an_answer_that_nobody_reads_is_given_up(
    serve: StartServer, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_ANSWER_SECONDS_MAX", 0.1)
    site = await serve()
    answer = await raw_http.exchange(site.port, GET)
    assert raw_http.status_of(answer) == 200
    assert dropped(registry, "unread_answer") == 1


async def test_a_stream_outlasts_every_limit_of_time(serve: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_SECONDS_MAX", "IDLE_SECONDS_MAX", "UNREAD_ANSWER_SECONDS_MAX"):
        monkeypatch.setattr(connections, name, 0.05)
    site = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await reader.readuntil(b"begun\r\n")
    for _ in range(3):  # others come and go meanwhile
        await raw_http.exchange(site.port, b"GET")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), 0.01)
    await raw_http.close(writer)


async def test_heads_are_limited_as_a_whole(serve: StartServer, registry: CollectorRegistry) -> None:
    site = await serve()
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 4000) for number in range(50))
    answer = await raw_http.exchange(site.port, GET[:-2] + fields + b"\r\n")
    assert raw_http.status_of(answer) == 431
    assert dropped(registry, "head_size") == 1


async def test_a_head_has_no_more_than_a_hundred_fields(serve: StartServer) -> None:
    site = await serve()
    fields = b"".join(b"X-%d: x\r\n" % number for number in range(200))
    assert raw_http.status_of(await raw_http.exchange(site.port, GET[:-2] + fields + b"\r\n")) == 400


async def test_what_follows_a_request_that_is_being_answered_is_limited(
    serve: StartServer, registry: CollectorRegistry
) -> None:
    site = await serve()
    stream = b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(stream)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await reader.readuntil(b"begun\r\n")
    large = GET[:-2] + b"".join(b"X-%d: %b\r\n" % (number, b"x" * 4000) for number in range(12)) + b"\r\n"
    writer.write(large * 20)
    await raw_http.receive_all(reader)
    await raw_http.close(writer)
    assert dropped(registry, "pipelined") == 1


async def test_requests_may_follow_each_other_without_waiting(serve: StartServer) -> None:
    site = await serve()
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answers = await raw_http.exchange(site.port, GET * 50 + last)
    assert answers.count(b"HTTP/1.1 200 OK") == 51


async def test_a_large_body_that_nobody_wants_is_no_head(serve: StartServer) -> None:
    """The answer comes before the body has: what still arrives of it is not measured as the next request."""
    site = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert b" 415 " in await reader.readline()
        for _ in range(10):
            writer.write(b"x" * 100_000)
            await writer.drain()
        await reader.readuntil(b"not of interest")
        writer.write(GET)
        assert b" 200 " in await reader.readline()
    await raw_http.close(writer)


@pytest.mark.parametrize(
    ("limits", "taken", "reason"),
    [
        (ConnectionLimits(total=1), 1, "total_limit"),
        (ConnectionLimits(total=100, per_peer=4), 4, "peer_limit"),
        # Nobody gets all of them.
        (ConnectionLimits(total=4), 3, "peer_limit"),
    ],
)
async def test_there_are_only_so_many_connections(
    serve: StartServer, registry: CollectorRegistry, limits: ConnectionLimits, taken: int, reason: str
) -> None:
    site = await serve(limits)
    kept = []
    for _ in range(taken):
        kept.append(await asyncio.open_connection("127.0.0.1", site.port))
        kept[-1][1].write(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(kept[-1][0].readuntil(b"begun"), PATIENCE_SECONDS)
    assert registry.get_sample_value("mezzo_test_http_connections") == taken
    refused = await raw_http.exchange(site.port, GET)
    assert raw_http.status_of(refused) == 503
    assert dropped(registry, reason) == 1
    # One that ends makes room for another.
    await raw_http.close(kept.pop()[1])
    async with asyncio.timeout(PATIENCE_SECONDS):
        while raw_http.status_of(await raw_http.exchange(site.port, GET[:-2] + b"Connection: close\r\n\r\n")) != 200:
            pass
    for _, writer in kept:
        await raw_http.close(writer)
