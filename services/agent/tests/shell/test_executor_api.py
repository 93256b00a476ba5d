"""The executor API on the wire: HTTP in JSON and protobuf, over TCP and a Unix socket, and gRPC."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as api
from mezzo import recordio
from mezzo.executor.v1 import executor_pb2 as rpc_messages
from mezzo.executor.v1 import executor_pb2_grpc as rpc
from mezzo_agent.http import executor_api
from mezzo_agent.ports import ContainerConfig
from mezzo_chassis.rpc import open_channel
from services.agent.tests.conftest import Tasks
from services.agent.tests.shell.conftest import PretendedContainers, RunningAgent, ScriptedRegistry

IDS = {"framework_id": {"value": "F1"}, "executor_id": {"value": "E1"}}
SUBSCRIBE = {**IDS, "type": "SUBSCRIBE", "subscribe": {}}
PROTOBUF = "application/x-protobuf"
UUID = base64.b64encode(b"u" * 16).decode()


def update(task_id: Any = "t1", state: str = "TASK_RUNNING", **status: Any) -> dict[str, Any]:
    sent = {"task_id": {"value": task_id}, "state": state, "uuid": UUID, **status}
    return {**IDS, "type": "UPDATE", "update": {"status": sent}}


class Subscription:
    """Reads an executor's stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self._decoder = recordio.Decoder()
        self._events: list[bytes] = []

    async def event(self) -> Any:
        async with asyncio.timeout(20):
            while not self._events:
                data = await self.response.content.readany()
                if not data:
                    return None
                self._events += self._decoder.feed(data)
        record = self._events.pop(0)
        if self.response.headers["Content-Type"] == PROTOBUF:
            return api.Event.FromString(record)
        assert record.isascii()
        return json.loads(record)


@pytest.fixture
async def launched(
    agent: RunningAgent, registry: ScriptedRegistry, tasks: type[Tasks], containers: PretendedContainers
) -> RunningAgent:
    """An executor whose process runs, and who has not subscribed yet."""
    registry.add_framework()
    registry.run(tasks.executor())
    await containers.launched.wait()
    return agent


@pytest.fixture
async def subscription(launched: RunningAgent, http: aiohttp.ClientSession) -> AsyncIterator[Subscription]:
    async with http.post(launched.executor_url, json=SUBSCRIBE) as response:
        subscription = Subscription(response)
        assert (await subscription.event())["type"] == "SUBSCRIBED"
        assert (await subscription.event())["type"] == "LAUNCH"
        yield subscription


async def test_events_come_as_records_of_json(launched: RunningAgent, http: aiohttp.ClientSession) -> None:
    async with http.post(launched.executor_url, json=SUBSCRIBE) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Transfer-Encoding"] == "chunked"
        subscription = Subscription(response)
        first = await subscription.event()
        assert first["subscribed"]["executor_info"]["executor_id"] == {"value": "E1"}
        assert first["subscribed"]["framework_info"]["id"] == {"value": "F1"}
        assert first["subscribed"]["agent_info"]["id"] == {"value": "S0"}
        launch = await subscription.event()
        assert launch["launch"]["task"]["task_id"] == {"value": "t1"}


@pytest.mark.parametrize("accept", [{"Accept": "*/*"}, {}], ids=["anything", "nothing said"])
async def test_events_are_json_unless_something_else_is_asked_for(
    launched: RunningAgent, http: aiohttp.ClientSession, accept: dict[str, str]
) -> None:
    request = http.post(launched.executor_url, json=SUBSCRIBE, headers=accept, skip_auto_headers=["Accept"])
    async with request as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
        assert (await Subscription(response).event())["type"] == "SUBSCRIBED"


async def test_heartbeats_go_both_ways(
    launched: RunningAgent, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_api, "EXECUTOR_HEARTBEAT_INTERVAL_SECONDS", 0.01)
    async with http.post(launched.executor_url, json=SUBSCRIBE) as response:
        subscription = Subscription(response)
        kinds = [(await subscription.event())["type"] for _ in range(4)]
        assert (kinds[:2], kinds.count("HEARTBEAT")) == (["SUBSCRIBED", "LAUNCH"], 2)
        async with http.post(launched.executor_url, json={**IDS, "type": "HEARTBEAT"}) as answer:
            assert (answer.status, await answer.text()) == (202, "")


