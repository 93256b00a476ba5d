"""Clients of the operator APIs: of a gateway or Mesos master, of an agent, and of the registry itself over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Final, Self, TypeVar

import aiohttp
import grpc
from google.protobuf.message import Message

from mesos.v1.agent import agent_pb2 as agent
from mesos.v1.master import master_pb2 as master
from mezzo import http, rpc
from mezzo.allocator.v1.allocator_pb2 import Explanation
from mezzo.errors import InternalError, NotLeading, Unavailable
from mezzo.operator.v1 import operator_pb2 as wire
from mezzo.operator.v1 import operator_pb2_grpc as wire_grpc

if TYPE_CHECKING:
    from mezzo.zookeeper import ZooKeeperDetector

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
    """The operator service of the registry that leads, over gRPC."""

    def __init__(self, address: str) -> None:
        """`address` is `host:port` of a registry, several with commas between, or `zk://host:port,…/path`.

        One that does not lead names the one that does, which is asked instead. One that does not answer is left for the
        next, or for whom ZooKeeper names then: that call raises `Unavailable`, since it may have been carried out.

        Raises:
            InvalidRequest: it is another kind of address.
            ImportError: it begins with zk://, and kazoo is not installed.
        """
        self._detector: ZooKeeperDetector | None = None
        self._homes: list[str] = []
        if address.startswith("zk://"):
            from mezzo.zookeeper import ZooKeeperDetector  # which needs kazoo

            self._detector = ZooKeeperDetector(address)
        else:
            self._homes = [rpc.check_address(each) for each in address.split(",")]
        self._home = 0
        self._leader: str | None = None
        """Whom a registry named, until it does not answer."""
        self._channel: grpc.aio.Channel | None = None

    async def _open(self) -> grpc.aio.Channel:
        """Raises `Unavailable` where ZooKeeper names no leader for too long."""
        if self._channel is None:
            address = self._leader or await self._found()
            self._channel = self._channel or rpc.open_channel(address)
        return self._channel

    async def _found(self) -> str:
        if self._detector is None:
            return self._homes[self._home]
        try:
            async with asyncio.timeout(http.CALL_SECONDS_MAX):
                return await self._detector.leader()
        except TimeoutError:
            raise Unavailable(f"ZooKeeper has named no leader for {http.CALL_SECONDS_MAX:g} s") from None

    async def _move_on(self, error: Unavailable, left: grpc.aio.Channel) -> None:
        """Leave who does not lead, or does not answer: for the leader that it named, or the next."""
        if left is not self._channel:
            return  # another call has moved on from it
        if self._leader is None and self._homes:
            self._home = (self._home + 1) % len(self._homes)
        self._leader = error.leader if isinstance(error, NotLeading) else None
        self._channel = None
        await left.close()

    async def _answer(self, question: Callable[[wire_grpc.OperatorAsyncStub], Awaitable[P]]) -> P:
        for _ in range(http.REDIRECTS_MAX):
            channel = await self._open()
            try:
                return await rpc.answer(question(wire_grpc.OperatorStub(channel)))
            except Unavailable as error:
                await self._move_on(error, channel)
                if not isinstance(error, NotLeading) or self._leader is None:
                    raise
        raise Unavailable(f"registries name another leader more than {http.REDIRECTS_MAX} times")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
        if self._detector is not None:
            await self._detector.close()

    async def call(self, call: master.Call) -> master.Response:
        """Make a call of Mesos' v1 operator API. Raises `MezzoError`."""
        request = wire.CallRequest(call=call)
        return (await self._answer(lambda stub: stub.Call(request, timeout=http.CALL_SECONDS_MAX))).response

    async def kill_task(self, framework_id: str, task_id: str) -> None:
        """Kill a task of any framework. Raises `NotFound`."""
        request = wire.KillTaskRequest()
        request.framework_id.value = framework_id
        request.task_id.value = task_id
        await self._answer(lambda stub: stub.KillTask(request, timeout=http.CALL_SECONDS_MAX))

    async def explain(self, framework_id: str = "", role: str = "", agent_id: str = "") -> list[Explanation]:
        """Why the framework (every one) is offered what it is in the role (in each), on the agent (on all of them).

        `GET /api/v1/explain` of a gateway says the same in sentences. Raises `NotFound`, and `Unavailable` while no
        allocator leads.
        """
        request = wire.ExplainRequest(framework_id=framework_id, role=role, agent_id=agent_id)
        answer = await self._answer(lambda stub: stub.Explain(request, timeout=http.CALL_SECONDS_MAX))
        return list(answer.explanations)

    async def members(self) -> wire.MembersResponse:
        """The registries, allocators and gateways that the leading registry knows of."""
        request = wire.MembersRequest()
        return await self._answer(lambda stub: stub.Members(request, timeout=http.CALL_SECONDS_MAX))

    async def watch(self) -> AsyncGenerator[wire.StateChange]:
        """The cluster's state, then each change. Ends when the stream ends; raises `MezzoError` when it breaks."""
        changed = False
        for _ in range(http.REDIRECTS_MAX):
            channel = await self._open()
            watching = wire_grpc.OperatorStub(channel).Watch(wire.WatchRequest())
            try:
                async with contextlib.aclosing(rpc.answers(watching)) as responses:
                    async for response in responses:
                        changed = True
                        for change in response.changes:
                            yield change
                return
            except Unavailable as error:
                await self._move_on(error, channel)
                # A registry that steps down while it is watched ends the state that the watcher has.
                if self._leader is None or changed:
                    raise
        raise Unavailable(f"registries name another leader more than {http.REDIRECTS_MAX} times")
