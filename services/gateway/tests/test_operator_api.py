"""The operator API: calls that change the cluster, and the event stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from mesos.v1.master.master_pb2 import Call, Event, Response
from mesos.v1.mesos_pb2 import TASK_FINISHED
from mezzo import jsonpb
from mezzo.errors import InvalidRequest
from mezzo_gateway.testing.changes import (
    AGENT_ID,
    FRAMEWORK_ID,
    agent_changed,
    agent_gone,
    framework_changed,
    offer_added,
    snapshot,
    status,
    task_added,
    task_updated,
)
from mezzo_gateway.testing.client import PATIENCE_SECONDS, GatewayClient, Records
from mezzo_gateway.testing.registry import ScriptedRegistry

SUBSCRIBE = {"type": "SUBSCRIBE"}
TEARDOWN = {"type": "TEARDOWN", "teardown": {"framework_id": {"value": FRAMEWORK_ID}}}


@pytest.fixture
def registry(registry: ScriptedRegistry) -> ScriptedRegistry:
    registry.snapshot = snapshot(agent_changed(), framework_changed(), task_added("tâsk"), offer_added())
    return registry


async def greeted(records: Records) -> Event:
    """The first event, after which the first heartbeat has come, too."""
    record = await records.next()
    assert record.isascii()
    assert await records.next() == b'{"type":"HEARTBEAT"}'
    return jsonpb.parse(Event, record)


async def test_an_operator_is_told_the_state_and_then_every_change(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    async with gateway.records("/api/v1", SUBSCRIBE) as records:
        greeting = await greeted(records)
        state = greeting.subscribed.get_state
        assert [task.name for task in state.get_tasks.tasks] == ["tâsk"]
        assert state.get_agents.agents[0].offered_resources[0].scalar.value == 1.0
        assert greeting.subscribed.heartbeat_interval_seconds == 3600.0
        registry.publish(
            agent_changed("S7"),
            framework_changed("F7"),
            framework_changed("F7"),
            task_added("t2"),
            task_updated(status(TASK_FINISHED, "t2")),
            framework_changed("F7", completed=True),
            agent_gone("S7"),
        )
        events = [await records.next_message(Event) for _ in range(7)]
        assert [Event.Type.Name(event.type) for event in events] == [
            "AGENT_ADDED",
            "FRAMEWORK_ADDED",
            "FRAMEWORK_UPDATED",
            "TASK_ADDED",
            "TASK_UPDATED",
            "FRAMEWORK_REMOVED",
            "AGENT_REMOVED",
        ]
        added, _, _, task, updated, removed, gone = events
        assert added.agent_added.agent.agent_info.id.value == gone.agent_removed.agent_id.value == "S7"
        assert task.task_added.task.task_id.value == "t2"
        assert (updated.task_updated.state, updated.task_updated.status.state) == (TASK_FINISHED, TASK_FINISHED)
        assert updated.task_updated.framework_id.value == FRAMEWORK_ID
        assert removed.framework_removed.framework_info.id.value == "F7"


async def test_events_are_protobuf_for_those_who_want_it(gateway: GatewayClient) -> None:
    headers = {"Content-Type": "application/json", "Accept": "application/x-protobuf"}
    async with gateway.records("/api/v1", SUBSCRIBE, headers) as records:
        greeting = Event.FromString(await records.next())
        assert greeting.subscribed.get_state.get_tasks.tasks[0].name == "tâsk"
        assert Event.FromString(await records.next()).type == Event.HEARTBEAT


async def test_the_stream_ends_when_a_new_snapshot_takes_the_place_of_what_was_told(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    async with gateway.records("/api/v1", SUBSCRIBE) as records:
        await greeted(records)
        registry.publish(*snapshot(agent_changed("S7")))
        assert await records.rest() == []


async def test_no_more_operators_are_let_in_than_there_may_be(gateway: GatewayClient) -> None:
    stream = gateway.gateway.stream
    stream.subscribers_max = 1
    async with gateway.records("/api/v1", SUBSCRIBE) as records:
        await greeted(records)
        assert (await gateway.operator(SUBSCRIBE)).status == 503


async def test_a_framework_is_torn_down_by_either_api(gateway: GatewayClient, registry: ScriptedRegistry) -> None:
    registry.on_operator_call = lambda _: None
    answer = await gateway.operator(TEARDOWN)
    assert (answer.status, answer.body) == (200, b"")
    answer = await gateway.post("/master/teardown", f"frameworkId={FRAMEWORK_ID}".encode(), {})
    assert (answer.status, answer.body) == (200, b"")
    assert [call.teardown.framework_id.value for call in registry.operator_calls] == [FRAMEWORK_ID] * 2


@pytest.mark.parametrize(
    ("method", "path", "body", "call"),
    [
        ("PUT", "/weights", b'[{"role":"ads","weight":"2.5"}]', Call.UPDATE_WEIGHTS),
        ("POST", "/quota", b'{"role":"ads","guarantee":[]}', Call.SET_QUOTA),
        ("DELETE", "/quota/ads", b"", Call.REMOVE_QUOTA),
        ("POST", "/maintenance/schedule", b'{"windows":[]}', Call.UPDATE_MAINTENANCE_SCHEDULE),
        ("POST", "/machine/down", b'[{"hostname":"h"}]', Call.START_MAINTENANCE),
        ("POST", "/machine/up", b'[{"hostname":"h"}]', Call.STOP_MAINTENANCE),
        ("POST", "/reserve?slaveId=S0&resources=[]", b"", Call.RESERVE_RESOURCES),
        ("POST", "/unreserve?slaveId=S0&resources=[]", b"", Call.UNRESERVE_RESOURCES),
        ("POST", "/create-volumes?slaveId=S0&volumes=[]", b"", Call.CREATE_VOLUMES),
        ("POST", "/destroy-volumes?slaveId=S0&volumes=[]", b"", Call.DESTROY_VOLUMES),
    ],
)
async def test_legacy_endpoints_that_write_are_calls_of_the_operator_api(
    method: str, path: str, body: bytes, call: int, gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.on_operator_call = lambda _: None
    answer = await gateway.request(method, path, data=body)
    assert answer.status in (200, 202)
    assert [heard.type for heard in registry.operator_calls] == [call]
    assert registry.operator_calls[0].IsInitialized()


async def test_a_wrong_resource_in_a_form_is_named(gateway: GatewayClient) -> None:
    answer = await gateway.request("POST", "/reserve", params={"slaveId": AGENT_ID, "resources": '[{"name":5}]'})
    assert answer.status == 400
    assert answer.text.startswith("resources[0].name")


async def test_what_the_registry_says_against_a_call_is_passed_on(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.on_operator_call = lambda _: InvalidRequest("teardown.framework_id.value", "there is no such framework")
    answer = await gateway.operator(TEARDOWN)
    assert (answer.status, answer.text) == (400, "teardown.framework_id.value: there is no such framework")


@pytest.fixture
def usual_logging() -> Iterator[None]:
    """Leaves the process' logging as it was."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


