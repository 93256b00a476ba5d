"""The scheduler client as a cluster sees it, over each of its transports."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import grpc
import pytest
from aiohttp import web

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo import errors, jsonpb, recordio
from mezzo.executor import GrpcTransport as ExecutorTransport
from mezzo.http import JSON, PROTOBUF
from mezzo.operator import RegistryOperator
from mezzo.scheduler import GrpcTransport, HttpTransport, SchedulerClient, Transport, client
from mezzo.scheduler.v1 import scheduler_pb2 as wire
from mezzo.scheduler.v1 import scheduler_pb2_grpc as wire_grpc

pytestmark = pytest.mark.timeout(30)

Serve = Callable[..., Awaitable[str]]
# With the defaults that JSON states.
INFO = mesos.FrameworkInfo(user="root", name="mine", failover_timeout=0.0, checkpoint=False)


class Stream:
    """One subscription that the cluster has taken."""

    def __init__(self, call: v1.Call, number: int) -> None:
        self.call = call
        self.id = f"stream-{number}"
        self.ended = asyncio.Event()
        self._events: asyncio.Queue[list[v1.Event] | None] = asyncio.Queue()

    def send(self, *events: v1.Event) -> None:
        self._events.put_nowait(list(events))

    def subscribed(self, framework_id: str = "F1", heartbeat_seconds: float = 15) -> None:
        event = v1.Event(type=v1.Event.SUBSCRIBED)
        event.subscribed.framework_id.value = framework_id
        event.subscribed.heartbeat_interval_seconds = heartbeat_seconds
        self.send(event, v1.Event(type=v1.Event.HEARTBEAT))

    def end(self) -> None:
        self._events.put_nowait(None)

    async def events(self) -> AsyncIterator[list[v1.Event]]:
        try:
            while (events := await self._events.get()) is not None:
                yield events
        finally:
            self.ended.set()


class Cluster:
    """A registry and a gateway, both as their scheduler APIs look from outside."""

    def __init__(self) -> None:
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self.calls: asyncio.Queue[tuple[str, v1.Call]] = asyncio.Queue()
        self.refuse_subscriptions: list[errors.MezzoError] = []
        self.refuse_calls: list[errors.MezzoError] = []
        self._number = 0
        self.newest: Stream | None = None

    def subscribe(self, call: v1.Call) -> Stream:
        if self.refuse_subscriptions:
            raise self.refuse_subscriptions.pop(0)
        self._number += 1
        self.newest = Stream(call, self._number)
        self.streams.put_nowait(self.newest)
        return self.newest

    def called(self, stream_id: str, call: v1.Call) -> None:
        if self.refuse_calls:
            raise self.refuse_calls.pop(0)
        self.calls.put_nowait((stream_id, call))
        if call.type == v1.Call.TEARDOWN and self.newest is not None:
            self.newest.end()


HTTP_STATUS = {errors.InvalidRequest: 400, errors.Forbidden: 403, errors.Unavailable: 503}
GRPC_STATUS = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.NotLeading: grpc.StatusCode.FAILED_PRECONDITION,
}


def http_handler(cluster: Cluster) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.path == "/api/v1/scheduler"
        assert request.headers["Accept"] == request.content_type
        body = await request.read()
        call = jsonpb.parse(v1.Call, body) if request.content_type == JSON else v1.Call.FromString(body)
        try:
            if call.type != v1.Call.SUBSCRIBE:
                cluster.called(request.headers["Mesos-Stream-Id"], call)
                return web.Response(status=202)
            stream = cluster.subscribe(call)
        except errors.MezzoError as error:
            return web.Response(status=HTTP_STATUS[type(error)], text=str(error))
        response = web.StreamResponse(headers={"Mesos-Stream-Id": stream.id, "Content-Type": request.content_type})
        await response.prepare(request)
        async for events in stream.events():
            for event in events:
                record = jsonpb.dumps(event) if request.content_type == JSON else event.SerializeToString()
                await response.write(recordio.encode(record))
        return response

    return handle


class GrpcScheduler(wire_grpc.SchedulerServicer):
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        # How many calls each message brought.
        self.batches: list[int] = []
        # While it is not set, calls are taken but not answered.
        self.answering = asyncio.Event()
        self.answering.set()
        self.breaking = asyncio.Event()

    async def Subscribe(self, request: wire.SubscribeRequest, context: Any) -> AsyncIterator[wire.SubscribeResponse]:
        try:
            stream = self.cluster.subscribe(request.call)
        except errors.MezzoError as error:
            leader = getattr(error, "leader", None)
            metadata = (("mezzo-leader", leader),) if leader else ()
            await context.abort(GRPC_STATUS[type(error)], str(error), metadata)
        stream_id = stream.id
        async for events in stream.events():
            yield wire.SubscribeResponse(stream_id=stream_id, events=events)
            stream_id = ""

    async def Call(self, request: wire.CallRequest, context: Any) -> wire.CallResponse:
        self.cluster.called(request.stream_id, request.call)
        response = v1.Response(type=v1.Response.RECONCILE_OPERATIONS)
        response.reconcile_operations.operation_statuses.add(state=mesos.OPERATION_FINISHED)
        return wire.CallResponse(response=response)

    async def CallStream(
        self, requests: AsyncIterator[wire.CallStreamRequest], context: Any
    ) -> AsyncIterator[wire.CallStreamResponse]:
        async for request in requests:
            self.batches.append(len(request.calls))
            response = wire.CallStreamResponse()
            for numbered in request.calls:
                result = response.results.add(number=numbered.number)
                try:
                    self.cluster.called(numbered.call.stream_id, numbered.call.call)
                except errors.MezzoError as error:
                    result.code = GRPC_STATUS[type(error)].value[0]
                    result.message = str(error)
            if not self.answering.is_set():
                await self.breaking.wait()
                await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
            yield response


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture(params=["grpc", "json", "protobuf"])
async def transport(
    request: pytest.FixtureRequest, cluster: Cluster, serve_http: Serve, serve_grpc: Serve
) -> AsyncIterator[Transport]:
    if request.param == "grpc":
        address = await serve_grpc(wire_grpc.add_SchedulerServicer_to_server, GrpcScheduler(cluster))
        yield GrpcTransport(address)
    else:
        url = await serve_http(http_handler(cluster))
        yield HttpTransport(url, JSON if request.param == "json" else PROTOBUF)


@pytest.fixture
async def scheduler(transport: Transport) -> AsyncIterator[SchedulerClient]:
    async with SchedulerClient(transport, INFO) as client:
        yield client


async def subscribed(cluster: Cluster, client: SchedulerClient) -> tuple[AsyncIterator[v1.Event], Stream]:
    """The client's events after the first, and the cluster's end of its stream."""
    events = client.events()
    first = asyncio.ensure_future(anext(events))
    stream = await cluster.streams.get()
    stream.subscribed()
    assert (await first).type == v1.Event.SUBSCRIBED
    return events, stream


def rescind(offer_id: str) -> v1.Event:
    event = v1.Event(type=v1.Event.RESCIND)
    event.rescind.offer_id.value = offer_id
    return event


async def test_events_come_in_order_without_heartbeats(cluster: Cluster, scheduler: SchedulerClient) -> None:
    events, stream = await subscribed(cluster, scheduler)
    assert stream.call.type == v1.Call.SUBSCRIBE
    assert stream.call.subscribe.framework_info == INFO
    assert not stream.call.HasField("framework_id")
    assert scheduler.framework_id == "F1"
    stream.send(rescind("O1"), v1.Event(type=v1.Event.HEARTBEAT), rescind("O2"))
    stream.send(rescind("O3"))
    assert [(await anext(events)).rescind.offer_id.value for _ in range(3)] == ["O1", "O2", "O3"]


async def test_calls_name_the_framework_and_the_stream(cluster: Cluster, scheduler: SchedulerClient) -> None:
    _, stream = await subscribed(cluster, scheduler)
    status = mesos.TaskStatus(state=mesos.TASK_RUNNING, uuid=b"\x00\xff")
    status.task_id.value, status.agent_id.value = "T1", "A1"
    offer = mesos.Offer()
    offer.id.value = "O1"
    await scheduler.launch(offer, [], refuse_seconds=3)
    await scheduler.decline([mesos.OfferID(value="O2")])
    await scheduler.revive(["web"])
    await scheduler.kill("T1", "A1", grace_period_seconds=1.5)
    await scheduler.shutdown("E1", "A1")
    await scheduler.acknowledge(status)
    await scheduler.reconcile([("T1", "A1"), ("T2", None)])
    await scheduler.message("E1", "A1", b"\xff")
    await scheduler.request([mesos.Request()])
    await scheduler.acknowledge(mesos.TaskStatus(task_id=status.task_id, state=mesos.TASK_LOST))
    made = [cluster.calls.get_nowait() for _ in range(9)]
    # A status without a uuid is not acknowledged.
    assert cluster.calls.empty()
    assert {stream_id for stream_id, _ in made} == {stream.id}
    assert {call.framework_id.value for _, call in made} == {"F1"}
    calls = {call.type: call for _, call in made}
    accept = calls[v1.Call.ACCEPT].accept
    assert [each.value for each in accept.offer_ids] == ["O1"]
    assert accept.filters.refuse_seconds == 3
    assert not calls[v1.Call.DECLINE].decline.HasField("filters")
    assert calls[v1.Call.REVIVE].revive.roles == ["web"]
    assert calls[v1.Call.KILL].kill.kill_policy.grace_period.nanoseconds == 1_500_000_000
    assert calls[v1.Call.ACKNOWLEDGE].acknowledge.uuid == b"\x00\xff"
    assert [task.HasField("agent_id") for task in calls[v1.Call.RECONCILE].reconcile.tasks] == [True, False]
    assert calls[v1.Call.MESSAGE].message.data == b"\xff"
    assert calls[v1.Call.SHUTDOWN].shutdown.executor_id.value == "E1"


async def test_calls_about_maintenance_and_operations_name_what_they_are_about(
    cluster: Cluster, scheduler: SchedulerClient
) -> None:
    await subscribed(cluster, scheduler)
    await scheduler.accept_inverse_offers([mesos.OfferID(value="I1")], refuse_seconds=9)
    await scheduler.decline_inverse_offers([mesos.OfferID(value="I2")])
    status = mesos.OperationStatus(state=mesos.OPERATION_FINISHED)
    status.operation_id.value = "P1"
    await scheduler.acknowledge_operation(status)
    status.uuid.value, status.agent_id.value = b"\x00\xff", "A1"
    await scheduler.acknowledge_operation(status)
    await scheduler.reconcile_operations([("P1", "A1"), ("P2", None)])
    # A status without a uuid is not acknowledged.
    accepted, declined, acknowledged, reconciled = (cluster.calls.get_nowait()[1] for _ in range(cluster.calls.qsize()))
    assert accepted.type == v1.Call.ACCEPT_INVERSE_OFFERS
    assert [each.value for each in accepted.accept_inverse_offers.inverse_offer_ids] == ["I1"]
    assert accepted.accept_inverse_offers.filters.refuse_seconds == 9
    assert declined.type == v1.Call.DECLINE_INVERSE_OFFERS
    assert not declined.decline_inverse_offers.HasField("filters")
    assert acknowledged.acknowledge_operation_status.uuid == b"\x00\xff"
    assert acknowledged.acknowledge_operation_status.agent_id.value == "A1"
    assert not acknowledged.acknowledge_operation_status.HasField("resource_provider_id")
    operations = reconciled.reconcile_operations.operations
    assert [(each.operation_id.value, each.HasField("agent_id")) for each in operations] == [
        ("P1", True),
        ("P2", False),
    ]


async def test_nothing_can_be_called_before_the_framework_has_an_id(scheduler: SchedulerClient) -> None:
    for call in (scheduler.revive(), scheduler.teardown(), scheduler.send(v1.Call(type=v1.Call.REVIVE))):
        with pytest.raises(errors.Unavailable, match="subscribed"):
            await call


async def test_a_broken_stream_is_followed_by_another_under_the_same_id(
    cluster: Cluster, scheduler: SchedulerClient
) -> None:
    events, stream = await subscribed(cluster, scheduler)
    stream.end()
    following = asyncio.ensure_future(anext(events))
    second = await cluster.streams.get()
    assert second.call.framework_id.value == second.call.subscribe.framework_info.id.value == "F1"
    second.subscribed()
    assert (await following).type == v1.Event.SUBSCRIBED
    await scheduler.suppress()
    assert (await cluster.calls.get())[0] == second.id


async def test_a_stream_that_falls_silent_is_given_up(cluster: Cluster, scheduler: SchedulerClient) -> None:
    events = scheduler.events()
    following = asyncio.ensure_future(anext(events))
    first = await cluster.streams.get()
    first.subscribed(heartbeat_seconds=0.02)
    await following
    following = asyncio.ensure_future(anext(events))
    second = await cluster.streams.get()
    await first.ended.wait()
    second.subscribed()
    assert (await following).type == v1.Event.SUBSCRIBED


async def test_it_goes_on_trying_while_nobody_answers(cluster: Cluster, scheduler: SchedulerClient) -> None:
    cluster.refuse_subscriptions = [errors.Unavailable("not yet"), errors.Unavailable("not yet")]
    await subscribed(cluster, scheduler)
    assert cluster.refuse_subscriptions == []


async def test_each_failed_attempt_is_logged_with_where_why_and_when_the_next_is(
    cluster: Cluster, scheduler: SchedulerClient, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.refuse_subscriptions = [errors.Unavailable("nobody leads")] * 3
    _, stream = await subscribed(cluster, scheduler)
    attempt = re.compile(re.escape(f"no subscription at {transport}: ") + r"nobody leads; next attempt in (0\.\d+) s")
    logged = [attempt.fullmatch(record.getMessage()) for record in caplog.records if record.name == "mezzo.scheduler"]
    delays = [float(found[1]) for found in logged if found is not None]
    assert len(logged) == len(delays) == 3
    assert delays == sorted(delays)
    caplog.clear()
    following = asyncio.ensure_future(anext(scheduler.events()))
    stream.end()
    (await cluster.streams.get()).subscribed()
    await following
    (ended,) = [record for record in caplog.records if record.name == "mezzo.scheduler"]
    assert (ended.levelname, "the stream ended; next attempt in 0." in ended.getMessage()) == ("WARNING", True)


@pytest.mark.parametrize(
    "refusal",
    [errors.InvalidRequest("subscribe.framework_info.roles[1]", "is no role"), errors.Forbidden("not you")],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_a_refused_subscription_is_raised(
    cluster: Cluster, scheduler: SchedulerClient, refusal: errors.MezzoError
) -> None:
    cluster.refuse_subscriptions = [refusal]
    with pytest.raises(type(refusal)) as raised:
        await anext(scheduler.events())
    assert str(raised.value) == str(refusal)
    assert vars(raised.value) == vars(refusal)


async def test_a_refused_call_is_raised_with_its_field_and_alone(cluster: Cluster, scheduler: SchedulerClient) -> None:
    await subscribed(cluster, scheduler)
    cluster.refuse_calls = [errors.InvalidRequest("kill.task_id", "is empty")]
    with pytest.raises(errors.InvalidRequest) as raised:
        await scheduler.kill("")
    assert (raised.value.field, raised.value.message) == ("kill.task_id", "is empty")
    await scheduler.kill("T1")


async def test_an_error_event_is_the_last(cluster: Cluster, scheduler: SchedulerClient) -> None:
    events, stream = await subscribed(cluster, scheduler)
    error = v1.Event(type=v1.Event.ERROR)
    error.error.message = "Framework has been removed"
    stream.send(error)
    assert [event.type async for event in events] == [v1.Event.ERROR]
    await stream.ended.wait()
    assert cluster.streams.empty()


async def test_a_torn_down_framework_has_no_more_events(cluster: Cluster, scheduler: SchedulerClient) -> None:
    events, _ = await subscribed(cluster, scheduler)
    await scheduler.teardown()
    assert [event async for event in events] == []
    assert cluster.streams.empty()


async def test_what_had_arrived_with_the_event_upon_which_a_framework_tore_itself_down_is_not_yielded(
    cluster: Cluster, scheduler: SchedulerClient
) -> None:
    events, stream = await subscribed(cluster, scheduler)
    stream.send(rescind("O1"), rescind("O2"), rescind("O3"))
    seen = []
    async for event in events:
        seen.append(event.rescind.offer_id.value)
        if len(seen) == 2:
            await scheduler.teardown()
    assert seen == ["O1", "O2"]


async def test_a_task_that_names_no_agent_is_launched_on_that_of_its_offer(
    cluster: Cluster, scheduler: SchedulerClient
) -> None:
    await subscribed(cluster, scheduler)
    offer = mesos.Offer(hostname="here")
    offer.id.value, offer.agent_id.value = "O1", "A1"
    tasks = [mesos.TaskInfo(name=name, task_id=mesos.TaskID(value=name)) for name in ("first", "second")]
    tasks[1].agent_id.value = "A2"
    await scheduler.launch(offer, tasks)
    _, call = await cluster.calls.get()
    launched = call.accept.operations[0].launch.task_infos
    assert [task.agent_id.value for task in launched] == ["A1", "A2"]
    assert not tasks[0].HasField("agent_id")


async def test_a_call_that_lacks_a_field_is_refused_with_its_path_and_not_sent(
    cluster: Cluster, scheduler: SchedulerClient
) -> None:
    await subscribed(cluster, scheduler)
    offer = mesos.Offer()
    offer.id.value, offer.agent_id.value = "O1", "A1"
    with pytest.raises(errors.InvalidRequest) as raised:
        await scheduler.launch(offer, [mesos.TaskInfo(name="nameless")])
    assert (raised.value.field, raised.value.message) == (
        "accept.operations[0].launch.task_infos[0].task_id",
        "is required",
    )
    await scheduler.kill("T1")
    assert (await cluster.calls.get())[1].type == v1.Call.KILL


async def test_a_framework_that_lacks_a_field_is_refused_with_its_path(transport: Transport) -> None:
    async with SchedulerClient(transport, mesos.FrameworkInfo(user="")) as scheduler:
        with pytest.raises(errors.InvalidRequest, match=r"subscribe\.framework_info\.name: is required"):
            await anext(scheduler.events())


async def test_a_refused_teardown_leaves_the_framework_subscribed(cluster: Cluster, scheduler: SchedulerClient) -> None:
    events, stream = await subscribed(cluster, scheduler)
    cluster.refuse_calls = [errors.Forbidden("not you")]
    with pytest.raises(errors.Forbidden):
        await scheduler.teardown()
    stream.end()
    following = asyncio.ensure_future(anext(events))
    (await cluster.streams.get()).subscribed()
    await following


def test_an_address_that_is_no_url_is_refused_at_once() -> None:
    with pytest.raises(errors.InvalidRequest, match=r"^url: '127\.0\.0\.1:5050' begins with neither"):
        HttpTransport("127.0.0.1:5050")


class Nobody:
    """A transport behind which nobody answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def subscribe(self, call: v1.Call) -> AsyncIterator[list[v1.Event]]:
        self.asked.set()
        raise errors.Unavailable(f"nobody takes {call.type}")
        yield []

    async def call(self, call: v1.Call) -> None:
        raise errors.Unavailable(f"nobody takes {call.type}")

    async def close(self) -> None:
        """There is nothing to close."""


