"""Which handler answers a path, in all the ways in which Mesos' clients write it.

`/state`, `/state/`, `/state.json`, `/master/state` and, on an agent, `/slave(1)/state.json` are one thing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import HttpVersion11, hdrs, web

from mezzo.errors import TEXT_CHARACTERS_MAX, InvalidRequest, MezzoError, shorten
from mezzo_chassis.errors import http_status
from mezzo_chassis.http.bodies import BODY_MEMORY, REQUEST_BYTES_MAX, TOTAL_BYTES_MAX, BodyMemory, release_body
from mezzo_chassis.http.browsers import DEFAULT_HOSTS, AllowedHosts, check_host, check_origin
from mezzo_chassis.log import bind_correlation_id, get_logger

CORRELATION_HEADER = "X-Correlation-Id"
READ = ("GET", "HEAD", "POST")
HEALTH = "/health"
"""Answered whatever name it is asked by: load balancers ask by their own, and the answer gives nothing away."""
POST = ("POST",)
# What is read of requests. Other headers may be of any kind: proxies and browsers put into them what they like.
HEADERS_READ = (
    hdrs.ACCEPT,
    hdrs.ACCEPT_ENCODING,
    hdrs.AUTHORIZATION,
    hdrs.CONTENT_ENCODING,
    hdrs.CONTENT_TYPE,
    hdrs.HOST,
    hdrs.ORIGIN,
    hdrs.RANGE,
    hdrs.REFERER,
    "Sec-Fetch-Site",
    "Message-Accept",
    "Message-Content-Type",
    "Mesos-Stream-Id",
)

_PLAIN_TEXT = {hdrs.CONTENT_TYPE: "text/plain; charset=utf-8"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Route:
    methods: tuple[str, ...]
    handler: Handler
    get_changes: bool


class Routes:
    """A table of paths, and the one handler that dispatches by it."""

    def __init__(self, prefix: str) -> None:
        """Leave a first part of paths out of account that matches the pattern `prefix`, such as `master`."""
        self._exact: dict[str, _Route] = {}
        self._below: list[tuple[str, _Route]] = []
        self._hosts = AllowedHosts()
        self._prefix = re.compile(rf"/{prefix}(?=/|\Z)")

    def add(self, path: str, handler: Handler, methods: Iterable[str] = READ, *, get_changes: bool = False) -> None:
        """Answer exactly this path, however it is written. `get_changes`: even a GET with a query changes something."""
        self._exact[path] = _Route(tuple(methods), handler, get_changes)

    def add_below(
        self, prefix: str, handler: Handler, methods: Iterable[str] = READ, *, get_changes: bool = False
    ) -> None:
        """Answer every path that begins with `prefix` and is not in the table itself; the longest prefix wins."""
        self._below.append((prefix, _Route(tuple(methods), handler, get_changes)))
        self._below.sort(key=lambda each: -len(each[0]))

    def application(
        self,
        request_bytes_max: int = REQUEST_BYTES_MAX,
        total_bytes_max: int = TOTAL_BYTES_MAX,
        hosts: AllowedHosts = DEFAULT_HOSTS,
    ) -> web.Application:
        """An application that answers by this table.

        The body of a request may have `request_bytes_max`, and those of all that are being answered `total_bytes_max`.
        `hosts` are the names that requests may be sent to.
        """
        self._hosts = hosts
        application = web.Application(client_max_size=request_bytes_max, middlewares=[around])
        application[BODY_MEMORY] = BodyMemory(max(request_bytes_max, total_bytes_max))
        application.on_response_prepare.append(_complete_head)
        application.router.add_route("*", "/{path:.*}", self._dispatch, expect_handler=_expect)
        return application

    def normalise(self, path: str) -> str:
        """The one form of a path."""
        shortened = self._prefix.sub("", path, count=1).rstrip("/") or "/"
        if shortened not in self._exact and shortened.endswith(".json"):
            shortened = shortened.removesuffix(".json")
        return shortened

    def _find(self, path: str) -> _Route | None:
        normal = self.normalise(path)
        if normal in self._exact:
            return self._exact[normal]
        for prefix, route in self._below:
            if normal == prefix or normal.startswith(f"{prefix}/"):
                return route
        return None

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        if self.normalise(request.path) != HEALTH:
            check_host(request, self._hosts)
        route = self._find(request.path)
        if request.method == hdrs.METH_OPTIONS and (route is not None or request.path in ("/", "*")):
            methods = route.methods if route is not None else READ
            return web.Response(status=HTTPStatus.NO_CONTENT, headers={hdrs.ALLOW: ", ".join(methods)})
        if route is None:
            raise web.HTTPNotFound(text="404 Not Found.")
        if request.method not in route.methods:
            allowed = ", ".join(route.methods)
            text = f"405 Method Not Allowed. This path takes {allowed}, not {request.method}."
            raise web.HTTPMethodNotAllowed(request.method, route.methods, text=text)
        # Scripts are read across origins: so is an answer that is one. A GET without a query changes nothing anywhere.
        changes = route.get_changes and bool(request.query)
        check_origin(request, self._hosts, also_get=changes or "jsonp" in request.query)
        return await route.handler(request)


async def _expect(request: web.Request) -> None:
    """Ask for the body of a client that waits to be asked. Raises 417; aiohttp's own words repeat any bytes."""
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="Expect: expected 100-continue")
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun


