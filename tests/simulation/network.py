"""gRPC without sockets: what `grpc.aio` gives to clients and servicers, over connections that the simulation owns.

A connection delivers in order, after delays. It may be held up (a partition: everything arrives later, or, when gRPC's
keepalive gives up first, not at all), break (each end notices in its own time) or fall silent (nothing arrives any
more, and only keepalive notices). Messages travel as bytes.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from tests.simulation.loop import Process, SimulatedLoop

KEEPALIVE_SECONDS = (20.0, 30.0)
"""After so long without an answer each end gives a connection up."""
CONNECT_SECONDS_MAX = 20.0
CLIENT, SERVER = 0, 1

Metadata = Sequence[tuple[str, Any]]
Method = tuple[bool, bool]


@dataclass(slots=True)
class Delays:
    """How long things take on the way. Seconds."""

    message: tuple[float, float] = (0.0002, 0.02)
    break_noticed: tuple[float, float] = (0.001, 1.0)


class Network:
    """All servers and connections of the cluster."""

    def __init__(self, loop: SimulatedLoop, chooser: random.Random, delays: Delays | None = None) -> None:
        self.loop = loop
        self.random = chooser
        self.delays = delays or Delays()
        self.servers: dict[str, SimulatedServer] = {}
        """Those that listen, by address."""
        self.connections: dict[Connection, None] = {}
        self.watch: Callable[[Process, Process, str, bytes], None] = lambda _from, _to, _method, _message: None
        """Is told of every message as it is sent: by whom, to whom, of which method, the bytes."""
        self._blocked: dict[frozenset[str], float] = {}
        self._ports = 40_000

    def channel(self, target: str, *_: Any, **__: Any) -> SimulatedChannel:
        """Stands for `grpc.aio.insecure_channel`."""
        return SimulatedChannel(self, self.loop.process, target)

    def server(self, *_: Any, interceptors: Sequence[grpc.aio.ServerInterceptor] = (), **__: Any) -> SimulatedServer:
        """Stands for `grpc.aio.server`."""
        return SimulatedServer(self, self.loop.process, interceptors)

    def delay(self) -> float:
        return self.random.uniform(*self.delays.message)

    def new_port(self) -> int:
        self._ports += 1
        return self._ports

    # --- faults

    def block(self, host: str, other: str, seconds: float) -> None:
        """Nothing arrives between two hosts for so long; it does afterwards, where nobody has given up."""
        pair = frozenset((host, other))
        until = self._blocked[pair] = max(self.blocked_until(host, other), self.loop.time() + seconds)
        for connection in list(self.connections):
            if {each.host for each in connection.processes} == pair:
                connection.hold(until)

    def blocked_until(self, host: str, other: str) -> float:
        return self._blocked.get(frozenset((host, other)), 0.0)

    def kill(self, process: Process, *, silently: bool = False) -> None:
        """Everything of a process that died: with `silently`, as of a machine that lost its power, nobody is told."""
        for address in [each for each, server in self.servers.items() if server.process is process]:
            del self.servers[address]
        for connection in list(self.connections):
            if process in connection.processes:
                if silently:
                    connection.go_silent()
                else:
                    connection.break_off()

    def pause(self, process: Process, seconds: float) -> None:
        """A process stands still: its peers' keepalive is not answered."""
        for connection in list(self.connections):
            for end in (CLIENT, SERVER):
                if connection.processes[1 - end] is process and seconds > KEEPALIVE_SECONDS[0]:
                    connection.give_up_later(end, self.loop.time() + seconds)


