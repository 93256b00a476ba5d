"""Peers of a registry that serves: an allocator, agents and frameworks that a test plays over gRPC."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.agent.v1 import agent_session_pb2_grpc
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.allocator.v1 import allocator_pb2_grpc
from mezzo.resources import parse
from mezzo.scheduler.v1 import scheduler_pb2 as service
from mezzo.scheduler.v1 import scheduler_pb2_grpc
from mezzo_chassis.rpc import EPOCH_KEY

Call = scheduler.Call
PATIENCE_SECONDS = 20.0
"""How long a test waits for what has to come."""


class PlayedAllocator(allocator_pb2_grpc.AllocatorServicer):
    """Offers every agent's whole resources to the newest framework, as soon as there are both."""

    def __init__(self) -> None:
        self.received: list[allocator.RegistryMessage] = []
        self._more = asyncio.Condition()
        self.sessions = 0
        self.epochs: list[str] = []
        """The epoch of the registry of each session, as it was sent."""
        self.explain_requests: list[allocator.ExplainRequest] = []
        """What it was asked to explain."""
        self.explanations = allocator.ExplainResponse()
        self.refuses: tuple[grpc.StatusCode, str] | None = None
        """How it refuses to explain."""

    async def Session(  # noqa: N802  what the proto calls it
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[allocator.SessionResponse]:
        """One session."""
        async with self._more:
            self.sessions += 1
            self._more.notify_all()
        self.epochs.append(dict(context.invocation_metadata())[EPOCH_KEY])
        agents: dict[int, list[mesos.Resource]] = {}
        framework = 0
        async for request in request_iterator:
            async with self._more:
                self.received.extend(request.messages)
                self._more.notify_all()
            answer = allocator.AllocatorMessage()
            for message in request.messages:
                if message.HasField("agent_update") and message.agent_update.active:
                    agents[message.agent_update.agent] = list(message.agent_update.total)
                elif message.HasField("framework_update"):
                    framework = message.framework_update.framework
            if framework and agents:
                for number, resources in agents.items():
                    answer.allocations.allocations.add(framework=framework, agent=number, role="*", resources=resources)
                answer.allocations.cycle.number = 1
                agents.clear()
                yield allocator.SessionResponse(messages=[answer])

    async def begun(self, sessions: int) -> None:
        """Wait until so many sessions have begun, whatever comes of them."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._more:
            await self._more.wait_for(lambda: self.sessions >= sessions)

    async def described(self, sessions: int = 1) -> None:
        """Wait until so many sessions have begun with a snapshot of the whole cluster."""

        def ends() -> int:
            return sum(one.HasField("snapshot_end") for one in self.received)

        async with asyncio.timeout(PATIENCE_SECONDS), self._more:
            await self._more.wait_for(lambda: ends() >= sessions)

    async def logging_level_requests(self, count: int) -> list[allocator.SetLoggingLevel]:
        """The first `count` requests for another log level, once they have come."""

        def requests() -> list[allocator.SetLoggingLevel]:
            return [one.set_logging_level for one in self.received if one.HasField("set_logging_level")]

        async with asyncio.timeout(PATIENCE_SECONDS), self._more:
            await self._more.wait_for(lambda: len(requests()) >= count)
        return requests()[:count]

    async def Explain(  # noqa: N802  what the proto calls it
        self, request: allocator.ExplainRequest, context: Any
    ) -> allocator.ExplainResponse:
        """The reasons that the test gave it."""
        self.explain_requests.append(request)
        if self.refuses is not None:
            await context.abort(*self.refuses)
        return self.explanations


class PlayedAgent:
    """One agent's session."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._outbox: asyncio.Queue[agent_session.AgentMessage | None] = asyncio.Queue()
        self._inbox: asyncio.Queue[agent_session.RegistryMessage | None] = asyncio.Queue()
        self._call = agent_session_pb2_grpc.AgentSessionStub(channel).Connect(self._requests())
        self._reader = asyncio.create_task(self._read())
        self.id = ""

    async def _requests(self) -> AsyncIterator[agent_session.ConnectRequest]:
        while (message := await self._outbox.get()) is not None:
            yield agent_session.ConnectRequest(messages=[message])

    async def _read(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):  # `ended` tells how
            async for response in self._call:
                for message in response.messages:
                    self._inbox.put_nowait(message)
        self._inbox.put_nowait(None)

    def send(self, message: agent_session.AgentMessage) -> None:
        """Send a message."""
        self._outbox.put_nowait(message)

    async def receive(self, kind: str) -> Any:
        """The next message of a kind; others are passed over.

        Raises:
            ConnectionError: the session ended first.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                message = await self._inbox.get()
                if message is None:
                    raise ConnectionError(await self.details())
                if message.HasField(kind):  # type: ignore[arg-type]
                    return getattr(message, kind)

    async def register(self, resources: str = "cpus:4;mem:1024", agent_id: str = "") -> None:
        """Open the session."""
        register = agent_session.Register(version="0.1.0", pid="slave(1)@127.0.0.1:5051")
        register.agent_info.hostname = "node"
        register.agent_info.id.value = agent_id
        register.total_resources.extend(parse(resources).messages())
        register.agent_info.resources.extend(register.total_resources)
        self.send(agent_session.AgentMessage(register=register))

    async def update(self, run: agent_session.RunTask, state: str) -> bytes:
        """Send an update of a task that it was sent. Returns its uuid."""
        update = agent_session.TaskUpdate()
        update.framework_id.CopyFrom(run.framework_id)
        update.status.task_id.CopyFrom(run.task.task_id)
        update.status.agent_id.CopyFrom(run.task.agent_id)
        update.status.state = mesos.TaskState.Value(state)
        update.status.uuid = state.encode().ljust(16, b"\0")
        self.send(agent_session.AgentMessage(task_update=update))
        return update.status.uuid

    async def end(self) -> grpc.StatusCode:
        """End the session from this side. Returns how it ended."""
        self._outbox.put_nowait(None)
        return await self.ended()

    async def ended(self) -> grpc.StatusCode:
        """How the stream ended; waits for that."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            code = await self._call.code()
            await asyncio.gather(self._reader, return_exceptions=True)
            assert isinstance(code, grpc.StatusCode)
            return code

    def details(self) -> Awaitable[str]:
        """What the status says."""
        return self._call.details()


class PlayedFramework:
    """One framework's subscription and calls."""

    def __init__(self, channel: grpc.aio.Channel, info: mesos.FrameworkInfo | None = None) -> None:
        self._stub = scheduler_pb2_grpc.SchedulerStub(channel)
        call = Call(type=Call.SUBSCRIBE)
        call.subscribe.framework_info.CopyFrom(info or mesos.FrameworkInfo(user="root", name="test"))
        if call.subscribe.framework_info.HasField("id"):
            call.framework_id.CopyFrom(call.subscribe.framework_info.id)
        self._call = self._stub.Subscribe(service.SubscribeRequest(call=call))
        self._inbox: asyncio.Queue[scheduler.Event | None] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())
        self.stream_id = ""
        self.id = ""

    async def _read(self) -> None:
        try:
            async for response in self._call:
                self.stream_id = response.stream_id or self.stream_id
                for event in response.events:
                    self._inbox.put_nowait(event)
        finally:
            self._inbox.put_nowait(None)

    async def receive(self, kind: str) -> Any:
        """The next event of a kind; others are passed over.

        Raises:
            ConnectionError: the stream ended first.
        """
        wanted = scheduler.Event.Type.Value(kind)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                event = await self._inbox.get()
                if event is None:
                    raise ConnectionError(await self._call.details())
                if event.type == wanted:
                    return event

    async def subscribed(self) -> None:
        """Wait until it is subscribed."""
        event = await self.receive("SUBSCRIBED")
        self.id = event.subscribed.framework_id.value

    def request(self, call: scheduler.Call, stream_id: str | None = None) -> service.CallRequest:
        """A call in its envelope."""
        call.framework_id.value = self.id
        return service.CallRequest(stream_id=self.stream_id if stream_id is None else stream_id, call=call)

    async def call(self, call: scheduler.Call, stream_id: str | None = None) -> None:
        """Make one call."""
        await self._stub.Call(self.request(call, stream_id), timeout=PATIENCE_SECONDS)

    async def call_many(self, calls: list[scheduler.Call], correlation_id: str = "") -> list[service.CallResult]:
        """On a CallStream, in one request."""

        async def requests() -> AsyncIterator[service.CallStreamRequest]:
            numbered = [
                service.NumberedCall(number=number, call=self.request(call), correlation_id=correlation_id)
                for number, call in enumerate(calls)
            ]
            yield service.CallStreamRequest(calls=numbered)

        results: list[service.CallResult] = []
        async for response in self._stub.CallStream(requests(), timeout=PATIENCE_SECONDS):
            results.extend(response.results)
        return results

    def acknowledge(self, status: mesos.TaskStatus) -> scheduler.Call:
        """The acknowledgement of an update."""
        call = Call(type=Call.ACKNOWLEDGE)
        call.acknowledge.agent_id.CopyFrom(status.agent_id)
        call.acknowledge.task_id.CopyFrom(status.task_id)
        call.acknowledge.uuid = status.uuid
        return call

    def launch(self, offer: mesos.Offer, *names: str) -> scheduler.Call:
        """An acceptance of an offer, with some small tasks."""
        call = Call(type=Call.ACCEPT)
        call.accept.offer_ids.append(offer.id)
        operation = call.accept.operations.add(type=mesos.Offer.Operation.LAUNCH)
        for name in names:
            task = operation.launch.task_infos.add(name=name)
            task.task_id.value = name
            task.agent_id.CopyFrom(offer.agent_id)
            task.command.value = "true"
            task.resources.extend(parse("cpus:0.1;mem:32").messages())
        return call

    async def ended(self) -> grpc.StatusCode:
        """How the stream ended; waits for that."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(self._reader, return_exceptions=True)
            code = await self._call.code()
            assert isinstance(code, grpc.StatusCode)
            return code

    def cancel(self) -> None:
        """Break the stream."""
        self._call.cancel()
