"""How a scheduler's calls travel: over gRPC, or over Mesos' v1 HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
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
# Answered by a message, which only a call of its own brings back; all others are answered by yes or no.
ANSWERED = frozenset({v1.Call.RECONCILE_OPERATIONS})


class Transport(Protocol):
    """One subscription at a time, and the calls that belong to it. Its `str` says where to, for logs."""

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
        """`address` is `host:port` of a registry, or several with commas between.

        One that does not lead names the one that does; one that does not answer is left for the next.

        Raises:
            InvalidRequest: it is another kind of address.
        """
        self._homes = [rpc.check_address(each) for each in address.split(",")]
        self._home = 0
        self._address = self._homes[0]
        self._channel: grpc.aio.Channel | None = None
        self._closed = False
        self._stream_id = ""
        self._waiting: list[tuple[wire.NumberedCall, asyncio.Future[None]]] = []
        self._sent: dict[int, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()
        self._number = 0
        self._pump: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return self._address

    def _stub(self) -> wire_grpc.SchedulerAsyncStub:
        if self._closed:
            raise Unavailable("the client was closed")
        if self._channel is None:
            self._channel = rpc.open_channel(self._address)
        return wire_grpc.SchedulerStub(self._channel)

    async def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """See `Transport`."""
        responses = rpc.answers(self._stub().Subscribe(wire.SubscribeRequest(call=call)))
        try:
            async with contextlib.aclosing(responses):
                async for response in responses:
                    if response.stream_id:
                        self._stream_id = response.stream_id
                    yield list(response.events)
        except Unavailable as error:
            await self._move_to((isinstance(error, NotLeading) and error.leader) or self._next_home())
            raise
        except (asyncio.CancelledError, GeneratorExit):
            # The client has waited for long enough.
            await self._move_to(self._next_home())
            raise

    def _next_home(self) -> str:
        """Whom to ask when there is no answer: back to whom we know, or the next of those."""
        if self._address == self._homes[self._home]:
            self._home = (self._home + 1) % len(self._homes)
        return self._homes[self._home]

    async def _move_to(self, address: str) -> None:
        if address != self._address:
            self._address = address
            await self._disconnect()

    async def call(self, call: v1.Call) -> v1.Response | None:
        """See `Transport`."""
        if call.type in ANSWERED:
            request = wire.CallRequest(stream_id=self._stream_id, call=call)
            return (await rpc.answer(self._stub().Call(request, timeout=http.CALL_SECONDS_MAX))).response
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._exchange(self._stub()), name="scheduler calls")
        self._number += 1
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        request = wire.CallRequest(stream_id=self._stream_id, call=call)
        self._waiting.append((wire.NumberedCall(number=self._number, call=request), answered))
        self._wake.set()
        try:
            async with asyncio.timeout(http.CALL_SECONDS_MAX):
                await answered
        except TimeoutError:
            raise Unavailable(f"no answer within {http.CALL_SECONDS_MAX:g} s") from None
        return None

    async def _exchange(self, stub: wire_grpc.SchedulerAsyncStub) -> None:
        """Send what waits and hand out what is answered, until the stream breaks."""
        stream = stub.CallStream()
        sender = asyncio.create_task(self._send(stream))
        failed: MezzoError = Unavailable("the stream of calls has ended")
        try:
            async for response in stream:
                for result in response.results:
                    self._answer(result)
        except grpc.aio.AioRpcError as failure:
            failed = rpc.error_of(failure)
        finally:
            stream.cancel()
            sender.cancel()
            # What fails to be sent has failed to be answered, too.
            try:
                await asyncio.gather(sender, return_exceptions=True)
            finally:
                # Nothing is awaited after this: a call that is made next finds this task at its end.
                self._fail_all(failed)

    async def _send(self, stream: grpc.aio.StreamStreamCall[wire.CallStreamRequest, wire.CallStreamResponse]) -> None:
        while True:
            while self._waiting:
                batch, self._waiting = self._waiting[:CALLS_PER_MESSAGE_MAX], self._waiting[CALLS_PER_MESSAGE_MAX:]
                self._sent.update((numbered.number, answered) for numbered, answered in batch)
                await stream.write(wire.CallStreamRequest(calls=[numbered for numbered, _ in batch]))
            self._wake.clear()
            await self._wake.wait()

    def _answer(self, result: wire.CallResult) -> None:
        answered = self._sent.pop(result.number, None)
        if answered is None or answered.done():
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
        self._closed = True
        await self._disconnect()

    async def _disconnect(self) -> None:
        pump, self._pump = self._pump, None
        channel, self._channel = self._channel, None
        if pump is not None:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
            # It may have been cancelled before it began.
            self._fail_all(Unavailable("the stream of calls has ended"))
        if channel is not None:
            await channel.close()


class HttpTransport:
    """Mesos' v1 HTTP API, at a gateway or at a Mesos master."""

    def __init__(self, url: str, content_type: str = http.PROTOBUF) -> None:
        """`url` is `http://host:port`, or several with commas between: one that does not answer is left for the next.

        Calls and events are JSON or protobuf, as `content_type` says.

        Raises:
            InvalidRequest: it is another kind of address.
        """
        self._urls = http.urls_of(url, "/api/v1/scheduler")
        self._content_type = content_type
        self._endpoint: http.Endpoint | None = None
        self._closed = False
        self._stream_id = ""

    def __str__(self) -> str:
        return self._endpoint.url if self._endpoint is not None else self._urls[0]

    def _open(self) -> http.Endpoint:
        if self._closed:
            raise Unavailable("the client was closed")
        if self._endpoint is None:
            self._endpoint = http.Endpoint(aiohttp.ClientSession(), self._urls, self._content_type)
        return self._endpoint

    async def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """See `Transport`."""
        endpoint = self._open()
        try:
            async with contextlib.aclosing(endpoint.stream(call, v1.Event)) as pieces:
                async for response, events in pieces:
                    self._stream_id = response.headers.get(http.STREAM_ID_HEADER, "")
                    if events:
                        yield events
        except (Unavailable, asyncio.CancelledError, GeneratorExit):
            # Cancelled, or closed, where the client waited for long enough. Not upon a call that fails: calls belong to
            # the server that has the subscription.
            endpoint.move_on()
            raise

    async def call(self, call: v1.Call) -> v1.Response | None:
        """See `Transport`."""
        return await self._open().call(call, v1.Response, {http.STREAM_ID_HEADER: self._stream_id})

    async def close(self) -> None:
        """See `Transport`."""
        self._closed = True
        if self._endpoint is not None:
            await self._endpoint.close()
            self._endpoint = None
