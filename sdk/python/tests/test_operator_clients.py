"""The operator clients, over HTTP and gRPC."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from aiohttp import web

from mesos.v1.agent import agent_pb2 as agent
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo import errors, http, jsonpb, recordio
from mezzo.allocator.v1.allocator_pb2 import Explanation
from mezzo.http import JSON, PROTOBUF
from mezzo.operator import AgentOperator, MasterOperator, RegistryOperator
from mezzo.operator.v1 import operator_pb2 as wire
from mezzo.operator.v1 import operator_pb2_grpc as wire_grpc
from mezzo.scheduler import HttpTransport

pytestmark = pytest.mark.timeout(30)

Serve = Callable[..., Awaitable[str]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answering(response: master.Response | agent.Response | None) -> Handler:
    """One answer to every call, in the encoding that is asked for."""

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.path == "/api/v1"
        if response is None:
            return web.Response(status=200)
        body = jsonpb.dumps(response) if request.headers["Accept"] == JSON else response.SerializeToString()
        return web.Response(body=body, content_type=request.headers["Accept"])

    return handle


@pytest.mark.parametrize("content_type", [JSON, PROTOBUF])
async def test_a_masters_answers_are_messages(serve_http: Serve, content_type: str) -> None:
    response = master.Response(type=master.Response.GET_HEALTH)
    response.get_health.healthy = True
    async with MasterOperator(await serve_http(answering(response)), content_type) as operator:
        assert await operator.get(master.Call.GET_HEALTH) == response


@pytest.mark.parametrize("content_type", [JSON, PROTOBUF])
async def test_an_agents_answers_are_messages(serve_http: Serve, content_type: str) -> None:
    response = agent.Response(type=agent.Response.GET_HEALTH)
    response.get_health.healthy = True
    async with AgentOperator(await serve_http(answering(response)), content_type) as operator:
        assert await operator.call(agent.Call(type=agent.Call.GET_HEALTH)) == response


async def test_an_empty_answer_is_none_where_one_may_be_empty(serve_http: Serve) -> None:
    async with MasterOperator(await serve_http(answering(None))) as operator:
        assert await operator.call(master.Call(type=master.Call.UPDATE_WEIGHTS)) is None
        with pytest.raises(errors.InternalError, match="GET_HEALTH was answered without a body"):
            await operator.get(master.Call.GET_HEALTH)


async def test_a_refusal_names_its_field(serve_http: Serve) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.Response(status=400, text="update_quota.quota_configs[0].role: is no role")

    async with MasterOperator(await serve_http(refuse)) as operator:
        with pytest.raises(errors.InvalidRequest) as raised:
            await operator.call(master.Call(type=master.Call.UPDATE_QUOTA))
        assert raised.value.field == "update_quota.quota_configs[0].role"


@pytest.mark.parametrize("content_type", [JSON, PROTOBUF])
async def test_a_masters_events_come_one_by_one_until_the_stream_ends(serve_http: Serve, content_type: str) -> None:
    events = [master.Event(type=master.Event.SUBSCRIBED), master.Event(type=master.Event.HEARTBEAT)]

    async def subscribe(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = jsonpb.parse(master.Call, body) if content_type == JSON else master.Call.FromString(body)
        assert call.type == master.Call.SUBSCRIBE
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            record = jsonpb.dumps(event) if content_type == JSON else event.SerializeToString()
            await response.write(recordio.encode(record))
        return response

    async with MasterOperator(await serve_http(subscribe), content_type) as operator:
        assert [event async for event in operator.events()] == events


async def test_an_event_may_be_as_large_as_the_state_of_a_large_cluster(serve_http: Serve) -> None:
    subscribed = master.Event(type=master.Event.SUBSCRIBED)
    task = subscribed.subscribed.get_state.get_tasks.tasks.add(name="t", state="TASK_RUNNING")
    task.task_id.value, task.agent_id.value, task.framework_id.value = "t", "a", "f"
    task.statuses.add(task_id=task.task_id, state="TASK_RUNNING", data=bytes(recordio.RECORD_BYTES_MAX))

    async def subscribe(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(recordio.encode(subscribed.SerializeToString()))
        return response

    async with MasterOperator(await serve_http(subscribe)) as operator:
        (event,) = [event async for event in operator.events()]
    assert event.ByteSize() > recordio.RECORD_BYTES_MAX


async def test_a_master_that_is_cut_off_is_unavailable(serve_http: Serve) -> None:
    async def cut_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"10\n")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with MasterOperator(await serve_http(cut_off)) as operator:
        with pytest.raises(errors.Unavailable):
            await anext(operator.events())


@pytest.mark.parametrize("heartbeats", [0, 3])
async def test_a_master_that_falls_silent_is_unavailable(
    serve_http: Serve, heartbeats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs closes no connection."""
    monkeypatch.setattr(http, "CALL_SECONDS_MAX", 0.05)

    async def hang(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if heartbeats:
            greeting = master.Event(type=master.Event.SUBSCRIBED)
            greeting.subscribed.heartbeat_interval_seconds = 0.01
            await response.write(recordio.encode(greeting.SerializeToString()))
        for _ in range(heartbeats):
            heartbeat = master.Event(type=master.Event.HEARTBEAT)
            await response.write(recordio.encode(heartbeat.SerializeToString()))
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    async with MasterOperator(await serve_http(hang)) as operator:
        events = operator.events()
        expected = [master.Event.SUBSCRIBED, *[master.Event.HEARTBEAT] * heartbeats] if heartbeats else []
        assert [(await anext(events)).type for _ in expected] == expected
        with pytest.raises(errors.Unavailable, match=r"no event and no heartbeat for 0\.05 s"):
            await anext(events)


async def test_a_stream_whose_head_does_not_come_is_unavailable(
    serve_http: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CALL_SECONDS_MAX", 0.05)

    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    transport = HttpTransport(await serve_http(hang))
    with pytest.raises(errors.Unavailable, match="does not answer: TimeoutError"):
        await anext(transport.subscribe(scheduler.Call(type=scheduler.Call.SUBSCRIBE)))
    await transport.close()


async def test_of_several_masters_the_next_is_asked_where_one_does_not_answer(
    serve_http: Serve, unused_port: int
) -> None:
    async def healthy(_request: web.Request) -> web.StreamResponse:
        response = master.Response(type=master.Response.GET_HEALTH)
        response.get_health.healthy = True
        return web.Response(body=response.SerializeToString())

    urls = f"http://127.0.0.1:{unused_port},{await serve_http(healthy)}"
    async with MasterOperator(urls) as operator:
        with pytest.raises(errors.Unavailable, match=f"127.0.0.1:{unused_port}"):
            await operator.get(master.Call.GET_HEALTH)
        assert (await operator.get(master.Call.GET_HEALTH)).get_health.healthy
        assert (await operator.get(master.Call.GET_HEALTH)).get_health.healthy


async def test_leaving_ends_the_subscription(serve_http: Serve) -> None:
    ended = asyncio.Event()

    async def subscribe(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(recordio.encode(master.Event(type=master.Event.SUBSCRIBED).SerializeToString()))
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return response

    async with MasterOperator(await serve_http(subscribe)) as operator:
        events = operator.events()
        assert (await anext(events)).type == master.Event.SUBSCRIBED
        following = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
    with pytest.raises(errors.Unavailable):
        await following
    await ended.wait()


class GrpcOperator(wire_grpc.OperatorServicer):
    def __init__(self) -> None:
        self.calls: list[wire.CallRequest] = []
        self.killed: list[tuple[str, str]] = []
        self.refusal: tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]] | None = None
        self.ending = asyncio.Event()
        self.ended = asyncio.Event()

    async def Call(self, request: wire.CallRequest, context: Any) -> wire.CallResponse:
        if self.refusal:
            await context.abort(*self.refusal)
        self.calls.append(request)
        return wire.CallResponse(response=master.Response(type=master.Response.GET_QUOTA))

    async def KillTask(self, request: wire.KillTaskRequest, context: Any) -> wire.KillTaskResponse:
        if self.refusal:
            await context.abort(*self.refusal)
        self.killed.append((request.framework_id.value, request.task_id.value))
        return wire.KillTaskResponse()

    async def Explain(self, request: wire.ExplainRequest, context: Any) -> wire.ExplainResponse:
        if self.refusal:
            await context.abort(*self.refusal)
        explanation = Explanation(framework_id=request.framework_id, role=request.role, refusals=7)
        return wire.ExplainResponse(explanations=[explanation])

    async def Members(self, request: wire.MembersRequest, context: Any) -> wire.MembersResponse:
        member = wire.Member(service=wire.SERVICE_REGISTRY, address="r1:5060", standing=wire.STANDING_LEADING)
        return wire.MembersResponse(members=[member])

    async def Watch(self, request: wire.WatchRequest, context: Any) -> AsyncIterator[wire.WatchResponse]:
        try:
            begin = wire.StateChange(snapshot_begin=wire.SnapshotBegin(version="1"))
            end = wire.StateChange(snapshot_end=wire.SnapshotEnd())
            yield wire.WatchResponse(changes=[begin, end])
            yield wire.WatchResponse(changes=[wire.StateChange(role_changed=wire.RoleChanged(role="web", weight=2))])
            await self.ending.wait()
            if self.refusal:
                await context.abort(*self.refusal)
        finally:
            self.ended.set()


@pytest.fixture
def servicer() -> GrpcOperator:
    return GrpcOperator()


@pytest.fixture
async def registry(servicer: GrpcOperator, serve_grpc: Serve) -> AsyncIterator[RegistryOperator]:
    async with RegistryOperator(await serve_grpc(wire_grpc.add_OperatorServicer_to_server, servicer)) as operator:
        yield operator


async def test_the_registry_answers_calls_and_kills_tasks(servicer: GrpcOperator, registry: RegistryOperator) -> None:
    assert (await registry.call(master.Call(type=master.Call.GET_QUOTA))).type == master.Response.GET_QUOTA
    assert [request.call.type for request in servicer.calls] == [master.Call.GET_QUOTA]
    await registry.kill_task("F1", "T1")
    assert servicer.killed == [("F1", "T1")]


async def test_the_registry_says_who_the_members_are(registry: RegistryOperator) -> None:
    (member,) = (await registry.members()).members
    assert (member.address, member.standing) == ("r1:5060", wire.STANDING_LEADING)


async def test_the_registry_explains_why_nothing_is_offered(registry: RegistryOperator) -> None:
    (told,) = await registry.explain("F1", role="web")
    assert (told.framework_id, told.role, told.refusals) == ("F1", "web", 7)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, errors.Unauthorized),
        (grpc.StatusCode.PERMISSION_DENIED, errors.Forbidden),
        (grpc.StatusCode.NOT_FOUND, errors.NotFound),
        (grpc.StatusCode.ALREADY_EXISTS, errors.AlreadyExists),
        (grpc.StatusCode.ABORTED, errors.Conflict),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.LimitExceeded),
        (grpc.StatusCode.UNIMPLEMENTED, errors.Unimplemented),
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.INTERNAL, errors.InternalError),
    ],
)
async def test_each_status_is_an_error_of_its_own(
    servicer: GrpcOperator, registry: RegistryOperator, code: grpc.StatusCode, error: type[errors.MezzoError]
) -> None:
    servicer.refusal = (code, "so it is", ())
    with pytest.raises(error, match="so it is") as raised:
        await registry.kill_task("F1", "T1")
    assert type(raised.value) is error


