"""The executor client as an agent sees it, over each of its transports."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as v1
from mezzo import errors, jsonpb, recordio
from mezzo.executor import ExecutorClient, ExecutorEnvironment, GrpcTransport, HttpTransport, Transport
from mezzo.executor.v1 import executor_pb2 as wire
from mezzo.executor.v1 import executor_pb2_grpc as wire_grpc
from mezzo.http import JSON, PROTOBUF

pytestmark = pytest.mark.timeout(30)

Serve = Callable[..., Awaitable[str]]
TOKEN = "secret-of-e1"
VARIABLES = {
    "MESOS_FRAMEWORK_ID": "F1",
    "MESOS_EXECUTOR_ID": "E1",
    "MESOS_AGENT_ENDPOINT": "127.0.0.1:5051",
    "MESOS_CHECKPOINT": "1",
    "MESOS_RECOVERY_TIMEOUT": "15mins",
}
ENVIRONMENT = ExecutorEnvironment.read(VARIABLES)


class Stream:
    """One subscription that the agent has taken."""

    def __init__(self, subscribe: v1.Call.Subscribe) -> None:
        self.tasks = [task.task_id.value for task in subscribe.unacknowledged_tasks]
        self.updates = [update.status.message for update in subscribe.unacknowledged_updates]
        self.ended = asyncio.Event()
        self._events: asyncio.Queue[v1.Event | None] = asyncio.Queue()

    def send(self, event: v1.Event) -> None:
        self._events.put_nowait(event)

    def end(self) -> None:
        self._events.put_nowait(None)

    def subscribed(self) -> None:
        event = v1.Event(type=v1.Event.SUBSCRIBED)
        info = event.subscribed
        info.executor_info.executor_id.value = "E1"
        info.framework_info.user = info.framework_info.name = "x"
        info.agent_info.hostname = "here"
        self.send(event)
        self.send(v1.Event(type=v1.Event.HEARTBEAT))

    def launch(self, task_id: str) -> None:
        event = v1.Event(type=v1.Event.LAUNCH)
        event.launch.task.name = event.launch.task.task_id.value = task_id
        event.launch.task.agent_id.value = "A1"
        self.send(event)

    def launch_group(self, *task_ids: str) -> None:
        event = v1.Event(type=v1.Event.LAUNCH_GROUP)
        for task_id in task_ids:
            task = event.launch_group.task_group.tasks.add(name=task_id)
            task.task_id.value, task.agent_id.value = task_id, "A1"
        self.send(event)

    def acknowledge(self, update: v1.Call.Update) -> None:
        event = v1.Event(type=v1.Event.ACKNOWLEDGED)
        event.acknowledged.task_id.CopyFrom(update.status.task_id)
        event.acknowledged.uuid = update.status.uuid
        self.send(event)

    async def events(self) -> AsyncIterator[v1.Event]:
        try:
            while (event := await self._events.get()) is not None:
                yield event
        finally:
            self.ended.set()


class Agent:
    """An agent's executor API, whichever way it is asked."""

    def __init__(self) -> None:
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self.calls: asyncio.Queue[v1.Call] = asyncio.Queue()
        self.refuse_calls: list[errors.MezzoError] = []
        self.refuse_subscriptions: errors.MezzoError | None = None
        self.subscriptions = 0

    def subscribe(self, call: v1.Call, authorization: str | None) -> Stream:
        self._check(call, authorization)
        self.subscriptions += 1
        if self.refuse_subscriptions:
            raise self.refuse_subscriptions
        stream = Stream(call.subscribe)
        self.streams.put_nowait(stream)
        return stream

    def called(self, call: v1.Call, authorization: str | None) -> None:
        self._check(call, authorization)
        if self.refuse_calls:
            raise self.refuse_calls.pop(0)
        self.calls.put_nowait(call)

    def _check(self, call: v1.Call, authorization: str | None) -> None:
        if authorization != f"Bearer {TOKEN}":
            raise errors.Unauthorized("who are you?")
        assert (call.framework_id.value, call.executor_id.value) == ("F1", "E1")


HTTP_STATUS = {errors.InvalidRequest: 400, errors.Unauthorized: 401, errors.Unavailable: 503}
GRPC_STATUS = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthorized: grpc.StatusCode.UNAUTHENTICATED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
}


