"""What one task is at, at the gateway."""

from __future__ import annotations

import pytest

from mesos.v1.mesos_pb2 import TASK_FAILED, TASK_STAGING
from mezzo.operator.v1.operator_pb2 import TASK_LIST_COMPLETED, StateChange
from mezzo_gateway.testing.changes import (
    AGENT_ID,
    FRAMEWORK_ID,
    agent_changed,
    agent_gone,
    framework_changed,
    snapshot,
    task_added,
)
from mezzo_gateway.testing.client import GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry

PATH = f"/mezzo/v1/tasks/{FRAMEWORK_ID}"


@pytest.fixture
def registry(registry: ScriptedRegistry) -> ScriptedRegistry:
    registry.snapshot = snapshot(
        agent_changed(),
        framework_changed(),
        task_added(state=TASK_STAGING),
        task_added("a/b", state=TASK_FAILED, task_list=TASK_LIST_COMPLETED, message="out of luck"),
    )
    return registry


async def test_a_task_is_told_with_its_agent_and_in_sentences(gateway: GatewayClient) -> None:
    answer = await gateway.get(f"{PATH}/t1")
    assert (answer.status, answer.content_type) == (200, "application/json")
    told = answer.json()
    assert told["task"]["task_id"] == {"value": "t1"}
    assert told["agent"] == {"id": AGENT_ID, "hostname": "127.0.0.1", "state": "connected"}
    assert told["verdict"] == "task t1 of a framework is launched, and 127.0.0.1 has not reported it yet"
    assert (told["framework_name"], told["completed"]) == ("a framework", False)


async def test_the_message_of_an_ended_task_is_told_whatever_its_id_contains(gateway: GatewayClient) -> None:
    told = (await gateway.get(f"{PATH}/a%2Fb/")).json()
    assert told["completed"]
    assert "its message: out of luck" in told["summary"]


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (agent_gone(unreachable=True), "unreachable"),
        (agent_gone(), "removed"),
        (agent_changed(recovered=True), "recovered"),
    ],
)
async def test_an_agent_that_is_away_is_told(
    change: StateChange, state: str, gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.publish(change)
    await gateway.applied()
    assert (await gateway.get(f"{PATH}/t1")).json()["agent"]["state"] == state


async def test_a_task_that_is_not_there_is_named(gateway: GatewayClient) -> None:
    answer = await gateway.get(f"{PATH}/nope")
    assert answer.status == 404
    assert answer.json()["error"]["message"] == f"framework {FRAMEWORK_ID} has no task nope"
    assert (await gateway.post(f"{PATH}/t1")).status == 405
