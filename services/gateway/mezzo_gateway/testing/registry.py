"""A registry that keeps what it is told and answers what a test wants, over real gRPC on a free port."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from mesos.v1.master.master_pb2 import Call as OperatorCall
from mesos.v1.master.master_pb2 import Response as OperatorResponse
from mesos.v1.scheduler.scheduler_pb2 import Event
from mezzo.errors import MezzoError, NotLeading, Unavailable, Unimplemented
from mezzo.operator.v1.operator_pb2 import (
    CallRequest as OperatorCallRequest,
)
from mezzo.operator.v1.operator_pb2 import (
    CallResponse as OperatorCallResponse,
)
from mezzo.operator.v1.operator_pb2 import (
    ExplainRequest,
    ExplainResponse,
    KillTaskRequest,
    KillTaskResponse,
    MembersRequest,
    MembersResponse,
    StateChange,
    WatchRequest,
    WatchResponse,
)
from mezzo.operator.v1.operator_pb2_grpc import OperatorServicer, add_OperatorServicer_to_server
from mezzo.scheduler.v1.scheduler_pb2 import (
    CallRequest,
    CallResponse,
    CallResult,
    CallStreamRequest,
    CallStreamResponse,
    SubscribeRequest,
    SubscribeResponse,
)
from mezzo.scheduler.v1.scheduler_pb2_grpc import SchedulerServicer, add_SchedulerServicer_to_server
from mezzo_chassis.errors import grpc_status
from mezzo_chassis.rpc import AddServicer, Server, start_server
from mezzo_gateway.testing.changes import FRAMEWORK_ID, master, snapshot

# Ends a stream that a test feeds.
END = object()


class Stream:
    """One framework's subscription: what it asked, and what a test says to it."""

    def __init__(self, request: SubscribeRequest) -> None:
        self.request = request
        self.stream_id = str(uuid.uuid4())
        self.ended = asyncio.Event()
        self._events: asyncio.Queue[Any] = asyncio.Queue()

    def say(self, *events: Event, causes: Sequence[str] = ()) -> None:
        """Send events, in one message, with what each follows from."""
        self._events.put_nowait((events, causes))

    def end(self) -> None:
        """End the stream from this side."""
        self._events.put_nowait(END)

    async def responses(self) -> AsyncIterator[SubscribeResponse]:
        """What the framework gets."""
        first = True
        while (said := await self._events.get()) is not END:
            events, causes = said
            yield SubscribeResponse(stream_id=self.stream_id if first else "", events=events, causes=causes)
            first = False


