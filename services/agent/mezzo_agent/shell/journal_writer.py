"""What the core orders to be persisted, on the disk before anything else that it orders is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from mezzo.agent.v1.checkpoint_pb2 import CheckpointRecord
from mezzo.backoff import Backoff
from mezzo_agent.core.effects import Effect, Persist
from mezzo_chassis.log import get_logger

RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 5.0

log = get_logger(__name__)


class Disk(Protocol):
    """What is needed of the journal."""

    @property
    def grown(self) -> bool: ...

    def write(self, records: Sequence[CheckpointRecord]) -> bool: ...

    async def commit(self, records: Sequence[CheckpointRecord]) -> None: ...

    async def rewrite(self, records: Iterable[CheckpointRecord]) -> None: ...


class JournalWriter:
    """Writes the records of a turn at once, and the whole journal anew when it has grown."""

    def __init__(self, disk: Disk, checkpoint: Callable[[], Iterable[CheckpointRecord]]) -> None:
        """`checkpoint` gives the records of a journal that leads to the present state."""
        self._disk = disk
        self._checkpoint = checkpoint
        self.compacting = False
        """Whether the records of a new journal are being made."""

    def commit(self, effects: Sequence[Effect]) -> Coroutine[Any, Any, None] | None:
        """Make a turn durable; None where there is nothing to be written, or all of it may wait to be synced."""
        records = [effect.record for effect in effects if isinstance(effect, Persist)]
        return self._commit(records) if records and not self._is_written(records) else None

    def _is_written(self, records: Sequence[CheckpointRecord]) -> bool:
        try:
            return self._disk.write(records)
        except OSError:
            return False  # the commit is what tries again, and logs

    @staticmethod
    def check_commit(effects: Sequence[Effect]) -> None:
        """Raise whatever keeps a record among them from being encoded."""
        for effect in effects:
            if isinstance(effect, Persist):
                effect.record.SerializeToString()

    async def _commit(self, records: Sequence[CheckpointRecord]) -> None:
        """With a full disk the agent waits, and its tasks run on."""
        backoff = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
        while True:
            try:
                await self._disk.commit(records)
            except OSError as error:
                log.error("cannot write the journal; retrying", error=str(error))
                await asyncio.sleep(next(backoff))
            else:
                break
        if self._disk.grown:
            await self.compact()

    async def compact(self) -> bool:
        """Replace the journal by a short one. Returns whether that could be written; if not, the old one stays."""
        self.compacting = True
        records = list(self._checkpoint())
        self.compacting = False
        try:
            await self._disk.rewrite(records)
        except OSError as error:
            # On a full disk: nobody but an agent that runs removes old sandboxes.
            log.error("cannot compact the journal; it keeps growing", error=str(error))
            return False
        return True