async def test_whoever_waits_for_events_can_be_cancelled_after_a_teardown_that_nobody_answers() -> None:
    nobody = Nobody()
    info = mesos.FrameworkInfo(user="", name="mine", id=mesos.FrameworkID(value="F1"))
    async with SchedulerClient(nobody, info) as scheduler:  # type: ignore[arg-type]
        following = asyncio.ensure_future(anext(scheduler.events()))
        await nobody.asked.wait()
        await asyncio.sleep(0)  # it pauses before the next attempt now
        with pytest.raises(errors.Unavailable):
            await scheduler.teardown()
        await asyncio.sleep(0)  # the pause is told of the teardown as the cancellation comes
        following.cancel()
        done, _ = await asyncio.wait({following}, timeout=5)
        assert following in done
        assert following.cancelled()


async def test_leaving_the_loop_is_not_leaving_the_cluster(cluster: Cluster, transport: Transport) -> None:
    async with SchedulerClient(transport, INFO) as scheduler:
        _, stream = await subscribed(cluster, scheduler)
        stream.send(rescind("O1"))
        async for _ in scheduler.events():
            break
        await scheduler.revive()
        # Whoever comes back finds the events that came since.
        stream.send(rescind("O2"))
        async for event in scheduler.events():
            assert event.rescind.offer_id.value == "O2"
            break
        assert not stream.ended.is_set()
        assert cluster.streams.empty()
    await stream.ended.wait()


