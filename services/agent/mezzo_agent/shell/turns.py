"""The turns of the core: drain the inbox, decide, write to disk once, then act.

Whatever comes while a turn is being written waits for the next: so the disk is synced once for many events under load,
and at once when there is little to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from mezzo.agent.v1.checkpoint_pb2 import CheckpointRecord
from mezzo.errors import InternalError, MezzoError
from mezzo_agent.core import Agent
from mezzo_agent.core.effects import Effect, Persist
from mezzo_agent.core.events import Event, RegistryMessageReceived
from mezzo_chassis.log import get_logger

EVENTS_PER_TURN_MAX = 1024
DISK_RETRY_SECONDS = 1.0
ENDING = "the agent is shutting down"
ERROR_CHARACTERS_MAX = 1000

log = get_logger(__name__)

_Item = tuple[Event, "asyncio.Future[None] | None"]


class Disk(Protocol):
    """What a turn needs of the journal."""

    @property
    def grown(self) -> bool: ...

    async def commit(self, records: Sequence[CheckpointRecord]) -> None: ...

    async def rewrite(self, records: Iterable[CheckpointRecord]) -> None: ...


class Turns:
    """The one place where the core is called."""

    def __init__(
        self,
        agent: Agent,
        disk: Disk,
        run_effect: Callable[[Effect], None],
        *,
        clock: Callable[[], float] = time.time,
        observe: Callable[[int, float], None] = lambda _events, _seconds: None,
        dropped: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        """Prepare to take turns.

        `run_effect` acts on an effect without waiting. `observe` gets each turn's number of events and its seconds;
        `dropped` gets the kind of each message of the registry that could not be applied.
        """
        self.agent = agent
        self._disk = disk
        self._run_effect = run_effect
        self._clock = clock
        self._observe = observe
        self._dropped = dropped
        self._inbox: list[_Item] = []
        self._wake = asyncio.Event()
        self._over = False

    def post(self, event: Event) -> None:
        """An event that nobody waits for."""
        self._inbox.append((event, None))
        self._wake.set()

    def post_all(self, events: Iterable[Event]) -> None:
        self._inbox.extend((event, None) for event in events)
        self._wake.set()

    async def request(self, event: Event) -> None:
        """Return when what follows from the event is on disk and under way.

        Raises the core's refusal, and InternalError once there are no more turns.
        """
        if self._over:
            raise InternalError(ENDING)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inbox.append((event, answer))
        self._wake.set()
        await answer

    async def run(self) -> None:
        """Take turns until cancelled."""
        try:
            while True:
                await self._wake.wait()
                items, self._inbox = self._inbox[:EVENTS_PER_TURN_MAX], self._inbox[EVENTS_PER_TURN_MAX:]
                if not self._inbox:
                    self._wake.clear()
                await self._turn(items)
        finally:
            self._over = True
            for _, answer in self._inbox:
                if answer is not None and not answer.done():
                    answer.set_exception(InternalError(ENDING))

    async def _turn(self, items: Sequence[_Item]) -> None:
        began = time.perf_counter()
        effects: list[Effect] = []
        answers: list[asyncio.Future[None]] = []
        for event, answer in items:
            try:
                effects += self.agent.handle(event, now=self._clock())
            except MezzoError as refusal:
                self._refuse(event, answer, refusal)
            except Exception as defect:
                # One event that the core cannot digest must not end what all the others run.
                log.exception("defect in the core", event_type=type(event).__name__)
                self._refuse(event, answer, InternalError(f"{type(defect).__name__}: {defect}"))
            else:
                if answer is not None:
                    answers.append(answer)
        records = [effect.record for effect in effects if isinstance(effect, Persist)]
        if records:
            await self._write(records)
        for effect in effects:
            if not isinstance(effect, Persist):
                self._run_effect(effect)
        for answer in answers:
            if not answer.done():
                answer.set_result(None)
        self._observe(len(items), time.perf_counter() - began)
        if self._disk.grown:
            await self._shorten()

    async def _write(self, records: Sequence[CheckpointRecord]) -> None:
        """Nothing goes on before this is on disk: with a full disk the agent waits, and its tasks run on."""
        while True:
            try:
                await self._disk.commit(records)
            except OSError as error:
                log.error("cannot write the journal; retrying", error=str(error))
                await asyncio.sleep(DISK_RETRY_SECONDS)
            else:
                return

    async def _shorten(self) -> None:
        try:
            await self._disk.rewrite(self.agent.checkpoint())
        except OSError as error:
            log.error("cannot compact the journal; it keeps growing", error=str(error))

    def _refuse(self, event: Event, answer: asyncio.Future[None] | None, error: MezzoError) -> None:
        """Drop an event. Any message of the registry can be dropped alone, and the session goes on.

        What it meant is made good by the next registration: the registry sends again what was never seen, and the
        snapshot says what runs. Another session is not begun for it, which might bring the same message again.
        """
        if answer is not None:
            if not answer.done():
                answer.set_exception(error)
            return
        kind = (event.message.WhichOneof("message") or "") if isinstance(event, RegistryMessageReceived) else ""
        if kind:
            self._dropped(kind)
        log.warning(
            "event refused", event_type=type(event).__name__, message=kind, error=str(error)[:ERROR_CHARACTERS_MAX]
        )