class ScriptedRegistry(OperatorServicer, SchedulerServicer):
    """A registry that leads unless `leader` is set. Public attributes are the script, and what was heard."""

    def __init__(self) -> None:
        self.port = 0
        # The script.
        self.leader: str | None = None
        self.snapshot: list[StateChange] = snapshot()
        self.on_subscribe: Callable[[Stream], None] = greet
        self.on_call: Callable[[CallRequest], CallResponse | MezzoError | None] = lambda _: None
        self.on_operator_call: Callable[[OperatorCall], OperatorResponse | MezzoError | None] = no_such_call
        self.on_kill: Callable[[KillTaskRequest], MezzoError | None] = lambda _: None
        self.on_explain: Callable[[ExplainRequest], ExplainResponse | MezzoError] = no_allocator
        self.members: MembersResponse | MezzoError = MembersResponse()
        self.before_snapshot: Callable[[], Awaitable[None]] = at_once
        self.before_results: Callable[[], Awaitable[None]] = at_once
        # What was heard.
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self.calls: list[CallRequest] = []
        self.operator_calls: list[OperatorCall] = []
        self.watched: list[WatchRequest] = []
        self.killed: list[KillTaskRequest] = []
        self.asked_to_explain: list[ExplainRequest] = []
        self.correlation_ids: list[str] = []
        self.principals: list[str] = []
        self.refused_to_lead = asyncio.Event()
        self._watchers: set[asyncio.Queue[Any]] = set()
        self._server: Server | None = None

    @property
    def address(self) -> str:
        """Where it serves, as host:port."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Serve; on the same port as before, if it served before."""
        servicers: list[tuple[AddServicer, Any]] = [
            (add_OperatorServicer_to_server, self),
            (add_SchedulerServicer_to_server, self),
        ]
        self._server = await start_server("127.0.0.1", self.port, servicers, [])
        self.port = self._server.port

    async def stop(self) -> None:
        """End all streams and the server."""
        for watcher in self._watchers:
            watcher.put_nowait(END)
        if self._server is not None:
            await self._server.stop(grace_seconds=0)
            self._server = None

    def publish(self, *changes: StateChange) -> None:
        """Tell whoever watches."""
        for watcher in self._watchers:
            watcher.put_nowait(changes)

    # ------------------------------------------------------------------------------------------------- services

    async def Watch(  # noqa: N802
        self,
        request: WatchRequest,
        context: Any,  # noqa: ARG002
    ) -> AsyncIterator[WatchResponse]:
        self._check_leading()
        self.watched.append(request)
        said: asyncio.Queue[Any] = asyncio.Queue()
        self._watchers.add(said)
        try:
            await self.before_snapshot()
            yield WatchResponse(changes=self.snapshot)
            while (changes := await said.get()) is not END:
                yield WatchResponse(changes=changes)
        finally:
            self._watchers.discard(said)

    async def Members(self, request: MembersRequest, context: Any) -> MembersResponse:  # noqa: N802
        self._check_leading()
        self._note_caller(request, context)
        if isinstance(self.members, MezzoError):
            raise self.members
        return self.members

    async def Subscribe(self, request: SubscribeRequest, context: Any) -> AsyncIterator[SubscribeResponse]:  # noqa: N802
        self._check_leading()
        self._note_caller(request, context)
        stream = Stream(request)
        self.on_subscribe(stream)
        self.streams.put_nowait(stream)
        try:
            async for response in stream.responses():
                yield response
        finally:
            stream.ended.set()

    async def CallStream(  # noqa: N802
        self,
        requests: AsyncIterator[CallStreamRequest],
        context: Any,  # noqa: ARG002
    ) -> AsyncIterator[CallStreamResponse]:
        self._check_leading()
        async for request in requests:
            await self.before_results()
            yield CallStreamResponse(results=[self._result(one.number, one.call) for one in request.calls])

    def _result(self, number: int, call: CallRequest) -> CallResult:
        answer = self._answer(call)
        if isinstance(answer, MezzoError):
            return CallResult(number=number, code=grpc_status(answer).value[0], message=str(answer))
        return CallResult(number=number)

    async def Call(self, request: Any, context: Any) -> Any:  # noqa: N802  both services have one
        self._check_leading()
        self._note_caller(request, context)
        if isinstance(request, OperatorCallRequest):
            self.operator_calls.append(request.call)
            await self.before_results()
            response = self.on_operator_call(request.call)
            if isinstance(response, MezzoError):
                raise response
            return OperatorCallResponse(response=response)
        answer = self._answer(request)
        if isinstance(answer, MezzoError):
            raise answer
        return answer or CallResponse()

    async def KillTask(self, request: KillTaskRequest, context: Any) -> KillTaskResponse:  # noqa: N802
        self._note_caller(request, context)
        self.killed.append(request)
        error = self.on_kill(request)
        if error is not None:
            raise error
        return KillTaskResponse()

    async def Explain(self, request: ExplainRequest, context: Any) -> ExplainResponse:  # noqa: N802
        self._check_leading()
        self._note_caller(request, context)
        self.asked_to_explain.append(request)
        answer = self.on_explain(request)
        if isinstance(answer, MezzoError):
            raise answer
        return answer

    def _answer(self, call: CallRequest) -> CallResponse | MezzoError | None:
        self.calls.append(call)
        return self.on_call(call)

    def _check_leading(self) -> None:
        if self.leader is not None:
            self.refused_to_lead.set()
            raise NotLeading(self.leader)

    def _note_caller(self, request: Any, context: Any) -> None:
        self.principals.append(request.principal)
        metadata = dict(context.invocation_metadata())
        if "x-correlation-id" in metadata:
            self.correlation_ids.append(metadata["x-correlation-id"])


async def at_once() -> None:
    """What a registry waits for before it tells the results of calls."""


def no_such_call(call: OperatorCall) -> MezzoError:
    """What a registry says to a call that it does not know."""
    return Unimplemented(f"call {OperatorCall.Type.Name(call.type)} is not implemented")


def no_allocator(_: ExplainRequest) -> MezzoError:
    """What a registry says for whom nobody decides what is offered."""
    return Unavailable("no allocator is connected")


def greet(stream: Stream) -> None:
    """What a registry says to a framework that it takes in."""
    event = Event(type=Event.SUBSCRIBED)
    event.subscribed.framework_id.value = stream.request.call.framework_id.value or FRAMEWORK_ID
    event.subscribed.heartbeat_interval_seconds = 15.0
    event.subscribed.master_info.CopyFrom(master())
    stream.say(event, Event(type=Event.HEARTBEAT))


def refuse(message: str) -> Callable[[Stream], None]:
    """What a registry says to a framework that it does not take in."""

    def say(stream: Stream) -> None:
        event = Event(type=Event.ERROR)
        event.error.message = message
        stream.say(event)
        stream.end()

    return say
