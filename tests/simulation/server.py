"""The servers' side: what stands for `grpc.aio.Server`, and the calls that its handlers answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from tests.simulation.connection import CLIENT, SERVER, Connection, Metadata
from tests.simulation.loop import Process

if TYPE_CHECKING:
    from tests.simulation.channel import ClientCall
    from tests.simulation.network import Network


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

    def run(self, call: ServerCall) -> asyncio.Task[None]:
        task = self.network.loop.create_task(self._answer(call), name=call.method)
        self.tasks[task] = None
        task.add_done_callback(lambda ended: self.tasks.pop(ended, None))
        return task

    async def _answer(self, call: ServerCall) -> None:
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

    async def _handler(self, call: ServerCall) -> Any:
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


class ServerCall:
    """One call at its server, and the context that its handler gets."""

    def __init__(self, connection: Connection, client: ClientCall) -> None:
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
