"""How an executor's calls travel: over gRPC, or over Mesos' v1 HTTP API."""

from __future__ import annotations

import contextlib
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
    """One subscription, and the calls beside it. Its `str` says where to, for logs."""

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
        """`address` is `host:port`; `token` is the executor's own. Raises `InvalidRequest` for other addresses."""
        self._address = rpc.check_address(address)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._channel: grpc.aio.Channel | None = None
        self._closed = False

    def __str__(self) -> str:
        return self._address

    def _stub(self) -> wire_grpc.ExecutorAsyncStub:
        if self._closed:
            raise Unavailable("the client was closed")
        if self._channel is None:
            self._channel = rpc.open_channel(self._address)
        return wire_grpc.ExecutorStub(self._channel)

    async def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """See `Transport`."""
        request = self._stub().Subscribe(wire.SubscribeRequest(call=call), metadata=self._metadata)
        async with contextlib.aclosing(rpc.answers(request)) as responses:
            async for response in responses:
                yield list(response.events)

    async def call(self, call: v1.Call) -> None:
        """See `Transport`."""
        timeout = http.CALL_SECONDS_MAX
        await rpc.answer(self._stub().Call(wire.CallRequest(call=call), metadata=self._metadata, timeout=timeout))

    async def close(self) -> None:
        """See `Transport`."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()
            self._channel = None


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
        self._url = f"http://{endpoint}/api/v1/executor"
        self._domain_socket = domain_socket
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._content_type = content_type
        self._endpoint: http.Endpoint | None = None
        self._closed = False

    def __str__(self) -> str:
        return self._domain_socket or self._url

    def _open(self) -> http.Endpoint:
        if self._closed:
            raise Unavailable("the client was closed")
        if self._endpoint is None:
            connector = aiohttp.UnixConnector(path=self._domain_socket) if self._domain_socket else None
            session = aiohttp.ClientSession(connector=connector)
            self._endpoint = http.Endpoint(session, [self._url], self._content_type, self._headers)
        return self._endpoint

    async def subscribe(self, call: v1.Call) -> AsyncGenerator[list[v1.Event]]:
        """See `Transport`."""
        async with contextlib.aclosing(self._open().stream(call, v1.Event)) as pieces:
            async for _, events in pieces:
                if events:
                    yield events

    async def call(self, call: v1.Call) -> None:
        """See `Transport`."""
        await self._open().call(call, v1.Event)

    async def close(self) -> None:
        """See `Transport`."""
        self._closed = True
        if self._endpoint is not None:
            await self._endpoint.close()
            self._endpoint = None
