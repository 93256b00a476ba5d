"""Mesos' legacy endpoints that only read: answered from the state copy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import chain

import orjson
from aiohttp import web

from mezzo.errors import NotLeading
from mezzo_chassis.build import Build
from mezzo_chassis.http.exchange import json_bytes_response
from mezzo_chassis.http.routes import Handler
from mezzo_gateway.adapters.registry import Registry
from mezzo_gateway.state import legacy
from mezzo_gateway.state.cluster import Cluster

# Set on answers made from a copy that no registry keeps up to date: since when, in seconds since the epoch.
STALE_HEADER = "Mezzo-Stale"

# Tasks and agents rendered without a break: some milliseconds, after which others have their turn.
STEPS_PER_SLICE = 250


class Reads:
    """The documents, each in the form that Mesos gave it."""

    def __init__(self, registry: Registry, build: Build, own_flags: Mapping[str, str]) -> None:
        """`own_flags`: of this gateway's flags those that are the master's in Mesos."""
        self._registry = registry
        self._build = build
        self._own_flags = own_flags

    # ------------------------------------------------------------------------------------------------ the copy

    def cluster(self) -> Cluster:
        """What is known. Raises NotLeading before the first snapshot."""
        if self._registry.copy.cluster is None:
            raise NotLeading(self._registry.http_address)
        return self._registry.copy.cluster

    def flags(self) -> dict[str, str]:
        """What Mesos' master would tell of its flags: the registry's, the allocator's, and some of this gateway's.

        Raises NotLeading before the first snapshot.
        """
        return {**self.cluster().flags, **self._own_flags}

    def headers(self) -> dict[str, str]:
        """What an answer that is made of the copy says about its age."""
        stale_since = self._registry.copy.stale_since
        return {} if stale_since is None else {STALE_HEADER: f"{stale_since:.3f}"}

    async def render(self, *rendering: Callable[[Cluster], Iterator[None]]) -> None:
        """Make the JSON of what has changed, in slices between other work."""
        cluster = None
        while cluster is not self.cluster():
            cluster = self.cluster()
            for step, _ in enumerate(chain.from_iterable(make(cluster) for make in rendering), 1):
                if step % STEPS_PER_SLICE == 0:
                    await asyncio.sleep(0)

    # --------------------------------------------------------------------------------------------- the endpoints

    def handlers(self) -> dict[str, Handler]:
        """Each endpoint by its path."""
        return {
            "/state": self._state,
            "/state-summary": self._state_summary,
            "/slaves": self._slaves,
            "/frameworks": self._frameworks,
            "/tasks": self._tasks,
            "/roles": self._whole("roles", legacy.roles),
            "/flags": self._whole("flags", lambda _: orjson.dumps({"flags": self.flags()})),
        }

    def _whole(self, name: str, make: Callable[[Cluster], bytes]) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            return self._json(request, self.cached(name, make))

        return answer

    def cached(self, name: str, make: Callable[[Cluster], bytes]) -> bytes:
        self.cluster()
        return self._registry.copy.cached(name, make)

    def _json(self, request: web.Request, body: bytes) -> web.Response:
        response = json_bytes_response(request, body)
        response.headers.update(self.headers())
        return response

    async def _state(self, request: web.Request) -> web.Response:
        await self.render(legacy.rendering_tasks, legacy.rendering_agents)
        return self._json(
            request, self.cached("state", lambda cluster: legacy.state(cluster, self._build, self.flags()))
        )

    async def _state_summary(self, request: web.Request) -> web.Response:
        await self.render(legacy.rendering_summaries)
        return self._json(request, self.cached("state-summary", legacy.state_summary))

    async def _slaves(self, request: web.Request) -> web.Response:
        agent_id = request.query.get("slave_id")
        if agent_id is None:
            await self.render(legacy.rendering_agents_in_full)
            return self._json(request, self.cached("slaves", legacy.slaves))
        return self._json(request, legacy.slaves(self.cluster(), agent_id))

    async def _frameworks(self, request: web.Request) -> web.Response:
        await self.render(legacy.rendering_tasks)
        framework_id = request.query.get("framework_id")
        if framework_id is None:
            return self._json(request, self.cached("frameworks", legacy.frameworks))
        return self._json(request, legacy.frameworks(self.cluster(), framework_id))

    async def _tasks(self, request: web.Request) -> web.Response:
        query = legacy.TasksQuery(
            limit=_number(request.query.get("limit"), legacy.TASKS_LIMIT_DEFAULT),
            offset=_number(request.query.get("offset"), 0),
            ascending=request.query.get("order") == "asc",
            framework_id=request.query.get("framework_id"),
            task_id=request.query.get("task_id"),
        )
        if not 0 <= query.limit <= STEPS_PER_SLICE:
            await self.render(legacy.rendering_tasks)
        return self._json(request, legacy.tasks(self.cluster(), query))


def _number(text: str | None, default: int) -> int:
    """A number of a query. Mesos takes what is none for the default."""
    try:
        return default if text is None else int(text)
    except ValueError:
        return default
