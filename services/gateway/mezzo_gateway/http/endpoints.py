"""Every path that the gateway answers."""

from __future__ import annotations

from aiohttp import hdrs, web

from mesos.v1.master.master_pb2 import Call
from mezzo import durations, jsonpb
from mezzo.errors import InvalidRequest, NotLeading
from mezzo_chassis.build import Build
from mezzo_chassis.http.exchange import json_response
from mezzo_chassis.http.routes import POST, Routes
from mezzo_chassis.log_level import toggled
from mezzo_gateway.adapters.registry import Registry
from mezzo_gateway.http.explain import Explain
from mezzo_gateway.http.files import Files
from mezzo_gateway.http.legacy_reads import LegacyReads
from mezzo_gateway.http.legacy_writes import LegacyWrites
from mezzo_gateway.http.listings import Listings
from mezzo_gateway.http.metrics_snapshot import MetricsSnapshot, system_stats
from mezzo_gateway.http.operator import OperatorApi
from mezzo_gateway.http.reads import Reads
from mezzo_gateway.http.scheduler import SchedulerApi
from mezzo_gateway.http.tasks import TASK_PATH, Tasks

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
        metrics: MetricsSnapshot,
        build: Build,
        reads: Reads,
    ) -> None:
        self._registry = registry
        self._operator = operator
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
            timeout = durations.parse(request.query["timeout"]) if "timeout" in request.query else None
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
        """Quota by role."""
        status = jsonpb.to_dict((await self._operator.configured(Call.GET_QUOTA)).get_quota.status)
        return self._configured(request, {"infos": [], "configs": [], **status})

    async def weights(self, request: web.Request) -> web.StreamResponse:
        """Weights by role."""
        infos = (await self._operator.configured(Call.GET_WEIGHTS)).get_weights.weight_infos
        return self._configured(request, [{"role": info.role, "weight": info.weight} for info in infos])

    def _configured(self, request: web.Request, document: object) -> web.Response:
        response = json_response(request, document)
        response.headers.update(self._reads.headers())
        return response

    async def maintenance_schedule(self, request: web.Request) -> web.Response:
        """The maintenance schedule."""
        answer = await self._operator.call_or_empty(Call(type=Call.GET_MAINTENANCE_SCHEDULE))
        return json_response(request, jsonpb.to_dict(answer.get_maintenance_schedule.schedule))

    async def maintenance_status(self, request: web.Request) -> web.Response:
        """What is in maintenance or about to be."""
        answer = await self._operator.call_or_empty(Call(type=Call.GET_MAINTENANCE_STATUS))
        return json_response(request, jsonpb.to_dict(answer.get_maintenance_status.status))


def routes(
    *,
    scheduler: SchedulerApi,
    operator: OperatorApi,
    explain: Explain,
    reads: LegacyReads,
    writes: LegacyWrites,
    files: Files,
    tasks: Tasks,
    listings: Listings,
    misc: MiscEndpoints,
) -> Routes:
    """Every endpoint with its path in its shortest form."""
    table = Routes("master")
    table.add_below("/api/v1", operator.post, POST, name="operator")
    table.add_below("/api/v1/scheduler", scheduler.post, POST, name="scheduler")
    table.add("/api/v1/explain", explain.get, GET, name="explain")
    _add_own(table, tasks, listings)
    for path, handler in reads.handlers().items():
        table.add(path, handler, name=path.strip("/"))
    _add_misc(table, misc)
    _add_writes(table, writes)
    table.add("/files/browse", files.document, name="files")
    table.add("/files/read", files.document, name="files")
    table.add("/files/download", files.download, name="files")
    return table


def _add_own(table: Routes, tasks: Tasks, listings: Listings) -> None:
    """What Mezzo has and Mesos has not."""
    table.add("/mezzo/v1/agents", listings.agents, GET, name="agents")
    table.add("/mezzo/v1/tasks", listings.tasks, GET, name="tasks")
    table.add("/mezzo/v1/members", listings.members, GET, name="members")
    table.add(TASK_PATH, tasks.explain, (hdrs.METH_GET,), name="tasks")
    table.add(f"{TASK_PATH}/kill", tasks.kill, POST, name="tasks")
    table.add(f"{TASK_PATH}/files/{{file:stdout|stderr}}", tasks.file, (hdrs.METH_GET,), name="tasks")
    table.add(f"{TASK_PATH}/sandbox", tasks.browse, (hdrs.METH_GET,), name="tasks")
    table.add(f"{TASK_PATH}/sandbox/download", tasks.download, (hdrs.METH_GET,), name="tasks")


def _add_misc(table: Routes, misc: MiscEndpoints) -> None:
    table.add("/", misc.home, name="home")
    table.add("/health", misc.health, name="health")
    table.add("/version", misc.version, name="version")
    table.add("/redirect", misc.redirect, name="redirect")
    table.add("/metrics/snapshot", misc.metrics_snapshot, name="metrics")
    table.add("/system/stats", misc.system_stats, name="stats")
    table.add("/logging/toggle", misc.logging_toggle, name="logging", get_changes=True)
    table.add("/weights", misc.weights, GET, name="weights")
    table.add("/quota", misc.quota, GET, name="quota")
    table.add("/maintenance/schedule", misc.maintenance_schedule, GET, name="maintenance")
    table.add("/maintenance/status", misc.maintenance_status, name="maintenance")


def _add_writes(table: Routes, writes: LegacyWrites) -> None:
    table.add("/weights", writes.set_weights, (hdrs.METH_PUT,), name="weights")
    table.add("/quota", writes.set_quota, POST, name="quota")
    table.add("/quota/{role:[^/].*}", writes.remove_quota, (hdrs.METH_DELETE,), name="quota")
    table.add("/maintenance/schedule", writes.maintenance_schedule, POST, name="maintenance")
    table.add("/machine/down", writes.machine_down, POST, name="maintenance")
    table.add("/machine/up", writes.machine_up, POST, name="maintenance")
    table.add("/teardown", writes.teardown, POST, name="teardown")
    table.add("/reserve", writes.reserve, POST, name="reserve")
    table.add("/unreserve", writes.unreserve, POST, name="unreserve")
    table.add("/create-volumes", writes.create_volumes, POST, name="create-volumes")
    table.add("/destroy-volumes", writes.destroy_volumes, POST, name="destroy-volumes")