async def test_closing_ends_the_loop_of_another_task(cluster: Cluster, scheduler: SchedulerClient) -> None:
    events, stream = await subscribed(cluster, scheduler)

    async def drain() -> list[v1.Event]:
        return [event async for event in events]

    draining = asyncio.create_task(drain())
    stream.send(rescind("O1"))
    await asyncio.sleep(0)
    await scheduler.close()
    assert [event.type for event in await draining] in ([], [v1.Event.RESCIND])
    await stream.ended.wait()
    with pytest.raises(errors.Unavailable, match="closed"):
        await scheduler.revive()


async def test_suppressed_roles_stay_suppressed_on_the_next_stream(cluster: Cluster, transport: Transport) -> None:
    info = mesos.FrameworkInfo(user="root", name="mine", roles=["web", "batch", "db"])
    info.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
    async with SchedulerClient(transport, info) as scheduler:
        events, stream = await subscribed(cluster, scheduler)
        assert stream.call.subscribe.suppressed_roles == []
        await scheduler.suppress()
        await scheduler.revive(["batch"])
        stream.end()
        following = asyncio.ensure_future(anext(events))
        second = await cluster.streams.get()
        assert second.call.subscribe.suppressed_roles == ["web", "db"]
        second.subscribed()
        await following


async def test_an_updated_framework_keeps_its_id(cluster: Cluster, scheduler: SchedulerClient) -> None:
    await subscribed(cluster, scheduler)
    await scheduler.update_framework(mesos.FrameworkInfo(user="root", name="renamed"), suppressed_roles=["web"])
    _, call = await cluster.calls.get()
    assert call.update_framework.framework_info.id.value == "F1"
    assert scheduler.framework_id == "F1"
    assert scheduler.framework_info.name == "renamed"
    assert scheduler.suppressed_roles == ["web"]


