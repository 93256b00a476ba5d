"""`POST /api/v1`: the agent's part of Mesos' v1 operator API.

Source: docs/operator-http-api.md of apache/mesos.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import hdrs, web

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.agent import agent_pb2 as agent_api
from mezzo.errors import InvalidRequest, NotFound, Unimplemented
from mezzo_agent.http import containers, state_messages
from mezzo_agent.shell.readiness_gate import ReadinessGate
from mezzo_chassis.build import Build
from mezzo_chassis.http.exchange import (
    JSON,
    RECORDIO,
    answer_format,
    json_response,
    message_response,
    read_first_record,
    read_message,
)
from mezzo_chassis.http.files import FileTree, empty_not_found, without_scheme
from mezzo_chassis.log_level import LogLevel

_Call = agent_api.Call
_Response = agent_api.Response

_MEMBER = {
    _Call.GET_METRICS: "get_metrics",
    _Call.SET_LOGGING_LEVEL: "set_logging_level",
    _Call.LIST_FILES: "list_files",
    _Call.READ_FILE: "read_file",
}


async def _call_of(request: web.Request) -> agent_api.Call:
    """The call in a request: all of its body, or the first record of a stream."""
    if request.headers.get(hdrs.CONTENT_TYPE) != RECORDIO:
        return await read_message(request, agent_api.Call)
    call = await read_first_record(request, agent_api.Call)
    if call.type in _Call.Type.values() and call.type not in (_Call.UNKNOWN, _Call.ATTACH_CONTAINER_INPUT):
        name = _Call.Type.Name(call.type)
        raise web.HTTPUnsupportedMediaType(text=f"Content-Type: recordio is not supported for a call of type {name}")
    return call


class OperatorApi:
    """One call a request, each answered at once."""

    def __init__(
        self, gate: ReadinessGate, tree: FileTree, log_level: LogLevel, flags: Mapping[str, str], build: Build
    ) -> None:
        self._gate = gate
        self._tree = tree
        self._log_level = log_level
        self._flags = flags
        self._build = build
        self._answers: dict[int, Callable[[agent_api.Call], Awaitable[agent_api.Response | None]]] = {
            _Call.GET_HEALTH: self._get_health,
            _Call.GET_FLAGS: self._get_flags,
            _Call.GET_VERSION: self._get_version,
            _Call.GET_METRICS: self._get_metrics,
            _Call.GET_LOGGING_LEVEL: self._get_logging_level,
            _Call.SET_LOGGING_LEVEL: self._set_logging_level,
            _Call.LIST_FILES: self._list_files,
            _Call.READ_FILE: self._read_file,
            _Call.GET_STATE: self._get_state,
            _Call.GET_CONTAINERS: self._get_containers,
            _Call.GET_FRAMEWORKS: self._get_frameworks,
            _Call.GET_EXECUTORS: self._get_executors,
            _Call.GET_TASKS: self._get_tasks,
            _Call.GET_AGENT: self._get_agent,
            _Call.GET_OPERATIONS: self._get_operations,
            _Call.GET_RESOURCE_PROVIDERS: self._get_resource_providers,
        }

    async def post(self, request: web.Request) -> web.StreamResponse:
        call = await _call_of(request)
        if not call.HasField("type") or call.type == _Call.UNKNOWN:
            raise InvalidRequest("type", "missing or unknown")
        member = _MEMBER.get(call.type)
        if member is not None and not call.HasField(member):  # type: ignore[arg-type]
            raise InvalidRequest(member, f"is required for a call of type {_Call.Type.Name(call.type)}")
        answer = self._answers.get(call.type)
        if answer is None:
            raise Unimplemented(f"type: {_Call.Type.Name(call.type)} is not supported by this agent")
        # Only now: of the calls above some are answered by a stream of records, and ask for it.
        form = answer_format(request)
        try:
            response = await answer(call)
        except NotFound:
            return empty_not_found()
        if response is None:
            return web.Response()
        if form.content_type == JSON:
            return json_response(request, state_messages.document(response))
        return message_response(request, response)

    async def _get_health(self, _: agent_api.Call) -> agent_api.Response:
        return _Response(type=_Response.GET_HEALTH, get_health=_Response.GetHealth(healthy=self._gate.is_open))

    async def _get_flags(self, _: agent_api.Call) -> agent_api.Response:
        flags = [mesos.Flag(name=name, value=value) for name, value in self._flags.items()]
        return _Response(type=_Response.GET_FLAGS, get_flags=_Response.GetFlags(flags=flags))

    async def _get_version(self, _: agent_api.Call) -> agent_api.Response:
        version = _Response.GetVersion(version_info=self._build.message())
        return _Response(type=_Response.GET_VERSION, get_version=version)

    async def _get_metrics(self, _: agent_api.Call) -> agent_api.Response:
        numbers = sorted(self._gate.runtime().numbers().items())
        metrics = [mesos.Metric(name=name, value=value) for name, value in numbers]
        return _Response(type=_Response.GET_METRICS, get_metrics=_Response.GetMetrics(metrics=metrics))

    async def _get_logging_level(self, _: agent_api.Call) -> agent_api.Response:
        level = _Response.GetLoggingLevel(level=self._log_level.level)
        return _Response(type=_Response.GET_LOGGING_LEVEL, get_logging_level=level)

    async def _set_logging_level(self, call: agent_api.Call) -> None:
        asked = call.set_logging_level
        self._log_level.raise_to(asked.level, asked.duration.nanoseconds / 1e9)

    async def _list_files(self, call: agent_api.Call) -> agent_api.Response:
        entries = await asyncio.to_thread(self._tree.browse, without_scheme(call.list_files.path))
        files = _Response.ListFiles(file_infos=[entry.message() for entry in entries])
        return _Response(type=_Response.LIST_FILES, list_files=files)

    async def _read_file(self, call: agent_api.Call) -> agent_api.Response:
        asked = call.read_file
        length = asked.length if asked.HasField("length") else None
        data, size = await asyncio.to_thread(self._tree.read, without_scheme(asked.path), asked.offset, length)
        return _Response(type=_Response.READ_FILE, read_file=_Response.ReadFile(size=size, data=data))

    async def _get_state(self, _: agent_api.Call) -> agent_api.Response:
        state = self._gate.runtime().core.state
        return _Response(type=_Response.GET_STATE, get_state=state_messages.get_state(state))

    async def _get_containers(self, call: agent_api.Call) -> agent_api.Response:
        runtime = self._gate.runtime()
        nested = call.get_containers.show_nested
        found = await containers.measure(runtime.core.state, runtime.containerizer, nested=nested)
        answer = _Response.GetContainers(containers=[containers.message(each) for each in found])
        return _Response(type=_Response.GET_CONTAINERS, get_containers=answer)

    async def _get_frameworks(self, _: agent_api.Call) -> agent_api.Response:
        state = self._gate.runtime().core.state
        return _Response(type=_Response.GET_FRAMEWORKS, get_frameworks=state_messages.get_frameworks(state))

    async def _get_executors(self, _: agent_api.Call) -> agent_api.Response:
        state = self._gate.runtime().core.state
        return _Response(type=_Response.GET_EXECUTORS, get_executors=state_messages.get_executors(state))

    async def _get_tasks(self, _: agent_api.Call) -> agent_api.Response:
        state = self._gate.runtime().core.state
        return _Response(type=_Response.GET_TASKS, get_tasks=state_messages.get_tasks(state))

    async def _get_agent(self, _: agent_api.Call) -> agent_api.Response:
        info = self._gate.runtime().core.state.agent_info
        return _Response(type=_Response.GET_AGENT, get_agent=_Response.GetAgent(agent_info=info))

    async def _get_operations(self, _: agent_api.Call) -> agent_api.Response:
        # Reservations and volumes are not made on this agent yet: no operation is ever under way.
        return _Response(type=_Response.GET_OPERATIONS, get_operations=_Response.GetOperations())

    async def _get_resource_providers(self, _: agent_api.Call) -> agent_api.Response:
        providers = _Response.GetResourceProviders()
        return _Response(type=_Response.GET_RESOURCE_PROVIDERS, get_resource_providers=providers)
