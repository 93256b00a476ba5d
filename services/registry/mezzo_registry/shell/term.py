"""One term of leadership: the core, and the loop that hands it events and carries out what it orders.

Events wait in an inbox. A turn takes a bounded number of them, calls the core once for each, and puts what it orders
into the streams; each stream's writer then sends everything that waits as one message. What is to be stored is written
as one transaction per turn, and only afterwards do the events come back that depend on it.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from typing import Any

from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.errors import MezzoError, NotLeading, Unavailable
from mezzo_chassis.log import get_logger
from mezzo_chassis.pauses import PauseDetector
from mezzo_registry.core import Registry, effects, events
from mezzo_registry.metrics import RegistryMetrics
from mezzo_registry.ports import Store
from mezzo_registry.shell.streams import Stream, Watcher

EVENTS_PER_TURN_MAX = 512
GROUPS_PER_WRITE_MAX = 500
HEARTBEAT_SLOTS = 16
"""Heartbeats of different streams are spread over so many moments of the interval."""

log = get_logger(__name__)


Refusals = dict[int, MezzoError]
"""By request: why calls were refused."""
Explain = Callable[[allocator.ExplainRequest], Awaitable[allocator.ExplainResponse]]
"""Asks the allocator of a session for its reasons."""


class Barrier:
    """Stands in the inbox behind some calls, and opens with the refusals among them when all have been handled."""

    __slots__ = ("opened",)

    def __init__(self) -> None:
        self.opened: asyncio.Future[Refusals] = asyncio.get_running_loop().create_future()


class Term:
    """A registry that leads, from its election until it is deposed."""

    def __init__(
        self, core: Registry, store: Store, metrics: RegistryMetrics, pauses: PauseDetector | None = None
    ) -> None:
        """With `pauses`, the term ends when the process was paused: another may have been elected meanwhile."""
        self.core = core
        self._pauses = pauses
        self._store = store
        self._metrics = metrics
        self._inbox: deque[events.Event | Barrier] = deque()
        self._turn_waits = False
        # Of nobody's request: a turn is not that of whoever woke it.
        self._context = Context()
        self._handled: events.Event | None = None
        self._timers: dict[events.Timer, asyncio.TimerHandle] = {}
        self._numbers = itertools.count(1)
        self._refusals: dict[int, MezzoError] = {}
        self._answers: dict[int, asyncio.Future[master.Response | None]] = {}
        """The calls of operators that have not been answered yet, by request."""
        self._agents: dict[int, Stream[agent_session.RegistryMessage]] = {}
        self._frameworks: dict[str, Stream[scheduler.Event]] = {}
        self._watchers: dict[int, Watcher] = {}
        self._allocator: Stream[allocator.RegistryMessage] | None = None
        self._explain: Explain | None = None
        self._to_store: deque[effects.Persist] = deque()
        self._store_wake = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._barriers: set[Barrier] = set()
        self._carry_out: dict[type, Callable[[Any], None]] = {
            effects.SendToAgent: self._send_to_agent,
            effects.CloseAgentSession: self._close_agent_session,
            effects.SendToFramework: self._send_to_framework,
            effects.CloseFrameworkStream: self._close_framework_stream,
            effects.SendToAllocator: self._send_to_allocator,
            effects.Publish: self._publish,
            effects.PublishSnapshot: self._publish_snapshot,
            effects.Persist: self._persist,
            effects.StartTimer: self._start_timer,
            effects.CancelTimer: self._cancel_timer,
            effects.Answer: self._answer,
            effects.Refuse: self._refuse,
            effects.Note: self._note,
        }
        self.ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        """Set when the term is over, with why."""

    # --- the life of a term -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Lead until cancelled, or until the store says that another leads. Streams are closed at the end."""
        tasks = [
            asyncio.create_task(work)
            for work in (self._write_to_store(), self._beat_agents(), self._beat_frameworks(), self._look_for_pauses())
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def end(self, error: Exception) -> None:
        """The term is over: every stream ends with `error`, and nothing is done any longer."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._inbox.clear()
        for barrier in self._barriers:
            if not barrier.opened.done():
                barrier.opened.set_exception(error)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        for peers in (self._agents, self._frameworks, self._watchers):
            for peer in peers.values():
                peer.close(error)
        if self._allocator is not None:
            self._allocator.close(error)
        if not self.ended.done():
            self.ended.set_result(error)

    def suspend_writes(self) -> None:
        """The store cannot be reached, or somebody else may lead: what is to be stored waits."""
        self._may_write.clear()

    def resume_writes(self) -> None:
        """The store can be written again."""
        self._may_write.set()

    def measure(self, *, in_full: bool = False) -> dict[str, float]:
        """The core and the loop in numbers, by Mesos' names; with those of single frameworks and roles if `in_full`."""
        numbers = self.core.measure(now=time.time(), in_full=in_full)
        numbers.update(self._metrics.numbers(len(self._inbox), len(self._to_store)))
        if in_full:
            numbers.update(self._metrics.by_role())
        return numbers

    # --- events -------------------------------------------------------------------------------------------------------

    def number(self) -> int:
        """A number that names a session, request or observer of this term."""
        return next(self._numbers)

    def post(self, event: events.Event) -> None:
        """Queue an event for the core; nothing is waited for."""
        self._inbox.append(event)
        self._wake()

    def post_all(self, batch: Iterable[events.Event]) -> None:
        """Queue events for the core, in order; nothing is waited for."""
        self._inbox.extend(batch)
        self._wake()

    def _wake(self) -> None:
        """Take a turn as soon as what is ready now has been read, unless one waits already."""
        if not self._turn_waits and not self.ended.done():
            self._turn_waits = True
            asyncio.get_running_loop().call_soon(self._take_turn, context=self._context)

    async def request(self, event: events.Event, request: int) -> master.Response | None:
        """Post an operator's call, and return its answer; that may have to be stored first.

        Raises:
            MezzoError: the call was refused.
            NotLeading: the term has ended. Nobody knows whether the call took effect.
        """
        if self.ended.done():
            raise self.ended.result()
        answer: asyncio.Future[master.Response | None] = asyncio.get_running_loop().create_future()
        self._answers[request] = answer
        self.post(event)
        try:
            return await answer
        finally:
            del self._answers[request]

    async def admit(self, event: events.Event, request: int) -> None:
        """Hand the core a framework's call, and wait until it is admitted.

        Raises:
            MezzoError: the call was refused.
        """
        refused = await self.admit_all([event])
        if request in refused:
            raise refused[request]

    async def admit_all(self, calls: Sequence[events.Event]) -> Refusals:
        """Hand the core events, and wait until all are handled. Returns what was refused.

        Raises:
            NotLeading: the term has ended.
        """
        if self.ended.done():
            raise self.ended.result()
        barrier = Barrier()
        self._barriers.add(barrier)
        self._inbox.extend(calls)
        self._inbox.append(barrier)
        self._wake()
        try:
            return await barrier.opened
        finally:
            self._barriers.discard(barrier)

    def _take_turn(self) -> None:
        """Handle a bounded number of events; come back, after whatever else waits for the loop, if there are more."""
        started = time.perf_counter()
        inbox, handle, carry_out, now = self._inbox, self.core.handle, self._carry_out, time.time()
        count = min(len(inbox), EVENTS_PER_TURN_MAX)
        for _ in range(count):
            event = inbox.popleft()
            if isinstance(event, Barrier):
                self._open(event)
                continue
            if self._pauses is not None and self._pauses.overdue and self._was_paused(self._pauses):
                return
            self._handled = event
            try:
                for effect in handle(event, now=now):
                    carry_out[type(effect)](effect)
            except Exception as error:
                # A mistake in the core: nothing that it holds can be trusted, so another term begins from the store.
                log.exception("the core failed", core_event=type(event).__name__, why=str(error))
                self.end(NotLeading())
                return
        self._metrics.turns.took(count, time.perf_counter() - started)
        self._turn_waits = bool(inbox)
        if inbox:
            asyncio.get_running_loop().call_soon(self._take_turn, context=self._context)

    def _was_paused(self, pauses: PauseDetector) -> bool:
        """Whether this process was paused for too long. That ends the term; ZooKeeper says whether there is another."""
        seconds = pauses.check()
        if not seconds:
            return False
        log.warning("the process was paused; the term ends, since another may lead by now", paused_seconds=seconds)
        self.end(NotLeading())
        return True

    def _open(self, barrier: Barrier) -> None:
        """Nothing but the calls before it was refused since the barrier before."""
        refusals, self._refusals = self._refusals, {}
        if not barrier.opened.done():
            barrier.opened.set_result(refusals)

    # --- effects ------------------------------------------------------------------------------------------------------

    def _send_to_agent(self, effect: effects.SendToAgent) -> None:
        stream = self._agents.get(effect.session)
        if stream is not None:
            stream.send(effect.message)

    def _close_agent_session(self, effect: effects.CloseAgentSession) -> None:
        stream = self._agents.get(effect.session)
        if stream is not None:
            stream.close(effect.error)

    def _send_to_framework(self, effect: effects.SendToFramework) -> None:
        stream = self._frameworks.get(effect.stream_id)
        if stream is not None:
            stream.send(effect.event)

    def _close_framework_stream(self, effect: effects.CloseFrameworkStream) -> None:
        stream = self._frameworks.get(effect.stream_id)
        if stream is not None:
            stream.close()

    def _send_to_allocator(self, effect: effects.SendToAllocator) -> None:
        if self._allocator is not None:
            self._allocator.send(effect.message)

    def _publish(self, effect: effects.Publish) -> None:
        for watcher in self._watchers.values():
            watcher.send(effect.change)

    def _publish_snapshot(self, effect: effects.PublishSnapshot) -> None:
        watcher = self._watchers.get(effect.observer)
        if watcher is not None:
            watcher.give(effect.changes, begins=effect.begins, more=effect.more)

    def _persist(self, effect: effects.Persist) -> None:
        self._to_store.append(effect)
        self._store_wake.set()

    def _start_timer(self, effect: effects.StartTimer) -> None:
        self._cancel(effect.timer)
        self._timers[effect.timer] = asyncio.get_running_loop().call_later(
            effect.after_seconds, self._timer_ran_out, effect.timer
        )

    def _cancel_timer(self, effect: effects.CancelTimer) -> None:
        self._cancel(effect.timer)

    def _cancel(self, timer: events.Timer) -> None:
        running = self._timers.pop(timer, None)
        if running is not None:
            running.cancel()

    def _timer_ran_out(self, timer: events.Timer) -> None:
        self._timers.pop(timer, None)
        self.post(events.TimerFired(timer))

    def _answer(self, effect: effects.Answer) -> None:
        answer = self._answers.get(effect.request)
        if answer is not None and not answer.done():
            answer.set_result(effect.response)

    def _refuse(self, effect: effects.Refuse) -> None:
        answer = self._answers.get(effect.request)
        if answer is None:
            self._refusals[effect.request] = effect.error
        elif not answer.done():
            answer.set_exception(effect.error)

    def _note(self, effect: effects.Note) -> None:
        asked: str = getattr(self._handled, "correlation_id", "")
        details = {**effect.details, "correlation_id": asked} if asked else effect.details
        getattr(log, effect.level)(effect.event, **details)

    # --- streams ------------------------------------------------------------------------------------------------------

    def open_agent(self, session: int, stream: Stream[agent_session.RegistryMessage]) -> None:
        """An agent's session begins."""
        self._agents[session] = stream

    def close_agent(self, session: int, reason: str) -> None:
        """An agent's session has ended."""
        if self._agents.pop(session, None) is not None:
            self.post(events.AgentDisconnected(session, reason))

    def open_framework(self, stream_id: str, stream: Stream[scheduler.Event]) -> None:
        """A framework's stream begins."""
        self._frameworks[stream_id] = stream

    def close_framework(self, stream_id: str) -> None:
        """A framework's stream has ended."""
        if self._frameworks.pop(stream_id, None) is not None:
            self.post(events.FrameworkStreamClosed(stream_id))

    def open_watcher(self, observer: int, watcher: Watcher) -> None:
        """An observer begins to watch."""
        self._watchers[observer] = watcher

    def close_watcher(self, observer: int) -> None:
        """An observer watches no longer."""
        if self._watchers.pop(observer, None) is not None:
            self.post(events.ObserverLeft(observer))

    def open_allocator(self, stream: Stream[allocator.RegistryMessage], explain: Explain) -> None:
        """A session with the allocator begins; `explain` asks that allocator."""
        self._allocator = stream
        self._explain = explain
        self.post(events.AllocatorConnected())

    def close_allocator(self) -> None:
        """The session with the allocator has ended, or never began."""
        if self._allocator is not None:
            self._allocator = None
            self._explain = None
            self.post(events.AllocatorDisconnected())

    def raise_allocators_verbosity(self, level: int, seconds: float) -> None:
        """Have the allocator log more for a while too; one that is not connected is not asked."""
        if self._allocator is not None:
            asked = allocator.SetLoggingLevel(level=level, duration_seconds=seconds)
            self._allocator.send(allocator.RegistryMessage(set_logging_level=asked))

    async def explain(self, request: allocator.ExplainRequest) -> allocator.ExplainResponse:
        """What the allocator says of why frameworks are offered what they are. The core has no part in it.

        Raises:
            Unavailable: there is no session with an allocator.
            MezzoError: the allocator refused to answer, or did not answer in time.
        """
        if self._explain is None:
            raise Unavailable("no allocator is connected to this registry; ask again when one leads")
        return await self._explain(request)

    # --- what goes on beside the turns --------------------------------------------------------------------------------

    async def _write_to_store(self) -> None:
        """Write what the core wants stored: everything that waits at once."""
        while True:
            await self._store_wake.wait()
            self._store_wake.clear()
            while self._to_store:
                await self._may_write.wait()
                taken = [self._to_store.popleft() for _ in range(min(len(self._to_store), GROUPS_PER_WRITE_MAX))]
                started = time.perf_counter()
                groups = [effect.writes for effect in taken]
                await self._store.write(groups)
                self._metrics.stored(groups, time.perf_counter() - started)
                self.post_all(effect.then for effect in taken if effect.then is not None)

    async def _look_for_pauses(self) -> None:
        if self._pauses is None:
            return
        while True:
            await asyncio.sleep(self._pauses.check_interval_seconds)
            if self._was_paused(self._pauses):
                return

    async def _beat_agents(self) -> None:
        heartbeat = agent_session.RegistryMessage(heartbeat=agent_session.Heartbeat())
        interval = self.core.settings.agent_ping_timeout
        for slot in itertools.cycle(range(HEARTBEAT_SLOTS)):
            await asyncio.sleep(interval / HEARTBEAT_SLOTS)
            for stream in self._agents.values():
                if stream.begun and stream.number % HEARTBEAT_SLOTS == slot:
                    if stream.quiet:
                        stream.send(heartbeat)
                    stream.quiet = True
            if slot == 0 and self._allocator is not None:
                self._allocator.send(allocator.RegistryMessage(heartbeat=allocator.Heartbeat()))

    async def _beat_frameworks(self) -> None:
        heartbeat = scheduler.Event(type=scheduler.Event.HEARTBEAT)
        interval = self.core.settings.scheduler_heartbeat_interval
        for slot in itertools.cycle(range(HEARTBEAT_SLOTS)):
            await asyncio.sleep(interval / HEARTBEAT_SLOTS)
            for stream_id, stream in self._frameworks.items():
                if stream.begun and stream.number % HEARTBEAT_SLOTS == slot:
                    stream.send(heartbeat)
                    self.core.heartbeat_sent(stream_id)
