"""Every path that the gateway answers."""

from __future__ import annotations

from aiohttp import hdrs, web

from mesos.v1.master.master_pb2 import Call
from mezzo import jsonpb
from mezzo.errors import InvalidRequest, NotLeading
from mezzo_chassis.build import Build
from mezzo_chassis.config import duration
from mezzo_chassis.http.exchange import json_response
from mezzo_chassis.http.routes import POST, READ
from mezzo_chassis.log_level import toggled
from mezzo_gateway.adapters.registry import Registry
from mezzo_gateway.http.explain import Explain
from mezzo_gateway.http.files import Files
from mezzo_gateway.http.legacy_writes import QUOTA_PATH, LegacyWrites
from mezzo_gateway.http.metrics_snapshot import MetricsSnapshot, system_stats
from mezzo_gateway.http.operator import OperatorApi
from mezzo_gateway.http.reads import Reads
from mezzo_gateway.http.scheduler import SchedulerApi
from mezzo_gateway.http.site import Endpoint
from mezzo_gateway.http.tasks import PREFIX, Tasks

GET = (hdrs.METH_GET, hdrs.METH_HEAD)

HOME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Mezzo</title></head>
<body><h1>Mezzo {version}</h1>
<ul><li><a href="/state">state</a><li><a href="/slaves">agents</a><li><a href="/frameworks">frameworks</a>
<li><a href="/tasks">tasks</a><li><a href="/roles">roles</a><li><a href="/metrics/snapshot">metrics</a></ul>
</body></html>
"""


class MiscEndpoints:
    """The legacy endpoints that are a line or two each."""

    def __init__(
        self,
        registry: Registry,
        operator: OperatorApi,
        writes: LegacyWrites,
        metrics: MetricsSnapshot,
        build: Build,
        reads: Reads,
    ) -> None:
        self._registry = registry
        self._operator = operator
        self._writes = writes
        self._metrics = metrics
        self._build = build
        self._reads = reads

    async def home(self, _: web.Request) -> web.Response:
        """A page with links to what there is."""
        return web.Response(text=HOME.format(version=self._build.mezzo_version), content_type="text/html")

    async def health(self, _: web.Request) -> web.Response:
        """This process answers. Whether a registry can be reached is told by `/redirect` and by gRPC health."""
        return web.Response()

    async def version(self, request: web.Request) -> web.Response:
        """The version of Mesos' API that is spoken, and our own."""
        return json_response(request, self._build.document())

    async def redirect(self, _: web.Request) -> web.Response:
        """Where the leader is."""
        leader = self._registry.http_address
        if leader is None:
            raise NotLeading
        return web.Response(status=307, headers={hdrs.LOCATION: f"//{leader}"})

    async def metrics_snapshot(self, request: web.Request) -> web.Response:
        """All metrics; `timeout` says how long the answer may take."""
        try:
            timeout = duration(request.query["timeout"]) if "timeout" in request.query else None
        except ValueError as error:
            raise InvalidRequest("timeout", str(error)) from None
        return json_response(request, await self._metrics.read(timeout))

    async def system_stats(self, request: web.Request) -> web.Response:
        """Load, processors and memory of this machine."""
        return json_response(request, system_stats())

    async def logging_toggle(self, request: web.Request) -> web.Response:
        """The level of logging; with `level` and `duration`, raised for a while."""
        asked = toggled(request.query)
        if asked is not None:
            await self._operator.raise_log_level(*asked)
            return web.Response()
        return web.Response(text=f"{await self._operator.log_level()}\n")

    async def quota(self, request: web.Request) -> web.Response:
        """Quota by role; POST sets one."""
        if request.method == hdrs.METH_POST:
            return await self._writes.set_quota(request)
        status = jsonpb.to_dict((await self._operator.configured(Call.GET_QUOTA)).get_quota.status)
        return self._configured(request, {"infos": [], "configs": [], **status})

    async def weights(self, request: web.Request) -> web.StreamResponse:
        """Weights by role; PUT sets some."""
        if request.method == hdrs.METH_PUT:
            return await self._writes.set_weights(request)
        infos = (await self._operator.configured(Call.GET_WEIGHTS)).get_weights.weight_infos
        return self._configured(request, [{"role": info.role, "weight": info.weight} for info in infos])

    def _configured(self, request: web.Request, document: object) -> web.Response:
        response = json_response(request, document)
        response.headers.update(self._reads.headers())
        return response

    async def maintenance_schedule(self, request: web.Request) -> web.Response:
        """The maintenance schedule; POST replaces it."""
        if request.method == hdrs.METH_POST:
            return await self._writes.maintenance_schedule(request)
        answer = await self._operator.call_or_empty(Call(type=Call.GET_MAINTENANCE_SCHEDULE))
        return json_response(request, jsonpb.to_dict(answer.get_maintenance_schedule.schedule))

    async def maintenance_status(self, request: web.Request) -> web.Response:
        """What is in maintenance or about to be."""
        answer = await self._operator.call_or_empty(Call(type=Call.GET_MAINTENANCE_STATUS))
        return json_response(request, jsonpb.to_dict(answer.get_maintenance_status.status))


def endpoints(
    *,
    scheduler: SchedulerApi,
    operator: OperatorApi,
    explain: Explain,
    reads: Reads,
    files: Files,
    tasks: Tasks,
    misc: MiscEndpoints,
) -> list[tuple[str, Endpoint]]:
    """Every endpoint with its path in its shortest form."""
    writes = LegacyWrites(operator)
    table = [(path, Endpoint(path.strip("/"), handler)) for path, handler in reads.handlers().items()]
    table += [
        ("/", Endpoint("home", misc.home)),
        ("/health", Endpoint("health", misc.health)),
        ("/version", Endpoint("version", misc.version)),
        ("/redirect", Endpoint("redirect", misc.redirect)),
        ("/metrics/snapshot", Endpoint("metrics", misc.metrics_snapshot)),
        ("/system/stats", Endpoint("stats", misc.system_stats)),
        ("/logging/toggle", Endpoint("logging", misc.logging_toggle, get_changes=True)),
        ("/weights", Endpoint("weights", misc.weights, (*GET, hdrs.METH_PUT))),
        (QUOTA_PATH, Endpoint("quota", misc.quota)),
        (QUOTA_PATH, Endpoint("quota", writes.remove_quota, (hdrs.METH_DELETE,), below=True)),
        ("/maintenance/schedule", Endpoint("maintenance", misc.maintenance_schedule)),
        ("/maintenance/status", Endpoint("maintenance", misc.maintenance_status)),
        ("/machine/down", Endpoint("maintenance", writes.machine_down, POST)),
        ("/machine/up", Endpoint("maintenance", writes.machine_up, POST)),
        ("/teardown", Endpoint("teardown", writes.teardown, POST)),
        ("/reserve", Endpoint("reserve", writes.reserve, POST)),
        ("/unreserve", Endpoint("unreserve", writes.unreserve, POST)),
        ("/create-volumes", Endpoint("create-volumes", writes.create_volumes, POST)),
        ("/destroy-volumes", Endpoint("destroy-volumes", writes.destroy_volumes, POST)),
        ("/files/browse", Endpoint("files", files.document)),
        ("/files/read", Endpoint("files", files.document)),
        ("/files/download", Endpoint("files", files.download)),
        ("/api/v1/explain", Endpoint("explain", explain, GET)),
        ("/api/v1/scheduler", Endpoint("scheduler", scheduler, POST, below=True)),
        ("/api/v1", Endpoint("operator", operator, POST, below=True)),
        (PREFIX, Endpoint("tasks", tasks, READ, below=True)),
    ]
    return table