async def test_an_executor_of_http_1_0_subscribes(launched: RunningAgent) -> None:
    client = aiohttp.ClientSession(version=aiohttp.HttpVersion10)
    async with client, client.post(launched.executor_url, json=SUBSCRIBE) as response:
        assert response.status == 200
        assert "Transfer-Encoding" not in response.headers
        subscription = Subscription(response)
        assert (await subscription.event())["type"] == "SUBSCRIBED"
        assert (await subscription.event())["type"] == "LAUNCH"


async def test_protobuf_both_ways(
    launched: RunningAgent, http: aiohttp.ClientSession, registry: ScriptedRegistry
) -> None:
    call = api.Call(
        type=api.Call.SUBSCRIBE, framework_id=mesos.FrameworkID(value="F1"), executor_id=mesos.ExecutorID(value="E1")
    )
    call.subscribe.SetInParent()
    headers = {"Content-Type": PROTOBUF, "Accept": PROTOBUF}
    async with http.post(launched.executor_url, data=call.SerializeToString(), headers=headers) as response:
        subscription = Subscription(response)
        assert (await subscription.event()).type == api.Event.SUBSCRIBED
        launch = await subscription.event()
        assert launch.launch.task.task_id.value == "t1"
        sent = api.Call(type=api.Call.UPDATE, framework_id=call.framework_id, executor_id=call.executor_id)
        sent.update.status.CopyFrom(
            mesos.TaskStatus(task_id=mesos.TaskID(value="t1"), state=mesos.TASK_RUNNING, uuid=b"u" * 16)
        )
        async with http.post(launched.executor_url, data=sent.SerializeToString(), headers=headers) as answer:
            assert answer.status == 202
        acknowledged = await subscription.event()
        assert acknowledged.acknowledged.uuid == b"u" * 16
    await registry.until_state("t1", "TASK_RUNNING")


async def test_an_update_is_read_as_generously_as_mesos_reads_it(
    launched: RunningAgent, subscription: Subscription, http: aiohttp.ClientSession, registry: ScriptedRegistry
) -> None:
    sent = update(
        uuid=UUID.rstrip("="),
        timestamp="1.5",
        reason="REASON_OF_A_LATER_VERSION",
        message=None,
        labels={"labels": {"key": "a"}},
        frob=1,
    )
    async with http.post(launched.executor_url, json=sent) as answer:
        assert answer.status == 202, await answer.text()
    acknowledged = await subscription.event()
    assert acknowledged["acknowledged"]["uuid"] == UUID
    await registry.until_state("t1", "TASK_RUNNING")
    status = next(each.task_update.status for each in registry.received if each.HasField("task_update"))
    assert not status.HasField("reason")
    assert [label.key for label in status.labels.labels] == ["a"]


async def test_update_is_taken_forwarded_and_acknowledged(
    launched: RunningAgent, subscription: Subscription, http: aiohttp.ClientSession, registry: ScriptedRegistry
) -> None:
    async with http.post(launched.executor_url, json=update()) as answer:
        assert (answer.status, await answer.text()) == (202, "")
    acknowledged = await subscription.event()
    assert acknowledged == {
        "type": "ACKNOWLEDGED",
        "acknowledged": {"task_id": {"value": "t1"}, "uuid": UUID},
    }
    await registry.until_state("t1", "TASK_RUNNING")


async def test_update_is_on_disk_when_it_is_answered(
    launched: RunningAgent,
    subscription: Subscription,
    http: aiohttp.ClientSession,
    registry: ScriptedRegistry,
    containers: PretendedContainers,
) -> None:
    registry.acknowledging = False
    async with http.post(launched.executor_url, json=update()) as answer:
        assert answer.status == 202
    await launched.stop()
    registry.received.clear()
    await launched.start()
    await registry.until_state("t1", "TASK_RUNNING")


async def test_message_reaches_the_framework(
    launched: RunningAgent, subscription: Subscription, http: aiohttp.ClientSession, registry: ScriptedRegistry
) -> None:
    data = base64.b64encode("grüße".encode()).decode()
    async with http.post(launched.executor_url, json={**IDS, "type": "MESSAGE", "message": {"data": data}}) as answer:
        assert answer.status == 202
    await registry.until(lambda: any(each.HasField("executor_message") for each in registry.received))
    (message,) = [each.executor_message for each in registry.received if each.HasField("executor_message")]
    assert message.data.decode() == "grüße"


