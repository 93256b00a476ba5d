"""The Prometheus exporter: a service's metrics over HTTP, on a port of their own."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from mezzo_chassis.http.browsers import EVERY_HOST
from mezzo_chassis.http.connections import ConnectionLimits
from mezzo_chassis.http.routes import Routes
from mezzo_chassis.http.site import Site, start_site

# A few Prometheus servers and whoever looks by hand.
EXPORTER_LIMITS = ConnectionLimits(total=256)


async def start_exporter(host: str, port: int, registry: CollectorRegistry) -> Site:
    """Serve the registry's metrics at `/metrics`. Raises `StartupError` where the port is in use."""

    async def metrics(request: web.Request) -> web.Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        except (TypeError, ValueError):  # versions and parameters that make no sense
            encode, content_type = choose_encoder("")
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    routes = Routes(r"mezzo")
    routes.add("/metrics", metrics, ("GET", "HEAD"))
    # Scraped by whatever name: there is nothing to change here, and nothing secret.
    return await start_site(routes.application(hosts=EVERY_HOST), host, port, limits=EXPORTER_LIMITS)
