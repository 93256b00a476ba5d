"""The session with the leading registry: its messages into the core, the core's cycles back to it."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import grpc

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.errors import Conflict, InvalidRequest, MezzoError, NotLeading, Unavailable
from mezzo_allocator.adapters.encoding import Encoder
from mezzo_allocator.adapters.explanation import explanation_message
from mezzo_allocator.core import events as ev
from mezzo_allocator.core import measures
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.metrics import AllocatorMetrics
from mezzo_allocator.shell.intake import Intake, Quarantine
from mezzo_chassis.lifecycle import freeze_gc
from mezzo_chassis.log import get_logger
from mezzo_chassis.log_level import LogLevel
from mezzo_chassis.outbox import Outbox, Overflow
from mezzo_chassis.rpc import EPOCH_KEY

SERVICE_NAME = wire.DESCRIPTOR.services_by_name["Allocator"].full_name
HEARTBEAT_SECONDS = 10.0
# A registry that has not taken this many responses is stuck; it is better off with a new session.
RESPONSES_MAX = 10_000

Context = grpc.aio.ServicerContext[Any, Any]

log = get_logger(__name__)


class SessionServicer:
    """Serves `mezzo.allocator.v1.Allocator`. There is one core, and one session at a time."""

    def __init__(self, core: Allocator, metrics: AllocatorMetrics, ready: wire.Ready, log_level: LogLevel) -> None:
        self._core = core
        self._log_level = log_level
        self._metrics = metrics
        self._ready = ready
        self._leading = False
        self._epoch = 0
        """The highest of the registries that have opened a session since this allocator leads."""
        self._quarantine = Quarantine()
        self._current: _Session | None = None

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the service. Responses are written as bytes: see `Encoder`."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Explain": grpc.unary_unary_rpc_method_handler(
                self.explain,
                request_deserializer=wire.ExplainRequest.FromString,
                response_serializer=wire.ExplainResponse.SerializeToString,
            ),
            "Session": grpc.stream_stream_rpc_method_handler(
                self.session, request_deserializer=wire.SessionRequest.FromString, response_serializer=None
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))

    def lead(self, *, leading: bool) -> None:
        """Says whether this allocator leads; one that no longer does ends its session."""
        self._leading = leading
        if not leading:
            # The election of registries may begin anew, too, before this one leads again.
            self._epoch = 0
            self.end_session(NotLeading(None))

    def end_session(self, why: Exception) -> None:
        """Ends the session, if there is one."""
        if self._current is not None:
            self._current.end(why)

    async def explain(self, request: wire.ExplainRequest, context: Context) -> wire.ExplainResponse:
        """Says why frameworks are offered what they are."""
        del context
        if not self._leading:
            raise NotLeading(None)
        if self._current is None:
            raise Unavailable("no registry has described its cluster yet")
        response = wire.ExplainResponse()
        for each in self._core.explain(request.framework_id, request.role, request.agent_id):
            response.explanations.append(explanation_message(each, time.monotonic()))
            await asyncio.sleep(0)  # each costs a look at all agents; cycles go on in between
        return response

    async def session(
        self,
        requests: AsyncIterator[wire.SessionRequest],
        context: grpc.aio.ServicerContext[wire.SessionRequest, bytes],
    ) -> AsyncIterator[bytes]:
        """Answers one session until either side ends it."""
        if not self._leading:
            raise NotLeading(None)
        epoch = _epoch_of(context)
        if epoch < self._epoch:
            # A registry that was stopped, or is cut off from ZooKeeper, takes itself for the leader for a while.
            raise Conflict(f"a registry that was elected later has had a session (epoch {self._epoch}, not {epoch})")
        self._epoch = epoch
        self.end_session(Conflict("another session has begun"))
        session = self._current = _Session(
            self._core, self._metrics, self._ready, self._log_level, Intake(self._core, self._metrics, self._quarantine)
        )
        self._metrics.sessions.inc()
        reader = asyncio.create_task(session.guard(session.read(requests)), name="read session")
        driver = asyncio.create_task(session.guard(session.drive()), name="drive cycles")
        try:
            async for batch in session.outbox:
                for response in batch:
                    yield response
            if session.failure is not None:
                raise session.failure
        except Overflow as overflow:
            raise Conflict(f"the registry does not keep up: {overflow}") from overflow
        finally:
            for task in (reader, driver):
                task.cancel()
            # Before anything is awaited: a registry that dies ends its stream and cancels it, and the second may come
            # upon us here.
            if self._current is session:
                self._current = None
                self._core.handle(ev.SessionBegun(""), now=time.monotonic())
                gc.unfreeze()
            log.info("session ended", why=str(session.failure or "the registry left"))
            await asyncio.gather(reader, driver, return_exceptions=True)


def _epoch_of(context: grpc.aio.ServicerContext[wire.SessionRequest, bytes]) -> int:
    """The number of the registry's term; 0 for one that leads without an election."""
    text = dict(context.invocation_metadata() or ()).get(EPOCH_KEY, "0")
    try:
        return int(text)
    except ValueError:
        raise InvalidRequest(EPOCH_KEY, "must be a whole number") from None


