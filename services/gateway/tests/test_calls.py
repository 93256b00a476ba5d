"""The pipeline of calls, over a stream that the tests play."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import grpc
import pytest

from mezzo.scheduler.v1.scheduler_pb2 import CallRequest, CallStreamRequest, CallStreamResponse
from mezzo.scheduler.v1.scheduler_pb2_grpc import SchedulerStub
from mezzo_gateway.adapters.calls import CallLost, CallPipeline, CallStream


class PlayedStream:
    """Takes calls, answers none of them, and ends when it is told to."""

    def __init__(self) -> None:
        self.written = asyncio.Event()
        self.ended = asyncio.Event()

    async def write(self, _request: CallStreamRequest) -> None:
        self.written.set()

    def cancel(self) -> None:
        self.ended.set()

    async def __aiter__(self) -> AsyncIterator[CallStreamResponse]:
        await self.ended.wait()
        return
        yield


@pytest.mark.parametrize("turns", range(8))
async def test_a_call_fails_whenever_the_gateway_ends_beside_the_stream(turns: int) -> None:
    stream = PlayedStream()
    pipeline = CallPipeline(lambda: cast("CallStream", stream))
    call = asyncio.create_task(pipeline.call(CallRequest()))
    await stream.written.wait()

    stream.ended.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    await pipeline.close()

    with pytest.raises(CallLost):
        await asyncio.wait_for(call, timeout=60)


@pytest.mark.parametrize("turns", range(1, 6))
async def test_whoever_is_cancelled_while_it_closes_is_cancelled(turns: int) -> None:
    stream = PlayedStream()
    pipeline = CallPipeline(lambda: cast("CallStream", stream))
    call = asyncio.create_task(pipeline.call(CallRequest()))
    await stream.written.wait()

    closing = asyncio.create_task(pipeline.close())
    for _ in range(turns):
        await asyncio.sleep(0)
    if closing.cancel():
        with pytest.raises(asyncio.CancelledError):
            await closing
    with pytest.raises(CallLost):
        await asyncio.wait_for(call, timeout=60)


async def test_a_call_on_a_closed_channel_fails() -> None:
    channel = grpc.aio.insecure_channel("127.0.0.1:1")
    pipeline = CallPipeline(SchedulerStub(channel).CallStream)
    await channel.close()

    with pytest.raises(CallLost, match="closed"):
        await asyncio.wait_for(pipeline.call(CallRequest()), timeout=60)


async def test_a_call_that_was_made_just_before_the_end_fails() -> None:
    pipeline = CallPipeline(lambda: cast("CallStream", PlayedStream()))
    call = asyncio.create_task(pipeline.call(CallRequest()))
    await asyncio.sleep(0)  # it has been made, and nothing has been done about it
    await pipeline.close()

    with pytest.raises(CallLost, match="closed"):
        await asyncio.wait_for(call, timeout=60)