class Connection:
    """Between a client and a server, for all calls of a channel."""

    def __init__(self, network: Network, channel: SimulatedChannel, server: SimulatedServer) -> None:
        self.network = network
        self.loop = network.loop
        self.channel = channel
        self.server = server
        self.processes = (channel.process, server.process)
        self.open = [True, True]
        """Whether each end believes in it."""
        self.lost = False
        """Nothing arrives any more."""
        self.calls: dict[_ServerCall, None] = {}
        self.peer = f"ipv4:{channel.process.host}:{network.new_port()}"
        self._held_until = network.blocked_until(channel.process.host, server.process.host)
        self._last_arrival = [0.0, 0.0]
        network.connections[self] = None

    def send(self, to: int, action: Callable[[], None]) -> None:
        """Let the end numbered `to` do something when a message has arrived there."""
        if self.lost or not self.open[1 - to] or not self.processes[1 - to].alive:
            return
        now = self.loop.time()
        arrival = max(now + self.network.delay(), self._last_arrival[to], self._held_until)
        self._last_arrival[to] = arrival

        def deliver() -> None:
            if self.open[to] and not self.lost:
                action()

        self.loop.call_at_as(self.processes[to], arrival, deliver)

    def hold(self, until: float) -> None:
        """What is sent before that arrives after it, unless keepalive gives up."""
        self._held_until = max(self._held_until, until)
        for end in (CLIENT, SERVER):
            self.give_up_later(end, self._held_until)

    def give_up_later(self, end: int, until: float) -> None:
        """An end gives up if it hears nothing before `until`."""
        at = self.loop.time() + self.network.random.uniform(*KEEPALIVE_SECONDS)
        if at < until:
            self.loop.call_at_as(self.processes[end], at, self._notice, end)

    def break_off(self) -> None:
        """It is gone, with all that is under way; both ends are told, each in its own time."""
        if not self.lost:
            self.lost = True
            self._notice_both(self.network.delays.break_noticed)

    def go_silent(self) -> None:
        """It is gone, and nobody is told."""
        if not self.lost:
            self.lost = True
            self._notice_both(KEEPALIVE_SECONDS)

    def close(self, by: int) -> None:
        """One end closes it: what it sent before still arrives."""
        if self.open[by]:
            self.send(1 - by, lambda: self._notice(1 - by))
            self._end(by)

    def _notice_both(self, seconds: tuple[float, float]) -> None:
        for end in (CLIENT, SERVER):
            at = self.loop.time() + self.network.random.uniform(*seconds)
            self.loop.call_at_as(self.processes[end], at, self._notice, end)

    def _notice(self, end: int) -> None:
        """An end finds out that nothing will arrive any more, or gives up."""
        if not self.open[end]:
            return
        self._end(end)
        if self.open[1 - end] and not self.lost:
            # The reset that this end sends tells the other.
            self.lost = True
            at = max(self.loop.time() + self.network.delay(), self._held_until)
            self.loop.call_at_as(self.processes[1 - end], at, self._notice, 1 - end)

    def _end(self, end: int) -> None:
        self.open[end] = False
        if not self.open[1 - end]:
            self.network.connections.pop(self, None)
        if end == CLIENT:
            self.channel.connection_lost(self)
        else:
            for call in list(self.calls):
                call.peer_gone()


# ------------------------------------------------------------------------------------------------------- clients


class SimulatedChannel:
    """Stands for `grpc.aio.Channel`: connects when there is something to send, and again when that breaks."""

    def __init__(self, network: Network, process: Process, target: str) -> None:
        self.network = network
        self.process = process
        self.target = target
        self._connection: Connection | None = None
        self._connecting = False
        self._calls: dict[_ClientCall, None] = {}
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

    def start(self, call: _ClientCall) -> None:
        """Send a call as soon as there is a connection."""
        if self._closed:
            raise grpc.aio.UsageError("Channel is closed.")
        self._calls[call] = None
        if self._connection is not None and self._connection.open[CLIENT]:
            call.connected(self._connection)
        elif not self._connecting:
            self._connecting = True
            self._connect()

    def ended(self, call: _ClientCall) -> None:
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
    ) -> _ClientCall:
        call = _ClientCall(self._channel, self._name, self._serialize, self._deserialize, tuple(metadata or ()))
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


class _ClientCall:
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
        self._server_call: _ServerCall | None = None
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
        server_call = self._server_call = _ServerCall(connection, self)
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


# ------------------------------------------------------------------------------------------------------- servers


@dataclass(frozen=True)
class _Details(grpc.HandlerCallDetails):
    method: str = ""
    invocation_metadata: Any = field(default=())


