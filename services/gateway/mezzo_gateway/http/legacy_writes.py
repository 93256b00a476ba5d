"""Mesos' legacy endpoints that change the cluster: each is a call of the v1 operator API in another form.

They are checked for form here; whether they can be done is the registry's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import parse_qs

from aiohttp import web
from google.protobuf.message import Message

from mesos.v1.maintenance.maintenance_pb2 import Schedule
from mesos.v1.master.master_pb2 import Call
from mesos.v1.mesos_pb2 import MachineID, Resource, WeightInfo
from mesos.v1.quota.quota_pb2 import QuotaRequest
from mezzo import jsonpb
from mezzo.errors import InvalidRequest
from mezzo_chassis.http.bodies import read_body, read_text
from mezzo_gateway.http.operator import OperatorApi

M = TypeVar("M", bound=Message)

QUOTA_PATH = "/quota"
FORM_FIELDS_MAX = 100


class LegacyWrites:
    """Translates requests to calls and makes them."""

    def __init__(self, operator: OperatorApi) -> None:
        self._operator = operator

    async def teardown(self, request: web.Request) -> web.Response:
        """`POST /teardown` with `frameworkId=…`."""
        form = await _read_form(request)
        call = Call(type=Call.TEARDOWN)
        call.teardown.framework_id.value = form.text("frameworkId")
        return await self._make(call)

    async def reserve(self, request: web.Request) -> web.Response:
        """`POST /reserve` with `slaveId=…` and `resources=[…]`."""
        form = await _read_form(request)
        call = Call(type=Call.RESERVE_RESOURCES)
        call.reserve_resources.agent_id.value = form.text("slaveId")
        call.reserve_resources.resources.extend(form.messages("resources", Resource))
        return await self._make(call, status=202)

    async def unreserve(self, request: web.Request) -> web.Response:
        """`POST /unreserve` with `slaveId=…` and `resources=[…]`."""
        form = await _read_form(request)
        call = Call(type=Call.UNRESERVE_RESOURCES)
        call.unreserve_resources.agent_id.value = form.text("slaveId")
        call.unreserve_resources.resources.extend(form.messages("resources", Resource))
        return await self._make(call, status=202)

    async def create_volumes(self, request: web.Request) -> web.Response:
        """`POST /create-volumes` with `slaveId=…` and `volumes=[…]`."""
        form = await _read_form(request)
        call = Call(type=Call.CREATE_VOLUMES)
        call.create_volumes.agent_id.value = form.text("slaveId")
        call.create_volumes.volumes.extend(form.messages("volumes", Resource))
        return await self._make(call, status=202)

    async def destroy_volumes(self, request: web.Request) -> web.Response:
        """`POST /destroy-volumes` with `slaveId=…` and `volumes=[…]`."""
        form = await _read_form(request)
        call = Call(type=Call.DESTROY_VOLUMES)
        call.destroy_volumes.agent_id.value = form.text("slaveId")
        call.destroy_volumes.volumes.extend(form.messages("volumes", Resource))
        return await self._make(call, status=202)

    async def machine_down(self, request: web.Request) -> web.Response:
        """`POST /machine/down` with a list of machines."""
        call = Call(type=Call.START_MAINTENANCE)
        call.start_maintenance.machines.extend(await _machines(request))
        return await self._make(call)

    async def machine_up(self, request: web.Request) -> web.Response:
        """`POST /machine/up` with a list of machines."""
        call = Call(type=Call.STOP_MAINTENANCE)
        call.stop_maintenance.machines.extend(await _machines(request))
        return await self._make(call)

    async def maintenance_schedule(self, request: web.Request) -> web.Response:
        """`POST /maintenance/schedule` with the whole new schedule."""
        call = Call(type=Call.UPDATE_MAINTENANCE_SCHEDULE)
        call.update_maintenance_schedule.schedule.CopyFrom(jsonpb.parse(Schedule, await read_body(request)))
        return await self._make(call)

    async def set_quota(self, request: web.Request) -> web.Response:
        """`POST /quota` with a role's guarantee."""
        call = Call(type=Call.SET_QUOTA)
        call.set_quota.quota_request.CopyFrom(jsonpb.parse(QuotaRequest, await read_body(request)))
        return await self._make(call)

    async def remove_quota(self, request: web.Request) -> web.Response:
        """`DELETE /quota/<role>`."""
        call = Call(type=Call.REMOVE_QUOTA)
        call.remove_quota.role = request.match_info["role"].rstrip("/")
        return await self._make(call)

    async def set_weights(self, request: web.Request) -> web.Response:
        """`PUT /weights` with a list of roles and their weights."""
        call = Call(type=Call.UPDATE_WEIGHTS)
        call.update_weights.weight_infos.extend(jsonpb.parse_list(WeightInfo, await read_body(request)))
        return await self._make(call)

    async def _make(self, call: Call, status: int = 200) -> web.Response:
        await self._operator.call(call)
        return web.Response(status=status)


async def _machines(request: web.Request) -> list[MachineID]:
    machines = jsonpb.parse_list(MachineID, await read_body(request))
    if not machines:
        raise InvalidRequest("", "the list of machines is empty")
    return machines


class _Form:
    """The fields of a request's form, and those of its query."""

    def __init__(self, fields: Mapping[str, list[str]], query: Mapping[str, str]) -> None:
        self._fields = fields
        self._query = query

    def text(self, name: str) -> str:
        """A field that has to be there. Raises `InvalidRequest`."""
        value = self._fields[name][0] if name in self._fields else self._query.get(name)
        if not value:
            raise InvalidRequest(name, "is required")
        return value

    def messages(self, name: str, message_class: type[M]) -> list[M]:
        """A field that is a JSON array of messages. Raises `InvalidRequest`."""
        value = self.text(name)
        try:
            return jsonpb.parse_list(message_class, value)
        except InvalidRequest as error:
            raise error.below(name) from None


async def _read_form(request: web.Request) -> _Form:
    # Whatever the content type: so does Mesos.
    try:
        fields = parse_qs(await read_text(request), max_num_fields=FORM_FIELDS_MAX)
    except ValueError as error:
        raise InvalidRequest("", f"the body is not a form: {error}") from None
    return _Form(fields, request.query)
