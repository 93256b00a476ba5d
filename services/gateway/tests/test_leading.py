"""What a gateway answers while it follows a leader, has lost one, or never had one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from mezzo.operator.v1.operator_pb2 import StateChange
from mezzo_chassis.leadership import LeaderInfo
from mezzo_chassis.testing import Wire
from mezzo_gateway.adapters import registry as registry_adapter
from mezzo_gateway.state.copy import Applied
from mezzo_gateway.testing.changes import FRAMEWORK_ID, agent_changed, master, snapshot
from mezzo_gateway.testing.client import PATIENCE_SECONDS, GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry, at_once

READS = ["/state", "/slaves", "/frameworks", "/tasks", "/roles", "/state-summary", "/flags", "/metrics/snapshot"]
SCHEDULER = "/api/v1/scheduler"
SUBSCRIBE = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root", "name": "x"}}}
REVIVE = {"type": "REVIVE", "framework_id": {"value": FRAMEWORK_ID}}
UPDATE_WEIGHTS = {"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": [{"role": "web", "weight": 2.0}]}}
WITH_STREAM = {"Content-Type": "application/json", "Mesos-Stream-Id": "s"}
ELSEWHERE = "10.0.0.7:5050"


class Leaders:
    """Tells a gateway who leads, as ZooKeeper would."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[LeaderInfo | None] = asyncio.Queue()

    def elect(self, grpc_address: str, http_address: str = ELSEWHERE) -> None:
        host, _, port = http_address.partition(":")
        self._told.put_nowait(LeaderInfo(grpc_address, {"address": {"ip": host}, "port": int(port)}))

    def nobody(self) -> None:
        self._told.put_nowait(None)

    async def changes(self) -> AsyncIterator[LeaderInfo | None]:
        while True:
            yield await self._told.get()


@pytest.fixture
async def leaders(lone_gateway: GatewayClient) -> AsyncIterator[Leaders]:
    leaders = Leaders()
    following = asyncio.create_task(lone_gateway.gateway.registry.follow(leaders.changes()))
    yield leaders
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def restarted(registry: ScriptedRegistry) -> AsyncIterator[ScriptedRegistry]:
    """The registry on its old port again."""
    await registry.start()
    yield registry


async def disconnected(gateway: GatewayClient) -> None:
    """Wait until the gateway has noticed that its registry is gone."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await gateway.gateway.registry.wait_until(lambda registry: not registry.connected)


async def leader_is(gateway: GatewayClient, address: str | None) -> None:
    """Wait until the gateway has been told who leads."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await gateway.gateway.registry.wait_until(lambda registry: registry.http_address == address)


@pytest.mark.parametrize("path", READS)
async def test_reads_are_unavailable_while_nothing_is_known(path: str, lone_gateway: GatewayClient) -> None:
    answer = await lone_gateway.get(path)
    assert (answer.status, answer.content_type) == (503, "text/plain; charset=utf-8")


async def test_nobody_leads_and_so_says_every_call(lone_gateway: GatewayClient) -> None:
    assert (await lone_gateway.get("/redirect")).status == 503
    assert (await lone_gateway.post(SCHEDULER, SUBSCRIBE)).status == 503
    with pytest.raises(aiohttp.ClientConnectionError):
        await lone_gateway.post(SCHEDULER, REVIVE, WITH_STREAM)
    assert (await lone_gateway.operator("GET_STATE")).status == 503


async def test_the_process_is_healthy_and_has_a_version_whoever_leads(lone_gateway: GatewayClient) -> None:
    assert (await lone_gateway.get("/health")).status == 200
    assert (await lone_gateway.get("/version")).status == 200
    assert (await lone_gateway.operator("GET_HEALTH")).status == 200


async def test_without_a_connection_clients_are_sent_to_the_leader_with_path_and_query(
    lone_gateway: GatewayClient, registry: ScriptedRegistry, leaders: Leaders
) -> None:
    await registry.stop()
    leaders.elect(registry.address)
    await leader_is(lone_gateway, ELSEWHERE)
    for answer, path in (
        (await lone_gateway.get("/master/slaves?slave_id=x"), "/master/slaves?slave_id=x"),
        (await lone_gateway.post(SCHEDULER, SUBSCRIBE), SCHEDULER),
        (await lone_gateway.post(SCHEDULER, REVIVE, WITH_STREAM), SCHEDULER),
    ):
        assert (answer.status, answer.headers["Location"]) == (307, f"//{ELSEWHERE}{path}")
    redirect = await lone_gateway.get("/redirect")
    assert (redirect.status, redirect.headers["Location"]) == (307, f"//{ELSEWHERE}")


async def test_nobody_is_sent_to_where_they_are(
    lone_gateway: GatewayClient, registry: ScriptedRegistry, leaders: Leaders
) -> None:
    await registry.stop()
    leaders.elect(registry.address, f"127.0.0.1:{lone_gateway.port}")
    await leader_is(lone_gateway, f"127.0.0.1:{lone_gateway.port}")
    assert (await lone_gateway.get("/state")).status == 503


async def test_a_gateway_with_a_connection_serves_although_another_is_advertised(
    lone_gateway: GatewayClient, registry: ScriptedRegistry, leaders: Leaders
) -> None:
    leaders.elect(registry.address)
    await lone_gateway.applied()
    assert (await lone_gateway.get("/state")).status == 200
    assert (await lone_gateway.post(SCHEDULER, REVIVE, WITH_STREAM)).status == 202
    assert (await lone_gateway.get("/redirect")).headers["Location"] == f"//{ELSEWHERE}"


