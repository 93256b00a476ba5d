"""The session with the leading registry: found, held, and begun again as soon as it breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

import grpc

from mezzo.agent.v1 import agent_session_pb2 as messages
from mezzo.agent.v1 import agent_session_pb2_grpc as service
from mezzo.backoff import Backoff
from mezzo.errors import InternalError, MezzoError, NotLeading
from mezzo_agent.core.events import Event, RegistryMessageReceived, SessionClosed, SessionOpened
from mezzo_chassis import trace
from mezzo_chassis.leadership import LeaderDetector, Superseded, while_leading
from mezzo_chassis.leadership.latest_value import LatestValue
from mezzo_chassis.log import get_logger
from mezzo_chassis.log_throttle import LogThrottle
from mezzo_chassis.outbox import Outbox, Overflow
from mezzo_chassis.rpc import error_of, open_channel

RETRY_SECONDS_MIN = 0.1
REGISTRATION_TIMEOUT_SECONDS = 15.0
"""How long a registry may take to answer Register, and the silence allowed until it has said what it allows."""

FINISH_SECONDS_MAX = 2.0

log = get_logger(__name__)


class Events(Protocol):
    """What is needed of the engine."""

    def post(self, event: Event, cause: str = "") -> None: ...

    async def request(self, event: Event, cause: str = "") -> None: ...


class RegistrySession:
    """Keeps a stream to the leading registry for as long as it runs."""

    def __init__(self, detector: LeaderDetector, *, retry_seconds_max: float) -> None:
        self._detector = detector
        self._retry_seconds_max = retry_seconds_max
        self._outbox: Outbox[messages.AgentMessage] | None = None
        self._backoff = Backoff(RETRY_SECONDS_MIN, retry_seconds_max)
        self._log_throttle = LogThrottle()
        self.registered = LatestValue(value=False)
        """Whether a registry that leads knows this agent, now."""
        # Where another registry says that the leader is.
        self._hint: str | None = None
        # Whom the detector named last, and whom it named before: the former leader, of whom it knows better.
        self._named: str | None = None
        self._former: str | None = None
        self._finishing = False
        self._closed = asyncio.Event()

    def send(self, message: messages.AgentMessage) -> None:
        """Queue a message; lost without a stream, and the next snapshot makes it good."""
        if self._outbox is not None:
            self._outbox.put(message)
            trace.hop("sent", message)

    async def run(self, engine: Events) -> None:
        """Hold a session with the leading registry, one after the other, until cancelled."""
        while not self._finishing:
            address = self._hint or await self._leader()
            self._hint = None
            try:
                await while_leading(self._detector, address, self._run_stream(address, engine), named=self._named)
                log.info("registry session ended", registry=address)
            except Superseded as superseded:
                log.info("another registry leads", registry=address, leader=superseded.leader)
            except (MezzoError, grpc.aio.AioRpcError, Overflow, TimeoutError) as failure:
                error = error_of(failure) if isinstance(failure, grpc.aio.AioRpcError) else failure
                text = str(error) or type(error).__name__
                if self._log_throttle.due(f"{address} {text}"):
                    log.info("registry session broken", registry=address, error=text)
                if isinstance(error, NotLeading) and error.leader not in (None, address, self._former):
                    self._hint = error.leader
            finally:
                self._outbox = None
                self._closed.set()
                self.registered.set(False)
            with contextlib.suppress(InternalError):  # refused after a defect: the next SessionOpened makes it good
                await engine.request(SessionClosed())
            await self._pause(address)

    async def finish(self) -> None:
        """Send what is queued, and then end the stream; there will be no other."""
        self._finishing = True
        if self._outbox is not None:
            self._outbox.close()
            try:
                async with asyncio.timeout(FINISH_SECONDS_MAX):
                    await self._closed.wait()
            except TimeoutError:
                log.info("timed out closing the registry session")

    async def _leader(self) -> str:
        async for leader in self._detector.changes():
            if leader is not None:
                if leader.grpc_address != self._named:
                    self._former, self._named = self._named, leader.grpc_address
                return leader.grpc_address
        raise AssertionError("the leader detector ended")

    async def _pause(self, address: str) -> None:
        """Wait a little longer each time; but not a moment more once somebody else leads."""
        if self._hint is not None and self._backoff.attempts == 0:
            next(self._backoff)
            return
        try:
            async with asyncio.timeout(next(self._backoff)):
                async for leader in self._detector.changes():
                    if leader is not None and leader.grpc_address != address and self._hint is None:
                        return
        except TimeoutError:
            return

    async def _run_stream(self, address: str, engine: Events) -> None:
        async with open_channel(address) as channel:
            outbox: Outbox[messages.AgentMessage] = Outbox(peer="registry")
            self._outbox = outbox
            self._closed.clear()
            await engine.request(SessionOpened())  # the snapshot is in the outbox now
            call = service.AgentSessionStub(channel).Connect(_requests(outbox))
            try:
                await self._read(call, outbox, engine)
            finally:
                outbox.close()
                call.cancel()

    async def _read(
        self,
        call: grpc.aio.StreamStreamCall[messages.ConnectRequest, messages.ConnectResponse],
        outbox: Outbox[messages.AgentMessage],
        engine: Events,
    ) -> None:
        silence_max = REGISTRATION_TIMEOUT_SECONDS
        heartbeats: asyncio.Task[None] | None = None
        try:
            while True:
                async with asyncio.timeout(silence_max):
                    response = await _read_one(call)
                if response is None:
                    return
                for message in response.messages:
                    trace.hop("received", message)
                    event = RegistryMessageReceived(message)
                    if message.WhichOneof("message") != "registered":
                        engine.post(event, message.cause)
                        continue
                    self.registered.set(True)
                    await engine.request(event, message.cause)  # if that is refused, the session ends
                    if heartbeats is None:
                        silence_max = message.registered.heartbeat_timeout_seconds or silence_max
                        interval = message.registered.heartbeat_interval_seconds or silence_max / 5
                        heartbeats = asyncio.create_task(_heartbeats(outbox, interval))
                        self._backoff.reset()
                        self._log_throttle.reset()
                        log.info("registered", agent_id=message.registered.agent_id.value)
        finally:
            if heartbeats is not None:
                heartbeats.cancel()


async def _read_one(
    call: grpc.aio.StreamStreamCall[messages.ConnectRequest, messages.ConnectResponse],
) -> messages.ConnectResponse | None:
    """The next message; None at the end of the stream."""
    try:
        response = await call.read()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # gRPC cancels a call whose requests fail, and says no more.
        raise Overflow("the registry reads slower than the agent sends: the stream's queue is full") from None
    return response if isinstance(response, messages.ConnectResponse) else None


async def _requests(outbox: Outbox[messages.AgentMessage]) -> AsyncIterator[messages.ConnectRequest]:
    async for batch in outbox:
        yield messages.ConnectRequest(messages=batch)


async def _heartbeats(outbox: Outbox[messages.AgentMessage], interval_seconds: float) -> None:
    while True:
        await asyncio.sleep(interval_seconds)
        outbox.put(messages.AgentMessage(heartbeat=messages.Heartbeat()))
