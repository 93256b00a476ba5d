"""The agent put together, without its servers: core, journal, containers and the session with the registry."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from uuid import uuid4

from mesos.v1 import mesos_pb2 as mesos
from mezzo_agent.adapters.journal import Journal
from mezzo_agent.containers.gc import GarbageCollector, disk_usage, maximum_age_secs
from mezzo_agent.core import Agent, Settings
from mezzo_agent.core.effects import EndAgent
from mezzo_agent.core.events import ContainersRecovered, RemovalOrdered
from mezzo_agent.metrics import AgentMetrics, Numbers, container_numbers, core_numbers, system_numbers
from mezzo_agent.ports import Containerizer
from mezzo_agent.shell import reconfiguration
from mezzo_agent.shell.effect_runner import EffectRunner
from mezzo_agent.shell.executor_streams import ExecutorStreams
from mezzo_agent.shell.registry_session import RegistrySession
from mezzo_agent.shell.turns import Turns
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.lifecycle import Lifecycle, freeze_gc
from mezzo_chassis.log import get_logger

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
        self._effect_runner = EffectRunner(
            containerizer,
            self.streams,
            send=session.send,
            discard=garbage.retire,
            end=self._end,
            observer=metrics,
        )
        self.turns = Turns(
            self.core, self._journal, self._effect_runner.run, observe=metrics.turn, dropped=metrics.drop
        )
        self._effect_runner.report_to(self.turns.post)
        self._turns_task: asyncio.Task[None] | None = None
        self._session_task: asyncio.Task[None] | None = None
        self._recovery_seconds = 0.0
        self._recovery_errors = 0
        self._disk_usage = 0.0
        self._fetcher_cache_bytes_max = fetcher_cache_bytes_max
        self._metrics = metrics

    # --- starting

    async def recover(self, life: Lifecycle, *, strict: bool) -> None:
        """Read the journal, find the containers again, and begin to take turns.

        Raises `StartupError`: the work_dir cannot be used, or what runs does not fit the flags.
        """
        began = time.perf_counter()
        records, damage = await asyncio.to_thread(self._journal.open, strict=strict)
        if damage:
            self._recovery_errors += 1
            log.error("recovered from a damaged journal; damaged records were discarded", reason=damage)
        self.core.restore(records)
        problems = reconfiguration.incompatibilities(self.core)
        if problems:
            raise StartupError(
                Exit.INCOMPATIBLE_STATE,
                f"running tasks need more than --resources now offers: {'; '.join(problems)}. Restore the former "
                "resources, or end the tasks with --recover=cleanup",
            )
        await self._rewrite_journal()
        try:
            found = await self.containerizer.recover(self.core.containers())
        except OSError as error:
            message = f"cannot recover containers: {error.filename or ''} {error.strerror or error}"
            raise StartupError(Exit.UNWRITABLE, message) from error
        self._turns_task = life.spawn(self.turns.run(), "turns")
        await self.turns.request(ContainersRecovered(found))
        await asyncio.to_thread(self._find_garbage, self.core.sandboxes())
        self._recovery_seconds = time.perf_counter() - began
        log.info("recovered", records=len(records), containers=len(found), seconds=round(self._recovery_seconds, 3))
        freeze_gc()

    async def _rewrite_journal(self) -> None:
        """A short journal, with the agent's present resources in it."""
        if self.core.state.agent_id:
            try:
                await self._journal.rewrite(self.core.checkpoint())
            except OSError as error:
                # On a full disk: nobody but an agent that runs removes old sandboxes.
                log.error("cannot compact the journal; it keeps growing", error=str(error))

    def _find_garbage(self, in_use: set[Path]) -> None:
        """Whatever earlier agents have left, whoever they were."""
        for sandbox in self.settings.work_dir.glob("slaves/*/frameworks/*/executors/*/runs/*"):
            if sandbox not in in_use and not sandbox.is_symlink():
                self.garbage.schedule(sandbox)

    # --- running

    async def run_session(self) -> None:
        """With the registry, until cancelled, or `close`."""
        self._session_task = asyncio.current_task()
        await self.session.run(self.turns)

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
        await self.turns.request(RemovalOrdered(reason))

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

    # --- ending

    def _end(self, order: EndAgent) -> None:
        if not self.ended.done():
            log.warning("agent is shutting down", reason=order.reason)
            self.ended.set_result(order)

    async def finish_removal(self, order: EndAgent) -> None:
        """If the agent goes for good: let the registry have the last words, and forget who it was."""
        if order.forget:
            await self.session.finish()
            await self._journal.forget()

    async def close(self) -> None:
        """Let go of everything; containers run on."""
        # In this order: a session that breaks just now still has something to tell the core.
        for task in (self._session_task, self._turns_task):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._effect_runner.close()
        await self.containerizer.close()
        self._journal.close()