# ------------------------------------------------------------------------------------------------------- over gRPC


async def grpc_cluster(serve_grpc: Serve) -> tuple[Cluster, GrpcScheduler, str]:
    cluster = Cluster()
    servicer = GrpcScheduler(cluster)
    return cluster, servicer, await serve_grpc(wire_grpc.add_SchedulerServicer_to_server, servicer)


async def test_a_registry_that_does_not_lead_is_left_for_the_leader_and_asked_again_later(serve_grpc: Serve) -> None:
    follower, _, follower_address = await grpc_cluster(serve_grpc)
    leader, _, leader_address = await grpc_cluster(serve_grpc)
    follower.refuse_subscriptions = [errors.NotLeading(leader_address)]
    async with SchedulerClient(GrpcTransport(follower_address), INFO) as scheduler:
        events, stream = await subscribed(leader, scheduler)
        await scheduler.revive()
        assert (await leader.calls.get())[0] == stream.id
        # The one that led does not any more, and does not know who does.
        leader.refuse_subscriptions = [errors.NotLeading()]
        stream.end()
        following = asyncio.ensure_future(anext(events))
        second = await follower.streams.get()
        assert second.call.framework_id.value == "F1"
        second.subscribed()
        await following
        await scheduler.revive()
        assert (await follower.calls.get())[0] == second.id


