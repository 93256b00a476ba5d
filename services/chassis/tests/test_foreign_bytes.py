"""Headers and paths that are no text are the client's mistake, and named."""

import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from mezzo.errors import NotFound
from mezzo_chassis.exporter import start_exporter
from mezzo_chassis.http.exchange import json_response
from mezzo_chassis.http.middleware import HEADERS_READ
from mezzo_chassis.http.routes import Routes
from mezzo_chassis.http.site import Site, start_site
from mezzo_chassis.testing import raw_http


async def state(request: web.Request) -> web.StreamResponse:
    return json_response(request, {"id": "m"})


async def missing(request: web.Request) -> web.StreamResponse:
    raise NotFound(f"there is no \udcff {request.path}")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    routes = Routes("master")
    routes.add("/state", state)
    routes.add_below("/missing", missing)
    running = await start_site(routes.application(), "127.0.0.1", 0)
    yield running
    await running.stop()


def get(path: bytes, *headers: bytes) -> bytes:
    fields = b"".join(each + b"\r\n" for each in headers)
    return b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%b\r\n" % (path, fields)


@pytest.mark.parametrize("name", [name for name in HEADERS_READ if name != "Host"])
async def test_a_header_that_is_read_has_to_be_text(site: Site, name: str, caplog: pytest.LogCaptureFixture) -> None:
    wrong = b"%b: x\xff\xfe" % name.encode()
    for fields in ([wrong], [b"%b: x" % name.encode(), wrong]):
        answer = await raw_http.exchange(site.port, get(b"/state", *fields))
        assert raw_http.status_of(answer) == 400
        assert (
            answer.endswith(b"%b: the header is not UTF-8" % name.encode()) or b"Duplicate" in answer
        )  # aiohttp's own words
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", [b"Cookie", b"User-Agent", b"X-Correlation-Id", b"X-Forwarded-For"])
async def test_what_stands_in_other_headers_does_not_matter(site: Site, name: bytes) -> None:
    assert raw_http.status_of(await raw_http.exchange(site.port, get(b"/state", name + b": M\xfcller"))) == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/\xff", (400, 404)),
        (b"/%FF", (404,)),
        (b"/state?\xff=\xfe", (400,)),
        (b"/state?jsonp=%FF", (400,)),
        (b"/state?%00=%0d%0a", (200,)),
        (b"/missing/%FF%0A", (404,)),
        (b"/missing/\xff", (400, 404)),
        (b"/state?" + b"&" * 8000, (200, 400)),
        (b"//[", (400, 404)),
        (b"http://[/state", (400, 404)),
        (b"*", (400, 404)),
    ],
)
async def test_a_path_that_is_no_text_is_no_defect(
    site: Site, path: bytes, status: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    assert raw_http.status_of(await raw_http.exchange(site.port, get(path))) in status
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "accept",
    [
        b"\xff",
        b"application/openmetrics-text; version=x.y",
        b"application/openmetrics-text; version=\xff",
        b"application/openmetrics-text; version=1.0.0; escaping=frob",
        b"text/plain; version=1.0.0; escaping=\xff",
        b"text/plain; version=" + b"9" * 6000,
    ],
)
async def test_a_metrics_port_takes_every_accept_header(accept: bytes, caplog: pytest.LogCaptureFixture) -> None:
    exporter = await start_exporter("127.0.0.1", 0, CollectorRegistry())
    try:
        answer = await raw_http.exchange(exporter.port, get(b"/metrics", b"Accept: " + accept))
    finally:
        await exporter.stop()
    assert raw_http.status_of(answer) in (200, 400)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
