"""The clients' side: what stands for `grpc.aio.Channel`, its methods and their calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Self

import grpc

from tests.simulation.connection import CLIENT, SERVER, Connection, Metadata
from tests.simulation.loop import Process
from tests.simulation.server import ServerCall

if TYPE_CHECKING:
    from tests.simulation.network import Network

CONNECT_SECONDS_MAX = 20.0

Method = tuple[bool, bool]


class SimulatedChannel:
    """Stands for `grpc.aio.Channel`: connects when there is something to send, and again when that breaks."""

    def __init__(self, network: Network, process: Process, target: str) -> None:
        self.network = network
        self.process = process
        self.target = target
        self._connection: Connection | None = None
        self._connecting = False
        self._calls: dict[ClientCall, None] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, _grace: float | None = None) -> None:
        self._closed = True
        for call in list(self._calls):
            call.cancel()
        if self._connection is not None:
            self._connection.close(CLIENT)
            self._connection = None

    def unary_unary(self, method: str, **coding: Any) -> _Method:
        return _Method(self, method, (False, False), coding)

    def unary_stream(self, method: str, **coding: Any) -> _Method:
        return _Method(self, method, (False, True), coding)

    def stream_unary(self, method: str, **coding: Any) -> _Method:
        return _Method(self, method, (True, False), coding)

    def stream_stream(self, method: str, **coding: Any) -> _Method:
        return _Method(self, method, (True, True), coding)

    def start(self, call: ClientCall) -> None:
        """Send a call as soon as there is a connection."""
        if self._closed:
            raise grpc.aio.UsageError("Channel is closed.")
        self._calls[call] = None
        if self._connection is not None and self._connection.open[CLIENT]:
            call.connected(self._connection)
        elif not self._connecting:
            self._connecting = True
            self._connect()

    def ended(self, call: ClientCall) -> None:
        self._calls.pop(call, None)

    def connection_lost(self, connection: Connection) -> None:
        if self._connection is connection:
            self._connection = None
        for call in list(self._calls):
            if call.connection is connection:
                call.finish(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    def _connect(self) -> None:
        """One round trip; where nothing arrives for too long, it fails."""
        loop, network = self.network.loop, self.network
        now = loop.time()
        blocked_until = network.blocked_until(self.process.host, self.target.rpartition(":")[0])
        arrival = max(now + network.delay(), blocked_until) + network.delay()
        if arrival > now + CONNECT_SECONDS_MAX:
            loop.call_at_as(self.process, now + CONNECT_SECONDS_MAX, self._failed, "failed to connect: timed out")
        else:
            loop.call_at_as(self.process, arrival, self._reached)

    def _reached(self) -> None:
        server = self.network.servers.get(self.target)
        if not self.process.alive or self._closed:
            self._failed("the process has ended")
        elif server is None or not server.process.alive:
            self._failed("failed to connect: Connection refused")
        else:
            self._connecting = False
            self._connection = Connection(self.network, self, server)
            for call in list(self._calls):
                if call.connection is None:
                    call.connected(self._connection)

    def _failed(self, why: str) -> None:
        self._connecting = False
        for call in list(self._calls):
            if call.connection is None:
                call.finish(grpc.StatusCode.UNAVAILABLE, why)


class _Method:
    """A method of a stub."""

    def __init__(self, channel: SimulatedChannel, name: str, streaming: Method, coding: dict[str, Any]) -> None:
        self._channel = channel
        self._name = name
        self._streaming = streaming
        self._serialize = coding.get("request_serializer") or bytes
        self._deserialize = coding.get("response_deserializer") or bytes

    def __call__(
        self, request: Any = None, *, timeout: float | None = None, metadata: Metadata | None = None, **_: Any
    ) -> ClientCall:
        call = ClientCall(self._channel, self._name, self._serialize, self._deserialize, tuple(metadata or ()))
        self._channel.start(call)
        request_streaming, response_streaming = self._streaming
        call.single = not response_streaming
        if not request_streaming:
            call.put(request)
            call.close_requests()
        elif request is not None:
            call.consume(request)
        if timeout is not None:
            call.limit(timeout)
        return call


class ClientCall:
    """What a stub's method returns: awaited for one response, iterated or read for many."""

    def __init__(
        self,
        channel: SimulatedChannel,
        method: str,
        serialize: Callable[[Any], bytes],
        deserialize: Callable[[bytes], Any],
        metadata: Metadata,
    ) -> None:
        self.channel = channel
        self.method = method
        self.metadata = metadata
        self.connection: Connection | None = None
        self.single = False
        self._loop = channel.network.loop
        self._serialize = serialize
        self._deserialize = deserialize
        self._server_call: ServerCall | None = None
        self._requests: list[bytes | None] = []
        self._responses: deque[Any] = deque()
        self._wake = asyncio.Event()
        self._on_way = asyncio.Event()
        self._status: tuple[grpc.StatusCode, str, Metadata] | None = None
        self._cancelled = False
        self._consumer: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- towards the server

    def connected(self, connection: Connection) -> None:
        """There is a connection: everything that waits is sent."""
        self.connection = connection
        server_call = self._server_call = ServerCall(connection, self)
        connection.send(SERVER, server_call.begin)
        requests, self._requests = self._requests, []
        for data in requests:
            self._send(data)
        self._on_way.set()

    def put(self, request: Any) -> None:
        self._send(self._serialize(request))

    def close_requests(self) -> None:
        self._send(None)

    def _send(self, data: bytes | None) -> None:
        if self.connection is None or self._server_call is None:
            self._requests.append(data)
            return
        if data is not None and self._status is None:
            self.channel.network.watch(*self.connection.processes, self.method, data)
        server_call = self._server_call
        self.connection.send(SERVER, lambda: server_call.receive(data))

    def consume(self, requests: AsyncIterable[Any]) -> None:
        self._consumer = self._loop.create_task(self._consume(requests))

    async def _consume(self, requests: AsyncIterable[Any]) -> None:
        try:
            async for request in requests:
                await self._on_way.wait()
                if self.done():
                    return
                self.put(request)
            self.close_requests()
        except Exception:  # noqa: BLE001  as gRPC: the call is cancelled, and no more is said
            self.cancel()

    async def write(self, request: Any) -> None:
        await self._on_way.wait()
        self._raise_status()
        if self.done():
            raise asyncio.InvalidStateError("RPC already finished.")
        self.put(request)

    async def done_writing(self) -> None:
        self.close_requests()

    # --- from the server

    def receive(self, data: bytes) -> None:
        if self._status is None:
            self._responses.append(self._deserialize(data))
            self._wake.set()

    def finish(self, code: grpc.StatusCode, details: str, trailing: Metadata = ()) -> None:
        """The call has ended, with this status."""
        if self._status is not None:
            return
        self._status = code, details, trailing
        self.channel.ended(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._consumer is not None and self._consumer is not asyncio.current_task():
            self._consumer.cancel()
        self._on_way.set()
        self._wake.set()

    def limit(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        self._tell_server()
        self.finish(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def cancel(self) -> bool:
        if self._status is not None:
            return False
        self._cancelled = True
        self._tell_server()
        self.finish(grpc.StatusCode.CANCELLED, "Locally cancelled by application!")
        return True

    def _tell_server(self) -> None:
        if self.connection is not None and self._server_call is not None:
            self.connection.send(SERVER, self._server_call.peer_gone)

    # --- to whoever called

    def done(self) -> bool:
        return self._status is not None

    def cancelled(self) -> bool:
        return self._cancelled

    async def wait_for_connection(self) -> None:
        await self._on_way.wait()
        self._raise_status()

    def _raise_status(self) -> None:
        if self._cancelled:
            raise asyncio.CancelledError
        if self._status is not None and self._status[0] is not grpc.StatusCode.OK:
            code, details, trailing = self._status
            raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details)

    async def read(self) -> Any:
        """The next response; `grpc.aio.EOF` after the last."""
        while not self._responses:
            if self._status is not None:
                self._raise_status()
                return grpc.aio.EOF
            self._wake.clear()
            await self._wake.wait()
        if self._cancelled:
            raise asyncio.CancelledError
        return self._responses.popleft()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (response := await self.read()) is not grpc.aio.EOF:
            yield response

    def __await__(self) -> Any:
        return self._one().__await__()

    async def _one(self) -> Any:
        try:
            response = await self.read()
        except asyncio.CancelledError:
            self.cancel()
            raise
        while self._status is None:
            self._wake.clear()
            await self._wake.wait()
        self._raise_status()
        return response