async def test_calls_that_wait_leave_together_and_in_order(serve_grpc: Serve) -> None:
    cluster, servicer, address = await grpc_cluster(serve_grpc)
    async with SchedulerClient(GrpcTransport(address), INFO) as scheduler:
        await subscribed(cluster, scheduler)
        await asyncio.gather(*(scheduler.kill(f"T{number}") for number in range(1000)))
        assert servicer.batches == [512, 488]
        killed = [cluster.calls.get_nowait()[1].kill.task_id.value for _ in range(1000)]
        assert killed == [f"T{number}" for number in range(1000)]


async def test_a_refusal_fails_its_own_call_among_many(serve_grpc: Serve) -> None:
    cluster, _, address = await grpc_cluster(serve_grpc)
    async with SchedulerClient(GrpcTransport(address), INFO) as scheduler:
        await subscribed(cluster, scheduler)
        cluster.refuse_calls = [errors.InvalidRequest("kill.task_id", "is empty")]
        results = await asyncio.gather(*(scheduler.kill("") for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [errors.InvalidRequest, type(None), type(None)]


async def test_calls_that_were_not_answered_fail_when_their_stream_breaks(serve_grpc: Serve) -> None:
    cluster, servicer, address = await grpc_cluster(serve_grpc)
    async with SchedulerClient(GrpcTransport(address), INFO) as scheduler:
        await subscribed(cluster, scheduler)
        servicer.answering.clear()
        calls = [asyncio.create_task(scheduler.kill(f"T{number}")) for number in range(3)]
        await cluster.calls.get()
        calls.append(asyncio.create_task(scheduler.kill("later")))
        servicer.breaking.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [errors.Unavailable] * 4
        # The next call opens another stream.
        servicer.answering.set()
        await scheduler.kill("T9")


async def test_closing_fails_the_calls_that_wait(serve_grpc: Serve) -> None:
    cluster, servicer, address = await grpc_cluster(serve_grpc)
    async with SchedulerClient(GrpcTransport(address), INFO) as scheduler:
        await subscribed(cluster, scheduler)
        servicer.answering.clear()
        call = asyncio.create_task(scheduler.kill("T1"))
        await cluster.calls.get()
        await scheduler.close()
        with pytest.raises(errors.Unavailable):
            await call


async def test_whoever_stops_waiting_for_a_call_disturbs_no_other(serve_grpc: Serve) -> None:
    cluster, _, address = await grpc_cluster(serve_grpc)
    async with SchedulerClient(GrpcTransport(address), INFO) as scheduler:
        await subscribed(cluster, scheduler)
        impatient = asyncio.create_task(scheduler.kill("T1"))
        patient = asyncio.create_task(scheduler.kill("T2"))
        await asyncio.sleep(0)
        impatient.cancel()
        await patient
        assert impatient.cancelled()


async def test_a_call_that_is_answered_by_a_message_gives_the_message(serve_grpc: Serve) -> None:
    cluster, _, address = await grpc_cluster(serve_grpc)
    async with SchedulerClient(GrpcTransport(address), INFO) as scheduler:
        _, stream = await subscribed(cluster, scheduler)
        statuses = await scheduler.reconcile_operations()
        assert [status.state for status in statuses] == [mesos.OPERATION_FINISHED]
        assert (await cluster.calls.get())[0] == stream.id


# ------------------------------------------------------------------------------------------------------- over HTTP


def redirecting(location: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": location})

    return redirect


@pytest.mark.parametrize(
    "form", ["//{host}", "//{host}/", "//{host}/api/v1/scheduler", "http://{host}/api/v1/scheduler"]
)
async def test_redirects_to_the_leader_are_followed(cluster: Cluster, serve_http: Serve, form: str) -> None:
    leader = (await serve_http(http_handler(cluster))).removeprefix("http://")
    url = await serve_http(redirecting(form.format(host=leader)))
    async with SchedulerClient(HttpTransport(url), INFO) as scheduler:
        _, stream = await subscribed(cluster, scheduler)
        await scheduler.revive()
        assert (await cluster.calls.get())[0] == stream.id


async def test_a_leader_that_is_gone_is_asked_for_where_the_client_began(serve_http: Serve) -> None:
    first, second = Cluster(), Cluster()
    handlers = [http_handler(second)]

    async def gateway(request: web.Request) -> web.StreamResponse:
        return await handlers[-1](request)

    url = await serve_http(gateway)
    handlers.append(redirecting((await serve_http(http_handler(first))).removeprefix("http:")))
    async with SchedulerClient(HttpTransport(url), INFO) as scheduler:
        events, stream = await subscribed(first, scheduler)
        handlers.pop()
        first.refuse_subscriptions = [errors.Unavailable("no leader")]
        stream.end()
        following = asyncio.ensure_future(anext(events))
        (await second.streams.get()).subscribed()
        await following


async def test_a_leader_that_cannot_be_reached_is_asked_for_where_the_client_began(
    cluster: Cluster, serve_http: Serve, unused_port: int
) -> None:
    handlers = [http_handler(cluster), redirecting(f"//127.0.0.1:{unused_port}")]

    async def gateway(request: web.Request) -> web.StreamResponse:
        return await handlers.pop()(request) if len(handlers) > 1 else await handlers[0](request)

    async with SchedulerClient(HttpTransport(await serve_http(gateway)), INFO) as scheduler:
        await subscribed(cluster, scheduler)


async def test_redirects_have_an_end(serve_http: Serve) -> None:
    url = await serve_http(redirecting("/api/v1/scheduler"))
    transport = HttpTransport(url)
    with pytest.raises(errors.Unavailable, match="redirects more than 5 times"):
        await transport.call(v1.Call(type=v1.Call.REVIVE))
    await transport.close()


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (400, "kill.task_id: is empty", errors.InvalidRequest),
        (401, "", errors.Unauthorized),
        (404, "", errors.NotFound),
        (409, "", errors.Conflict),
        (413, "", errors.LimitExceeded),
        (415, "Expecting 'Content-Type' of JSON", errors.InvalidRequest),
        (429, "", errors.LimitExceeded),
        (500, "a defect", errors.InternalError),
        (501, "", errors.Unimplemented),
        (503, "No leader elected", errors.Unavailable),
        (599, "", errors.Unavailable),
        (302, "", errors.InvalidRequest),
    ],
)
async def test_each_status_is_an_error_of_its_own(
    serve_http: Serve, status: int, text: str, error: type[errors.MezzoError]
) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    transport = HttpTransport(await serve_http(refuse))
    with pytest.raises(error) as raised:
        await transport.call(v1.Call(type=v1.Call.REVIVE))
    assert type(raised.value) is error
    assert text in str(raised.value)
    await transport.close()


@pytest.mark.parametrize(
    ("content_type", "answers"),
    [
        (JSON, [b"hello"]),
        (JSON, [b"5\nhello"]),
        (JSON, [b'16\n{"type": "PARTY', b'"}']),
        (PROTOBUF, [b"5\nhello"]),
    ],
)
async def test_an_answer_that_makes_no_sense_is_a_defect_of_the_server(
    serve_http: Serve, content_type: str, answers: Iterable[bytes]
) -> None:
    async def babble(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for answer in answers:
            await response.write(answer)
        return response

    async with SchedulerClient(HttpTransport(await serve_http(babble), content_type), INFO) as scheduler:
        with pytest.raises(errors.InternalError):
            await anext(scheduler.events())


@pytest.mark.parametrize("form", ["grpc", "http"])
async def test_of_several_servers_the_next_is_asked_where_one_does_not_answer_and_again_where_it_goes_away(
    form: str, unused_port: int, serve_http: Serve, serve_grpc: Serve
) -> None:
    cluster = Cluster()
    if form == "grpc":
        addresses = [f"127.0.0.1:{unused_port}"]
        addresses += [
            await serve_grpc(wire_grpc.add_SchedulerServicer_to_server, GrpcScheduler(cluster)) for _ in range(2)
        ]
        transport: Transport = GrpcTransport(",".join(addresses))
    else:
        addresses = [f"http://127.0.0.1:{unused_port}", *[await serve_http(http_handler(cluster)) for _ in range(2)]]
        transport = HttpTransport(",".join(addresses))
    async with SchedulerClient(transport, INFO) as scheduler:
        events, _ = await subscribed(cluster, scheduler)
        assert str(transport).startswith(addresses[1])
        # It refuses, and the one after it is asked; under the same id.
        cluster.refuse_subscriptions = [errors.Unavailable("going away")]
        following = asyncio.ensure_future(anext(events))
        assert cluster.newest is not None
        cluster.newest.end()
        second = await cluster.streams.get()
        assert str(transport).startswith(addresses[2])
        assert second.call.framework_id.value == "F1"
        second.subscribed()
        await following


async def test_a_server_that_hangs_is_left_for_the_next(serve_http: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_EVENT_SECONDS_MAX", 0.1)

    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    cluster = Cluster()
    urls = [await serve_http(hang), await serve_http(http_handler(cluster))]
    async with SchedulerClient(HttpTransport(",".join(urls)), INFO) as scheduler:
        await subscribed(cluster, scheduler)


@pytest.mark.parametrize("address", ["zk://host:2181/mezzo", "http://host:5050", "host", "host:port", ""])
def test_what_is_no_address_of_a_registry_is_refused_at_once(address: str) -> None:
    # Of these, an operator's client asks ZooKeeper by itself.
    askers_of_zookeeper = (RegistryOperator,) if address.startswith("zk://") else ()
    for kind in {GrpcTransport, RegistryOperator, ExecutorTransport}.difference(askers_of_zookeeper):
        with pytest.raises(errors.InvalidRequest, match=r"address: '.*' is not host:port"):
            kind(address)


@pytest.mark.parametrize("scheme", ["", "http://"], ids=["grpc", "http"])
async def test_a_wrong_address_is_not_passed_over_in_silence(
    scheme: str, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{scheme}127.0.0.1:{unused_port}"
    transport = HttpTransport(address) if scheme else GrpcTransport(address)
    async with SchedulerClient(transport, INFO) as scheduler:
        logged: asyncio.Queue[logging.LogRecord] = asyncio.Queue()
        monkeypatch.setattr(logging.getLogger("mezzo.scheduler"), "handle", logged.put_nowait)
        waiting = asyncio.ensure_future(anext(scheduler.events(), None))
        assert (await logged.get()).getMessage().startswith(f"no subscription at {address}")
        await scheduler.close()
        assert await waiting is None


async def test_a_server_that_is_not_there_is_unavailable(unused_port: int) -> None:
    for transport in (HttpTransport(f"http://127.0.0.1:{unused_port}"), GrpcTransport(f"127.0.0.1:{unused_port}")):
        with pytest.raises(errors.Unavailable):
            await transport.call(v1.Call(type=v1.Call.REVIVE))
        await transport.close()


async def test_a_call_that_was_made_just_before_the_end_fails() -> None:
    transport = GrpcTransport("127.0.0.1:1")
    call = asyncio.create_task(transport.call(v1.Call(type=v1.Call.REVIVE)))
    await asyncio.sleep(0)  # it has been made, and nothing has been done about it
    await transport.close()

    with pytest.raises(errors.Unavailable, match="the stream of calls has ended"):
        await asyncio.wait_for(call, timeout=30)
