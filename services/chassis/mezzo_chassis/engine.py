"""The engine of a core: it hands a pure core its events, one after another, and carries out what the core orders.

An engine is one *incarnation* of its core: a registry's term, an allocator's session, an agent's process.

Events wait in an inbox. A turn takes a bounded number of them, has the core handle each, makes durable what has to be
(`commit`), and only then carries out the effects, in order. Whatever comes while a turn is being committed waits for
the next: so there is one sync for many events under load, and no delay when there is little to do.

A defect ends the incarnation. What the core raises, unless that is a refusal, may have left its state
half-changed; what an effect raises leaves the world in a state that the core does not know. So nothing is handled after
it: `ended` tells the owner, who begins another incarnation from what is durable. What was being handled goes into a
`Quarantine`, and the next incarnation refuses it instead of ending again.

Every event has a cause: a short text, given by whoever posts it (the cause on the wire, the correlation id of a call),
and made of the event's kind and a number where nobody did. Effects, events that follow, spawned tasks and all their log
lines carry it on, and so does the next service, so that one `grep` finds what followed from what.

Everything happens in the running event loop; with one of simulated time an engine is as deterministic as its core.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from contextvars import Context
from functools import cache, partial
from typing import Any, Generic, Protocol, TypeVar

from mezzo.errors import InternalError, MezzoError
from mezzo_chassis.clock import steady_clock
from mezzo_chassis.config import VALIDATE_VARIABLE
from mezzo_chassis.defect import MISTAKES, Defect
from mezzo_chassis.log import bind_cause, current_cause, get_logger
from mezzo_chassis.log_throttle import LogThrottle
from mezzo_chassis.metrics import EngineMetrics
from mezzo_chassis.quarantine import Entry, Quarantine, Suspect

EVENTS_PER_TURN_MAX = 512
THROTTLES_MAX = 1024
"""Suspects for whom is known when they were last logged."""
SUSPECTS_SHOWN_MAX = 20
"""In a log line: a commit that fails has as many suspects as its turn had events."""

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)
F = TypeVar("F")
F_co = TypeVar("F_co", covariant=True)
T = TypeVar("T")

log = get_logger(__name__)


@cache
def kind_of(class_name: str) -> str:
    """The kind of an event in causes and metrics, from its class: TimerFired → timer_fired."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()


class Core(Protocol[E_contra, F_co]):
    """Decides, and does nothing else."""

    def handle(self, event: E_contra, *, now: float) -> Sequence[F_co]:
        """What to do about an event. A refusal (see `Engine`) is raised with nothing changed."""

    def validate(self) -> None:
        """Check the state. Raises whatever says how it contradicts itself."""


_Handled = tuple[E | None, str, Sequence[F], "asyncio.Future[None] | None"]
"""What the core has handled: an event, its cause, what is to be carried out, and who waits for that. Where somebody
waits for what came before, there is no event."""