def http_handler(agent: Agent) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.path == "/api/v1/executor"
        body = await request.read()
        call = jsonpb.parse(v1.Call, body) if request.content_type == JSON else v1.Call.FromString(body)
        authorization = request.headers.get("Authorization")
        try:
            if call.type != v1.Call.SUBSCRIBE:
                agent.called(call, authorization)
                return web.Response(status=202)
            stream = agent.subscribe(call, authorization)
        except errors.MezzoError as error:
            return web.Response(status=HTTP_STATUS[type(error)], text=str(error))
        response = web.StreamResponse(headers={"Content-Type": request.content_type})
        await response.prepare(request)
        async for event in stream.events():
            record = jsonpb.dumps(event) if request.content_type == JSON else event.SerializeToString()
            await response.write(recordio.encode(record))
        return response

    return handle


class GrpcExecutor(wire_grpc.ExecutorServicer):
    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def Subscribe(self, request: wire.SubscribeRequest, context: Any) -> AsyncIterator[wire.SubscribeResponse]:
        try:
            stream = self._agent.subscribe(request.call, dict(context.invocation_metadata()).get("authorization"))
        except errors.MezzoError as error:
            await context.abort(GRPC_STATUS[type(error)], str(error))
        async for event in stream.events():
            yield wire.SubscribeResponse(events=[event])

    async def Call(self, request: wire.CallRequest, context: Any) -> wire.CallResponse:
        try:
            self._agent.called(request.call, dict(context.invocation_metadata()).get("authorization"))
        except errors.MezzoError as error:
            await context.abort(GRPC_STATUS[type(error)], str(error))
        return wire.CallResponse()


@dataclass
class Connected:
    """A way to the agent, for executors with the right token and others."""

    agent: Agent
    transport: Callable[[str | None], Transport]

    def client(
        self,
        environment: ExecutorEnvironment = ENVIRONMENT,
        token: str | None = TOKEN,
        jitter: Callable[[], float] = random.random,
    ) -> ExecutorClient:
        return ExecutorClient(self.transport(token), environment, jitter=jitter)


@pytest.fixture(params=["grpc", "json", "protobuf", "unix socket"])
async def connected(request: pytest.FixtureRequest, serve_http: Serve, serve_grpc: Serve, tmp_path: Path) -> Connected:
    agent = Agent()
    if request.param == "grpc":
        address = await serve_grpc(wire_grpc.add_ExecutorServicer_to_server, GrpcExecutor(agent))
        return Connected(agent, lambda token: GrpcTransport(address, token))
    socket = tmp_path / "agent.sock" if request.param == "unix socket" else None
    url = await serve_http(http_handler(agent), socket)
    endpoint = url.removeprefix("http://")
    content_type = JSON if request.param == "json" else PROTOBUF
    return Connected(
        agent,
        lambda token: HttpTransport(
            endpoint, domain_socket=str(socket) if socket else None, token=token, content_type=content_type
        ),
    )


async def subscribed(agent: Agent, events: AsyncIterator[v1.Event]) -> Stream:
    """The agent's end of the subscription that the client makes next."""
    first = asyncio.ensure_future(anext(events))
    stream = await agent.streams.get()
    stream.subscribed()
    assert (await first).type == v1.Event.SUBSCRIBED
    return stream


async def test_it_subscribes_with_its_token_and_gets_events_without_heartbeats(connected: Connected) -> None:
    async with connected.client() as executor:
        events = executor.events()
        stream = await subscribed(connected.agent, events)
        assert (stream.tasks, stream.updates) == ([], [])
        stream.launch("T1")
        assert (await anext(events)).launch.task.task_id.value == "T1"
    await stream.ended.wait()


@pytest.mark.parametrize("token", [None, "guessed"])
async def test_an_executor_without_the_right_token_is_told_so(connected: Connected, token: str | None) -> None:
    async with connected.client(token=token) as executor:
        with pytest.raises(errors.Unauthorized, match="who are you"):
            await anext(executor.events())
        with pytest.raises(errors.Unauthorized, match="who are you"):
            await executor.update("T1", mesos.TASK_RUNNING)


