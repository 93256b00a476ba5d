"""Bodies of requests: in gzip or as they are, never more than the limits say, and what is wrong with them named."""

import asyncio
import gzip
import logging
import zlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from mesos.v1 import mesos_pb2 as mesos
from mezzo import recordio
from mezzo.limits import LIST_ITEMS_MAX
from mezzo_chassis.http import bodies
from mezzo_chassis.http.bodies import BODY_MEMORY, read_body, read_text
from mezzo_chassis.http.exchange import FIRST_RECORD_BYTES_MAX, FORMATS, JSON, PROTOBUF, read_first_record
from mezzo_chassis.http.routes import Routes
from mezzo_chassis.http.site import Site, start_site
from mezzo_chassis.http.streams import RecordStream
from mezzo_chassis.testing import raw_http

BODY_BYTES_MAX = 1_000_000
TOTAL_BYTES_MAX = 1_500_000
PATIENCE_SECONDS = 20
GZIP = {"Content-Encoding": "gzip"}
RECORDS = {"Content-Type": "application/recordio", "Message-Content-Type": "application/json"}
RECORD = recordio.encode(b'{"labels":[{"key":"first"}]}')
BOMB = gzip.compress(bytes(100_000_000))


class Handlers:
    def __init__(self) -> None:
        self.arrived = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()
        self.bytes_held = 0

    async def length(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request)
        self.bytes_held = request.app[BODY_MEMORY].bytes
        return web.Response(text=str(len(body)))

    async def text(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=await read_text(request))

    async def record(self, request: web.Request) -> web.StreamResponse:
        labels = await read_first_record(request, mesos.Labels)
        self.bytes_held = request.app[BODY_MEMORY].bytes
        return web.Response(text=labels.labels[0].key)

    async def kept(self, request: web.Request) -> web.StreamResponse:
        await read_body(request)
        self.arrived.release()
        await self.go_on.wait()
        return web.Response()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        await read_body(request)
        stream = RecordStream(FORMATS[JSON])
        await stream.begin(request)
        await self.go_on.wait()
        return stream.response


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def site(handlers: Handlers) -> AsyncIterator[Site]:
    routes = Routes("master")
    for handler in (handlers.length, handlers.text, handlers.record, handlers.kept, handlers.stream):
        routes.add(f"/{handler.__name__}", handler)
    running = await start_site(routes.application(BODY_BYTES_MAX, TOTAL_BYTES_MAX), "127.0.0.1", 0)
    yield running
    handlers.go_on.set()
    await running.stop()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as session:
        yield session


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
async def test_a_body_in_gzip_is_decompressed(client: aiohttp.ClientSession, coding: str) -> None:
    body = gzip.compress(b"hello")
    async with client.post("/text", data=body, headers={"Content-Encoding": coding}) as response:
        assert (response.status, await response.text()) == (200, "hello")
    async with client.post("/length", data=gzip.compress(bytes(BODY_BYTES_MAX)), headers=GZIP) as response:
        assert (response.status, await response.text()) == (200, str(BODY_BYTES_MAX))


async def test_a_body_that_came_with_its_head_is_not_waited_for(
    site: Site, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS_MAX", -1.0)  # whoever waits at all is refused
    head = b"POST /length HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    whole = await raw_http.exchange(site.port, head + b"Content-Length: 5\r\n\r\nhello")
    assert (raw_http.status_of(whole), whole[-1:]) == (200, b"5")
    assert handlers.bytes_held == 5
    chunked = await raw_http.exchange(site.port, head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    assert raw_http.status_of(chunked) == 408


async def test_a_small_body_that_becomes_a_large_one_is_refused_before_it_has(
    client: aiohttp.ClientSession, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 0
    hold = bodies.BodyMemory.hold

    def watched(memory: bodies.BodyMemory, request: web.Request, count: int) -> None:
        nonlocal largest
        hold(memory, request, count)
        largest = max(largest, memory.bytes)

    monkeypatch.setattr(bodies.BodyMemory, "hold", watched)
    async with client.post("/length", data=BOMB, headers=GZIP) as response:
        assert response.status == 413
        assert f"more than {BODY_BYTES_MAX} bytes" in await response.text()
    assert 0 < largest <= BODY_BYTES_MAX
    async with client.post("/length", data=b"x") as response:
        assert response.status == 200
    assert handlers.bytes_held == 1


@pytest.mark.parametrize("coding", ["deflate", "br", "zstd", "gzip, gzip", "frob"])
async def test_another_coding_than_gzip_is_refused_by_name(client: aiohttp.ClientSession, coding: str) -> None:
    body = zlib.compress(b"hello")
    async with client.post("/length", data=body, headers={"Content-Encoding": coding}) as response:
        assert (response.status, response.headers["Accept-Encoding"]) == (415, "gzip")
        assert (await response.text()).startswith("Content-Encoding: expected gzip")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"no gzip at all", "it is damaged"),
        (gzip.compress(b"hello")[:-1], "its end is missing"),
        (gzip.compress(b"hello") + b"x", "something follows its end"),
        (gzip.compress(b"hello")[:-6] + b"xxxxxx", "it is damaged"),
    ],
    ids=["no-gzip", "torn", "longer", "damaged"],  # what is compressed has the time of day in it
)
async def test_broken_gzip_is_the_clients_mistake(client: aiohttp.ClientSession, body: bytes, reason: str) -> None:
    async with client.post("/length", data=body, headers=GZIP) as response:
        assert (response.status, await response.text()) == (400, f"Content-Encoding: the body is not gzip: {reason}")