class Engine(Generic[E, F]):
    """Runs a core until `end` is called or a defect ends it. To be made and used in the event loop's thread."""

    def __init__(
        self,
        core: Core[E, F],
        effects: Mapping[type, Callable[[Any], None]],
        *,
        name: str,
        metrics: EngineMetrics,
        timer_fired: Callable[[Any], E],
        suspect_of: Callable[[E], Suspect],
        quarantine: Quarantine,
        substitute: Callable[[E, Entry], E | None] = lambda _event, _entry: None,
        refusals: tuple[type[MezzoError], ...] = (),
        refused: Callable[[E, MezzoError], None] = lambda _event, _error: None,
        commit: Callable[[Sequence[F]], Coroutine[Any, Any, None] | None] | None = None,
        check_commit: Callable[[Sequence[F]], None] = lambda _effects: None,
        closed: Callable[[], MezzoError] | None = None,
        may_continue: Callable[[], bool] | None = None,
        now: Callable[[], float] | None = None,
        events_per_turn_max: int = EVENTS_PER_TURN_MAX,
        validate_every_turns: int | None = None,
    ) -> None:
        """An engine that waits for events.

        `effects`: by type, what carries an effect out; it does not wait, and what takes long is spawned.
        `name`: of this incarnation, in causes and logs.
        `timer_fired`: the event of a timer, from its key.
        `suspect_of`: an event as the next incarnation can know it again.
        `quarantine`: what is refused, and where what ends this incarnation is added.
        `substitute`: what the core is handed in place of an event that is refused; it may tell the peer, too.
        `refusals`: what the core raises with nothing changed. Any other exception is a defect.
        `refused`: told of the refusal of an event that nobody waits for.
        `commit`: makes durable what the effects of a turn say; the coroutine returns when it is. Where it returns None
            there is nothing to be made durable, and the effects are carried out at once.
        `check_commit`: raises where the effects of an event cannot be made durable whatever else is. Called when a
            commit has failed, for each event of its turn: where it raises for some, the others are not suspected.
        `closed`: what those are told who wait, or come, once a defect has ended the engine.
        `may_continue`: asked before each event; one that says no has called `end`.
        `now`: the time that the core is told, in seconds; a steady clock by default.
        `validate_every_turns`: how often the state is checked; never, when 0. Without it the environment variable
            MEZZO_VALIDATE_EVERY says so, and 0 where it is not set. A violation is a defect.
        """
        self.core = core
        self._effects = effects
        self._name = name
        self._metrics = metrics
        self._timer_fired = timer_fired
        self._suspect_of = suspect_of
        self._quarantine = quarantine
        self._substitute = substitute
        self._refusals = refusals
        self._refused = refused
        self._commit = commit
        self._check_commit = check_commit
        self._closed = closed or (lambda: InternalError(f"{name} has ended"))
        self._may_continue = may_continue
        self._now = now or steady_clock()
        self._events_per_turn_max = events_per_turn_max
        if validate_every_turns is None:
            validate_every_turns = int(os.environ.get(VALIDATE_VARIABLE, "0"))
        self._validate_every_turns = validate_every_turns
        self._turns = 0
        self._throttles: dict[Suspect, LogThrottle] = {}
        """One for each that is refused: with one for all, two of them that take turns would have every event logged."""
        self._loop = asyncio.get_running_loop()
        # Of nobody's request: a turn is not that of whoever woke it.
        self._context = Context()
        self._context.run(bind_cause, lambda: self.cause)
        self._inbox: deque[tuple[E | None, str, asyncio.Future[None] | None]] = deque()
        self._busy = False
        """Whether a turn waits to be taken, or is being committed."""
        self._event: E | None = None
        self._cause = ""
        self._numbers = itertools.count(1)
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._promises: set[asyncio.Future[Any]] = set()
        self.ended: asyncio.Future[Exception] = self._loop.create_future()
        """Set at the end: with the `Defect`, or with what `end` was given."""

    # --- events -------------------------------------------------------------------------------------------------------

    @property
    def cause(self) -> str:
        """What the effect that is being carried out follows from; empty between events."""
        if self._event is None:
            return ""
        if not self._cause:
            self._cause = f"{self._name}/{kind_of(type(self._event).__name__)}/{next(self._numbers)}"
        return self._cause

    @property
    def event(self) -> E | None:
        """What is being handled, or has ordered the effect that is being carried out; None between events."""
        return self._event

    @property
    def events_waiting(self) -> int:
        """How many events wait for a turn."""
        return len(self._inbox)

    def post(self, event: E, cause: str = "") -> None:
        """Hand the core an event, in its turn. Without a cause it has that of whatever posts it."""
        self._inbox.append((event, cause or current_cause(), None))
        if not self._busy:
            self._wake()

    def post_all(self, events: Iterable[E], cause: str = "") -> None:
        """Hand the core events, in their turn and order."""
        cause = cause or current_cause()
        self._inbox.extend([(event, cause, None) for event in events])
        if not self._busy:
            self._wake()

    async def request(self, event: E, cause: str = "") -> None:
        """Hand the core an event; return when what follows is durable and under way.

        Raises:
            MezzoError: the core refused it, or the engine has ended.
        """
        await self._enqueue(event, cause)

    async def drain(self) -> None:
        """Return when all that was posted before has been handled, and what follows is durable and under way.

        Raises:
            MezzoError: the engine has ended.
        """
        await self._enqueue(None, "")

    def promise(self) -> asyncio.Future[Any]:
        """A future that fails when the engine ends; for what an effect is going to answer.

        Raises:
            MezzoError: the engine has ended.
        """
        if self.ended.done():
            raise self._farewell(self.ended.result())
        promise: asyncio.Future[Any] = self._loop.create_future()
        self._promises.add(promise)
        promise.add_done_callback(self._promises.discard)
        return promise

    def _enqueue(self, event: E | None, cause: str) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = self.promise()
        self._inbox.append((event, cause or current_cause(), waiter))
        if not self._busy:
            self._wake()
        return waiter

    # --- turns --------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Take a turn as soon as what is ready now has been read."""
        if self.ended.done():
            self._inbox.clear()
            return
        self._busy = True
        self._loop.call_soon(self._take_turn, context=self._context)

    def _take_turn(self) -> None:
        """Decide: hand the core a bounded number of events. Then make durable, and act."""
        if self.ended.done():
            return
        began = time.perf_counter()
        try:
            handled = self._decide()
        except MISTAKES as error:
            self._fail("handle", error, (self._event,))
            return
        if self.ended.done():
            return
        self._event = None
        try:
            committed = self._begin_commit(handled)
        except MISTAKES as error:
            self._fail_to_commit(error, handled)
            return
        if committed is None:
            self._act(handled, began)
            return
        task = self._loop.create_task(committed, name=f"{self._name}: commit", context=self._context)
        self._tasks.add(task)
        task.add_done_callback(partial(self._committed, handled, began), context=self._context)

    def _decide(self) -> list[_Handled[E, F]]:
        """Raises whatever the core does, unless that is a refusal; `_event` is what it was about."""
        inbox, handle, may_continue, now = self._inbox, self.core.handle, self._may_continue, self._now()
        suspicious = now < self._quarantine.until
        handled: list[_Handled[E, F]] = []
        for _ in range(min(len(inbox), self._events_per_turn_max)):
            event, self._cause, waiter = inbox.popleft()
            self._event = event
            if may_continue is not None and not may_continue():
                break
            if event is None:
                handled.append((None, "", (), waiter))
                continue
            if suspicious:
                event = self._event = self._admit(event, waiter, now)
                if event is None:
                    continue
            try:
                effects = handle(event, now=now)
            except self._refusals as refusal:
                self._refuse(event, waiter, refusal)
            else:
                handled.append((event, self._cause, effects, waiter))
        return handled

    def _begin_commit(self, handled: Iterable[_Handled[E, F]]) -> Coroutine[Any, Any, None] | None:
        if self._commit is None:
            return None
        return self._commit([effect for _, _, effects, _ in handled for effect in effects])

    def _committed(self, handled: list[_Handled[E, F]], began: float, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self.ended.done():
            return
        if error is None:
            self._act(handled, began)
        else:
            self._fail_to_commit(error, handled)

    def _act(self, handled: list[_Handled[E, F]], began: float) -> None:
        """Carry out the effects of a turn, in order, and let those go on who wait for that."""
        run, ended, effect = self._effects, self.ended, None
        try:
            for event, cause, effects, waiter in handled:
                self._event, self._cause = event, cause
                for effect in effects:
                    run[type(effect)](effect)
                if ended.done():
                    return
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)
        except MISTAKES as error:
            self._fail(f"effect {type(effect).__name__}", error, (self._event,))
            return
        self._event = None
        self._metrics.turn(len(handled), time.perf_counter() - began)
        self._turns += 1
        if self._validate_every_turns and self._turns % self._validate_every_turns == 0 and not self._is_valid():
            return
        self._busy = bool(self._inbox)
        if self._busy:
            self._loop.call_soon(self._take_turn, context=self._context)

    def _refuse(self, event: E, waiter: asyncio.Future[None] | None, error: MezzoError) -> None:
        if waiter is None:
            self._refused(event, error)
        else:
            _refuse(waiter, error)

    def _admit(self, event: E, waiter: asyncio.Future[None] | None, now: float) -> E | None:
        """What is to be handled in place of an event: itself, unless it is in quarantine."""
        entry = self._quarantine.find(self._suspect(event), now)
        if entry is None:
            return event
        self._metrics.refuse(entry.suspect.event)
        if self._throttle_of(entry.suspect).due():
            log.warning("event refused: one like it ended an incarnation", engine=self._name, **_details(entry, now))
        other = self._substitute(event, entry)
        if other is not None and self._quarantine.find(self._suspect(other), now) is None:
            return other
        if waiter is not None:
            _refuse(waiter, InternalError(f"refused for now: {entry.suspect.event} has led to a defect before"))
        return None

    def _throttle_of(self, suspect: Suspect) -> LogThrottle:
        if suspect not in self._throttles and len(self._throttles) >= THROTTLES_MAX:
            self._throttles.clear()
        return self._throttles.setdefault(suspect, LogThrottle())

    # --- time ---------------------------------------------------------------------------------------------------------

    def start_timer(self, key: Hashable, seconds: float) -> None:
        """Post the event of a timer after so many seconds. One that runs under the same key is started anew."""
        self.cancel_timer(key)
        if not self.ended.done():
            self._timers[key] = self._loop.call_later(seconds, self._fire, key, context=self._context)

    def cancel_timer(self, key: Hashable) -> None:
        """Forget a timer, if it runs."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _fire(self, key: Hashable) -> None:
        del self._timers[key]
        try:
            event = self._timer_fired(key)
        except MISTAKES as error:
            self._fail("timer", error, ())
        else:
            self.post(event)

    # --- what takes long ----------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, E | None], failed: Callable[[Exception], E], *, name: str) -> None:
        """Run something beside the turns, with the cause of what orders it. It ends in an event, whatever happens.

        `work` returns that event, or None when it has posted it; `failed` makes it of whatever was raised.
        """
        if self.ended.done():
            work.close()
            return
        context, cause = Context(), self.cause
        context.run(bind_cause, lambda: cause)
        task = self._loop.create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, failed, cause), context=context)

    def _done(self, failed: Callable[[Exception], E], cause: str, task: asyncio.Task[E | None]) -> None:
        self._tasks.discard(task)
        error = InternalError(f"{task.get_name()} was cancelled") if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, MezzoError):
            log.error("spawned task failed", engine=self._name, task=task.get_name(), exc_info=error)
        if self.ended.done():
            return
        if error is None:
            event = task.result()
        else:
            try:
                event = failed(error if isinstance(error, Exception) else InternalError(repr(error)))
            except MISTAKES as defect:
                log.error("no event fits what a spawned task raised", engine=self._name, task=task.get_name())
                self._fail("outcome", defect, ())
                return
        if event is not None:
            self.post(event, cause)

    # --- the end ------------------------------------------------------------------------------------------------------

    def end(self, reason: Exception) -> None:
        """Handle nothing any longer: timers and spawned tasks are cancelled, those who wait are told `reason`.

        The state is checked; a violation is logged and counted.
        """
        if self.ended.done():
            return
        self.ended.set_result(reason)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._inbox.clear()
        self._busy = False  # what is posted from now on is dropped at once
        for task in self._tasks:
            task.cancel()
        for promise in list(self._promises):
            _refuse(promise, self._farewell(reason))
        if not isinstance(reason, Defect):
            self._is_valid()

    async def close(self, reason: Exception) -> None:
        """End, and return when everything that was spawned has ended, too."""
        self.end(reason)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _farewell(self, reason: Exception) -> MezzoError:
        return reason if isinstance(reason, MezzoError) else self._closed()

    def _is_valid(self) -> bool:
        try:
            self.core.validate()
        except MISTAKES as error:
            self._fail("validate", error, ())
            return False
        return True

    def _fail_to_commit(self, error: BaseException, handled: Iterable[_Handled[E, F]]) -> None:
        """Whose record it was may be known; otherwise each event that has ordered something may be the one."""
        ordering = [(event, cause, effects) for event, cause, effects, _ in handled if effects]
        culprits = [each for each in ordering if self._spoils(each[2])] or ordering
        if culprits:
            self._event, self._cause, _ = culprits[0]
        self._fail("commit", error, [event for event, _, _ in culprits])

    def _spoils(self, effects: Sequence[F]) -> bool:
        try:
            self._check_commit(effects)
        except MISTAKES:
            return True
        return False

    def _fail(self, doing: str, error: BaseException, events: Iterable[E | None]) -> None:
        """A defect: remember what was being handled, tell, and end. That it ends depends on nothing else here."""
        suspects = tuple(self._suspect(event) for event in events if event is not None)
        defect = Defect(doing, suspects, self.cause, error)
        try:
            refused = [self._quarantine.add(suspect, self._now()) for suspect in suspects]
            defect.has_culprit = any(refused)
            self._metrics.defect(suspects[0].event if suspects else doing, has_culprit=defect.has_culprit)
            log.error(
                "defect ends the incarnation",
                engine=self._name,
                doing=doing,
                suspects=[str(each) for each in suspects[:SUSPECTS_SHOWN_MAX]],
                suspects_count=len(suspects),
                has_culprit=defect.has_culprit,
                cause=defect.cause,
                exc_info=error,
            )
        finally:
            self._event = None
            self.end(defect)

    def _suspect(self, event: E) -> Suspect:
        try:
            return self._suspect_of(event)
        except MISTAKES:
            log.exception("cannot describe an event", engine=self._name, event_type=type(event).__name__)
            return Suspect(kind_of(type(event).__name__))


def _refuse(waiter: asyncio.Future[Any], error: MezzoError) -> None:
    if not waiter.done():
        waiter.set_exception(error)
        waiter.exception()  # whoever waits may be cancelled in this very moment


def _details(entry: Entry, now: float) -> dict[str, object]:
    suspect = entry.suspect
    return {
        "event_kind": suspect.event,
        "peer": suspect.peer,
        "subject": suspect.subject,
        "defects": entry.defects,
        "for_seconds": round(entry.until - now),
    }
