"""Who sent a request goes with every call to the registry, once servers authenticate; nobody does, yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from mesos.v1.scheduler.scheduler_pb2 import Call
from mezzo.errors import Unauthorized
from mezzo.operator.v1.operator_pb2 import ExplainResponse
from mezzo_chassis.http.principals import Principal
from mezzo_chassis.http.site import start_site
from mezzo_chassis.leadership import FixedDetector
from mezzo_gateway.adapters.agents import Agents
from mezzo_gateway.app import Gateway
from mezzo_gateway.config import Config
from mezzo_gateway.testing.changes import FRAMEWORK_ID
from mezzo_gateway.testing.client import JSON, GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry

SCHEDULER = "/api/v1/scheduler"
SUBSCRIBE = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root", "name": "x"}}}
REVIVE = {"type": "REVIVE", "framework_id": {"value": FRAMEWORK_ID}}


async def by_name(request: web.Request) -> Principal | None:
    name = request.headers.get("Authorization")
    if name is None:
        raise Unauthorized("credentials are required")
    return Principal(name)


@pytest.fixture
async def guarded(registry: ScriptedRegistry) -> AsyncIterator[GatewayClient]:
    """A gateway whose requests have to say who sends them."""
    config = Config(ip="127.0.0.1", port=0)
    async with Agents(config.agent_timeout) as agents, aiohttp.ClientSession() as session:
        gateway = Gateway(config, agents)
        gateway.site.authenticate = by_name
        server = await start_site(gateway.site.application(config.max_body_size), config.ip, config.port)
        client = GatewayClient(gateway, server.port, session)
        following = asyncio.create_task(gateway.registry.follow(FixedDetector(registry.address).changes()))
        assert (await client.applied()).replaced
        yield client
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await server.stop()


async def send_everything(gateway: GatewayClient, registry: ScriptedRegistry, headers: dict[str, str]) -> None:
    registry.on_operator_call = lambda _: None
    registry.on_explain = lambda _: ExplainResponse()
    headers = {"Content-Type": JSON, "Accept": JSON, **headers}
    assert (await gateway.post("/api/v1", {"type": "GET_WEIGHTS"}, headers)).status == 200
    assert (await gateway.get("/api/v1/explain", headers=headers)).status == 200
    assert (await gateway.post(f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t1/kill", headers=headers)).status == 202
    async with gateway.records(SCHEDULER, SUBSCRIBE, headers) as records:
        await records.next()
        stream_id = records.response.headers["Mesos-Stream-Id"]
        assert (await gateway.post(SCHEDULER, REVIVE, {**headers, "Mesos-Stream-Id": stream_id})).status == 202


async def test_every_call_to_the_registry_carries_the_principal(
    guarded: GatewayClient, registry: ScriptedRegistry
) -> None:
    await send_everything(guarded, registry, {"Authorization": "ops"})
    assert registry.principals == ["ops"] * 4
    assert [(call.call.type, call.principal) for call in registry.calls] == [(Call.REVIVE, "ops")]


async def test_nobody_is_named_without_authentication(gateway: GatewayClient, registry: ScriptedRegistry) -> None:
    await send_everything(gateway, registry, {"Authorization": "ops"})
    assert registry.principals == [""] * 4
    assert [call.principal for call in registry.calls] == [""]


@pytest.mark.parametrize("path", ["/state", "/tasks", "/api/v1/explain", f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t1", "/"])
async def test_who_does_not_say_his_name_is_told_nothing(guarded: GatewayClient, path: str) -> None:
    assert (await guarded.get(path)).status == 401
    assert (await guarded.get(path, headers={"Authorization": "ops"})).status != 401
