"""Mezzo's own lists: what Mesos' leave out of agents and tasks, and who the members are."""

from __future__ import annotations

from typing import Any

from mesos.v1.mesos_pb2 import TASK_FAILED, TASK_RUNNING, TaskStatus
from mezzo.errors import Unimplemented
from mezzo.operator.v1.operator_pb2 import (
    SERVICE_ALLOCATOR,
    SERVICE_GATEWAY,
    SERVICE_REGISTRY,
    STANDING_CONNECTED,
    STANDING_LEADING,
    STANDING_STANDBY,
    TASK_LIST_COMPLETED,
    Member,
    MembersResponse,
)
from mezzo_gateway import __version__
from mezzo_gateway.testing.changes import (
    AGENT_ID,
    FRAMEWORK_ID,
    agent_changed,
    agent_gone,
    framework_changed,
    status,
    task_added,
    task_updated,
)
from mezzo_gateway.testing.client import GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry


async def told(gateway: GatewayClient, registry: ScriptedRegistry, *changes: Any) -> None:
    registry.publish(*changes)
    await gateway.applied()


async def test_agents_that_are_not_there_are_listed_with_since_when(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    disconnected = agent_changed("S2")
    disconnected.agent_changed.connected = False
    await told(
        gateway,
        registry,
        agent_changed("S1"),
        disconnected,
        agent_changed("S3", recovered=True),
        agent_changed("S4"),
        agent_gone("S4", unreachable=True, since=1000.5),
        agent_gone("S5", gone=True, since=2000.0),
        agent_changed("S6"),
        agent_gone("S6"),
    )
    listed = (await gateway.get("/mezzo/v1/agents")).json()["agents"]
    assert [(one["id"], one["standing"], one.get("since")) for one in listed] == [
        ("S1", "CONNECTED", None),
        ("S2", "DISCONNECTED", None),
        ("S3", "RECOVERED", None),
        ("S4", "UNREACHABLE", 1000.5),
        ("S5", "GONE", 2000.0),
    ]
    (of_mesos,) = (await gateway.get("/slaves?slave_id=S1")).json()["slaves"]
    assert listed[0] == {**of_mesos, "standing": "CONNECTED"}
    assert listed[3]["hostname"], "what it was called is known from before"


async def test_an_agent_that_comes_back_is_unreachable_no_longer(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    await told(gateway, registry, agent_gone("S1", unreachable=True, since=1.0), agent_changed("S1"))
    (agent,) = (await gateway.get("/mezzo/v1/agents")).json()["agents"]
    assert (agent["id"], agent["standing"]) == ("S1", "CONNECTED")


async def test_tasks_are_listed_with_reason_and_message_and_names(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    failed = status(TASK_FAILED)
    failed.message = "Command exited with status 3"
    failed.reason, failed.source = TaskStatus.REASON_COMMAND_EXECUTOR_FAILED, TaskStatus.SOURCE_EXECUTOR
    await told(
        gateway,
        registry,
        agent_changed(),
        framework_changed(),
        task_added("t1", state=TASK_RUNNING),
        task_added("t2", state=TASK_RUNNING),
        task_updated(failed, task_list=TASK_LIST_COMPLETED),
    )
    ended = (await gateway.get("/mezzo/v1/tasks?ended=true")).json()["tasks"]
    assert [one["id"] for one in ended] == ["t2", "t1"]
    last = ended[-1]
    assert last["message"] == "Command exited with status 3"
    assert (last["reason"], last["source"]) == ("REASON_COMMAND_EXECUTOR_FAILED", "SOURCE_EXECUTOR")
    (name,) = {one["name"] for one in (await gateway.get("/frameworks")).json()["frameworks"]}
    (host,) = {one["hostname"] for one in (await gateway.get("/slaves")).json()["slaves"]}
    assert (last["framework_name"], last["hostname"], last["slave_id"]) == (name, host, AGENT_ID)
    of_mesos = (await gateway.get("/tasks?task_id=t1")).json()["tasks"][0]
    assert of_mesos.items() <= last.items()


async def test_tasks_are_narrowed_to_those_that_run_and_to_a_framework(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    await told(
        gateway,
        registry,
        framework_changed(),
        task_added("t1", state=TASK_RUNNING),
        task_added("t2", state=TASK_FAILED, task_list=TASK_LIST_COMPLETED),
    )

    async def ids(query: str) -> list[str]:
        return [one["id"] for one in (await gateway.get(f"/mezzo/v1/tasks?{query}")).json()["tasks"]]

    assert await ids("") == ["t1"]
    assert await ids(f"framework_id={FRAMEWORK_ID}") == ["t1"]
    assert await ids(f"framework_id={FRAMEWORK_ID}&ended=true") == ["t1", "t2"]
    assert await ids("framework_id=nobody&ended=true") == []
    answer = await gateway.get("/mezzo/v1/tasks?ended=perhaps")
    assert (answer.status, answer.json()["error"]["field"]) == (400, "ended")


async def test_members_are_those_that_the_registry_knows(gateway: GatewayClient, registry: ScriptedRegistry) -> None:
    registry.members = MembersResponse(
        members=[
            Member(service=SERVICE_REGISTRY, address="r1:5060", standing=STANDING_LEADING, since=7.0, version="1"),
            Member(service=SERVICE_REGISTRY, address="r2:5060", standing=STANDING_STANDBY),
            Member(service=SERVICE_ALLOCATOR, address="a1:5061", standing=STANDING_LEADING),
            Member(service=SERVICE_GATEWAY, address="g1:5050", standing=STANDING_CONNECTED, peer="10.0.0.1:4444"),
        ],
    )
    answer = (await gateway.get("/mezzo/v1/members")).json()
    assert answer == {
        "members": [
            {"service": "registry", "address": "r1:5060", "standing": "LEADING", "since": 7.0, "version": "1"},
            {"service": "registry", "address": "r2:5060", "standing": "STANDBY"},
            {"service": "allocator", "address": "a1:5061", "standing": "LEADING"},
            {"service": "gateway", "address": "g1:5050", "standing": "CONNECTED", "peer": "10.0.0.1:4444"},
        ]
    }
    registry.members = MembersResponse(incomplete="ZooKeeper does not answer")
    answer = (await gateway.get("/mezzo/v1/members")).json()
    assert answer == {"members": [], "incomplete": "ZooKeeper does not answer"}


async def test_a_registry_that_cannot_say_who_the_members_are_is_told_as_such(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.members = Unimplemented("Method not found!")
    assert (await gateway.get("/mezzo/v1/members")).status == 501


async def test_a_gateway_says_who_it_is(gateway: GatewayClient, registry: ScriptedRegistry) -> None:
    (request,) = registry.watched
    assert request.version == __version__
    assert request.http_address == gateway.gateway.registry.own_address


async def test_lists_wait_for_a_first_snapshot(lone_gateway: GatewayClient) -> None:
    for name in ("agents", "tasks", "members"):
        answer = await lone_gateway.get(f"/mezzo/v1/{name}")
        assert (answer.status, answer.json()["error"]["message"]) == (503, "no leading registry can be reached")