async def test_a_body_that_says_that_it_is_too_large_is_not_read(site: Site) -> None:
    head = b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(head)
    assert b" 413 " in await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)
    await raw_http.close(writer)


@pytest.mark.parametrize("chunk", [b"x\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5\r\nabcdefgh\r\n"])
async def test_broken_chunks_are_the_clients_mistake(
    site: Site, chunk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert raw_http.status_of(await raw_http.exchange(site.port, head + chunk)) == 400
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_body_in_the_smallest_chunks_is_read(site: Site) -> None:
    head = b"POST /length HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await raw_http.exchange(site.port, head + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n20000")


async def test_text_that_is_no_utf_8_is_the_clients_mistake(client: aiohttp.ClientSession) -> None:
    for content_type in ("text/plain; charset=frob", "application/x-www-form-urlencoded; charset=utf-16"):
        async with client.post("/text", data=b"ab\xff", headers={"Content-Type": content_type}) as response:
            assert (response.status, await response.text()) == (400, "the body is not UTF-8 at byte 2")


async def test_the_bodies_of_all_requests_are_limited_together(
    client: aiohttp.ClientSession, handlers: Handlers
) -> None:
    first = asyncio.ensure_future(client.post("/kept", data=bytes(BODY_BYTES_MAX)))
    await asyncio.wait_for(handlers.arrived.acquire(), PATIENCE_SECONDS)
    async with client.post("/length", data=bytes(BODY_BYTES_MAX)) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    async with client.post("/length", data=b"small") as response:
        assert response.status == 200
    handlers.go_on.set()
    (await first).release()
    async with client.post("/length", data=bytes(BODY_BYTES_MAX)) as response:
        assert response.status == 200
    assert handlers.bytes_held == BODY_BYTES_MAX


async def test_a_first_record_is_counted_like_a_body(client: aiohttp.ClientSession, handlers: Handlers) -> None:
    async with client.post("/record", data=RECORD, headers=RECORDS) as response:
        assert (response.status, await response.text()) == (200, "first")
    assert handlers.bytes_held == len(RECORD)


@pytest.mark.parametrize("form", [JSON, PROTOBUF])
async def test_the_lists_of_a_first_record_are_limited(client: aiohttp.ClientSession, form: str) -> None:
    message = mesos.Labels(labels=[mesos.Label(key="k")] * (LIST_ITEMS_MAX + 1))
    record = recordio.encode(FORMATS[form].dump(message))
    async with client.post("/record", data=record, headers=RECORDS | {"Message-Content-Type": form}) as response:
        assert response.status == 400
        assert (await response.text()).startswith(f"labels: has {LIST_ITEMS_MAX + 1} items")


async def test_a_first_record_in_gzip_is_decompressed(client: aiohttp.ClientSession) -> None:
    async with client.post("/record", data=gzip.compress(RECORD), headers=RECORDS | GZIP) as response:
        assert (response.status, await response.text()) == (200, "first")


async def test_a_first_record_that_does_not_arrive_is_given_up(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS_MAX", 0.1)
    given_up = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield b"%d\n{" % FIRST_RECORD_BYTES_MAX
        await given_up.wait()

    async with client.post("/record", data=stream(), headers=RECORDS) as response:
        given_up.set()
        assert response.status == 408


async def test_a_stream_does_not_hold_the_body_that_asked_for_it(client: aiohttp.ClientSession) -> None:
    body = bytes(BODY_BYTES_MAX - 1)
    async with client.post("/stream", data=body) as first, client.post("/stream", data=body) as second:
        assert (first.status, second.status) == (200, 200)
