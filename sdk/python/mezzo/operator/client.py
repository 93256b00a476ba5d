"""Clients of the operator APIs: of a gateway or Mesos master, of an agent, and of the registry itself over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Final, Self, TypeVar

import aiohttp
import grpc
from google.protobuf.message import Message

from mesos.v1.agent import agent_pb2 as agent
from mesos.v1.master import master_pb2 as master
from mezzo import http, rpc
from mezzo.allocator.v1.allocator_pb2 import Explanation
from mezzo.errors import InternalError, Unavailable
from mezzo.operator.v1 import operator_pb2 as wire
from mezzo.operator.v1 import operator_pb2_grpc as wire_grpc

# A stream that is silent for so many heartbeats is broken: a server that hangs closes no connection.
HEARTBEATS_MISSED_MAX: Final = 5

M = TypeVar("M", bound=Message)
P = TypeVar("P")


class _HttpOperator:
    """What both HTTP APIs share: a path that takes calls."""

    def __init__(self, url: str, content_type: str = http.PROTOBUF) -> None:
        """`url` is `http://host:port`, or several with commas between: one that does not answer is left for the next.

        Raises:
            InvalidRequest: it is another kind of address.
        """
        self._urls = http.urls_of(url, "/api/v1")
        self._content_type = content_type
        self._opened: http.Endpoint | None = None

    @property
    def _endpoint(self) -> http.Endpoint:
        if self._opened is None:
            self._opened = http.Endpoint(aiohttp.ClientSession(), self._urls, self._content_type)
        return self._opened

    async def _call(self, call: Message, response_class: type[M]) -> M | None:
        endpoint = self._endpoint
        try:
            return await endpoint.call(call, response_class)
        except Unavailable:
            endpoint.move_on()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None


class MasterOperator(_HttpOperator):
    """Mesos' v1 operator API of a master, at a gateway."""

    async def call(self, call: master.Call) -> master.Response | None:
        """Make any call; None where the answer has no body. Raises `MezzoError`."""
        return await self._call(call, master.Response)

    async def get(self, call_type: master.Call.Type.ValueType) -> master.Response:
        """Make a call that has no arguments, and is answered by a message."""
        response = await self.call(master.Call(type=call_type))
        if response is None:
            raise InternalError(f"{master.Call.Type.Name(call_type)} was answered without a body")
        return response

    async def events(self) -> AsyncGenerator[master.Event]:
        """SUBSCRIBE: the whole state, then what changes, and heartbeats. Ends when the stream ends.

        Raises `MezzoError`; `Unavailable` when the stream breaks, or so many heartbeats are missing.
        """
        call = master.Call(type=master.Call.SUBSCRIBE)
        silence_seconds_max = http.CALL_SECONDS_MAX
        endpoint = self._endpoint
        try:
            async with contextlib.aclosing(endpoint.stream(call, master.Event)) as pieces:
                while (piece := await _next(pieces, silence_seconds_max)) is not None:
                    for event in piece[1]:
                        if event.subscribed.heartbeat_interval_seconds:
                            silence_seconds_max = HEARTBEATS_MISSED_MAX * event.subscribed.heartbeat_interval_seconds
                        yield event
        except Unavailable:
            endpoint.move_on()
            raise


async def _next(pieces: AsyncGenerator[P], silence_seconds_max: float) -> P | None:
    """The next piece of a stream; None at its end. Raises `Unavailable` where it falls silent."""
    try:
        async with asyncio.timeout(silence_seconds_max):
            return await anext(pieces, None)
    except TimeoutError:
        raise Unavailable(f"no event and no heartbeat for {silence_seconds_max:g} s") from None


class AgentOperator(_HttpOperator):
    """Mesos' v1 operator API of an agent."""

    async def call(self, call: agent.Call) -> agent.Response | None:
        """Make any call; None where the answer has no body. Raises `MezzoError`."""
        return await self._call(call, agent.Response)


class RegistryOperator:
    """The registry's own operator service, over gRPC."""

    def __init__(self, address: str) -> None:
        """`address` is `host:port` of the registry that leads; another answers `NotLeading`, with the leader's.

        Raises:
            InvalidRequest: it is another kind of address.
        """
        self._address = rpc.check_address(address)
        self._channel: grpc.aio.Channel | None = None

    def _stub(self) -> wire_grpc.OperatorAsyncStub:
        if self._channel is None:
            self._channel = rpc.open_channel(self._address)
        return wire_grpc.OperatorStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def call(self, call: master.Call) -> master.Response:
        """Make a call of Mesos' v1 operator API. Raises `MezzoError`."""
        request = wire.CallRequest(call=call)
        return (await rpc.answer(self._stub().Call(request, timeout=http.CALL_SECONDS_MAX))).response

    async def kill_task(self, framework_id: str, task_id: str) -> None:
        """Kill a task of any framework. Raises `NotFound`."""
        request = wire.KillTaskRequest()
        request.framework_id.value = framework_id
        request.task_id.value = task_id
        await rpc.answer(self._stub().KillTask(request, timeout=http.CALL_SECONDS_MAX))

    async def explain(self, framework_id: str = "", role: str = "", agent_id: str = "") -> list[Explanation]:
        """Why the framework (every one) is offered what it is in the role (in each), on the agent (on all of them).

        `GET /api/v1/explain` of a gateway says the same in sentences. Raises `NotFound`, and `Unavailable` while no
        allocator leads.
        """
        request = wire.ExplainRequest(framework_id=framework_id, role=role, agent_id=agent_id)
        answer = await rpc.answer(self._stub().Explain(request, timeout=http.CALL_SECONDS_MAX))
        return list(answer.explanations)

    async def members(self) -> wire.MembersResponse:
        """The registries, allocators and gateways that the leading registry knows of."""
        return await rpc.answer(self._stub().Members(wire.MembersRequest(), timeout=http.CALL_SECONDS_MAX))

    async def watch(self) -> AsyncGenerator[wire.StateChange]:
        """The cluster's state, then each change. Ends when the stream ends; raises `MezzoError` when it breaks."""
        async with contextlib.aclosing(rpc.answers(self._stub().Watch(wire.WatchRequest()))) as responses:
            async for response in responses:
                for change in response.changes:
                    yield change
