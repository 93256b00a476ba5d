"""Mesos' legacy endpoints that only read: documents made of the state copy, each in the form that Mesos gave it."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from aiohttp import web

from mezzo_chassis.build import Build
from mezzo_chassis.http.middleware import Handler
from mezzo_gateway.http.reads import STEPS_PER_SLICE, Reads
from mezzo_gateway.state import legacy
from mezzo_gateway.state.cluster import Cluster


class LegacyReads:
    """Answers the endpoints that list agents, frameworks, tasks and roles."""

    def __init__(self, reads: Reads, build: Build) -> None:
        self._reads = reads
        self._version = build.document()

    def handlers(self) -> dict[str, Handler]:
        """Each endpoint by its path."""
        return {
            "/state": self._state,
            "/state-summary": self._state_summary,
            "/slaves": self._slaves,
            "/frameworks": self._frameworks,
            "/tasks": self._tasks,
            "/roles": self._roles,
            "/flags": self._flags,
        }

    def _cached(self, request: web.Request, name: str, make: Callable[[Cluster], bytes]) -> web.Response:
        return self._reads.json(request, self._reads.cached(name, make))

    async def _roles(self, request: web.Request) -> web.Response:
        return self._cached(request, "roles", legacy.roles)

    async def _flags(self, request: web.Request) -> web.Response:
        return self._cached(request, "flags", lambda _: orjson.dumps({"flags": self._reads.flags()}))

    async def _state(self, request: web.Request) -> web.Response:
        await self._reads.render(legacy.rendering_tasks, legacy.rendering_agents)
        return self._cached(request, "state", lambda cluster: legacy.state(cluster, self._version, self._reads.flags()))

    async def _state_summary(self, request: web.Request) -> web.Response:
        await self._reads.render(legacy.rendering_summaries)
        return self._cached(request, "state-summary", legacy.state_summary)

    async def _slaves(self, request: web.Request) -> web.Response:
        agent_id = request.query.get("slave_id")
        if agent_id is None:
            await self._reads.render(legacy.rendering_agents_in_full)
            return self._cached(request, "slaves", legacy.slaves)
        return self._reads.json(request, legacy.slaves(self._reads.cluster(), agent_id))

    async def _frameworks(self, request: web.Request) -> web.Response:
        await self._reads.render(legacy.rendering_tasks)
        framework_id = request.query.get("framework_id")
        if framework_id is None:
            return self._cached(request, "frameworks", legacy.frameworks)
        return self._reads.json(request, legacy.frameworks(self._reads.cluster(), framework_id))

    async def _tasks(self, request: web.Request) -> web.Response:
        query = legacy.TasksQuery(
            limit=_number(request.query.get("limit"), legacy.TASKS_LIMIT_DEFAULT),
            offset=_number(request.query.get("offset"), 0),
            ascending=request.query.get("order") == "asc",
            framework_id=request.query.get("framework_id"),
            task_id=request.query.get("task_id"),
        )
        if not 0 <= query.limit <= STEPS_PER_SLICE:
            await self._reads.render(legacy.rendering_tasks)
        return self._reads.json(request, legacy.tasks(self._reads.cluster(), query))


def _number(text: str | None, default: int) -> int:
    """A number of a query. Mesos takes what is none for the default."""
    try:
        return default if text is None else int(text)
    except ValueError:
        return default