async def test_an_update_says_who_reports_what(connected: Connected) -> None:
    async with connected.client() as executor:
        await subscribed(connected.agent, executor.events())
        await executor.update("T1", mesos.TASK_FAILED, "no luck", b"\xff")
        status = (await connected.agent.calls.get()).update.status
        assert (status.task_id.value, status.executor_id.value, status.message) == ("T1", "E1", "no luck")
        assert (status.state, status.source) == (mesos.TASK_FAILED, mesos.TaskStatus.SOURCE_EXECUTOR)
        assert status.data == b"\xff"
        assert len(status.uuid) == 16
        await executor.message(b"\x00hello")
        assert (await connected.agent.calls.get()).message.data == b"\x00hello"


async def test_what_is_not_acknowledged_is_told_again_to_an_agent_that_comes_back(connected: Connected) -> None:
    agent = connected.agent
    async with connected.client() as executor:
        events = executor.events()
        stream = await subscribed(agent, events)
        stream.launch("T1")
        stream.launch_group("T2", "T3")
        await anext(events)
        await anext(events)
        for task_id in ("T1", "T2"):
            await executor.update(task_id, mesos.TASK_RUNNING, f"running {task_id}")
        stream.acknowledge((await agent.calls.get()).update)
        assert (await anext(events)).acknowledged.task_id.value == "T1"
        stream.end()
        second = await subscribed(agent, events)
        assert second.tasks == ["T2", "T3"]
        assert second.updates == ["running T2"]


async def test_an_update_that_cannot_be_sent_goes_with_the_next_subscription(connected: Connected) -> None:
    agent = connected.agent
    async with connected.client() as executor:
        events = executor.events()
        first = await subscribed(agent, events)
        agent.refuse_calls = [errors.Unavailable("recovering")]
        await executor.update("T1", mesos.TASK_RUNNING, "lost")
        second = await subscribed(agent, events)
        assert second.updates == ["lost"]
        await first.ended.wait()
        # The same while somebody waits for the next event.
        following = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        agent.refuse_calls = [errors.Unavailable("recovering"), errors.Unavailable("recovering")]
        await asyncio.gather(executor.update("T2", mesos.TASK_LOST, "b"), executor.update("T3", mesos.TASK_LOST, "c"))
        third = await agent.streams.get()
        assert third.updates == ["lost", "b", "c"]
        third.subscribed()
        await following


async def test_an_update_that_the_agent_will_not_take_is_raised_and_not_told_again(connected: Connected) -> None:
    agent = connected.agent
    async with connected.client() as executor:
        events = executor.events()
        stream = await subscribed(agent, events)
        agent.refuse_calls = [errors.InvalidRequest("update.status.task_id", "is not known")]
        with pytest.raises(errors.InvalidRequest) as raised:
            await executor.update("T9", mesos.TASK_RUNNING)
        assert raised.value.field == "update.status.task_id"
        stream.end()
        assert (await subscribed(agent, events)).updates == []


@pytest.mark.parametrize("last", [v1.Event.SHUTDOWN, v1.Event.ERROR])
async def test_shutdown_and_errors_are_the_last_events(connected: Connected, last: v1.Event.Type.ValueType) -> None:
    async with connected.client() as executor:
        events = executor.events()
        stream = await subscribed(connected.agent, events)
        event = v1.Event(type=last)
        if last == v1.Event.ERROR:
            event.error.message = "no"
        stream.send(event)
        assert [each.type async for each in events] == [last]
        assert connected.agent.subscriptions == 1


async def test_an_executor_that_does_not_checkpoint_ends_with_its_stream(connected: Connected) -> None:
    async with connected.client(replace(ENVIRONMENT, checkpoint=False)) as executor:
        events = executor.events()
        stream = await subscribed(connected.agent, events)
        stream.end()
        assert [event async for event in events] == []
        assert connected.agent.subscriptions == 1


