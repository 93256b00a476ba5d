"""The agent put together, without its servers: core, journal, containers and the session with the registry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1.checkpoint_pb2 import CheckpointRecord
from mezzo.errors import InternalError, MezzoError, Unavailable, shorten
from mezzo_agent.adapters.defects_file import DefectsFile
from mezzo_agent.adapters.journal import Journal
from mezzo_agent.containers.gc import GarbageCollector, disk_usage, maximum_age_secs
from mezzo_agent.core import Agent, Settings, subjects
from mezzo_agent.core.effects import Effect, EndAgent
from mezzo_agent.core.events import (
    ContainersRecovered,
    Event,
    LaunchDeclined,
    LaunchRefused,
    RegistryMessageReceived,
    RemovalOrdered,
    TimerFired,
)
from mezzo_agent.metrics import AgentMetrics, Numbers, container_numbers, core_numbers, system_numbers
from mezzo_agent.ports import Containerizer
from mezzo_agent.shell import reconfiguration
from mezzo_agent.shell.defects import AgentSuspect, Defects
from mezzo_agent.shell.effect_runner import EffectRunner
from mezzo_agent.shell.executor_streams import ExecutorStreams
from mezzo_agent.shell.journal_writer import JournalWriter
from mezzo_agent.shell.registry_session import RegistrySession
from mezzo_chassis.defect import Defect
from mezzo_chassis.engine import Engine
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.lifecycle import freeze_gc
from mezzo_chassis.log import get_logger
from mezzo_chassis.quarantine import Entry

EVENTS_PER_TURN_MAX = 1024
ENDING = "the agent is ending"

log = get_logger(__name__)


def new_id() -> bytes:
    return uuid4().bytes


class AgentRuntime:
    """What runs on this machine, and what keeps it so across restarts. `recover` first, `close` last."""

    def __init__(
        self,
        settings: Settings,
        agent_info: mesos.AgentInfo,
        containerizer: Containerizer,
        session: RegistrySession,
        garbage: GarbageCollector,
        metrics: AgentMetrics,
        fetcher_cache_bytes_max: int,
    ) -> None:
        self.settings = settings
        self.core = Agent(settings, agent_info, new_id)
        self.containerizer = containerizer
        self.session = session
        self.garbage = garbage
        self.streams = ExecutorStreams()
        self.started_at = time.time()
        # Set when the agent is to end for a reason of its own.
        self.ended: asyncio.Future[EndAgent] = asyncio.get_running_loop().create_future()
        self._journal = Journal(settings.work_dir / "meta")
        self._journal_writer = JournalWriter(self._journal, self.core.checkpoint)
        self._defects = Defects(DefectsFile(settings.work_dir / "meta"), time.time)
        self._effect_runner = EffectRunner(
            containerizer,
            self.streams,
            send=session.send,
            discard=garbage.retire,
            end=self._end,
            observer=metrics,
        )
        # Set when a defect has ended the agent: nothing is handled any more, and the process is to end.
        self.failed: asyncio.Future[Defect] = asyncio.get_running_loop().create_future()
        self._engine: Engine[Event, Effect] | None = None
        self._session_task: asyncio.Task[None] | None = None
        self._recovery_seconds = 0.0
        self._recovery_errors = 0
        self._disk_usage = 0.0
        self._fetcher_cache_bytes_max = fetcher_cache_bytes_max
        self._metrics = metrics

    # --- starting

    @property
    def engine(self) -> Engine[Event, Effect]:
        """What hands the core its events. From `recover` on."""
        assert self._engine is not None
        return self._engine

    async def recover(self, *, strict: bool) -> None:
        """Read the journal, find the containers again, and begin to take turns.

        Raises:
            StartupError: the work_dir cannot be used, or what runs does not fit the flags.
            MezzoError: a defect; `failed` tells of it.
        """
        began = time.perf_counter()
        records, damage = await asyncio.to_thread(self._journal.open, strict=strict)
        self._defects.load()
        self._metrics.engine.add_defects(self._defects.counts)
        if damage:
            self._recovery_errors += 1
            log.error("recovered from a damaged journal; damaged records were discarded", reason=damage)
        self._restore(records)
        problems = reconfiguration.incompatibilities(self.core)
        if problems:
            raise StartupError(
                Exit.INCOMPATIBLE_STATE,
                f"running tasks need more than --resources now offers: {'; '.join(problems)}. Restore the former "
                "resources, or end the tasks with --recover=cleanup",
            )
        if self.core.state.agent_id and not self.core.ends_condemned:
            await self._journal_writer.compact()  # with the agent's present resources in it
        try:
            found = await self.containerizer.recover(self.core.containers())
        except OSError as error:
            message = f"cannot recover containers: {error.filename or ''} {error.strerror or error}"
            raise StartupError(Exit.UNWRITABLE, message) from error
        self._engine = self._start_engine()
        await self._engine.request(ContainersRecovered(found, intact=not damage))
        if self.core.ends_condemned and await self._journal_writer.compact():
            self._defects.mark_ended()
        await asyncio.to_thread(self._find_garbage, self.core.sandboxes())
        self._recovery_seconds = time.perf_counter() - began
        log.info("recovered", records=len(records), containers=len(found), seconds=round(self._recovery_seconds, 3))
        freeze_gc()

    def _restore(self, records: Sequence[CheckpointRecord]) -> None:
        try:
            self.core.restore(records, self._defects.subjects_to_end())
        except Exception as error:
            suspect = AgentSuspect.of(subjects.of_record(self.core.state))
            self._metrics.engine.defect(suspect.event)
            log.exception("defect ends the incarnation", doing="restore", suspects=[str(suspect)])
            self._fail(Defect("restore", (suspect,), "", error))
            raise InternalError(str(error)) from error

    def _start_engine(self) -> Engine[Event, Effect]:
        engine: Engine[Event, Effect] = Engine(
            self.core,
            self._effect_runner.effects,
            name=f"agent-{new_id().hex()[:8]}",
            metrics=self._metrics.engine,
            timer_fired=TimerFired,
            suspect_of=self._suspect_of,
            quarantine=self._defects.quarantine,
            substitute=self._substitute,
            refusals=(MezzoError,),
            refused=self._event_refused,
            commit=self._journal_writer.commit,
            check_commit=self._journal_writer.check_commit,
            closed=lambda: Unavailable(ENDING),
            events_per_turn_max=EVENTS_PER_TURN_MAX,
        )
        self._effect_runner.bind(engine)
        engine.ended.add_done_callback(self._engine_ended)
        return engine

    def _find_garbage(self, in_use: set[Path]) -> None:
        """Whatever earlier agents have left, whoever they were."""
        for sandbox in self.settings.work_dir.glob("slaves/*/frameworks/*/executors/*/runs/*"):
            if sandbox not in in_use and not sandbox.is_symlink():
                self.garbage.schedule(sandbox)

    # --- running

    async def run_session(self) -> None:
        """With the registry, until cancelled, or `close`."""
        self._session_task = asyncio.current_task()
        try:
            await self.session.run(self.engine)
        except MezzoError:
            if not self.engine.ended.done():
                raise

    async def collect_garbage(self, interval_seconds: float) -> None:
        """Until cancelled."""
        while True:
            try:
                self._disk_usage = await asyncio.to_thread(disk_usage, self.settings.work_dir)
            except OSError as error:
                log.warning("cannot read the disk usage", work_dir=str(self.settings.work_dir), error=str(error))
            self._metrics.disk_used.set(self._disk_usage)
            await self.garbage.collect(self._disk_usage)
            await asyncio.sleep(interval_seconds)

    async def remove_agent(self, reason: str) -> None:
        """End everything that runs, and go for good; `ended` tells when."""
        await self.engine.request(RemovalOrdered(reason))

    def numbers(self) -> Numbers:
        """Everything that /metrics/snapshot shows."""
        gc = self.garbage.counts
        return {
            **core_numbers(self.core, self.started_at, self._recovery_seconds, self._recovery_errors),
            **container_numbers(self.containerizer, self._fetcher_cache_bytes_max),
            **system_numbers(),
            "slave/executor_directory_max_allowed_age_secs": maximum_age_secs(
                self.garbage.gc_delay_secs, self.garbage.disk_headroom, self._disk_usage
            ),
            "gc/path_removals_failed": float(gc.failed),
            "gc/path_removals_pending": float(gc.pending),
            "gc/path_removals_succeeded": float(gc.succeeded),
        }

    # --- events that are not handled

    def _suspect_of(self, event: Event) -> AgentSuspect:
        """An event as the next incarnation knows it again; while it is being handled, as far as that has come."""
        state, effect = self.core.state, self._effect_runner.running
        if self._journal_writer.compacting:
            return AgentSuspect.of(subjects.of_record(state))
        if effect is not None:
            return AgentSuspect.of(subjects.of_effect(event, effect, state))
        about = subjects.of_event(event, state)
        return AgentSuspect.of(about, lives=subjects.lives(about, state))

    def _substitute(self, event: Event, entry: Entry) -> Event | None:
        """What is handled in place of a launch that led to a defect. Everything else is dropped."""
        if not isinstance(event, RegistryMessageReceived):
            return None
        kind = event.message.WhichOneof("message") or ""
        if kind not in subjects.LAUNCHES:
            self._metrics.drop(kind)
            return None
        reason = self._defects.reason(entry.suspect)
        refused = LaunchRefused(event.message, reason)
        if self._defects.quarantine.find(self._suspect_of(refused), time.time()) is None:
            return refused
        return LaunchDeclined(event.message, reason)

    def _event_refused(self, event: Event, error: MezzoError) -> None:
        """Any message of the registry can be dropped alone, and the session goes on.

        What it meant is made good by the next registration: the registry sends again what was never seen, and the
        snapshot says what runs. Another session is not begun for it, which might bring the same message again.
        """
        kind = (event.message.WhichOneof("message") or "") if isinstance(event, RegistryMessageReceived) else ""
        if kind:
            self._metrics.drop(kind)
        log.warning("event refused", event_type=type(event).__name__, message=kind, error=shorten(str(error)))

    # --- ending

    def _end(self, order: EndAgent) -> None:
        if not self.ended.done():
            log.warning("agent is shutting down", reason=order.reason)
            self.ended.set_result(order)

    def _engine_ended(self, ended: asyncio.Future[Exception]) -> None:
        reason = ended.result()
        if isinstance(reason, Defect):
            self._fail(reason)

    def _fail(self, defect: Defect) -> None:
        """Nothing that the state says can be trusted: the next incarnation begins with what is on the disk."""
        try:
            self._defects.add(defect)
        finally:
            self.failed.set_result(defect)

    async def finish_removal(self, order: EndAgent) -> None:
        """If the agent goes for good: let the registry have the last words, and forget who it was."""
        if order.forget:
            await self.session.finish()
            await self._journal.forget()

    async def close(self) -> None:
        """Let go of everything; containers run on."""
        # In this order: a session that breaks just now still has something to tell the core.
        if self._session_task is not None:
            self._session_task.cancel()
            await asyncio.gather(self._session_task, return_exceptions=True)
        if self._engine is not None:
            await self._engine.close(Unavailable(ENDING))
        await self.containerizer.close()
        self._journal.close()
