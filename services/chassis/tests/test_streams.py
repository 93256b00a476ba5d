"""Answers of no known length, in both versions of HTTP that clients and proxies speak."""

import asyncio

import pytest
from aiohttp import web

from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo_chassis.http.exchange import FORMATS
from mezzo_chassis.http.routes import Routes
from mezzo_chassis.http.site import start_site
from mezzo_chassis.http.streams import RecordStream
from mezzo_chassis.testing import raw_http

HEARTBEAT = scheduler.Event(type=scheduler.Event.HEARTBEAT)
RECORD = b'20\n{"type":"HEARTBEAT"}'


async def records(request: web.Request) -> web.StreamResponse:
    stream = RecordStream(FORMATS["application/json"])
    await stream.begin(request)
    for _ in range(2):
        await stream.write([HEARTBEAT])
        await asyncio.sleep(0)
    await stream.end()
    return stream.response


async def pieces(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(RECORD)
    await response.write(RECORD)
    return response


@pytest.mark.parametrize("connection", [b"", b"Connection: keep-alive\r\n"])
@pytest.mark.parametrize("path", [b"/records", b"/pieces"])
async def test_a_stream_to_a_client_of_http_1_0_ends_with_the_connection(path: bytes, connection: bytes) -> None:
    routes = Routes("master")
    routes.add("/records", records)
    routes.add("/pieces", pieces)
    site = await start_site(routes.application(), "127.0.0.1", 0)
    try:
        answer = await raw_http.exchange(site.port, b"GET %b HTTP/1.0\r\n%b\r\n" % (path, connection))
    finally:
        await site.stop()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"keep-alive" not in head.lower()
    assert body == 2 * RECORD
