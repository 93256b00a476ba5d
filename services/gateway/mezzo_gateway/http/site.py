"""The gateway's HTTP site: what it does otherwise than other servers do."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import hdrs, web

from mezzo import addresses
from mezzo.errors import MezzoError, NotLeading, Unavailable
from mezzo_chassis.http.bodies import TOTAL_BYTES_MAX
from mezzo_chassis.http.browsers import DEFAULT_HOSTS, AllowedHosts
from mezzo_chassis.http.middleware import Endpoint, Hooks
from mezzo_chassis.http.principals import Authenticate, anonymous
from mezzo_chassis.http.routes import Routes
from mezzo_gateway.metrics import Metrics


@dataclass(slots=True)
class Site:
    """The endpoints of a gateway. Requests are counted; what only the leader could answer is redirected to it."""

    routes: Routes
    metrics: Metrics
    # Those that clients may know this gateway by ("host:port"): nobody is sent to where they are.
    own_addresses: frozenset[str] = field(default_factory=frozenset)
    hosts: AllowedHosts = DEFAULT_HOSTS
    authenticate: Authenticate = anonymous

    def application(self, body_bytes_max: int, total_body_bytes_max: int = TOTAL_BYTES_MAX) -> web.Application:
        """The application that serves it."""
        hooks = Hooks(authenticate=self.authenticate, answer_error=self._redirect, count=self._count)
        return self.routes.application(body_bytes_max, total_body_bytes_max, self.hosts, hooks)

    def _redirect(self, request: web.Request, error: MezzoError) -> web.Response | MezzoError:
        """Send the client to the leader, unless that is here, or nobody leads."""
        if not isinstance(error, NotLeading):
            return error
        leader = error.leader
        if leader is None or leader in self.own_addresses or addresses.parse(leader) is None:
            return Unavailable("no leading registry can be reached")
        return web.Response(status=307, headers={hdrs.LOCATION: f"//{leader}{request.rel_url}"})

    def _count(self, endpoint: Endpoint, request: web.Request, status: int, seconds: float | None) -> None:
        self.metrics.requests.labels(endpoint.name, request.method, status).inc()
        if seconds is not None:
            self.metrics.request_seconds.labels(endpoint.name).observe(seconds)