async def test_an_executor_ends_when_its_agent_stays_away(
    connected: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    impatient = replace(ENVIRONMENT, recovery_timeout_seconds=0.5, subscription_backoff_seconds_max=0.02)
    async with connected.client(impatient, jitter=lambda: 0.0) as executor:
        events = executor.events()
        stream = await subscribed(connected.agent, events)
        connected.agent.refuse_subscriptions = errors.Unavailable("recovering")
        stream.end()
        assert [event async for event in events] == []
        assert connected.agent.subscriptions >= 2
    *attempts, last = [record for record in caplog.records if record.name == "mezzo.executor"]
    assert all(each.getMessage().startswith("no subscription at agent ") for each in (*attempts, last))
    assert attempts[0].getMessage().endswith(": the stream ended; next attempt in 0.01 s")
    assert all(": recovering; next attempt in 0.0" in each.getMessage() for each in attempts[1:])
    assert last.levelname == "ERROR"
    assert " for 0.5 s: " in last.getMessage()


async def test_attempts_to_subscribe_are_apart_by_what_the_agent_allows_and_by_chance(connected: Connected) -> None:
    drawn = []

    def draw() -> float:
        drawn.append(connected.agent.subscriptions)
        if len(drawn) == 4:
            connected.agent.refuse_subscriptions = None
        return 1.0

    environment = replace(ENVIRONMENT, subscription_backoff_seconds_max=0.02)
    async with connected.client(environment, jitter=draw) as executor:
        events = executor.events()
        stream = await subscribed(connected.agent, events)
        connected.agent.refuse_subscriptions = errors.Unavailable("recovering")
        stream.end()
        await subscribed(connected.agent, events)
        # A number is drawn after each attempt that failed.
        assert drawn == [1, 2, 3, 4]


async def test_an_agent_that_hangs_is_away_too(connected: Connected) -> None:
    async with connected.client(replace(ENVIRONMENT, recovery_timeout_seconds=1)) as executor:
        # The subscription is taken, and nothing ever said on it.
        assert [event async for event in executor.events()] == []
        await connected.agent.streams.get_nowait().ended.wait()


async def test_leaving_ends_the_loop_of_another_task(connected: Connected) -> None:
    async with connected.client() as executor:
        events = executor.events()
        stream = await subscribed(connected.agent, events)

        async def drain() -> list[v1.Event]:
            return [event async for event in events]

        draining = asyncio.create_task(drain())
        await asyncio.sleep(0)
    assert await draining == []
    await stream.ended.wait()
    with pytest.raises(errors.Unavailable, match="closed"):
        await executor.message(b"")


async def test_an_agent_that_is_not_there_leaves_updates_for_later(unused_port: int) -> None:
    for transport in (HttpTransport(f"127.0.0.1:{unused_port}"), GrpcTransport(f"127.0.0.1:{unused_port}")):
        async with ExecutorClient(transport, ENVIRONMENT) as executor:
            await executor.update("T1", mesos.TASK_RUNNING)
            with pytest.raises(errors.Unavailable):
                await executor.message(b"")


async def test_an_executor_finds_its_agent_through_its_environment(
    serve_http: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent()
    socket = tmp_path / "agent.sock"
    await serve_http(http_handler(agent), socket)
    own = {"MESOS_DOMAIN_SOCKET": str(socket), "MESOS_EXECUTOR_AUTHENTICATION_TOKEN": TOKEN}
    for name, value in {**VARIABLES, **own}.items():
        monkeypatch.setenv(name, value)
    async with ExecutorClient.from_environment() as executor:
        await subscribed(agent, executor.events())


async def test_an_executor_finds_grpc_through_its_environment(
    serve_grpc: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent()
    for name, value in {**VARIABLES, "MESOS_EXECUTOR_AUTHENTICATION_TOKEN": TOKEN}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(errors.Unimplemented, match="MEZZO_AGENT_GRPC_ENDPOINT"):
        ExecutorClient.from_environment(grpc=True)
    address = await serve_grpc(wire_grpc.add_ExecutorServicer_to_server, GrpcExecutor(agent))
    monkeypatch.setenv("MEZZO_AGENT_GRPC_ENDPOINT", address)
    async with ExecutorClient.from_environment(grpc=True) as executor:
        await subscribed(agent, executor.events())


@pytest.mark.parametrize(
    ("text", "seconds"), [("15mins", 900.0), ("2.5secs", 2.5), ("500ms", 0.5), ("1hrs", 3600.0), ("1weeks", 604800.0)]
)
def test_the_environment_tells_times_with_units(text: str, seconds: float) -> None:
    read = ExecutorEnvironment.read({**VARIABLES, "MESOS_RECOVERY_TIMEOUT": text})
    assert read.recovery_timeout_seconds == seconds


def test_an_environment_that_no_agent_made_is_refused() -> None:
    with pytest.raises(KeyError, match="MESOS_FRAMEWORK_ID"):
        ExecutorEnvironment.read({})
    with pytest.raises(ValueError, match="MESOS_RECOVERY_TIMEOUT: 'soon' is not a duration"):
        ExecutorEnvironment.read({**VARIABLES, "MESOS_RECOVERY_TIMEOUT": "soon"})