async def test_executor_that_went_away_can_come_back(
    launched: RunningAgent, subscription: Subscription, http: aiohttp.ClientSession
) -> None:
    subscription.response.close()
    async with http.post(launched.executor_url, json=SUBSCRIBE) as response:
        subscription = Subscription(response)
        assert (await subscription.event())["type"] == "SUBSCRIBED"


async def test_second_subscription_ends_the_first(
    launched: RunningAgent, subscription: Subscription, http: aiohttp.ClientSession
) -> None:
    async with http.post(launched.executor_url, json=SUBSCRIBE) as response:
        assert (await Subscription(response).event())["type"] == "SUBSCRIBED"
        assert await subscription.event() is None


WRONG = [
    ("malformed JSON", {"data": '{"type":', "headers": {"Content-Type": "application/json"}}, 400, ""),
    ("no content type", {"data": b"{}", "skip_auto_headers": ["Content-Type"]}, 400, "Content-Type"),
    ("other content type", {"data": "{}", "headers": {"Content-Type": "text/plain"}}, 415, "Content-Type"),
    ("protobuf garbage", {"data": b"garbage", "headers": {"Content-Type": PROTOBUF}}, 400, "Call"),
    ("not acceptable", {"json": SUBSCRIBE, "headers": {"Accept": "text/html"}}, 406, "Accept"),
    ("nothing", {"json": {}}, 400, "executor_id"),
    ("no type", {"json": IDS}, 400, "type"),
    ("unknown type", {"json": {**IDS, "type": "FROBNICATE"}}, 400, "type"),
    ("unknown framework", {"json": {**SUBSCRIBE, "framework_id": {"value": "F9"}}}, 400, "framework_id"),
    ("unknown executor", {"json": {**SUBSCRIBE, "executor_id": {"value": "E9"}}}, 400, "executor_id"),
    ("no member", {"json": {**IDS, "type": "UPDATE"}}, 400, "update"),
    ("no uuid", {"json": update(uuid="")}, 400, "update.status.uuid"),
    ("unknown state", {"json": update(state="TASK_FROBBED")}, 400, "update.status.state"),
    ("wrong type of field", {"json": update(task_id=5)}, 400, "update.status.task_id"),
    ("unknown task", {"json": update("t9")}, 400, "update.status.task_id"),
    ("another's task", {"json": update("other")}, 403, "update.status.task_id"),
    ("wrong token", {"json": update(), "headers": {"Authorization": "Bearer 00"}}, 401, "token"),
    ("other scheme", {"json": update(), "headers": {"Authorization": "Basic eDp5"}}, 401, "Authorization"),
    ("too large", {"data": io.BytesIO(b" " * (17 << 20)), "headers": {"Content-Type": "application/json"}}, 413, ""),
]