async def _complete_head(request: web.Request, response: web.StreamResponse) -> None:
    """What the head of every answer has in common."""
    # Otherwise a browser may take what a task wrote for a page or a script, whatever it is called here.
    response.headers["X-Content-Type-Options"] = "nosniff"
    if request.version < HttpVersion11 and hdrs.CONTENT_LENGTH not in response.headers:
        # Only the end of the connection says where such an answer ends: it is not kept open, whatever the client asks.
        response.force_close()


@web.middleware
async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A correlation id around every request, and a plain text answer for everything that goes wrong."""
    correlation_id = bind_correlation_id(request.headers.get(CORRELATION_HEADER))
    try:
        _check_is_text(request)
        response = await handler(request)
    except ConnectionResetError:
        # The client went away while it was answered.
        raise web.HTTPServiceUnavailable from None
    except Exception as error:
        if request.writer.output_size > 0:
            # The head of an answer is out. A second answer would read as a part of the first; the end of the connection
            # says that the first is not whole.
            raise ConnectionAbortedError(f"the answer could not be finished: {error!r}") from error
        if isinstance(error, web.HTTPException):
            error.headers[CORRELATION_HEADER] = correlation_id
            if error.text is not None and len(error.text) > TEXT_CHARACTERS_MAX:
                error.text = shorten(error.text)
            raise
        response = _refusal(request, error)
    finally:
        release_body(request)
    if not response.prepared:
        response.headers[CORRELATION_HEADER] = correlation_id
    return response


def _check_is_text(request: web.Request) -> None:
    """Refuse a request of which a part that is read is not UTF-8: it could be neither compared, sent on nor logged."""
    for name in HEADERS_READ:
        if not all(map(_is_text, request.headers.getall(name, ()))):
            raise InvalidRequest(name, "the header is not UTF-8")
    if not _is_text(request.path_qs):
        raise InvalidRequest("", "the request's path is not UTF-8")


def _is_text(text: str) -> bool:
    """Whether it can be encoded again; bytes that are no UTF-8 were kept as surrogates."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _refusal(request: web.Request, error: Exception) -> web.Response:
    if isinstance(error, MezzoError):
        return text_response(http_status(error), str(error))
    if isinstance(error, UnicodeEncodeError) and not all(map(_is_text, request.headers.values())):
        return text_response(400, "a header is not UTF-8")
    log.error("request failed", path=request.path, exc_info=error)
    return text_response(500, f"{type(error).__name__}: {error}")


def text_response(status: int, text: str) -> web.Response:
    """A plain text answer, cut where it is long. What cannot be encoded, of a client's input, is escaped."""
    return web.Response(status=status, body=shorten(text).encode(errors="backslashreplace"), headers=_PLAIN_TEXT)