async def test_a_registrys_refusal_names_its_field(servicer: GrpcOperator, registry: RegistryOperator) -> None:
    servicer.refusal = (grpc.StatusCode.INVALID_ARGUMENT, "update_weights.weight_infos[1].weight: is negative", ())
    with pytest.raises(errors.InvalidRequest) as raised:
        await registry.call(master.Call(type=master.Call.UPDATE_WEIGHTS))
    assert (raised.value.field, raised.value.message) == ("update_weights.weight_infos[1].weight", "is negative")


QUOTA = master.Call(type=master.Call.GET_QUOTA)


async def test_a_registry_that_does_not_lead_leads_to_the_one_that_does(
    servicer: GrpcOperator, registry: RegistryOperator, serve_grpc: Serve
) -> None:
    leading = GrpcOperator()
    leader = await serve_grpc(wire_grpc.add_OperatorServicer_to_server, leading)
    servicer.refusal = (grpc.StatusCode.FAILED_PRECONDITION, "not leading", (("mezzo-leader", leader),))
    await registry.call(QUOTA)
    await registry.kill_task("F1", "T1")
    assert (len(leading.calls), leading.killed) == (1, [("F1", "T1")])
    assert servicer.calls == []
    leading.ending.set()
    assert [change async for change in registry.watch()]


