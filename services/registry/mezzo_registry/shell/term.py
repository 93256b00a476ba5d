"""One term of leadership: the incarnation of the registry's core, from its election until it is deposed.

The engine hands the core its events. What the core orders is put into the streams; each stream's writer then sends
everything that waits as one message. What is to be stored is written in groups, and only afterwards do the events come
back that depend on it. A defect ends the term; the next one refuses whoever sent what was being handled.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.errors import MezzoError, NotLeading, Unavailable
from mezzo_chassis.engine import Engine
from mezzo_chassis.log import get_logger
from mezzo_chassis.pauses import PauseDetector
from mezzo_chassis.quarantine import Entry, Quarantine
from mezzo_registry.core import Registry, effects, events
from mezzo_registry.metrics import RegistryMetrics
from mezzo_registry.ports import Store
from mezzo_registry.shell import suspects
from mezzo_registry.shell.streams import EventStream, Stream, Watcher

GROUPS_PER_WRITE_MAX = 500
HEARTBEAT_SLOTS = 16
"""Heartbeats of different streams are spread over so many moments of the interval."""

log = get_logger(__name__)


Call = events.FrameworkSubscribing | events.FrameworkCalled
OperatorCall = events.OperatorCalled | events.OperatorKilledTask
Refusals = dict[int, MezzoError]
"""By request: why calls were refused."""
Explain = Callable[[allocator.ExplainRequest], Awaitable[allocator.ExplainResponse]]
"""Asks the allocator of a session for its reasons."""


class Term:
    """A registry that leads, from its election until it is deposed."""

    def __init__(
        self,
        core: Registry,
        store: Store,
        metrics: RegistryMetrics,
        pauses: PauseDetector | None = None,
        *,
        name: str = "term",
        quarantine: Quarantine | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """With `pauses`, the term ends when the process was paused: another may have been elected meanwhile.

        `name`: of this term, in causes and logs.
        `quarantine`: who is refused, since what they sent has ended earlier terms.
        `now`: seconds since the epoch.
        """
        self.core = core
        self._pauses = pauses
        self._store = store
        self._metrics = metrics
        self._now = now
        self._numbers = itertools.count(1)
        self._refusals: dict[int, Refusals] = {}
        """By request: where the refusal of a framework's call goes."""
        self._answers: dict[int, asyncio.Future[master.Response | None]] = {}
        """The calls of operators that have not been answered yet, by request."""
        self._agents: dict[int, Stream[agent_session.RegistryMessage]] = {}
        self._frameworks: dict[str, EventStream] = {}
        self._watchers: dict[int, Watcher] = {}
        self._allocator: Stream[allocator.RegistryMessage] | None = None
        self.allocator_refusal = ""
        """Why there is no session with the allocator, where it has said that it wants none with this registry."""
        self._explain: Explain | None = None
        self._peers = suspects.Peers()
        self._to_store: deque[tuple[effects.Persist, str]] = deque()
        """With the cause of each."""
        self._store_wake = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._turn_away: dict[type, Callable[[Any, Entry], None]] = {
            events.AgentRegistering: self._turn_away_agent,
            events.FrameworkSubscribing: self._turn_away_call,
            events.FrameworkCalled: self._turn_away_call,
            events.OperatorCalled: self._turn_away_call,
            events.OperatorKilledTask: self._turn_away_call,
            events.AllocatorConnected: self._turn_away_allocator,
            events.TimerFired: self._put_off_timer,
        }
        self._engine: Engine[events.Event, effects.Effect] = Engine(
            core,
            {
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
            },
            name=name,
            metrics=metrics.engine,
            timer_fired=events.TimerFired,
            suspect_of=self._peers.suspect_of,
            quarantine=quarantine or suspects.new_quarantine(),
            substitute=self._refuse_suspect,
            closed=NotLeading,
            may_continue=self._may_continue if pauses is not None else None,
            now=now,
        )
        self.ended = self._engine.ended
        """Set when the term is over, with why."""
        # A defect closes the streams at once, too.
        self.ended.add_done_callback(lambda _: self._close_streams(NotLeading()))

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
        self._close_streams(error)
        self._engine.end(error)

    def _close_streams(self, error: Exception) -> None:
        for peers in (self._agents, self._frameworks, self._watchers):
            for peer in peers.values():
                peer.close(error)
        if self._allocator is not None:
            self._allocator.close(error)

    def suspend_writes(self) -> None:
        """The store cannot be reached, or somebody else may lead: what is to be stored waits."""
        self._may_write.clear()

    def resume_writes(self) -> None:
        """The store can be written again."""
        self._may_write.set()

    def oldest_offer_seconds(self) -> float:
        """Return the age of the oldest outstanding offer; 0 when there is none."""
        return self.core.oldest_offer_seconds(now=self._now())

    def measure(self, *, in_full: bool = False) -> dict[str, float]:
        """The core and the loop in numbers, by Mesos' names; with those of single frameworks and roles if `in_full`."""
        numbers = self.core.measure(now=self._now(), in_full=in_full)
        numbers.update(self._metrics.numbers(self._engine.events_waiting, len(self._to_store)))
        if in_full:
            numbers.update(self._metrics.by_role())
        return numbers

    # --- events -------------------------------------------------------------------------------------------------------

    def number(self) -> int:
        """A number that names a session, request or observer of this term."""
        return next(self._numbers)

    def post(self, event: events.Event, cause: str = "") -> None:
        """Hand the core an event, in its turn. `cause` is what it follows from, where that is known."""
        self._engine.post(event, cause)

    def post_all(self, several: Iterable[events.Event], cause: str = "") -> None:
        """Hand the core events, in their turn and order."""
        self._engine.post_all(several, cause)

    async def handled(self, event: events.Event, cause: str = "") -> None:
        """Hand the core an event; return when it is handled.

        Raises:
            MezzoError: whoever sends it is refused for a while.
            NotLeading: the term has ended.
        """
        await self._engine.request(event, cause)

    async def request(self, event: OperatorCall) -> master.Response | None:
        """Hand the core an operator's call, and wait for its answer; that may have to be stored first.

        Raises:
            MezzoError: the call was refused.
            NotLeading: the term has ended. Nobody knows whether the call took effect.
        """
        answer: asyncio.Future[master.Response | None] = self._engine.promise()
        self._answers[event.request] = answer
        self.post(event, event.correlation_id)
        try:
            return await answer
        finally:
            del self._answers[event.request]

    async def admit(self, call: Call) -> None:
        """Hand the core a framework's call, and wait until it is admitted.

        Raises:
            MezzoError: the call was refused.
            NotLeading: the term has ended.
        """
        for refusal in (await self.admit_all([call])).values():
            raise refusal

    async def admit_all(self, calls: Sequence[Call]) -> Refusals:
        """Hand the core calls, and wait until all are handled. Returns what was refused.

        Raises:
            NotLeading: the term has ended.
        """
        refused: Refusals = {}
        for call in calls:
            self._refusals[call.request] = refused
            self._engine.post(call, call.correlation_id)
        try:
            await self._engine.drain()
        finally:
            for call in calls:
                del self._refusals[call.request]
        return refused

    def _may_continue(self) -> bool:
        assert self._pauses is not None
        return not (self._pauses.overdue and self._was_paused(self._pauses))

    def _was_paused(self, pauses: PauseDetector) -> bool:
        """Whether this process was paused for too long. That ends the term; ZooKeeper says whether there is another."""
        seconds = pauses.check()
        if not seconds:
            return False
        log.warning(
            "process was paused too long; ending the term, since another registry may lead", paused_seconds=seconds
        )
        self.end(NotLeading())
        return True

    # --- effects ------------------------------------------------------------------------------------------------------

    def _send_to_agent(self, effect: effects.SendToAgent) -> None:
        stream = self._agents.get(effect.session)
        if stream is not None:
            effect.message.cause = self._engine.cause
            if not stream.begun:  # the first answers Register
                self._peers.agent_registered(effect.session, effect.message.registered.agent_id.value)
            stream.send(effect.message)

    def _close_agent_session(self, effect: effects.CloseAgentSession) -> None:
        stream = self._agents.get(effect.session)
        if stream is not None:
            stream.close(effect.error)

    def _send_to_framework(self, effect: effects.SendToFramework) -> None:
        stream = self._frameworks.get(effect.stream_id)
        if stream is not None:
            if not stream.begun:  # the first answers SUBSCRIBE
                self._peers.framework_subscribed(effect.stream_id, effect.event.subscribed.framework_id.value)
            stream.send_event(effect.event, self._engine.cause)

    def _close_framework_stream(self, effect: effects.CloseFrameworkStream) -> None:
        stream = self._frameworks.get(effect.stream_id)
        if stream is not None:
            stream.close()

    def _send_to_allocator(self, effect: effects.SendToAllocator) -> None:
        if self._allocator is not None:
            effect.message.cause = self._engine.cause
            self._allocator.send(effect.message)

    def _publish(self, effect: effects.Publish) -> None:
        for watcher in self._watchers.values():
            watcher.send(effect.change)

    def _publish_snapshot(self, effect: effects.PublishSnapshot) -> None:
        watcher = self._watchers.get(effect.observer)
        if watcher is not None:
            watcher.give(effect.changes, begins=effect.begins, more=effect.more)

    def _persist(self, effect: effects.Persist) -> None:
        self._to_store.append((effect, self._engine.cause))
        self._store_wake.set()

    def _start_timer(self, effect: effects.StartTimer) -> None:
        self._engine.start_timer(effect.timer, effect.after_seconds)

    def _cancel_timer(self, effect: effects.CancelTimer) -> None:
        self._engine.cancel_timer(effect.timer)

    def _answer(self, effect: effects.Answer) -> None:
        answer = self._answers.get(effect.request)
        if answer is not None and not answer.done():
            answer.set_result(effect.response)

    def _refuse(self, effect: effects.Refuse) -> None:
        refused = self._refusals.get(effect.request)
        if refused is not None:
            refused[effect.request] = effect.error
            return
        answer = self._answers.get(effect.request)
        if answer is not None and not answer.done():
            answer.set_exception(effect.error)

    def _note(self, effect: effects.Note) -> None:
        asked: str = getattr(self._engine.event, "correlation_id", "")
        details = {**effect.details, "correlation_id": asked} if asked else effect.details
        getattr(log, effect.level)(effect.event, **details)

    # --- peers that are refused for a while ---------------------------------------------------------------------------

    def _refuse_suspect(self, event: events.Event, entry: Entry) -> None:
        turn_away = self._turn_away.get(type(event))
        if turn_away is not None:
            turn_away(event, entry)

    def _turn_away_agent(self, event: events.AgentRegistering, entry: Entry) -> None:
        stream = self._agents.get(event.session)
        if stream is not None:
            stream.close(suspects.refusal(entry))

    def _turn_away_call(self, event: Call | OperatorCall, entry: Entry) -> None:
        self._refuse(effects.Refuse(event.request, suspects.refusal(entry)))

    def _turn_away_allocator(self, _event: events.AllocatorConnected, entry: Entry) -> None:
        if self._allocator is not None:
            self._allocator.close(suspects.refusal(entry))

    def _put_off_timer(self, event: events.TimerFired, entry: Entry) -> None:
        """Some start themselves anew whenever they fire: one that is dropped would be so for good."""
        self._engine.start_timer(event.timer, max(0.0, entry.until - self._now()))

    # --- streams ------------------------------------------------------------------------------------------------------

    def open_agent(
        self, session: int, stream: Stream[agent_session.RegistryMessage], register: agent_session.Register
    ) -> None:
        """An agent's session begins, with what it says of itself."""
        self._agents[session] = stream
        self._peers.agent_came(session, register)

    def close_agent(self, session: int, reason: str) -> None:
        """An agent's session has ended."""
        if self._agents.pop(session, None) is not None:
            self._peers.left(session)
            self.post(events.AgentDisconnected(session, reason))

    def open_framework(self, stream_id: str, stream: EventStream, call: scheduler.Call) -> None:
        """A framework's stream begins, with its SUBSCRIBE."""
        self._frameworks[stream_id] = stream
        self._peers.framework_came(stream_id, call)

    def close_framework(self, stream_id: str) -> None:
        """A framework's stream has ended."""
        if self._frameworks.pop(stream_id, None) is not None:
            self._peers.left(stream_id)
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

    @property
    def has_allocator(self) -> bool:
        """Whether there is a session with an allocator."""
        return self._allocator is not None

    def raise_allocators_log_level(self, level: int, seconds: float) -> None:
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
        if self.allocator_refusal:
            raise Unavailable(self.allocator_refusal)
        if self._explain is None:
            raise Unavailable("no allocator is connected to this registry; try again later")
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
                groups = [effect.writes for effect, _ in taken]
                await self._store.write(groups)
                self._metrics.stored(groups, time.perf_counter() - started)
                for effect, cause in taken:
                    if effect.then is not None:
                        self.post(effect.then, cause)

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
                    stream.send_event(heartbeat)
                    self.core.heartbeat_sent(stream_id)
