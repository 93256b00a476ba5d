"""Mesos' v1 operator API: `POST /api/v1`.

What the state copy knows is answered from it; what changes the cluster, or only the registry knows, is the registry's
to answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from google.protobuf.message import Message

from mesos.v1.master.master_pb2 import Call, Response
from mesos.v1.mesos_pb2 import Flag, Metric
from mezzo.errors import InvalidRequest, NotFound, Unavailable, Unimplemented
from mezzo_chassis.build import Build
from mezzo_chassis.http.exchange import (
    JSON,
    answer_format,
    json_bytes_response,
    message_response,
    protobuf_bytes_response,
    read_message,
)
from mezzo_chassis.log_level import LogLevel
from mezzo_gateway.adapters.registry import Registry
from mezzo_gateway.http.files import Files
from mezzo_gateway.http.metrics_snapshot import MetricsSnapshot
from mezzo_gateway.http.operator_stream import OperatorStream
from mezzo_gateway.http.reads import Reads
from mezzo_gateway.state import v1, v1_wire
from mezzo_gateway.state.cluster import Cluster

NANOSECONDS = 1e9

# What is not there is 404 in these calls; in all others Mesos calls it a bad request.
NOT_FOUND_CALLS = frozenset((Call.MARK_AGENT_GONE, Call.LIST_FILES, Call.READ_FILE))

Answer = Callable[[web.Request, Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class _Table:
    """An answer that is made of the copy alone: in JSON and in protobuf."""

    member: str
    json: Callable[[Cluster], bytes]
    wire: Callable[[Cluster], bytes]
    # Lists tasks or agents, which are rendered in slices before.
    is_long: bool = True


_TABLES: dict[Call.Type.ValueType, _Table] = {
    Call.GET_STATE: _Table("get_state", v1.state_json, v1_wire.state),
    Call.GET_TASKS: _Table("get_tasks", v1.tasks_json, v1_wire.tasks),
    Call.GET_AGENTS: _Table("get_agents", v1.agents_json, v1_wire.agents),
    Call.GET_FRAMEWORKS: _Table("get_frameworks", v1.frameworks_json, v1_wire.frameworks, is_long=False),
    Call.GET_EXECUTORS: _Table("get_executors", v1.executors_json, v1_wire.executors, is_long=False),
}

# What operators configured: the registry says it as it is, the copy as it was while none can be reached.
_CONFIGURED: dict[Call.Type.ValueType, tuple[str, Callable[[Cluster], Message]]] = {
    Call.GET_WEIGHTS: ("get_weights", v1.weights),
    Call.GET_QUOTA: ("get_quota", v1.quota),
}

# Calls that only read what a cluster without maintenance or operations does not have.
_EMPTY: dict[Call.Type.ValueType, Response] = {
    Call.GET_OPERATIONS: Response(type=Response.GET_OPERATIONS, get_operations=Response.GetOperations()),
    Call.GET_MAINTENANCE_STATUS: Response(type=Response.GET_MAINTENANCE_STATUS),
    Call.GET_MAINTENANCE_SCHEDULE: Response(type=Response.GET_MAINTENANCE_SCHEDULE),
}
_EMPTY[Call.GET_MAINTENANCE_STATUS].get_maintenance_status.status.SetInParent()
_EMPTY[Call.GET_MAINTENANCE_SCHEDULE].get_maintenance_schedule.schedule.SetInParent()


class OperatorApi:
    """Answers the calls of operators."""

    def __init__(
        self,
        registry: Registry,
        reads: Reads,
        stream: OperatorStream,
        files: Files,
        metrics: MetricsSnapshot,
        log_level: LogLevel,
        build: Build,
    ) -> None:
        self._registry = registry
        self._reads = reads
        self._stream = stream
        self._files = files
        self._metrics = metrics
        self._log_level = log_level
        self._build = build
        self._answers: dict[Call.Type.ValueType, Answer] = {
            Call.GET_HEALTH: self._health,
            Call.GET_VERSION: self._version,
            Call.GET_FLAGS: self._flags,
            Call.GET_METRICS: self._get_metrics,
            Call.GET_LOGGING_LEVEL: self._logging_level,
            Call.SET_LOGGING_LEVEL: self._set_logging_level,
            Call.GET_ROLES: self._roles,
            Call.GET_MASTER: self._master,
            Call.LIST_FILES: self._list_files,
            Call.READ_FILE: self._read_file,
            Call.SUBSCRIBE: self._subscribe,
            **dict.fromkeys(_TABLES, self._table),
            **dict.fromkeys(_CONFIGURED, self._configured),
            **dict.fromkeys(_EMPTY, self._or_empty),
        }

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        call = await read_message(request, Call)
        if call.type == Call.UNKNOWN:
            raise InvalidRequest("type", "missing or unknown")
        answer_format(request)
        return await self._answers.get(call.type, self._forward)(request, call)

    async def call(self, call: Call) -> Response:
        """Have the registry answer. Raises what it says against the call."""
        try:
            return await self._registry.operator_call(call)
        except NotFound as error:
            if call.type in NOT_FOUND_CALLS:
                raise
            raise InvalidRequest("", str(error)) from None

    async def call_or_empty(self, call: Call) -> Response:
        """What the registry answers; a registry that does not know of such things has none of them."""
        try:
            return await self.call(call)
        except Unimplemented:
            return _EMPTY[call.type]

    async def configured(self, call_type: Call.Type.ValueType) -> Response:
        """Weights or quotas: as the registry has them, or else as the copy has. Raises NotLeading without a copy."""
        try:
            return await self.call(Call(type=call_type))
        except Unavailable:
            member, make = _CONFIGURED[call_type]
            response = Response(type=Response.Type.Value(Call.Type.Name(call_type)))
            getattr(response, member).CopyFrom(make(self._reads.cluster()))
            return response

    # ------------------------------------------------------------------------------------------------- answers

    async def _forward(self, request: web.Request, call: Call) -> web.Response:
        response = await self.call(call)
        return message_response(request, response) if response.HasField("type") else web.Response()

    async def _or_empty(self, request: web.Request, call: Call) -> web.Response:
        return message_response(request, await self.call_or_empty(call))

    async def _table(self, request: web.Request, call: Call) -> web.Response:
        table, name = _TABLES[call.type], Call.Type.Name(call.type)
        in_json = answer_format(request).content_type == JSON
        if table.is_long:
            await self._reads.render(v1.rendering if in_json else v1_wire.rendering)
        if in_json:
            value = self._reads.cached(name, table.json)
            body = b'{"type":"%b","%b":%b}' % (name.encode(), table.member.encode(), value)
            answer = json_bytes_response(request, body)
        else:
            value = self._reads.cached(f"{name} in protobuf", table.wire)
            answer = protobuf_bytes_response(request, v1_wire.answer(Response.Type.Value(name), table.member, value))
        answer.headers.update(self._reads.headers())
        return answer

    async def _health(self, request: web.Request, _: Call) -> web.Response:
        return message_response(
            request, Response(type=Response.GET_HEALTH, get_health=Response.GetHealth(healthy=True))
        )

    async def _version(self, request: web.Request, _: Call) -> web.Response:
        answer = Response.GetVersion(version_info=self._build.message())
        return message_response(request, Response(type=Response.GET_VERSION, get_version=answer))

    async def _flags(self, request: web.Request, _: Call) -> web.Response:
        flags = sorted(self._reads.flags().items())
        answer = Response.GetFlags(flags=[Flag(name=name, value=value) for name, value in flags])
        return message_response(request, Response(type=Response.GET_FLAGS, get_flags=answer))

    async def _get_metrics(self, request: web.Request, call: Call) -> web.Response:
        if not call.HasField("get_metrics"):
            raise InvalidRequest("get_metrics", "is required")
        asked = call.get_metrics
        timeout = asked.timeout.nanoseconds / NANOSECONDS if asked.HasField("timeout") else None
        metrics = [Metric(name=name, value=value) for name, value in (await self._metrics.read(timeout)).items()]
        answer = Response.GetMetrics(metrics=metrics)
        return message_response(request, Response(type=Response.GET_METRICS, get_metrics=answer))

    async def raise_log_level(self, level: int, seconds: float) -> None:
        """Log more for a while here, in the leading registry, and by it in the allocator.

        Raises:
            NotLeading: nobody leads. This gateway logs more all the same.
        """
        self._log_level.raise_to(level, seconds)
        call = Call(type=Call.SET_LOGGING_LEVEL)
        call.set_logging_level.level = level
        call.set_logging_level.duration.nanoseconds = round(seconds * NANOSECONDS)
        await self.call(call)

    async def log_level(self) -> int:
        """The level of the leading registry; while nobody leads, or one of an earlier version, of this gateway."""
        try:
            return (await self.call(Call(type=Call.GET_LOGGING_LEVEL))).get_logging_level.level
        except (Unavailable, Unimplemented):
            return self._log_level.level

    async def _logging_level(self, request: web.Request, _: Call) -> web.Response:
        answer = Response.GetLoggingLevel(level=await self.log_level())
        return message_response(request, Response(type=Response.GET_LOGGING_LEVEL, get_logging_level=answer))

    async def _set_logging_level(self, _: web.Request, call: Call) -> web.Response:
        if not call.HasField("set_logging_level"):
            raise InvalidRequest("set_logging_level", "is required")
        asked = call.set_logging_level
        await self.raise_log_level(asked.level, asked.duration.nanoseconds / NANOSECONDS)
        return web.Response()

    async def _roles(self, request: web.Request, _: Call) -> web.Response:
        answer = v1.roles(self._reads.cluster())
        return message_response(request, Response(type=Response.GET_ROLES, get_roles=answer))

    async def _configured(self, request: web.Request, call: Call) -> web.Response:
        answer = message_response(request, await self.configured(call.type))
        answer.headers.update(self._reads.headers())
        return answer

    async def _master(self, request: web.Request, _: Call) -> web.Response:
        answer = v1.master(self._reads.cluster())
        return message_response(request, Response(type=Response.GET_MASTER, get_master=answer))

    async def _list_files(self, request: web.Request, call: Call) -> web.Response:
        if not call.HasField("list_files"):
            raise InvalidRequest("list_files", "is required")
        return message_response(request, await self._files.list_files(call))

    async def _read_file(self, request: web.Request, call: Call) -> web.Response:
        if not call.HasField("read_file"):
            raise InvalidRequest("read_file", "is required")
        return message_response(request, await self._files.read_file(call))

    async def _subscribe(self, request: web.Request, _: Call) -> web.StreamResponse:
        return await self._stream.serve(request, answer_format(request))
