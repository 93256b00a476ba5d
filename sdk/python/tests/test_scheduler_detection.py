"""A scheduler that is told who leads, and goes where it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo import errors
from mezzo.scheduler import DetectingTransport, GrpcTransport, SchedulerClient
from mezzo.scheduler.v1 import scheduler_pb2 as wire
from mezzo.scheduler.v1 import scheduler_pb2_grpc as wire_grpc

Serve = Callable[..., Awaitable[str]]
INFO = mesos.FrameworkInfo(user="root", name="mine")


class Registry(wire_grpc.SchedulerServicer):
    """Leads until it is told to step down."""

    def __init__(self) -> None:
        self.framework_ids: list[str] = []
        self.calls: asyncio.Queue[v1.Call] = asyncio.Queue()
        self.more: asyncio.Queue[v1.Event | None] = asyncio.Queue()

    def step_down(self) -> None:
        self.more.put_nowait(None)

    async def Subscribe(self, request: wire.SubscribeRequest, context: Any) -> AsyncIterator[wire.SubscribeResponse]:
        self.framework_ids.append(request.call.framework_id.value)
        event = v1.Event(type=v1.Event.SUBSCRIBED)
        event.subscribed.framework_id.value = "F1"
        yield wire.SubscribeResponse(stream_id="S1", events=[event])
        while (later := await self.more.get()) is not None:
            yield wire.SubscribeResponse(events=[later])

    async def Call(self, request: wire.CallRequest, context: Any) -> wire.CallResponse:
        raise AssertionError("no call here is answered by a message")

    async def CallStream(
        self, requests: AsyncIterator[wire.CallStreamRequest], context: Any
    ) -> AsyncIterator[wire.CallStreamResponse]:
        async for request in requests:
            for numbered in request.calls:
                self.calls.put_nowait(numbered.call.call)
            yield wire.CallStreamResponse(results=[wire.CallResult(number=each.number) for each in request.calls])


class Announcements:
    """The detector: what a test announces."""

    def __init__(self) -> None:
        self.address: str | None = None
        self.asked = asyncio.Event()
        self._announced = asyncio.Event()
        self._changed = asyncio.Event()

    def announce(self, address: str | None) -> None:
        self.address = address
        self._changed.set()
        self._changed = asyncio.Event()
        if address is None:
            self._announced.clear()
        else:
            self._announced.set()

    async def leader(self) -> str:
        self.asked.set()
        await self._announced.wait()
        assert self.address is not None
        return self.address

    async def successor(self, address: str) -> str:
        while self.address in (None, address):
            await self._changed.wait()
        assert self.address is not None
        return self.address


@pytest.fixture
def announcements() -> Announcements:
    return Announcements()


@pytest.fixture
async def scheduler(announcements: Announcements) -> AsyncIterator[SchedulerClient]:
    async with SchedulerClient(DetectingTransport(announcements, GrpcTransport), INFO) as client:
        yield client


async def lead(serve_grpc: Serve) -> tuple[Registry, str]:
    registry = Registry()
    return registry, await serve_grpc(wire_grpc.add_SchedulerServicer_to_server, registry)


async def test_it_subscribes_as_soon_as_somebody_leads(
    announcements: Announcements, scheduler: SchedulerClient, serve_grpc: Serve
) -> None:
    registry, address = await lead(serve_grpc)
    following = asyncio.ensure_future(anext(scheduler.events()))
    await announcements.asked.wait()
    assert registry.framework_ids == []
    announcements.announce(address)
    assert (await following).type == v1.Event.SUBSCRIBED


async def test_a_call_is_refused_while_nobody_is_known_to_lead(announcements: Announcements) -> None:
    transport = DetectingTransport(announcements, GrpcTransport)
    with pytest.raises(errors.Unavailable, match="no leader is known"):
        await transport.call(v1.Call(type=v1.Call.REVIVE))
    await transport.close()


async def test_it_goes_to_the_next_leader_with_its_id_and_its_calls(
    announcements: Announcements, scheduler: SchedulerClient, serve_grpc: Serve
) -> None:
    first, first_address = await lead(serve_grpc)
    second, second_address = await lead(serve_grpc)
    announcements.announce(first_address)
    events = scheduler.events()
    await anext(events)
    await scheduler.kill("T1")
    announcements.announce(None)
    following = asyncio.ensure_future(anext(events))
    first.step_down()
    announcements.announce(second_address)
    assert (await following).type == v1.Event.SUBSCRIBED
    assert second.framework_ids == ["F1"]
    await scheduler.kill("T2")
    assert (await first.calls.get()).kill.task_id.value == "T1"
    assert (await second.calls.get()).kill.task_id.value == "T2"
    assert first.calls.empty()


async def test_it_leaves_a_leader_that_hangs_when_another_is_announced(
    announcements: Announcements, scheduler: SchedulerClient, serve_grpc: Serve
) -> None:
    hung, hung_address = await lead(serve_grpc)
    following, following_address = await lead(serve_grpc)
    announcements.announce(hung_address)
    events = scheduler.events()
    await anext(events)
    again = asyncio.ensure_future(anext(events))
    announcements.announce(None)
    announcements.announce(hung_address)
    await asyncio.sleep(0)
    announcements.announce(following_address)
    assert (await again).type == v1.Event.SUBSCRIBED
    assert (hung.framework_ids, following.framework_ids) == ([""], ["F1"])
    await scheduler.kill("T1")
    assert (await following.calls.get()).kill.task_id.value == "T1"


async def test_a_subscription_outlives_the_means_to_find_out_who_leads(
    announcements: Announcements, serve_grpc: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(_address: str) -> str:
        raise errors.Unavailable("no connection to ZooKeeper")

    monkeypatch.setattr(announcements, "successor", lost)
    registry, address = await lead(serve_grpc)
    announcements.announce(address)
    async with SchedulerClient(DetectingTransport(announcements, GrpcTransport), INFO) as scheduler:
        events = scheduler.events()
        await anext(events)
        registry.more.put_nowait(v1.Event(type=v1.Event.RESCIND))
        assert (await anext(events)).type == v1.Event.RESCIND


async def test_a_leader_that_only_hung_up_is_asked_again(
    announcements: Announcements, scheduler: SchedulerClient, serve_grpc: Serve
) -> None:
    registry, address = await lead(serve_grpc)
    announcements.announce(address)
    events = scheduler.events()
    await anext(events)
    registry.step_down()
    await anext(events)
    assert registry.framework_ids == ["", "F1"]


async def test_closing_ends_the_wait_for_a_leader(announcements: Announcements) -> None:
    transport = DetectingTransport(announcements, GrpcTransport)
    subscribing = asyncio.ensure_future(anext(transport.subscribe(v1.Call(type=v1.Call.SUBSCRIBE))))
    await announcements.asked.wait()
    await transport.close()
    announcements.announce("127.0.0.1:1")
    with pytest.raises(errors.Unavailable, match="closed"):
        await subscribing