async def test_a_registry_found_by_its_address_says_itself_which_gateway_is_advertised(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    assert (await gateway.get("/redirect")).headers["Location"] == f"//127.0.0.1:{master().port}"


async def test_reads_go_on_marked_as_stale_while_the_registry_is_away(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    assert "Mezzo-Stale" not in (await gateway.get("/state")).headers
    await registry.stop()
    await disconnected(gateway)
    for answer in (await gateway.get("/state"), await gateway.operator("GET_STATE")):
        assert answer.status == 200
        assert float(answer.headers["Mezzo-Stale"]) > 0
    with pytest.raises(aiohttp.ClientConnectionError):
        await gateway.post(SCHEDULER, REVIVE, WITH_STREAM)
    registry.snapshot = snapshot(agent_changed("S7"))
    async with restarted(registry):
        await gateway.applied()
        answer = await gateway.get("/slaves")
        assert [agent["id"] for agent in answer.json()["slaves"]] == ["S7"]
        assert "Mezzo-Stale" not in answer.headers


async def test_a_new_leader_is_followed_and_the_old_one_left(
    lone_gateway: GatewayClient, registry: ScriptedRegistry, leaders: Leaders
) -> None:
    leaders.elect(registry.address)
    await lone_gateway.applied()
    other = ScriptedRegistry()
    other.snapshot = snapshot(agent_changed("S7"))
    await other.start()
    try:
        leaders.elect(other.address)
        assert (await lone_gateway.applied()).replaced
        answer = await lone_gateway.get("/slaves")
        assert [agent["id"] for agent in answer.json()["slaves"]] == ["S7"]
        leaders.nobody()
        await leader_is(lone_gateway, None)
        assert (await lone_gateway.get("/redirect")).status == 503
        assert (await lone_gateway.get("/slaves")).headers["Mezzo-Stale"]
    finally:
        await other.stop()


class Hang:
    """A registry's work that never ends."""

    def __init__(self) -> None:
        self.calls = 0
        self._began = asyncio.Condition()

    async def __call__(self) -> None:
        async with self._began:
            self.calls += 1
            self._began.notify_all()
        await asyncio.Event().wait()

    async def until(self, calls: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._began:
            await self._began.wait_for(lambda: self.calls >= calls)


async def test_calls_under_way_at_a_leader_that_hangs_end_when_another_is_elected(
    lone_gateway: GatewayClient, registry: ScriptedRegistry, leaders: Leaders
) -> None:
    leaders.elect(registry.address)
    await lone_gateway.applied()
    registry.before_results = hang = Hang()
    stored = asyncio.create_task(lone_gateway.operator(UPDATE_WEIGHTS))
    revived = asyncio.create_task(lone_gateway.post(SCHEDULER, REVIVE, WITH_STREAM))
    await hang.until(calls=2)
    other = ScriptedRegistry()
    await other.start()
    try:
        leaders.elect(other.address)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await stored).status == 503
            with pytest.raises(aiohttp.ClientConnectionError):
                await revived
        assert (await lone_gateway.applied()).replaced
        assert (await lone_gateway.post(SCHEDULER, REVIVE, WITH_STREAM)).status == 202
        assert len(other.calls) == 1
    finally:
        await other.stop()


async def test_a_registry_that_takes_the_connection_and_says_nothing_is_asked_again(
    lone_gateway: GatewayClient, registry: ScriptedRegistry, leaders: Leaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_adapter, "SNAPSHOT_SECONDS_MAX", 0.1)
    registry.before_snapshot = hang = Hang()
    leaders.elect(registry.address)
    await hang.until(calls=2)
    monkeypatch.setattr(registry_adapter, "SNAPSHOT_SECONDS_MAX", PATIENCE_SECONDS)
    registry.before_snapshot = at_once
    assert (await lone_gateway.applied()).replaced


async def test_an_operator_does_not_wait_for_ever_for_a_registry_that_hangs(
    gateway: GatewayClient, registry: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_adapter, "CALL_SECONDS_MAX", 0.05)
    registry.before_results = Hang()
    assert (await gateway.operator(UPDATE_WEIGHTS)).status == 503


async def test_a_registry_that_does_not_lead_points_to_the_one_that_does(
    lone_gateway: GatewayClient, registry: ScriptedRegistry, leaders: Leaders
) -> None:
    standby = ScriptedRegistry()
    standby.leader = registry.address
    await standby.start()
    try:
        leaders.elect(standby.address)
        assert (await lone_gateway.applied()).replaced
        assert (await lone_gateway.post(SCHEDULER, REVIVE, WITH_STREAM)).status == 202
        assert len(registry.calls) == 1
    finally:
        await standby.stop()


async def test_one_that_has_not_heard_of_its_own_election_points_to_nobody_else(
    lone_gateway: GatewayClient, registry: ScriptedRegistry, leaders: Leaders
) -> None:
    async with Wire(registry.port) as gone:
        gone.silence()
        leaders.elect(f"127.0.0.1:{gone.port}")
        await leader_is(lone_gateway, ELSEWHERE)
        registry.leader = f"127.0.0.1:{gone.port}"
        refused = registry.refused_to_lead
        leaders.elect(registry.address)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await refused.wait()
            registry.leader = None
            assert (await lone_gateway.applied()).replaced


async def test_a_gateway_that_cannot_take_a_change_in_begins_again_with_a_snapshot(
    gateway: GatewayClient, registry: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = gateway.gateway.registry.copy
    apply, mistakes = copy.apply, [KeyError("nobody thought of this")]

    def fail_once(changes: Iterable[StateChange]) -> Applied:
        if mistakes:
            raise mistakes.pop()
        return apply(changes)

    monkeypatch.setattr(copy, "apply", fail_once)
    registry.publish(agent_changed())
    assert (await gateway.applied()).replaced
    assert gateway.gateway.registry.connected
