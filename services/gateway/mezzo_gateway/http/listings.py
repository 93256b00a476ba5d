"""Mezzo's own lists, with what Mesos' leave out.

    GET /mezzo/v1/agents
    GET /mezzo/v1/tasks?framework_id=&ended=
    GET /mezzo/v1/members

`/mezzo/v1/agents` has the documents of `/slaves`, each with a `standing`: CONNECTED or DISCONNECTED. After them come
those with a few fields alone, that are RECOVERED (known from the store, not back since the election), UNREACHABLE or
GONE, with `since` in seconds since the epoch.

`/mezzo/v1/tasks` has the documents of `/tasks`, with the `message`, `reason` and `source` of the newest status,
`framework_name` and `hostname`; `ended=true` adds those that have ended.

`/mezzo/v1/members` lists registries, allocators and gateways: `service`, `address`, `standing` (LEADING, STANDBY,
CONNECTED, UNREACHABLE), and where they are known `since`, `version` and `peer`. `incomplete` says why some are missing.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from mezzo.errors import InvalidRequest
from mezzo.operator.v1.operator_pb2 import Member, MembersResponse, Service, Standing
from mezzo_chassis.config import boolean
from mezzo_chassis.http.exchange import json_response
from mezzo_gateway.adapters.registry import Registry
from mezzo_gateway.http.reads import Reads
from mezzo_gateway.state import legacy, listings


class Listings:
    """Answers them: agents and tasks from the copy of the state, members by asking the registry."""

    def __init__(self, registry: Registry, reads: Reads) -> None:
        self._registry = registry
        self._reads = reads

    async def agents(self, request: web.Request) -> web.Response:
        """Every agent, whether it is there or not."""
        await self._reads.render(legacy.rendering_agents_in_full)
        return self._reads.json(request, self._reads.cached("mezzo agents", listings.agents))

    async def tasks(self, request: web.Request) -> web.Response:
        """The tasks of one framework or of all."""
        try:
            ended = boolean(request.query.get("ended", "false"))
        except ValueError as error:
            raise InvalidRequest("ended", str(error)) from None
        await self._reads.render(legacy.rendering_tasks)
        framework_id = request.query.get("framework_id")
        body = listings.tasks(self._reads.cluster(), framework_id=framework_id, ended=ended)
        return self._reads.json(request, body)

    async def members(self, request: web.Request) -> web.Response:
        """Registries, allocators and gateways."""
        return json_response(request, _document(await self._registry.members()))


def _document(answer: MembersResponse) -> dict[str, Any]:
    document: dict[str, Any] = {"members": [_member(each) for each in answer.members]}
    if answer.incomplete:
        document["incomplete"] = answer.incomplete
    return document


def _member(member: Member) -> dict[str, Any]:
    document: dict[str, Any] = {
        "service": Service.Name(member.service).removeprefix("SERVICE_").lower(),
        "address": member.address,
        "standing": Standing.Name(member.standing).removeprefix("STANDING_"),
    }
    if member.HasField("since"):
        document["since"] = member.since
    return document | {name: text for name in ("version", "peer") if (text := getattr(member, name))}