async def test_it_is_asked_again_where_the_leader_that_it_named_leads_no_more(
    servicer: GrpcOperator, registry: RegistryOperator, serve_grpc: Serve
) -> None:
    former = GrpcOperator()
    leader = await serve_grpc(wire_grpc.add_OperatorServicer_to_server, former)
    servicer.refusal = (grpc.StatusCode.FAILED_PRECONDITION, "not leading", (("mezzo-leader", leader),))
    await registry.call(QUOTA)
    former.refusal, servicer.refusal = (grpc.StatusCode.UNAVAILABLE, "stepping down", ()), None
    with pytest.raises(errors.Unavailable, match="stepping down"):
        await registry.call(QUOTA)
    await registry.call(QUOTA)
    assert len(servicer.calls) == 1


async def test_registries_that_name_each_other_are_not_followed_for_ever(
    servicer: GrpcOperator, serve_grpc: Serve
) -> None:
    address = await serve_grpc(wire_grpc.add_OperatorServicer_to_server, servicer)
    servicer.refusal = (grpc.StatusCode.FAILED_PRECONDITION, "not leading", (("mezzo-leader", address),))
    async with RegistryOperator(address) as registry:
        with pytest.raises(errors.Unavailable, match="name another leader more than 5 times"):
            await registry.call(QUOTA)


