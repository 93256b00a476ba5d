"""A gateway in this process, and a registry beside it that says what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from mezzo_chassis.http.site import start_site
from mezzo_chassis.leadership import FixedDetector
from mezzo_gateway.adapters.agents import Agents
from mezzo_gateway.app import Gateway, advertised_address, own_addresses
from mezzo_gateway.config import Config
from mezzo_gateway.http import scheduler
from mezzo_gateway.testing.client import GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry


@pytest.fixture
async def registry() -> AsyncIterator[ScriptedRegistry]:
    registry = ScriptedRegistry()
    await registry.start()
    yield registry
    await registry.stop()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a leader."""
    monkeypatch.setattr(scheduler, "LEADER_PATIENCE_SECONDS", 0.1)


@pytest.fixture
async def lone_gateway() -> AsyncIterator[GatewayClient]:
    """A gateway that has not been told where the registry is."""
    config = Config(ip="127.0.0.1", port=0, heartbeat_interval=3600.0, max_body_size=1 << 16, agent_timeout=5.0)
    async with Agents(config.agent_timeout) as agents, aiohttp.ClientSession() as session:
        gateway = Gateway(config, agents)
        server = await start_site(gateway.site.application(config.max_body_size), config.ip, config.port)
        gateway.site.own_addresses = own_addresses(config, server)
        gateway.registry.own_address = advertised_address(config, server)
        yield GatewayClient(gateway, server.port, session)
        await server.stop()


@pytest.fixture
async def gateway(lone_gateway: GatewayClient, registry: ScriptedRegistry) -> AsyncIterator[GatewayClient]:
    """A gateway that follows the registry, and has its first snapshot."""
    following = asyncio.create_task(lone_gateway.gateway.registry.follow(FixedDetector(registry.address).changes()))
    assert (await lone_gateway.applied()).replaced
    yield lone_gateway
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