@pytest.mark.parametrize(("request_", "status", "named"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
async def test_wrong_call_is_refused_says_why_and_disturbs_nobody(
    launched: RunningAgent,
    subscription: Subscription,
    http: aiohttp.ClientSession,
    registry: ScriptedRegistry,
    tasks: type[Tasks],
    request_: dict[str, Any],
    status: int,
    named: str,
) -> None:
    registry.run(tasks.executor("other", "E2"))
    registry.run(tasks.command("done"))
    await registry.until_state("done", "TASK_RUNNING")
    async with http.post(launched.executor_url, **request_) as answer:
        text = await answer.text()
        assert (answer.status, named in text) == (status, True), text
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert registry.states("other") == registry.states("t1") == []
    async with http.post(launched.executor_url, json=update()) as answer:
        assert answer.status == 202


async def test_get_is_not_allowed(agent: RunningAgent, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{agent.url}/api/v1/executor") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def executor_after_restart(
    agent: RunningAgent, registry: ScriptedRegistry, containers: PretendedContainers, tasks: type[Tasks], **flags: Any
) -> ContainerConfig:
    """The configuration of an executor that was launched by an agent with these flags."""
    await agent.stop()
    registry.received.clear()
    await agent.start(**flags)
    await registry.until(registry.registrations)
    registry.add_framework()
    registry.run(tasks.executor())
    registry.run(tasks.command("done"))
    await registry.until_state("done", "TASK_RUNNING")
    return next(each for each in containers.configs.values() if each.task_id is None)


async def test_token_of_the_environment_opens_the_door(
    agent: RunningAgent,
    registry: ScriptedRegistry,
    containers: PretendedContainers,
    tasks: type[Tasks],
    http: aiohttp.ClientSession,
) -> None:
    executor = await executor_after_restart(agent, registry, containers, tasks, authenticate_http_executors=True)
    token = executor.environment["MESOS_EXECUTOR_AUTHENTICATION_TOKEN"]
    endpoint = f"http://{executor.environment['MESOS_AGENT_ENDPOINT']}/api/v1/executor"
    async with http.post(endpoint, json=SUBSCRIBE) as answer:
        assert answer.status == 401
    async with http.post(endpoint, json=SUBSCRIBE, headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 200
        assert (await Subscription(answer).event())["type"] == "SUBSCRIBED"


async def test_unix_socket_serves_executors_and_nobody_else(
    agent: RunningAgent, registry: ScriptedRegistry, containers: PretendedContainers, tasks: type[Tasks], tmp_path: Path
) -> None:
    socket = tmp_path / "executors.sock"
    executor = await executor_after_restart(agent, registry, containers, tasks, domain_socket=socket)
    assert executor.environment["MESOS_DOMAIN_SOCKET"] == str(socket)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as client:
        async with client.post("http://localhost/api/v1/executor", json=SUBSCRIBE) as response:
            assert (await Subscription(response).event())["type"] == "SUBSCRIBED"
        async with client.get("http://localhost/state") as response:
            assert response.status == 404


# --- gRPC


@pytest.fixture
async def stub(launched: RunningAgent) -> AsyncIterator[rpc.ExecutorAsyncStub]:
    async with open_channel(launched.grpc_address) as channel:
        yield rpc.ExecutorStub(channel)


def call(type_: str, **member: Any) -> api.Call:
    type_number = api.Call.Type.Value(type_)
    ids: dict[str, Any] = {"framework_id": mesos.FrameworkID(value="F1"), "executor_id": mesos.ExecutorID(value="E1")}
    return api.Call(type=type_number, **ids, **member)


def status(task_id: str = "t1", **fields: Any) -> mesos.TaskStatus:
    return mesos.TaskStatus(task_id=mesos.TaskID(value=task_id), state=mesos.TASK_RUNNING, uuid=b"u" * 16, **fields)


async def test_grpc_executor_subscribes_and_updates(
    launched: RunningAgent, stub: rpc.ExecutorAsyncStub, registry: ScriptedRegistry
) -> None:
    stream: Any = stub.Subscribe(rpc_messages.SubscribeRequest(call=call("SUBSCRIBE", subscribe={})))
    events = [event.type for event in (await stream.read()).events]
    while len(events) < 2:
        events += [event.type for event in (await stream.read()).events]
    assert events == [api.Event.SUBSCRIBED, api.Event.LAUNCH]
    await stub.Call(rpc_messages.CallRequest(call=call("UPDATE", update=api.Call.Update(status=status()))))
    assert (await stream.read()).events[0].acknowledged.uuid == b"u" * 16
    await registry.until_state("t1", "TASK_RUNNING")
    stream.cancel()


@pytest.mark.parametrize(
    ("sent", "metadata", "code", "named"),
    [
        (call("UPDATE"), (), grpc.StatusCode.INVALID_ARGUMENT, "update"),
        (call("SUBSCRIBE", subscribe={}), (), grpc.StatusCode.INVALID_ARGUMENT, "call.type"),
        (
            call("UPDATE", update=api.Call.Update(status=status())),
            (),
            grpc.StatusCode.PERMISSION_DENIED,
            "not subscribed",
        ),
        (call("HEARTBEAT"), (("authorization", "Bearer 00"),), grpc.StatusCode.UNAUTHENTICATED, "token"),
    ],
)
async def test_grpc_refusals_have_their_status(
    launched: RunningAgent,
    stub: rpc.ExecutorAsyncStub,
    sent: api.Call,
    metadata: Any,
    code: grpc.StatusCode,
    named: str,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Call(rpc_messages.CallRequest(call=sent), metadata=metadata)
    assert refused.value.code() == code
    assert named in (refused.value.details() or "")


async def test_grpc_health_says_that_it_serves(agent: RunningAgent) -> None:
    async with open_channel(agent.grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "mezzo.executor.v1.Executor"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
