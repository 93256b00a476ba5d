"""Which endpoint answers a path, in all the ways in which Mesos' clients write it.

`/state`, `/state/`, `/state.json`, `/master/state` and, on an agent, `/slave(1)/state.json` are one thing: each form
is a resource of aiohttp's router.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import HttpVersion11, hdrs, web

from mezzo_chassis.http.bodies import BODY_MEMORY, REQUEST_BYTES_MAX, TOTAL_BYTES_MAX, BodyMemory
from mezzo_chassis.http.browsers import DEFAULT_HOSTS, AllowedHosts
from mezzo_chassis.http.middleware import NO_HOOKS, Endpoint, Handler, Hooks, Middleware, complete_head

READ = ("GET", "HEAD", "POST")
POST = ("POST",)
OWN_API = "/mezzo/v1"
"""What is ours and not Mesos': errors below it are JSON."""


class Routes:
    """A table of endpoints, and the application that answers by it."""

    def __init__(self, prefix: str) -> None:
        """Leave a first part of paths out of account that matches the pattern `prefix`, such as `master`."""
        self._prefix = prefix
        self._exact: dict[str, dict[str, Endpoint]] = {}
        self._below: dict[str, dict[str, Endpoint]] = {}
        self._own_api = re.compile(rf"(?:/{prefix})?{OWN_API}(?:/|\Z)")

    def add(
        self, path: str, handler: Handler, methods: Iterable[str] = READ, *, name: str = "", get_changes: bool = False
    ) -> None:
        """Answer exactly this path, however it is written; a part of it may be variable, as in aiohttp: `{name:.+}`.

        `name` is how its requests are counted. `get_changes`: even a GET with a query changes something.
        """
        endpoint = Endpoint(path, handler, name, get_changes)
        self._exact.setdefault(path, {}).update(dict.fromkeys(methods, endpoint))

    def add_below(self, path: str, handler: Handler, methods: Iterable[str] = READ, *, name: str = "") -> None:
        """Answer this path and every path below it that is not in the table itself; the longest such path wins."""
        self._below.setdefault(path, {}).update(dict.fromkeys(methods, Endpoint(path, handler, name)))

    def paths(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Every path in the table, with the methods that it takes."""
        for table in (self._exact, self._below):
            yield from ((path, tuple(endpoints)) for path, endpoints in table.items())

    def application(
        self,
        request_bytes_max: int = REQUEST_BYTES_MAX,
        total_bytes_max: int = TOTAL_BYTES_MAX,
        hosts: AllowedHosts = DEFAULT_HOSTS,
        hooks: Hooks = NO_HOOKS,
    ) -> web.Application:
        """An application that answers by this table.

        The body of a request may have `request_bytes_max`, and those of all that are being answered `total_bytes_max`.
        `hosts` are the names that requests may be sent to.
        """
        middleware = Middleware(hosts, hooks, in_json=lambda path: self._own_api.match(path) is not None)
        application = web.Application(client_max_size=request_bytes_max, middlewares=[middleware.handle])
        application[BODY_MEMORY] = BodyMemory(max(request_bytes_max, total_bytes_max))
        application.on_response_prepare.append(complete_head)
        for form, endpoints in self._resources():
            for method, endpoint in endpoints.items():
                route = application.router.add_route(method, form, endpoint.handler, expect_handler=_expect)
                middleware.endpoints[route] = endpoint
            if "*" not in endpoints:
                others = _OtherMethods(tuple(endpoints))
                application.router.add_route("*", form, others.answer, expect_handler=_expect)
        application.router.add_route("*", "/{path:.*}", _not_found, expect_handler=_expect)
        return application

    def _resources(self) -> Iterator[tuple[str, dict[str, Endpoint]]]:
        """The paths of aiohttp's router: plain ones first, then patterns; of several that match the first counts."""
        below = sorted(self._below.items(), key=lambda each: -len(each[0]))
        yield from self._exact.items()
        for path, endpoints in self._exact.items():
            tail = "/*" if "{" in path or path == "/" else r"(?:\.json)?/*"
            yield from self._forms(path.rstrip("/"), tail, endpoints)
        for path, endpoints in below:
            yield from self._forms(path, r"(?:\.json/*|/.*)?", endpoints)

    def _forms(self, path: str, tail: str, endpoints: dict[str, Endpoint]) -> Iterator[tuple[str, dict[str, Endpoint]]]:
        if path:
            yield f"{path}{{_tail:{tail}}}", endpoints
        else:
            yield f"/{{_tail:{tail}}}", endpoints
        yield f"/{{_prefix:{self._prefix}}}{path}{{_tail:{tail}}}", endpoints


@dataclass(frozen=True, slots=True)
class _OtherMethods:
    """Refuses the methods that a path does not take."""

    allowed: tuple[str, ...]

    async def answer(self, request: web.Request) -> web.Response:
        """Tell the methods to whoever asks for them by OPTIONS. Raises 405."""
        allowed = ", ".join(self.allowed)
        if request.method == hdrs.METH_OPTIONS:
            return web.Response(status=HTTPStatus.NO_CONTENT, headers={hdrs.ALLOW: allowed})
        text = f"405 Method Not Allowed. This path takes {allowed}, not {request.method}."
        raise web.HTTPMethodNotAllowed(request.method, self.allowed, text=text)


async def _not_found(request: web.Request) -> web.Response:
    """Raises 404."""
    if request.method == hdrs.METH_OPTIONS and request.path == "/":
        return web.Response(status=HTTPStatus.NO_CONTENT, headers={hdrs.ALLOW: ", ".join(READ)})
    raise web.HTTPNotFound(text="404 Not Found.")


async def _expect(request: web.Request) -> None:
    """Ask for the body of a client that waits to be asked. Raises 417; aiohttp's own words repeat any bytes."""
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="Expect: expected 100-continue")
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
