"""An agent follows the election during a session: a registry that hangs closes no stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from mezzo.errors import NotLeading
from mezzo_agent import app
from mezzo_agent.config import Config
from mezzo_chassis.testing import AnnouncedLeader
from services.agent.tests.shell.conftest import PretendedContainers

from .conftest import SECONDS_MAX, RunningAgent, ScriptedRegistry


def address(registry: ScriptedRegistry) -> str:
    return f"127.0.0.1:{registry.port}"


@pytest.fixture
async def next_registry() -> AsyncIterator[ScriptedRegistry]:
    scripted = ScriptedRegistry()
    await scripted.start()
    yield scripted
    await scripted.stop()


async def knows_its_id(agent: RunningAgent) -> None:
    """Wait until the agent has taken the registry's answer."""
    async with asyncio.timeout(SECONDS_MAX), aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{agent.url}/state") as response:
                if (await response.json())["id"]:
                    return


@pytest.fixture
async def election(
    config: Config, containers: PretendedContainers, registry: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AnnouncedLeader]:
    """The first registry leads, an agent is registered with it, and from then on it hangs with its stream open."""
    announced = AnnouncedLeader(address(registry))
    monkeypatch.setattr(app, "detector_of", lambda *_args, **_options: announced)
    # Nothing but the election ends a session here.
    registry.heartbeat_timeout_seconds = 3600.0
    agent = RunningAgent(config, containers)
    await agent.start()
    await registry.until(registry.registrations)
    await knows_its_id(agent)
    yield announced
    await agent.stop()


async def test_agent_leaves_a_registry_that_hangs_when_another_is_elected(
    election: AnnouncedLeader, registry: ScriptedRegistry, next_registry: ScriptedRegistry
) -> None:
    election.announce(None)
    election.announce(address(next_registry))
    await next_registry.until(next_registry.registrations)
    (register,) = next_registry.registrations()
    assert register.agent_info.id.value == "S0"
    await registry.until(lambda: registry.ended == 1)


async def test_agent_does_not_go_back_to_the_former_leader_when_the_new_one_has_not_heard_of_its_election(
    election: AnnouncedLeader, registry: ScriptedRegistry, next_registry: ScriptedRegistry
) -> None:
    next_registry.refusal = NotLeading(address(registry))
    election.announce(address(next_registry))
    await next_registry.until(lambda: next_registry.refused >= 2)
    next_registry.refusal = None
    await next_registry.until(next_registry.registrations)
    assert registry.sessions == 1
