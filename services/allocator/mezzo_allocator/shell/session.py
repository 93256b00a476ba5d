"""The session with the leading registry: its messages into the core, the core's cycles back to it."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.errors import AlreadyExists, Conflict, InvalidRequest, MezzoError, NotLeading, Unavailable
from mezzo_allocator.adapters.encoding import Encoder
from mezzo_allocator.adapters.explanation import explanation_message
from mezzo_allocator.core import events as ev
from mezzo_allocator.core import measures
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.metrics import AllocatorMetrics
from mezzo_allocator.shell.intake import Decided, Effect, Event, Intake, Withheld, new_quarantine, suspect_of
from mezzo_chassis.defect import Defect
from mezzo_chassis.engine import Engine
from mezzo_chassis.lifecycle import freeze_gc
from mezzo_chassis.log import get_logger
from mezzo_chassis.log_level import LogLevel
from mezzo_chassis.log_throttle import LogThrottle
from mezzo_chassis.outbox import Outbox, Overflow
from mezzo_chassis.pace import Pace
from mezzo_chassis.quarantine import Entry, Quarantine
from mezzo_chassis.rpc import EPOCH_KEY, REGISTRY_KEY

SERVICE_NAME = wire.DESCRIPTOR.services_by_name["Allocator"].full_name
HEARTBEAT_SECONDS = 10.0
CYCLES_AT_ONCE = 20
CYCLES_PER_SECOND = 10
CYCLES_PAUSE_SECONDS = 0.02
"""A change is answered by a cycle of its own while changes are few. When there are more at once, and more a second,
they are collected for so long: what is offered is the same, and costs allocator, registry and gateway less."""
# A registry that has not taken this many responses is stuck; it is better off with a new session.
RESPONSES_MAX = 10_000
ADDRESS_CHARACTERS_MAX = 300

Context = grpc.aio.ServicerContext[Any, Any]

log = get_logger(__name__)


class SessionServicer:
    """Serves `mezzo.allocator.v1.Allocator`. There is one core, and one session at a time."""

    def __init__(
        self,
        core: Allocator,
        metrics: AllocatorMetrics,
        ready: wire.Ready,
        log_level: LogLevel,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now`: seconds on a clock that never goes back, for the core and for what is to happen later."""
        self._core = core
        self._now = now
        self._log_level = log_level
        self._metrics = metrics
        self._ready = ready
        self._leading = False
        self._epoch = 0
        """The highest of the registries that have opened a session since this allocator leads."""
        self._quarantine = new_quarantine()
        self._sessions = 0
        """How many have begun."""
        self._current: _Session | None = None
        self._refusals = LogThrottle()

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
            response.explanations.append(explanation_message(each, self._now()))
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
        registry = _registry_of(context)
        if epoch == self._epoch:
            self._refuse_second(registry)
        self._epoch = epoch
        self.end_session(Conflict("another session has begun"))
        self._sessions += 1
        session = self._current = _Session(
            self._core,
            self._metrics,
            self._ready,
            self._log_level,
            self._quarantine,
            f"session-{self._sessions}",
            self._now,
            registry,
        )
        self._metrics.sessions.inc()
        log.info("session opened", registry=registry)
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
            session.end()
            # Before anything is awaited: a registry that dies ends its stream and cancels it, and the second may come
            # upon us here.
            if self._current is session:
                self._current = None
                self._core.handle(ev.SessionBegun(""), now=self._now())
                gc.unfreeze()
            log.info("session ended", registry=registry, reason=str(session.failure or "the registry closed it"))
            await asyncio.gather(reader, driver, return_exceptions=True)

    def _refuse_second(self, registry: str) -> None:
        """Raises AlreadyExists while another registry, which no election has replaced, has the session.

        One that comes back from the same address has left its old session, though nobody may have said so yet.
        """
        current = self._current
        if current is None or current.outbox.closed or current.registry == registry:
            return
        if self._refusals.due(registry):
            log.warning("second registry refused", registry=registry, session_with=current.registry)
        raise AlreadyExists(
            f"registry {current.registry} has a session with this allocator; registry {registry} is refused, because "
            "an allocator serves one registry, and without an election (--zk) nobody says which"
        )


def _registry_of(context: grpc.aio.ServicerContext[wire.SessionRequest, bytes]) -> str:
    """Which registry calls: `host:port` as it says, and the IP address that it calls from."""
    said = str(dict(context.invocation_metadata() or ()).get(REGISTRY_KEY, "")) or "without an address"
    calls_from = context.peer().rpartition(":")[0].partition(":")[2]
    return f"{said[:ADDRESS_CHARACTERS_MAX]} ({calls_from})"


def _epoch_of(context: grpc.aio.ServicerContext[wire.SessionRequest, bytes]) -> int:
    """The number of the registry's term; 0 for one that leads without an election."""
    text = dict(context.invocation_metadata() or ()).get(EPOCH_KEY, "0")
    try:
        return int(text)
    except ValueError:
        raise InvalidRequest(EPOCH_KEY, "must be a whole number") from None