class _Session:
    """One session. Only the newest one talks to the core."""

    def __init__(
        self, core: Allocator, metrics: AllocatorMetrics, ready: wire.Ready, log_level: LogLevel, intake: Intake
    ) -> None:
        self.outbox: Outbox[bytes] = Outbox(RESPONSES_MAX, peer="registry")
        self.failure: Exception | None = None
        self._core = core
        self._metrics = metrics
        self._ready = ready
        self._log_level = log_level
        self._intake = intake
        self._encoder = Encoder()
        self._changed = asyncio.Event()
        self._changed_at: float | None = None
        self._reported_at = 0.0

    def end(self, why: Exception | None = None) -> None:
        """Ends the session once what waits has been sent."""
        self.failure = self.failure or why
        self.outbox.close()

    async def guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Does a part of the session's work; where it fails, the session ends, and the registry begins a new one."""
        try:
            await work
        except Exception as error:
            log.warning("session fails", why=str(error), exc_info=not isinstance(error, MezzoError))
            self.end(error)

    async def read(self, requests: AsyncIterator[wire.SessionRequest]) -> None:
        """Applies the messages of the registry until it closes the stream."""
        async for request in requests:
            if self.outbox.closed:
                return
            now = time.monotonic()
            for message in request.messages:
                self._apply(message, now)
            if self._core.pending:
                self._changed_at = self._changed_at or now
                self._changed.set()
        self.end()

    def _apply(self, message: wire.RegistryMessage, now: float) -> None:
        if message.HasField("set_logging_level"):
            asked = message.set_logging_level
            self._log_level.raise_to(asked.level, asked.duration_seconds)
            return
        for effect in self._intake.apply(message, now):
            if isinstance(effect, ev.Ready):
                self._send(wire.AllocatorMessage(ready=self._ready))
                freeze_gc()
                log.info("snapshot taken in")

    def _send(self, message: wire.AllocatorMessage) -> None:
        self.outbox.put(wire.SessionResponse(messages=[message]).SerializeToString())

    async def drive(self) -> None:
        """Runs a cycle after each change, when a refusal ends, and once per interval."""
        interval = self._core.policy.allocation_interval_seconds
        next_pass = time.monotonic() + interval
        next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
        while not self.outbox.closed:
            wake_at = self._core.wake_at()
            deadline = min(next_pass, next_heartbeat, wake_at if wake_at is not None else next_pass)
            await self._wait(deadline)
            now = time.monotonic()
            if now >= next_heartbeat:
                self._send(wire.AllocatorMessage(heartbeat=wire.Heartbeat()))
                next_heartbeat = now + HEARTBEAT_SECONDS
            if now >= next_pass:
                self._core.handle(ev.FullPassWanted(), now=now)
                next_pass = now + interval
            if self._core.pending or (wake_at is not None and now >= wake_at):
                spent = self._cycle(now)
                # Leave at least as much of the event loop to everything else.
                await asyncio.sleep(spent)

    async def _wait(self, deadline: float) -> None:
        if not self._core.pending:
            self._changed.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _cycle(self, now: float) -> float:
        """Runs a cycle and sends its outcome; returns how many seconds that took."""
        started = time.perf_counter()
        changed_at, self._changed_at = self._changed_at, None
        effects = self._core.handle(ev.CycleStarted(), now=now)
        decided = time.perf_counter()
        for effect in effects:
            if not isinstance(effect, ev.Allocated):
                continue
            cycle = wire.Cycle(
                number=effect.number,
                duration_seconds=decided - started,
                latency_seconds=time.monotonic() - changed_at if changed_at is not None else 0.0,
                agents_considered=effect.agents_considered,
            )
            self._metrics.count_cycle(cycle, effect)
            report = now - self._reported_at >= self._core.policy.allocation_interval_seconds
            if report:
                self._reported_at = now
                cycle.active_filters.update(measures.active_filters(self._core.state))
                cycle.dominant_shares.update(measures.dominant_shares(self._core.state))
            if effect.allocations or effect.inverse or report:
                self.outbox.put_all(self._encoder.cycle(effect.allocations, cycle, effect.inverse))
        return time.perf_counter() - started