async def test_where_nobody_leads_the_caller_is_told_so(servicer: GrpcOperator, registry: RegistryOperator) -> None:
    servicer.refusal = (grpc.StatusCode.FAILED_PRECONDITION, "not leading", ())
    with pytest.raises(errors.NotLeading) as raised:
        await registry.call(QUOTA)
    assert raised.value.leader is None


async def test_of_several_registries_one_that_does_not_answer_is_left_for_the_next(
    servicer: GrpcOperator, serve_grpc: Serve, unused_port: int
) -> None:
    address = await serve_grpc(wire_grpc.add_OperatorServicer_to_server, servicer)
    async with RegistryOperator(f"127.0.0.1:{unused_port},{address}") as registry:
        with pytest.raises(errors.Unavailable):  # it may have been carried out: the caller decides
            await registry.kill_task("F1", "T1")
        await registry.kill_task("F1", "T1")
        assert servicer.killed == [("F1", "T1")]


@pytest.mark.parametrize("address", ["", "registry", "r1:5060,", "http://r1:5060", "zk://", "zk://h:1"])
def test_what_is_no_address_of_registries_is_refused_at_once(address: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        RegistryOperator(address)


async def test_a_watcher_gets_changes_in_order_until_the_stream_ends(
    servicer: GrpcOperator, registry: RegistryOperator
) -> None:
    servicer.ending.set()
    changes = [change.WhichOneof("change") async for change in registry.watch()]
    assert changes == ["snapshot_begin", "snapshot_end", "role_changed"]


async def test_a_watcher_is_told_when_the_stream_breaks(servicer: GrpcOperator, registry: RegistryOperator) -> None:
    servicer.refusal = (grpc.StatusCode.UNAVAILABLE, "stepping down", ())
    servicer.ending.set()
    with pytest.raises(errors.Unavailable, match="stepping down"):
        async for _ in registry.watch():
            pass


async def test_a_watcher_that_is_closed_ends_its_call(servicer: GrpcOperator, registry: RegistryOperator) -> None:
    watching = registry.watch()
    await anext(watching)
    await watching.aclose()
    await servicer.ended.wait()


async def test_a_watcher_whose_client_is_closed_is_told_so(servicer: GrpcOperator, serve_grpc: Serve) -> None:
    async with RegistryOperator(await serve_grpc(wire_grpc.add_OperatorServicer_to_server, servicer)) as registry:
        watching = registry.watch()
        for _ in range(3):
            await anext(watching)
        following = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0)
    with pytest.raises(errors.Unavailable, match="closed"):
        await following
