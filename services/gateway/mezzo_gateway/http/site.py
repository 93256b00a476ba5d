"""The gateway's HTTP site: which path is which endpoint, and what all answers have in common."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aiohttp import hdrs, web

from mezzo import addresses
from mezzo.errors import MezzoError, NotLeading
from mezzo_chassis.errors import http_status
from mezzo_chassis.http.bodies import TOTAL_BYTES_MAX
from mezzo_chassis.http.browsers import DEFAULT_HOSTS, AllowedHosts
from mezzo_chassis.http.routes import READ, Handler, Routes, text_response
from mezzo_chassis.log import get_logger
from mezzo_gateway.metrics import Metrics

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers a path, and all paths below it if `below`. `name` is how it is counted."""

    name: str
    handler: Handler
    methods: Iterable[str] = READ
    below: bool = False
    # Whether even a GET changes something.
    get_changes: bool = False


@dataclass(slots=True)
class Site:
    """The endpoints of a gateway, each with its path; of two with one path the later counts."""

    endpoints: Sequence[tuple[str, Endpoint]]
    metrics: Metrics
    # Those that clients may know this gateway by ("host:port"): nobody is sent to where they are.
    own_addresses: frozenset[str] = field(default_factory=frozenset)
    hosts: AllowedHosts = DEFAULT_HOSTS

    def application(self, body_bytes_max: int, total_body_bytes_max: int = TOTAL_BYTES_MAX) -> web.Application:
        """The application that serves it."""
        routes = Routes("master")
        for path, endpoint in self.endpoints:
            add = routes.add_below if endpoint.below else routes.add
            add(path, self._around(endpoint), endpoint.methods, get_changes=endpoint.get_changes)
        return routes.application(body_bytes_max, total_body_bytes_max, self.hosts)

    def _around(self, endpoint: Endpoint) -> Handler:
        """The endpoint, measured; where only the leader could have answered, the client is sent there."""
        seconds = self.metrics.request_seconds.labels(endpoint.name)

        async def answer(request: web.Request) -> web.StreamResponse:
            began = time.perf_counter()
            status = 500
            try:
                response = await self._respond(endpoint, request)
                status = response.status
                if not response.prepared:
                    seconds.observe(time.perf_counter() - began)
                return response
            except web.HTTPException as error:
                status = error.status
                raise
            finally:
                self.metrics.requests.labels(endpoint.name, request.method, status).inc()

        return answer

    async def _respond(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        try:
            return await endpoint.handler(request)
        except NotLeading as error:
            return self._elsewhere(request, error.leader)
        except MezzoError as error:
            status = http_status(error)
            log.info("refused", path=request.path, status=int(status), reason=str(error))
            return text_response(status, str(error))

    def _elsewhere(self, request: web.Request, leader: str | None) -> web.Response:
        """Send the client to the leader, unless that is here, or nobody leads."""
        if leader is None or leader in self.own_addresses or addresses.parse(leader) is None:
            return web.Response(status=503, text="no leading registry can be reached")
        return web.Response(status=307, headers={hdrs.LOCATION: f"//{leader}{request.rel_url}"})