def logs_at_levels(call: Call) -> Response:
    """What a registry answers that logs at level 2, and takes any other."""
    if call.type == Call.SET_LOGGING_LEVEL:
        return Response()
    level = Response.GetLoggingLevel(level=2)
    return Response(type=Response.GET_LOGGING_LEVEL, get_logging_level=level)


@pytest.mark.usefixtures("usual_logging")
async def test_the_level_of_logging_is_the_registrys_and_is_raised_there_and_here(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.on_operator_call = logs_at_levels
    assert (await gateway.get("/logging/toggle")).text.strip() == "2"
    assert (await gateway.get("/logging/toggle?level=1&duration=1hrs")).text == ""
    assert logging.getLogger().level == logging.DEBUG
    level = (await gateway.operator("GET_LOGGING_LEVEL")).json()
    assert level["get_logging_level"]["level"] == 2
    back = {"level": 0, "duration": {"nanoseconds": 1}}
    assert (await gateway.operator({"type": "SET_LOGGING_LEVEL", "set_logging_level": back})).status == 200
    assert logging.getLogger().level == logging.INFO
    told = [call.set_logging_level for call in registry.operator_calls if call.type == Call.SET_LOGGING_LEVEL]
    assert [(one.level, one.duration.nanoseconds) for one in told] == [(1, 3600 * 10**9), (0, 1)]


@pytest.mark.usefixtures("usual_logging")
async def test_without_a_leader_the_gateway_alone_logs_more_and_says_so(lone_gateway: GatewayClient) -> None:
    assert (await lone_gateway.get("/logging/toggle")).text.strip() == "0"
    assert (await lone_gateway.get("/logging/toggle?level=1&duration=1hrs")).status == 503
    assert (await lone_gateway.get("/logging/toggle")).text.strip() == "1"


@pytest.mark.parametrize(
    "query",
    ["level=1", "duration=1secs", "level=x&duration=1secs", "level=-1&duration=1secs", "level=1&duration=9999999weeks"],
)
async def test_a_wrong_level_of_logging_is_refused(query: str, gateway: GatewayClient) -> None:
    assert (await gateway.get(f"/logging/toggle?{query}")).status == 400


async def test_metrics_that_come_in_time_are_told_and_no_others(gateway: GatewayClient) -> None:
    answer = await gateway.get("/metrics/snapshot?timeout=1ns")
    assert answer.status == 200
    assert {name.partition("/")[0] for name in answer.json()} == {"system"}


async def test_who_is_in_a_hurry_for_metrics_does_not_wait_for_who_is_not(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        asked.set()
        await go_on.wait()

    registry.before_results = hang
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as others:
        first = others.create_task(gateway.get("/metrics/snapshot"))
        await asked.wait()
        answer = await gateway.get("/metrics/snapshot?timeout=1ms")
        assert not first.done()
        go_on.set()
    assert {name.partition("/")[0] for name in answer.json()} == {"system"}
