"""Messages of the registry into the core: one that cannot be applied is dropped and counted, and the session goes on.

What may be dropped alone, and what follows:

- hints and wishes (REQUEST, REVIVE, SUPPRESS, answers to inverse offers, a role's configuration, a log level): nothing;
- a framework: it is known by its id, inactive, so that what it holds still counts, until it describes itself anew;
- an agent: it is withdrawn and offered to nobody until the registry says again, with all holdings, what it has;
- resources given back or taken: they are counted wrong until the agent's next description. The registry checks each
  allocation against its own state, so nothing is ever given twice.

Only an error that may have left the core's state half-changed ends the session: the registry begins another with a
snapshot. The message that was being applied is in quarantine for a while, so that the snapshot, where it may come
again, does not end the next session, and so on for ever. Not so resources given back or taken: the snapshot has their
outcome, and the same message later is another event, which has to count.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mesos.v1.mesos_pb2 import FrameworkInfo
from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.errors import MezzoError, NotFound
from mezzo_allocator.adapters.translation import Translator
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.metrics import AllocatorMetrics, Dropped
from mezzo_chassis.engine import kind_of
from mezzo_chassis.log import get_logger
from mezzo_chassis.log_throttle import LogThrottle
from mezzo_chassis.quarantine import Quarantine, Suspect

QUARANTINED_MAX = 256
"""How many messages that ended a session are remembered; the oldest are forgotten first."""

QUARANTINE_SECONDS_MIN = 600.0
QUARANTINE_SECONDS_MAX = 3600.0
"""For how long, at first and at most: after that such a message is tried again, for what was wrong with the state may
be over."""

ERROR_CHARACTERS_MAX = 1000

NEVER_QUARANTINED = frozenset({"begin", "snapshot_end", "recovered", "allocated"})
"""Kinds of messages that no session can do without, or that are alike whenever the same happens again."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Withheld:
    """A message that is in quarantine: it is dropped, and what it is about is withdrawn."""

    message: wire.RegistryMessage


@dataclass(frozen=True, slots=True)
class Decided:
    """A cycle has run."""

    outcome: ev.Allocated
    seconds: float
    """How long it took."""


Event = wire.RegistryMessage | Withheld | ev.FullPassWanted | ev.CycleStarted
"""What happens to a session."""
Effect = ev.Ready | Decided


def new_quarantine() -> Quarantine:
    """Nothing is withheld yet. Outlives sessions; its clock is the core's."""
    return Quarantine(
        key=lambda suspect: suspect.subject,
        seconds_min=QUARANTINE_SECONDS_MIN,
        seconds_max=QUARANTINE_SECONDS_MAX,
        entries_max=QUARANTINED_MAX,
    )


def suspect_of(event: Event) -> Suspect:
    """An event as another session can know it again: a message by its bytes."""
    if not isinstance(event, wire.RegistryMessage):
        return Suspect(kind_of(type(event).__name__))
    kind = event.WhichOneof("message") or ""
    return Suspect(kind, _about(event), "" if kind in NEVER_QUARANTINED else _digest(event))


def _about(message: wire.RegistryMessage) -> str:
    """Whom a message describes, for logs."""
    if message.HasField("framework_update"):
        return f"framework {message.framework_update.framework_info.id.value}"
    if message.HasField("agent_update"):
        info = message.agent_update.agent_info
        return f"agent {info.id.value or info.hostname}"
    return "the registry"


def _digest(message: wire.RegistryMessage) -> str:
    identity = wire.RegistryMessage()
    identity.CopyFrom(message)
    identity.ClearField("cause")
    if message.HasField("agent_update"):  # whatever is held of it by now, it is the same agent
        for name in ("holdings", "keeps_holdings", "cycle"):
            identity.agent_update.ClearField(name)
    return hashlib.sha256(identity.SerializePartialToString(deterministic=True)).hexdigest()


class Intake:
    """The core as a session drives it: messages in, and what is to be sent out."""

    def __init__(self, core: Allocator, metrics: AllocatorMetrics) -> None:
        self._core = core
        self._metrics = metrics
        self._translator = Translator()
        self._throttle = LogThrottle()
        self._withdrawn: set[int] = set()
        """Agents whose last description was dropped: what is held of them is not known."""

    def handle(self, event: Event, *, now: float) -> Sequence[Effect]:
        """What follows from an event.

        Raises:
            Exception: whatever the core raised; its state may be half-changed.
        """
        if isinstance(event, wire.RegistryMessage):
            return self._apply(event, now)
        if isinstance(event, Withheld):
            self._drop(event.message, Dropped.SUSPECT, "a session ended while it was applied", now)
            return ()
        if isinstance(event, ev.CycleStarted):
            return self._decide(event, now)
        self._core.handle(event, now=now)
        return ()

    def validate(self) -> None:
        """Raises InvariantViolation where the core's state contradicts itself."""
        self._core.validate()

    def _decide(self, event: ev.CycleStarted, now: float) -> Sequence[Effect]:
        started = time.perf_counter()
        effects = self._core.handle(event, now=now)
        seconds = time.perf_counter() - started
        return [Decided(effect, seconds) for effect in effects if isinstance(effect, ev.Allocated)]

    def _apply(self, message: wire.RegistryMessage, now: float) -> Sequence[Effect]:
        if message.HasField("agent_update") and message.agent_update.agent in self._withdrawn:
            if message.agent_update.keeps_holdings:
                self._drop(message, Dropped.INCOMPLETE, "the description before it was dropped", now)
                return ()
            self._withdrawn.discard(message.agent_update.agent)
        try:
            event = self._translator.event(message)
        except MezzoError as error:
            self._drop(message, Dropped.INVALID, error, now)
            return ()
        except Exception as error:  # a mistake of ours; but nothing has changed
            log.exception("cannot translate a message of the registry")
            self._drop(message, Dropped.INVALID, error, now)
            return ()
        if event is None:
            return ()
        try:
            effects = self._core.handle(event, now=now)
        except NotFound as error:  # which is raised before anything changes
            self._drop(message, Dropped.UNANNOUNCED, error, now)
            return ()
        self._metrics.count_event(event)
        return [effect for effect in effects if isinstance(effect, ev.Ready)]

    def _drop(self, message: wire.RegistryMessage, reason: Dropped, error: Exception | str, now: float) -> None:
        kind = message.WhichOneof("message") or ""
        self._metrics.count_dropped(kind, reason)
        if self._throttle.due(f"{kind} {error}"):
            log.warning("message dropped", message=kind, reason=reason.value, error=str(error)[:ERROR_CHARACTERS_MAX])
        if message.HasField("framework_update"):
            update = message.framework_update
            self._core.handle(
                ev.FrameworkChanged(
                    framework=update.framework,
                    info=FrameworkInfo(id=update.framework_info.id),
                    suppressed_roles=frozenset(),
                    active=False,
                ),
                now=now,
            )
        elif message.HasField("agent_update"):
            self._withdrawn.add(message.agent_update.agent)
            self._core.handle(ev.AgentRemoved(message.agent_update.agent), now=now)