class _Session:
    """One session: the incarnation of the core. Only the newest one talks to it."""

    def __init__(
        self,
        core: Allocator,
        metrics: AllocatorMetrics,
        ready: wire.Ready,
        log_level: LogLevel,
        quarantine: Quarantine,
        name: str,
        now: Callable[[], float],
        registry: str,
    ) -> None:
        self.registry = registry
        """Whose session it is."""
        self.outbox: Outbox[bytes] = Outbox(RESPONSES_MAX, peer="registry")
        self.failure: Exception | None = None
        self._core = core
        self._now = now
        self._metrics = metrics
        self._ready = ready
        self._log_level = log_level
        self._encoder = Encoder()
        self._engine: Engine[Event, Effect] = Engine(
            Intake(core, metrics),
            {ev.Ready: self._send_ready, Decided: self._send_decided},
            name=name,
            metrics=metrics.engine,
            timer_fired=_no_timers,
            suspect_of=suspect_of,
            quarantine=quarantine,
            substitute=self._withhold,
            now=now,
        )
        self._engine.ended.add_done_callback(self._engine_ended)
        self._changed = asyncio.Event()
        self._changed_at: float | None = None
        self._reported_at = 0.0
        self._renew_at = math.inf
        """When another session is to be begun, since what was withheld from this one is to be tried again."""

    def end(self, why: Exception | None = None) -> None:
        """Ends the session once what waits has been sent."""
        self.failure = self.failure or why
        self.outbox.close()
        self._engine.end(why or Unavailable("the registry left"))

    def _engine_ended(self, ended: asyncio.Future[Exception]) -> None:
        """A defect ends the session; the registry begins a new one, with a snapshot."""
        why = ended.result()
        if isinstance(why, Defect):
            self.failure = self.failure or (why.error if isinstance(why.error, Exception) else why)
            self.outbox.close()

    def _withhold(self, event: Event, entry: Entry) -> Event | None:
        self._renew_at = min(self._renew_at, entry.until)
        return Withheld(event) if isinstance(event, wire.RegistryMessage) else None

    async def guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Does a part of the session's work; where it fails, the session ends, and the registry begins a new one."""
        try:
            await work
        except Exception as error:
            if not self._engine.ended.done():  # else that has been told
                log.warning("session failed", error=str(error), exc_info=not isinstance(error, MezzoError))
                self.end(error)

    async def read(self, requests: AsyncIterator[wire.SessionRequest]) -> None:
        """Has the messages of the registry handled until it closes the stream; reads no faster than they are."""
        async for request in requests:
            if self.outbox.closed:
                return
            now = self._now()
            for message in request.messages:
                if message.HasField("set_logging_level"):
                    asked = message.set_logging_level
                    self._log_level.raise_to(asked.level, asked.duration_seconds)
                else:
                    self._engine.post(message, message.cause)
            await self._engine.drain()
            if self._core.pending:
                self._changed_at = self._changed_at or now
                self._changed.set()
        self.end()

    def _send_ready(self, _effect: ev.Ready) -> None:
        self._send(wire.AllocatorMessage(ready=self._ready, cause=self._engine.cause))
        freeze_gc()
        log.info("snapshot applied")

    def _send(self, message: wire.AllocatorMessage) -> None:
        self.outbox.put(wire.SessionResponse(messages=[message]).SerializeToString())

    async def drive(self) -> None:
        """Runs a cycle after each change, when a refusal ends, and once per interval."""
        interval = self._core.policy.allocation_interval_seconds
        next_pass = self._now() + interval
        next_heartbeat = self._now() + HEARTBEAT_SECONDS
        pace = Pace(
            burst=CYCLES_AT_ONCE, per_second=CYCLES_PER_SECOND, pause_seconds=CYCLES_PAUSE_SECONDS, clock=self._now
        )
        while not self.outbox.closed:
            wake_at = self._core.wake_at()
            deadline = min(next_pass, next_heartbeat, wake_at if wake_at is not None else next_pass)
            await self._wait(deadline)
            now = self._now()
            if now >= self._renew_at:
                self.end(Unavailable("a snapshot is needed, to try again what was withheld from this session"))
                return
            if now >= next_heartbeat:
                self._send(wire.AllocatorMessage(heartbeat=wire.Heartbeat()))
                next_heartbeat = now + HEARTBEAT_SECONDS
            if now >= next_pass:
                await self._engine.request(ev.FullPassWanted())
                next_pass = now + interval
            if self._core.pending or (wake_at is not None and now >= wake_at):
                started = time.perf_counter()
                await self._engine.request(ev.CycleStarted())
                pause = 0.0 if self._core.pending else pace.pause()
                # Leave at least as much of the event loop to everything else.
                await asyncio.sleep(max(pause, time.perf_counter() - started))

    async def _wait(self, deadline: float) -> None:
        if not self._core.pending:
            self._changed.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - self._now())):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _send_decided(self, effect: Decided) -> None:
        now, outcome = self._now(), effect.outcome
        changed_at, self._changed_at = self._changed_at, None
        cycle = wire.Cycle(
            number=outcome.number,
            duration_seconds=effect.seconds,
            latency_seconds=now - changed_at if changed_at is not None else 0.0,
            agents_considered=outcome.agents_considered,
        )
        self._metrics.count_cycle(cycle, outcome)
        report = now - self._reported_at >= self._core.policy.allocation_interval_seconds
        if report:
            self._reported_at = now
            cycle.active_filters.update(measures.active_filters(self._core.state))
            cycle.dominant_shares.update(measures.dominant_shares(self._core.state))
        if outcome.allocations or outcome.inverse or report:
            self.outbox.put_all(
                self._encoder.cycle(outcome.allocations, cycle, outcome.inverse, cause=self._engine.cause)
            )


def _no_timers(key: object) -> Event:
    raise TypeError(f"a session starts no timers: {key}")
