"""Mesos' older endpoints, read-only."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from mezzo import durations
from mezzo.errors import InvalidRequest
from mezzo_agent import __version__
from mezzo_agent.http import containers, logs, state_document
from mezzo_agent.http.executor_api import ExecutorApi
from mezzo_agent.http.operator_api import OperatorApi
from mezzo_agent.metrics import system_numbers
from mezzo_agent.shell.readiness_gate import ReadinessGate
from mezzo_chassis.build import Build
from mezzo_chassis.http.exchange import json_response
from mezzo_chassis.http.files import FilesApi, FileTree
from mezzo_chassis.http.routes import POST, Routes
from mezzo_chassis.log_level import LogLevel, toggled

PREFIX = r"slave\(1\)"


def routes(gate: ReadinessGate, tree: FileTree, log_level: LogLevel, flags: Mapping[str, str]) -> Routes:
    """Everything that the agent answers over HTTP."""
    table = Routes(PREFIX)
    build = Build.installed(__version__)
    endpoints = Endpoints(gate, log_level, flags, build)
    table.add("/state", endpoints.state)
    table.add("/containers", endpoints.containers)
    table.add("/monitor/statistics", endpoints.statistics)
    table.add("/health", endpoints.health)
    table.add("/flags", endpoints.flags)
    table.add("/version", endpoints.version)
    table.add("/logging/toggle", endpoints.logging_toggle, get_changes=True)
    table.add("/metrics/snapshot", endpoints.metrics)
    table.add("/system/stats.json", endpoints.system_stats)
    files = FilesApi(tree)
    table.add("/files/browse", files.browse)
    table.add("/files/read", files.read)
    table.add("/files/download", files.download)
    table.add(logs.PATH, logs.Logs(tree).read)
    table.add("/api/v1/executor", ExecutorApi(gate).post, POST)
    table.add_below("/api/v1", OperatorApi(gate, tree, log_level, flags, build).post, POST)
    return table


def executor_routes(gate: ReadinessGate) -> Routes:
    """What the Unix socket answers: executors, and nobody else."""
    table = Routes(PREFIX)
    table.add("/api/v1/executor", ExecutorApi(gate).post, POST)
    return table


class Endpoints:
    """One method for each path."""

    def __init__(self, gate: ReadinessGate, log_level: LogLevel, flags: Mapping[str, str], build: Build) -> None:
        self._gate = gate
        self._log_level = log_level
        self._flags = flags
        self._build = build

    async def state(self, request: web.Request) -> web.StreamResponse:
        runtime = self._gate.runtime()
        document = state_document.agent_document(runtime.core.state, runtime.started_at, self._flags, self._build)
        return json_response(request, document)

    async def containers(self, request: web.Request) -> web.StreamResponse:
        """What runs for executors, one entry each; `container_id` asks for one container alone."""
        runtime = self._gate.runtime()
        container_id = request.query.get("container_id")
        found = await containers.measure(runtime.core.state, runtime.containerizer, only=container_id)
        return json_response(request, [containers.document(each, with_status=True) for each in found])

    async def statistics(self, request: web.Request) -> web.StreamResponse:
        """What executors use, one entry each, which is how monitoring tells them apart."""
        runtime = self._gate.runtime()
        found = await containers.measure(runtime.core.state, runtime.containerizer)
        measured = [each for each in found if each.statistics is not None]
        return json_response(request, [containers.document(each, with_status=False) for each in measured])

    async def health(self, _: web.Request) -> web.StreamResponse:
        self._gate.runtime()
        return web.Response()

    async def flags(self, request: web.Request) -> web.StreamResponse:
        return json_response(request, {"flags": dict(self._flags)})

    async def version(self, request: web.Request) -> web.StreamResponse:
        return json_response(request, self._build.document())

    async def logging_toggle(self, request: web.Request) -> web.StreamResponse:
        """The level of logging; with `level` and `duration`, raised for a while."""
        asked = toggled(request.query)
        if asked is not None:
            self._log_level.raise_to(*asked)
            return web.Response()
        return web.Response(text=f"{self._log_level.level}\n")

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        timeout = request.query.get("timeout")
        if timeout is not None:
            try:
                durations.parse(timeout)
            except ValueError as error:
                raise InvalidRequest("timeout", str(error)) from None
        return json_response(request, dict(sorted(self._gate.runtime().numbers().items())))

    async def system_stats(self, request: web.Request) -> web.StreamResponse:
        numbers = system_numbers()
        return json_response(
            request,
            {
                "avg_load_1min": numbers["system/load_1min"],
                "avg_load_5min": numbers["system/load_5min"],
                "avg_load_15min": numbers["system/load_15min"],
                "cpus_total": int(numbers["system/cpus_total"]),
                "mem_free_bytes": int(numbers["system/mem_free_bytes"]),
                "mem_total_bytes": int(numbers["system/mem_total_bytes"]),
            },
        )
