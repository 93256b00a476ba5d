"""Messages of the registry into the core: one that cannot be applied is dropped and counted, and the session goes on.

What may be dropped alone, and what follows:

- hints and wishes (REQUEST, REVIVE, SUPPRESS, answers to inverse offers, a role's configuration, a log level): nothing;
- a framework: it is known by its id, inactive, so that what it holds still counts, until it describes itself anew;
- an agent: it is withdrawn and offered to nobody until the registry describes it again with all holdings;
- resources given back or taken: they are counted wrong until the agent's next description. The registry checks each
  allocation against its own state, so nothing is ever given twice.

Only an error that may have left the core's state half-changed ends the session: the registry begins another with a
snapshot. The message that was being applied is remembered for a while, so that the snapshot, where it may come again,
does not end the next session, and so on for ever. Not so resources given back or taken: the snapshot has their outcome,
and the same words later are another event, which has to count.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from mesos.v1.mesos_pb2 import FrameworkInfo
from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.errors import MezzoError, NotFound
from mezzo_allocator.adapters.translation import Translator
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.metrics import AllocatorMetrics, Dropped
from mezzo_chassis.log import get_logger
from mezzo_chassis.log_throttle import LogThrottle

QUARANTINED_MAX = 256
"""How many messages that ended a session are remembered; the oldest are forgotten first."""

QUARANTINE_SECONDS_MAX = 600.0
"""For how long: after that such a message is tried again, for what was wrong with the state may be over."""

ERROR_CHARACTERS_MAX = 1000

NEVER_QUARANTINED = frozenset({"recovered", "allocated"})
"""Kinds of messages that are no part of a snapshot, and that are alike whenever the same happens again."""

log = get_logger(__name__)


class Quarantine:
    """Messages during which a session ended, by their digest. Outlives sessions."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, message: wire.RegistryMessage, now: float) -> None:
        """Remember a message, unless it is of a kind that may rightly come again."""
        if message.WhichOneof("message") in NEVER_QUARANTINED:
            return
        self._until[_digest(message)] = now + QUARANTINE_SECONDS_MAX
        while len(self._until) > QUARANTINED_MAX:
            self._until.popitem(last=False)

    def holds(self, message: wire.RegistryMessage, now: float) -> bool:
        """Whether the same message was being applied when a session ended, not too long ago."""
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        return bool(self._until) and _digest(message) in self._until


def _digest(message: wire.RegistryMessage) -> bytes:
    identity = message
    if message.HasField("agent_update"):  # whatever is held of it by now, it is the same agent
        identity = wire.RegistryMessage()
        identity.CopyFrom(message)
        for name in ("holdings", "keeps_holdings", "cycle"):
            identity.agent_update.ClearField(name)
    return hashlib.sha256(identity.SerializeToString(deterministic=True)).digest()


class Intake:
    """Applies the messages of one session."""

    def __init__(self, core: Allocator, metrics: AllocatorMetrics, quarantine: Quarantine) -> None:
        self._core = core
        self._metrics = metrics
        self._quarantine = quarantine
        self._translator = Translator()
        self._throttle = LogThrottle()
        self._withdrawn: set[int] = set()
        """Agents whose last description was dropped: what is held of them is not known."""

    def apply(self, message: wire.RegistryMessage, now: float) -> list[ev.Effect]:
        """What follows from a message.

        Raises:
            Exception: whatever the core raised; its state may be half-changed.
        """
        if message.HasField("begin") or message.HasField("snapshot_end"):
            return self._handle(message, now)
        if self._quarantine.holds(message, now):
            return self._drop(message, Dropped.SUSPECT, "a session ended while it was applied", now)
        if message.HasField("agent_update") and message.agent_update.agent in self._withdrawn:
            if message.agent_update.keeps_holdings:
                return self._drop(message, Dropped.INCOMPLETE, "the description before it was dropped", now)
            self._withdrawn.discard(message.agent_update.agent)
        return self._handle(message, now)

    def _handle(self, message: wire.RegistryMessage, now: float) -> list[ev.Effect]:
        try:
            event = self._translator.event(message)
        except MezzoError as error:
            return self._drop(message, Dropped.INVALID, error, now)
        except Exception as error:  # a mistake of ours; but nothing has changed
            log.exception("cannot translate a message of the registry")
            return self._drop(message, Dropped.INVALID, error, now)
        if event is None:
            return []
        try:
            effects = self._core.handle(event, now=now)
        except NotFound as error:  # which is raised before anything changes
            return self._drop(message, Dropped.UNANNOUNCED, error, now)
        except Exception:
            self._quarantine.add(message, now)
            raise
        self._metrics.count_event(event)
        return effects

    def _drop(
        self, message: wire.RegistryMessage, reason: Dropped, error: Exception | str, now: float
    ) -> list[ev.Effect]:
        kind = message.WhichOneof("message") or ""
        self._metrics.count_dropped(kind, reason)
        if self._throttle.due(f"{kind} {error}"):
            log.warning("message dropped", message=kind, reason=reason.value, error=str(error)[:ERROR_CHARACTERS_MAX])
        if message.HasField("framework_update"):
            update = message.framework_update
            return self._core.handle(
                ev.FrameworkChanged(
                    framework=update.framework,
                    info=FrameworkInfo(id=update.framework_info.id),
                    suppressed_roles=frozenset(),
                    active=False,
                ),
                now=now,
            )
        if message.HasField("agent_update"):
            self._withdrawn.add(message.agent_update.agent)
            return self._core.handle(ev.AgentRemoved(message.agent_update.agent), now=now)
        return []
