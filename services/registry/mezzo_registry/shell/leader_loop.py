"""From election to election: a term whenever this registry leads, a standby in between. The process does not end."""

import asyncio
import gc
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mezzo.backoff import Backoff
from mezzo.errors import NotLeading
from mezzo_chassis.clock import steady_clock
from mezzo_chassis.defect import Defect
from mezzo_chassis.leadership import Candidate, LeaderDetector, Leadership
from mezzo_chassis.lifecycle import freeze_gc
from mezzo_chassis.log import get_logger
from mezzo_chassis.pauses import PauseDetector
from mezzo_registry import __version__
from mezzo_registry.adapters.whitelist import Whitelist
from mezzo_registry.core import Identity, Registry, Settings, events, records
from mezzo_registry.metrics import RegistryMetrics
from mezzo_registry.ports import Store, StoreError
from mezzo_registry.shell import suspects
from mezzo_registry.shell.allocator_session import AllocatorSession
from mezzo_registry.shell.current_term import CurrentTerm
from mezzo_registry.shell.term import Term

RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 5.0
STUCK_SECONDS_MAX = 60.0
"""The longest pause where nothing says that the next term will fare better: a defect for which nobody is refused."""
TERM_SETTLED_SECONDS = 30.0
"""A term that lasted as long was sound: what ended it is another failure than the last, and the next begins soon."""

log = get_logger(__name__)


class LeaderLoop:
    """Follows where the candidate stands: begins terms, suspends their writes, ends them."""

    def __init__(
        self,
        *,
        settings: Settings,
        flags: Mapping[str, str],
        first_info: mesos.MasterInfo,
        started_at: float,
        candidate: Candidate,
        allocators: LeaderDetector,
        store_of: Callable[[Leadership], Store],
        current_term: CurrentTerm,
        metrics: RegistryMetrics,
        announce: Callable[[mesos.MasterInfo, Leadership], Awaitable[None]],
        hinder: Callable[[bool], Awaitable[None]],
        whitelist: Whitelist | None = None,
        pause_seconds_max: float | None = None,
        now: Callable[[], float] | None = None,
        address: str = "",
    ) -> None:
        """`address`: the "host:port" of the gRPC server, by which the allocator tells registries apart.

        `pause_seconds_max`: a process that was paused for longer may have lost its session, and ends its term.

        `now`: seconds since the epoch; a steady clock by default.
        """
        self._settings = settings
        self._flags = flags
        self._next_info = first_info
        self._started_at = started_at
        self._candidate = candidate
        self._allocators = allocators
        self._store_of = store_of
        self._current_term = current_term
        self._metrics = metrics
        self._whitelist = whitelist
        self._pause_seconds_max = pause_seconds_max
        self._announce = announce
        self._hinder = hinder
        self._now = now or steady_clock()
        self._address = address
        self._term: Term | None = None
        self._leadership: Leadership | None = None
        self._work: asyncio.Task[None] | None = None
        self._quarantine = suspects.new_quarantine()

    async def run(self) -> None:
        """Follow the election until cancelled."""
        async for leadership in self._candidate.changes():
            if self._leadership is None or leadership.epoch != self._leadership.epoch:
                await self.end(NotLeading())
                if leadership.leading:
                    self._work = asyncio.create_task(self._lead(leadership), name=f"term {leadership.epoch}")
            self._leadership = leadership
            if self._term is not None:
                if leadership.may_write:
                    self._term.resume_writes()
                else:
                    log.warning("store writes suspended", session=leadership.session.value)
                    self._term.suspend_writes()

    async def end(self, error: Exception) -> None:
        """End the running term, if there is one."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        self._step_down(error)

    def _step_down(self, error: Exception) -> None:
        term, self._term = self._term, None
        self._current_term.clear()
        if term is not None:
            term.end(error)
            # What was frozen when it began is never collected, nor is the cluster state that hangs on it.
            gc.unfreeze()
            log.info("stepped down")

    async def _lead(self, leadership: Leadership) -> None:
        """Lead term after term for as long as the epoch lasts: one ends early when its store or core fails."""
        failed, stuck = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX), Backoff(RETRY_SECONDS_MIN, STUCK_SECONDS_MAX)
        loop = asyncio.get_running_loop()
        while True:
            began, backoff = loop.time(), failed
            try:
                await self._one_term(leadership)
            except StoreError as error:
                log.warning("term ended early; retrying", error=str(error))
            except Exception as error:
                # A mistake of ours must not leave a leader behind that does nothing, and stands in the way of others.
                log.exception("term failed; retrying", error=str(error))
                backoff = stuck
            self._step_down(NotLeading())
            await self._hinder(True)
            if loop.time() - began >= TERM_SETTLED_SECONDS:
                failed.reset()
                stuck.reset()
            seconds = next(backoff)
            if backoff is stuck:
                log.error(
                    "no term without a defect; the next one waits",
                    terms=stuck.attempts,
                    retry_seconds=round(seconds, 3),
                )
            await asyncio.sleep(seconds)

    async def _one_term(self, leadership: Leadership) -> None:
        store = self._store_of(leadership)
        before = time.perf_counter()
        tables = await store.open_term()
        self._metrics.fetched(tables, time.perf_counter() - before)
        info, self._next_info = self._next_info, mesos.MasterInfo()
        self._next_info.CopyFrom(info)
        self._next_info.id = str(uuid.uuid4())
        await self._announce(info, leadership)
        identity = Identity(
            registry_id=info.id,
            master_info=info,
            version=__version__,
            started_at=self._started_at,
            elected_at=self._now(),
            flags=self._flags,
        )
        pauses = PauseDetector(self._pause_seconds_max) if self._pause_seconds_max is not None else None
        term = Term(
            Registry(identity, self._settings),
            store,
            self._metrics,
            pauses,
            name=f"term-{info.id[:8]}",
            quarantine=self._quarantine,
            now=self._now,
        )
        first: list[events.Event] = [records.elected(tables)]
        if self._whitelist is not None:
            first.append(events.WhitelistUpdated(self._whitelist.hostnames))
        freeze_gc()
        self._term = term
        current = self._leadership
        if current is not None and not current.may_write:
            term.suspend_writes()
        term.post_all(first)  # before anybody else can post anything
        self._current_term.set(term)
        await self._hinder(False)
        await self._run(term, leadership)

    async def _run(self, term: Term, leadership: Leadership) -> None:
        """Lead, with a session with the allocator, until the term ends."""
        epoch = leadership.epoch.number if leadership.epoch is not None else 0
        session = AllocatorSession(term, self._allocators, self._metrics, epoch, self._address)
        tasks = [
            asyncio.create_task(term.run(), name="term"),
            asyncio.create_task(session.run(), name="allocator session"),
        ]
        if self._whitelist is not None:
            tasks.append(asyncio.create_task(self._whitelist.follow(term.post), name="whitelist"))
        try:
            waited: list[asyncio.Future[Any]] = [*tasks, term.ended]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            reason = term.ended.result() if term.ended.done() else None
            if isinstance(reason, Defect) and not reason.has_culprit:
                raise reason
        finally:
            for task in tasks:
                task.cancel()
            # A cancellation that comes meanwhile is the term's end: it is passed on, or else another term would begin.
            await asyncio.gather(*tasks, return_exceptions=True)