class SimulatedServer:
    """Stands for `grpc.aio.Server`."""

    def __init__(
        self, network: Network, process: Process, interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
    ) -> None:
        self.network = network
        self.process = process
        self._interceptors = list(interceptors)
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._addresses: list[str] = []
        self.tasks: dict[asyncio.Task[None], None] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        self._handlers.extend(handlers)

    def add_registered_method_handlers(self, _service: str, _handlers: Any) -> None:
        """The generic handlers are the same."""

    def add_insecure_port(self, address: str) -> int:
        host, _, port = address.rpartition(":")
        number = int(port) or self.network.new_port()
        if f"{host}:{number}" in self.network.servers:
            raise RuntimeError(f"{address} is in use")
        self._addresses.append(f"{host}:{number}")
        return number

    async def start(self) -> None:
        if self.process.alive:
            for address in self._addresses:
                self.network.servers[address] = self

    async def stop(self, grace: float | None) -> None:
        for address in self._addresses:
            if self.network.servers.get(address) is self:
                del self.network.servers[address]
        if self.tasks and grace and self.process.alive:
            await asyncio.wait(list(self.tasks), timeout=grace)
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(list(self.tasks))
        for connection in list(self.network.connections):
            if connection.server is self:
                connection.close(SERVER)

    def run(self, call: _ServerCall) -> asyncio.Task[None]:
        task = self.network.loop.create_task(self._answer(call), name=call.method)
        self.tasks[task] = None
        task.add_done_callback(lambda ended: self.tasks.pop(ended, None))
        return task

    async def _answer(self, call: _ServerCall) -> None:
        """Run a handler, and send what it answers."""
        try:
            handler = await self._handler(call)
            if handler is None:
                call.finish(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
                return
            serialize = handler.response_serializer or bytes
            request: Any = call.requests(handler.request_deserializer or bytes)
            if not handler.request_streaming:
                request = await anext(request)
            if handler.response_streaming:
                behaviour: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream
                async for response in behaviour(request, call):
                    call.send(serialize(response))
            else:
                behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
                call.send(serialize(await behaviour(request, call)))
            call.finish(grpc.StatusCode.OK, "")
        except grpc.aio.AbortError:
            call.finish(*call.aborted)
        except asyncio.CancelledError:
            call.finish(grpc.StatusCode.CANCELLED, "the call was cancelled")
            raise
        except Exception as error:  # noqa: BLE001  as gRPC: the client is told
            call.finish(grpc.StatusCode.UNKNOWN, f"Unexpected {type(error)}: {error}")

    async def _handler(self, call: _ServerCall) -> Any:
        async def find(details: grpc.HandlerCallDetails) -> Any:
            for each in self._handlers:
                found = each.service(details)
                if found is not None:
                    return found
            return None

        continuation = find
        for interceptor in reversed(self._interceptors):
            continuation = _intercepted(interceptor, continuation)
        return await continuation(_Details(call.method, call.metadata))


def _intercepted(interceptor: grpc.aio.ServerInterceptor, inner: Any) -> Any:
    async def outer(details: grpc.HandlerCallDetails) -> Any:
        return await interceptor.intercept_service(inner, details)

    return outer


class _ServerCall:
    """One call at its server, and the context that its handler gets."""

    def __init__(self, connection: Connection, client: _ClientCall) -> None:
        self.connection = connection
        self.client = client
        self.method = client.method
        self.metadata = client.metadata
        self.aborted: tuple[grpc.StatusCode, str] = (grpc.StatusCode.UNKNOWN, "")
        self._received: deque[bytes | None] = deque()
        self._wake = asyncio.Event()
        self._trailing: Metadata = ()
        self._over = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self.connection.calls[self] = None
        self._task = self.connection.server.run(self)

    def receive(self, data: bytes | None) -> None:
        self._received.append(data)
        self._wake.set()

    async def requests(self, deserialize: Callable[[bytes], Any]) -> AsyncIterator[Any]:
        while True:
            while not self._received:
                self._wake.clear()
                await self._wake.wait()
            data = self._received.popleft()
            if data is None:
                return
            yield deserialize(data)

    def peer_gone(self) -> None:
        """The client has cancelled the call, or its connection is gone: its requests end, and the call is cancelled."""
        self._over = True
        self.connection.calls.pop(self, None)
        self.receive(None)
        if self._task is not None:
            self._task.cancel()

    def send(self, data: bytes) -> None:
        client, server = self.connection.processes
        self.connection.network.watch(server, client, self.method, data)
        self.connection.send(CLIENT, lambda: self.client.receive(data))

    def finish(self, code: grpc.StatusCode, details: str) -> None:
        self.connection.calls.pop(self, None)
        if not self._over:
            self._over = True
            trailing = self._trailing
            self.connection.send(CLIENT, lambda: self.client.finish(code, details, trailing))

    # --- the context

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        self.aborted = code, details
        self._trailing = tuple(trailing_metadata) or self._trailing
        raise grpc.aio.AbortError("Locally aborted.")

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        self._trailing = tuple(metadata)

    def invocation_metadata(self) -> Metadata:
        return self.metadata

    def peer(self) -> str:
        return self.connection.peer

    def code(self) -> grpc.StatusCode:
        return self.aborted[0]

    def cancelled(self) -> bool:
        return self._over
