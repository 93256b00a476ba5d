"""How an executor's calls travel: over gRPC, or over Mesos' v1 HTTP API."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

import aiohttp
import grpc

from mesos.v1.executor import executor_pb2 as v1
from mezzo import http, rpc
from mezzo.errors import Unavailable
from mezzo.executor.v1 import executor_pb2 as wire
from mezzo.executor.v1 import executor_pb2_grpc as wire_grpc


class Transport(Protocol):
    """One subscription, and the calls beside it."""

    def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """Open a subscription and yield its events as they come; ends when the stream ends. Raises `MezzoError`."""
        ...

    async def call(self, call: v1.Call) -> None:
        """Make a call. Raises `MezzoError`."""
        ...

    async def close(self) -> None: ...


class GrpcTransport:
    """gRPC to the agent."""

    def __init__(self, address: str, token: str | None = None) -> None:
        """`address` is `host:port`; `token` is the executor's own."""
        self._channel = rpc.open_channel(address)
        self._stub = wire_grpc.ExecutorStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """See `Transport`."""
        responses = self._stub.Subscribe(wire.SubscribeRequest(call=call), metadata=self._metadata)
        try:
            async for response in responses:
                yield list(response.events)
        except grpc.aio.AioRpcError as failure:
            raise rpc.error_of(failure) from None
        finally:
            responses.cancel()

    async def call(self, call: v1.Call) -> None:
        """See `Transport`."""
        try:
            await self._stub.Call(wire.CallRequest(call=call), metadata=self._metadata)
        except grpc.aio.AioRpcError as failure:
            raise rpc.error_of(failure) from None

    async def close(self) -> None:
        """See `Transport`."""
        await self._channel.close()


class HttpTransport:
    """Mesos' v1 HTTP API, over TCP or a Unix socket."""

    def __init__(
        self,
        endpoint: str,
        *,
        domain_socket: str | None = None,
        token: str | None = None,
        content_type: str = http.PROTOBUF,
    ) -> None:
        """`endpoint` is `host:port`; where `domain_socket` is given, the connection goes there instead."""
        connector = aiohttp.UnixConnector(path=domain_socket) if domain_socket else None
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        session = aiohttp.ClientSession(connector=connector)
        self._endpoint = http.Endpoint(session, f"http://{endpoint}/api/v1/executor", content_type, headers)

    async def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """See `Transport`."""
        try:
            async for _, events in self._endpoint.stream(call, v1.Event):
                if events:
                    yield events
        except aiohttp.ClientError as error:
            raise Unavailable(f"the stream broke: {error}") from None

    async def call(self, call: v1.Call) -> None:
        """See `Transport`."""
        try:
            await self._endpoint.call(call, v1.Event)
        except aiohttp.ClientError as error:
            raise Unavailable(f"the call was not answered: {error}") from None

    async def close(self) -> None:
        """See `Transport`."""
        await self._endpoint.session.close()
