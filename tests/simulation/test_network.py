"""The simulated gRPC behaves as the real one where Mezzo relies on it."""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import grpc
import pytest

from mezzo import rpc
from mezzo.agent.v1 import agent_session_pb2 as messages
from mezzo.agent.v1 import agent_session_pb2_grpc as service
from mezzo.errors import NotLeading
from mezzo.executor.v1 import executor_pb2 as executor
from mezzo.executor.v1 import executor_pb2_grpc
from mezzo_chassis.rpc import open_channel, start_server
from tests.simulation.disk import Disk
from tests.simulation.environment import logging, simulated
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.network import Network

Requests = AsyncIterator[messages.ConnectRequest]


class Echo(service.AgentSessionServicer):
    """Answers each request with as many heartbeats."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def Connect(self, request_iterator: Requests, context: Any) -> AsyncIterator[messages.ConnectResponse]:
        try:
            async for request in request_iterator:
                heartbeat = messages.RegistryMessage(heartbeat=messages.Heartbeat())
                yield messages.ConnectResponse(messages=[heartbeat] * len(request.messages))
            self.ended.append("by the client")
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise


class Refusing(executor_pb2_grpc.ExecutorServicer):
    async def Call(self, request: executor.CallRequest, context: Any) -> executor.CallResponse:
        raise NotLeading("10.0.0.9:5050")

    async def Subscribe(self, request: executor.SubscribeRequest, context: Any) -> AsyncIterator[Any]:
        yield executor.SubscribeResponse()
        await asyncio.sleep(1_000_000)


class Pair:
    """A client and a server, each on a host of its own."""

    def __init__(self) -> None:
        self.loop = SimulatedLoop()
        self.chooser = random.Random(1)
        self.network = Network(self.loop, self.chooser)
        self.client = Process("client", "10.0.0.1")
        self.server = Process("server", "10.0.0.2")
        self.echo = Echo()

    async def serve(self) -> None:
        servicers: list[tuple[Any, Any]] = [
            (service.add_AgentSessionServicer_to_server, self.echo),
            (executor_pb2_grpc.add_ExecutorServicer_to_server, Refusing()),
        ]
        await start_server("10.0.0.2", 5050, servicers, ["mezzo.agent.v1.AgentSession"])

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        with simulated(self.loop, self.network, Disk(self.loop, self.chooser), self.chooser):
            with self.loop.acting_as(self.server):
                serving = self.loop.create_task(self.serve())
            self.loop.run(serving.done)
            with self.loop.acting_as(self.client):
                task = self.loop.create_task(work)
            self.loop.run(task.done)
            task.result()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    with logging(made.loop, shown=False):
        yield made
    made.loop.close()


async def requests(*sizes: int, open_until: asyncio.Event | None = None) -> Requests:
    for size in sizes:
        yield messages.ConnectRequest(messages=[messages.AgentMessage()] * size)
    if open_until is not None:
        await open_until.wait()


def test_a_stream_brings_what_was_sent_in_order_and_ends(pair: Pair) -> None:
    async def converse() -> None:
        async with open_channel("10.0.0.2:5050") as channel:
            call = service.AgentSessionStub(channel).Connect(requests(1, 2, 3))
            assert [len(response.messages) async for response in call] == [1, 2, 3]
        await asyncio.sleep(1)
        assert pair.echo.ended == ["by the client"]
        assert not pair.network.connections

    pair.run(converse())


def test_nobody_listens(pair: Pair) -> None:
    async def converse() -> None:
        async with open_channel("10.0.0.2:1") as channel:
            call = service.AgentSessionStub(channel).Connect(requests(1))
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await call.read()
            assert failure.value.code() is grpc.StatusCode.UNAVAILABLE

    pair.run(converse())


def test_a_refusal_arrives_as_the_error_that_was_raised(pair: Pair) -> None:
    async def converse() -> None:
        async with open_channel("10.0.0.2:5050") as channel:
            with pytest.raises(NotLeading) as refused:
                await rpc.answer(executor_pb2_grpc.ExecutorStub(channel).Call(executor.CallRequest()))
            assert refused.value.leader == "10.0.0.9:5050"

    pair.run(converse())


def test_a_call_that_is_cancelled_is_cancelled_at_its_server(pair: Pair) -> None:
    async def converse() -> None:
        async with open_channel("10.0.0.2:5050") as channel:
            call = service.AgentSessionStub(channel).Connect(requests(1, open_until=asyncio.Event()))
            await call.read()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call.read()
            await asyncio.sleep(1)
            assert pair.echo.ended[0] in ("by the client", "cancelled")

    pair.run(converse())


@pytest.mark.parametrize("silently", [False, True])
def test_who_is_left_alone_finds_out(pair: Pair, silently: bool) -> None:
    async def converse() -> None:
        async with open_channel("10.0.0.2:5050") as channel:
            call = service.AgentSessionStub(channel).Connect(requests(1, open_until=asyncio.Event()))
            await call.read()
            broken_at = pair.loop.time()
            pair.server.alive = False
            pair.network.kill(pair.server, silently=silently)
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await call.read()
            assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
            assert (pair.loop.time() - broken_at > 10) is silently

    pair.run(converse())


def test_what_a_partition_holds_up_arrives_after_it(pair: Pair) -> None:
    async def converse() -> None:
        async with open_channel("10.0.0.2:5050") as channel:
            more = asyncio.Event()

            async def two() -> Requests:
                async for each in requests(1, open_until=more):
                    yield each
                async for each in requests(2):
                    yield each

            call = service.AgentSessionStub(channel).Connect(two())
            await call.read()
            pair.network.block("10.0.0.1", "10.0.0.2", 7)
            more.set()
            began = pair.loop.time()
            response = await call.read()
            assert isinstance(response, messages.ConnectResponse)
            assert len(response.messages) == 2
            assert 7 <= pair.loop.time() - began < 8

    pair.run(converse())


def test_keepalive_gives_up_in_a_long_partition(pair: Pair) -> None:
    async def converse() -> None:
        async with open_channel("10.0.0.2:5050") as channel:
            call = service.AgentSessionStub(channel).Connect(requests(1, open_until=asyncio.Event()))
            await call.read()
            pair.network.block("10.0.0.1", "10.0.0.2", 100)
            with pytest.raises(grpc.aio.AioRpcError):
                await call.read()
            assert 20 <= pair.loop.time() <= 31

    pair.run(converse())


def test_a_deadline_ends_a_call(pair: Pair) -> None:
    async def converse() -> None:
        async with open_channel("10.0.0.2:5050") as channel:
            call = executor_pb2_grpc.ExecutorStub(channel).Subscribe(executor.SubscribeRequest(), timeout=3)
            await call.read()
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await call.read()
            assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    pair.run(converse())
