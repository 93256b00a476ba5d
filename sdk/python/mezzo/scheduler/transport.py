"""How a scheduler's calls travel: over gRPC, or over Mesos' v1 HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

import aiohttp
import grpc

from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo import http, rpc
from mezzo.errors import MezzoError, NotLeading, Unavailable
from mezzo.scheduler.v1 import scheduler_pb2 as wire
from mezzo.scheduler.v1 import scheduler_pb2_grpc as wire_grpc

CALLS_PER_MESSAGE_MAX = 512


class Transport(Protocol):
    """One subscription at a time, and the calls that belong to it."""

    def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """Open a subscription and yield its events as they come; ends when the stream ends. Raises `MezzoError`."""
        ...

    async def call(self, call: v1.Call) -> v1.Response | None:
        """Make a call on the subscription that is open. Raises `MezzoError`."""
        ...

    async def close(self) -> None: ...


class GrpcTransport:
    """gRPC to a registry. Calls are sent in the order made, and those that wait leave together."""

    def __init__(self, address: str) -> None:
        """`address` is `host:port` of a registry; one that does not lead names the one that does."""
        self._address = address
        self._channel: grpc.aio.Channel | None = None
        self._stream_id = ""
        self._waiting: list[tuple[wire.NumberedCall, asyncio.Future[None]]] = []
        self._sent: dict[int, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()
        self._number = 0
        self._pump: asyncio.Task[None] | None = None

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = rpc.open_channel(self._address)
        return self._channel

    async def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """See `Transport`."""
        responses = wire_grpc.SchedulerStub(self._open()).Subscribe(wire.SubscribeRequest(call=call))
        try:
            async for response in responses:
                if response.stream_id:
                    self._stream_id = response.stream_id
                yield list(response.events)
        except grpc.aio.AioRpcError as failure:
            error = rpc.error_of(failure)
            if isinstance(error, NotLeading) and error.leader:
                await self._move_to(error.leader)
            raise error from None
        finally:
            responses.cancel()

    async def _move_to(self, leader: str) -> None:
        await self.close()
        self._address = leader

    async def call(self, call: v1.Call) -> None:
        """See `Transport`. The calls that have answers with a body are not made this way by any framework here."""
        self._number += 1
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        request = wire.CallRequest(stream_id=self._stream_id, call=call)
        self._waiting.append((wire.NumberedCall(number=self._number, call=request), answered))
        self._wake.set()
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._exchange(), name="scheduler calls")
        await answered

    async def _exchange(self) -> None:
        """Send what waits and hand out what is answered, until the stream breaks."""
        stream = wire_grpc.SchedulerStub(self._open()).CallStream()
        sender = asyncio.create_task(self._send(stream))
        failed: MezzoError = Unavailable("the stream of calls has ended")
        try:
            async for response in stream:
                for result in response.results:
                    self._answer(result)
        except grpc.aio.AioRpcError as failure:
            failed = rpc.error_of(failure)
        finally:
            sender.cancel()
            stream.cancel()
            self._fail_all(failed)

    async def _send(self, stream: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
        while True:
            while self._waiting:
                batch, self._waiting = self._waiting[:CALLS_PER_MESSAGE_MAX], self._waiting[CALLS_PER_MESSAGE_MAX:]
                self._sent.update((numbered.number, answered) for numbered, answered in batch)
                await stream.write(wire.CallStreamRequest(calls=[numbered for numbered, _ in batch]))
            self._wake.clear()
            await self._wake.wait()

    def _answer(self, result: wire.CallResult) -> None:
        answered = self._sent.pop(result.number)
        if answered.done():
            return  # whoever asked does not wait any more
        if result.code:
            answered.set_exception(rpc.error_of_code(result.code, result.message))
        else:
            answered.set_result(None)

    def _fail_all(self, error: MezzoError) -> None:
        pending = [*self._sent.values(), *(answered for _, answered in self._waiting)]
        self._sent.clear()
        self._waiting.clear()
        for answered in pending:
            if not answered.done():
                answered.set_exception(error)

    async def close(self) -> None:
        """See `Transport`."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
            self._pump = None
        if self._channel is not None:
            await self._channel.close()
            self._channel = None


class HttpTransport:
    """Mesos' v1 HTTP API, at a gateway or at a Mesos master."""

    def __init__(self, url: str, content_type: str = http.PROTOBUF) -> None:
        """`url` is `http://host:port`; calls and events are JSON or protobuf, as `content_type` says."""
        self._url = f"{url.rstrip('/')}/api/v1/scheduler"
        self._content_type = content_type
        self._endpoint: http.Endpoint | None = None
        self._stream_id = ""

    def _open(self) -> http.Endpoint:
        if self._endpoint is None:
            session = aiohttp.ClientSession()
            self._endpoint = http.Endpoint(session, self._url, self._content_type)
        return self._endpoint

    async def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """See `Transport`."""
        try:
            async for response, events in self._open().stream(call, v1.Event):
                self._stream_id = response.headers.get(http.STREAM_ID_HEADER, "")
                if events:
                    yield events
        except aiohttp.ClientError as error:
            raise Unavailable(f"the stream broke: {error}") from None

    async def call(self, call: v1.Call) -> v1.Response | None:
        """See `Transport`."""
        try:
            return await self._open().call(call, v1.Response, {http.STREAM_ID_HEADER: self._stream_id})
        except aiohttp.ClientError as error:
            raise Unavailable(f"the call was not answered: {error}") from None

    async def close(self) -> None:
        """See `Transport`."""
        if self._endpoint is not None:
            await self._endpoint.session.close()
            self._endpoint = None
