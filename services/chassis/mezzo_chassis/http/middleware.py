"""What happens to every request of an HTTP server before its endpoint sees it, and to every answer.

In this order: it gets a correlation id; it has to be text, to be sent to a name of this server, and not to come from a
page of another origin; whoever sent it is authenticated; its endpoint answers it. What goes wrong, wherever, becomes an
answer in `refusals` alone. Which endpoint answers which path is the router's, see `routes`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import HttpVersion11, hdrs, web

from mezzo.errors import InvalidRequest, MezzoError
from mezzo_chassis.http import refusals
from mezzo_chassis.http.bodies import release_body
from mezzo_chassis.http.browsers import AllowedHosts, check_host, check_origin
from mezzo_chassis.http.principals import Authenticate, anonymous, resolve_principal
from mezzo_chassis.log import bind_correlation_id

CORRELATION_HEADER = "X-Correlation-Id"
HEALTH = "/health"
"""Answered whatever name it is asked by, and to anybody: load balancers ask by their own name, without credentials, and
the answer gives nothing away. One that asked an authenticator would be unhealthy whenever that one is."""
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

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers a path by one method. `name` is how its requests are counted."""

    path: str
    handler: Handler
    name: str = ""
    # Whether even a GET with a query changes something.
    get_changes: bool = False


def _as_it_is(request: web.Request, error: MezzoError) -> MezzoError:
    del request
    return error


def _count_nothing(endpoint: Endpoint, request: web.Request, status: int, seconds: float | None) -> None:
    del endpoint, request, status, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a service adds to the middleware.

    `answer_error` is given each error first, and returns an answer of the service's own, or the error to be told.
    `count` gets each request that reached an endpoint: with the status, and the seconds unless the answer was a stream.
    """

    authenticate: Authenticate = anonymous
    answer_error: Callable[[web.Request, MezzoError], web.Response | MezzoError] = _as_it_is
    count: Callable[[Endpoint, web.Request, int, float | None], None] = _count_nothing


NO_HOOKS = Hooks()


class Middleware:
    """The middleware of one server."""

    def __init__(self, hosts: AllowedHosts, hooks: Hooks, in_json: Callable[[str], bool]) -> None:
        """`hosts` are the names that requests may be sent to; below some paths errors are told in JSON."""
        self._hosts = hosts
        self._hooks = hooks
        self._in_json = in_json
        self.endpoints: dict[web.AbstractRoute, Endpoint] = {}
        """Of each route; the routes that refuse other paths and methods have none."""

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request: by its endpoint, or with what keeps it from that."""
        correlation_id = bind_correlation_id(request.headers.get(CORRELATION_HEADER))
        endpoint = self.endpoints.get(request.match_info.route)
        began = time.perf_counter()
        status, seconds = 500, None
        try:
            response = await self._respond(request, handler, endpoint)
            status = response.status
            if not response.prepared:
                response.headers[CORRELATION_HEADER] = correlation_id
                seconds = time.perf_counter() - began
        except web.HTTPException as error:
            error.headers[CORRELATION_HEADER] = correlation_id
            status = error.status
            raise
        finally:
            release_body(request)
            if endpoint is not None:
                self._hooks.count(endpoint, request, status, seconds)
        return response

    async def _respond(self, request: web.Request, handler: Handler, endpoint: Endpoint | None) -> web.StreamResponse:
        try:
            await self._admit(request, endpoint)
            return await handler(request)
        except ConnectionResetError:
            # The client went away while it was answered.
            raise web.HTTPServiceUnavailable from None
        except Exception as error:
            if request.writer.output_size > 0:
                # The head of an answer is out. A second answer would read as a part of the first; the end of the
                # connection says that the first is not whole.
                raise ConnectionAbortedError(f"the answer could not be finished: {error!r}") from error
            in_json = self._in_json(request.path)
            if isinstance(error, web.HTTPException):
                refusals.put_into_words(error, in_json=in_json)
                raise
            outcome = self._hooks.answer_error(request, error) if isinstance(error, MezzoError) else error
            if isinstance(outcome, web.Response):
                return outcome
            return refusals.refusal(request, outcome, in_json=in_json)

    async def _admit(self, request: web.Request, endpoint: Endpoint | None) -> None:
        """Check what holds for all endpoints, and authenticate. Raises what the request is refused with."""
        _check_is_text(request)
        is_health = endpoint is not None and endpoint.path == HEALTH
        if not is_health:
            check_host(request, self._hosts)
        if endpoint is None:
            return
        # Scripts are read across origins: so is an answer that is one. A GET without a query changes nothing anywhere.
        changes = endpoint.get_changes and bool(request.query)
        check_origin(request, self._hosts, also_get=changes or "jsonp" in request.query)
        await resolve_principal(request, anonymous if is_health else self._hooks.authenticate)


def _check_is_text(request: web.Request) -> None:
    """Refuse a request of which a part that is read is not UTF-8: it could be neither compared, sent on nor logged."""
    are_ascii = all(map(str.isascii, request.headers.values()))
    for name in () if are_ascii else HEADERS_READ:
        if not all(map(refusals.is_text, request.headers.getall(name, ()))):
            raise InvalidRequest(name, "the header is not UTF-8")
    if not refusals.is_text(request.path_qs):
        raise InvalidRequest("", "the request's path is not UTF-8")


async def complete_head(request: web.Request, response: web.StreamResponse) -> None:
    """Give the head of an answer what all have in common."""
    # Otherwise a browser may take what a task wrote for a page or a script, whatever it is called here.
    response.headers["X-Content-Type-Options"] = "nosniff"
    if request.version < HttpVersion11 and hdrs.CONTENT_LENGTH not in response.headers:
        # Only the end of the connection says where such an answer ends: it is not kept open, whatever the client asks.
        response.force_close()
