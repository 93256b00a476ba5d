"""Whose message an event is, so that the next term can refuse whoever sent what ended this one.

A peer is refused where it comes in: an agent at its registration, a framework at SUBSCRIBE and at each call, an
allocator at the beginning of its session, observers when they ask for a snapshot, an operator's call when the same is
made again. A timer is put off. Nobody else is touched.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.errors import InternalError, shorten
from mezzo_chassis.engine import kind_of
from mezzo_chassis.quarantine import Entry, Quarantine, Suspect
from mezzo_registry.core import events

SECONDS_MIN = 60.0
SECONDS_MAX = 900.0
"""For how long a peer is refused: at first, and at most. It doubles with each defect."""
CLOSED_STREAMS_MAX = 1024
"""So many streams that have ended are remembered, for what they left in the inbox."""
NAME_CHARACTERS_MAX = 256
"""How much of a name is kept: peers choose theirs, and say them before anything is checked."""
ALLOCATOR = "the allocator"
OBSERVERS = "observers"

_REFUSED = frozenset(
    kind_of(event.__name__)
    for event in (
        events.AgentRegistering,
        events.FrameworkSubscribing,
        events.FrameworkCalled,
        events.AllocatorConnected,
        events.ObserverJoined,
        events.OperatorCalled,
        events.OperatorKilledTask,
        events.WhitelistUpdated,
        events.TimerFired,
    )
)
"""What can be refused. Any other event of a peer only comes of one that was let in."""

Names = tuple[str, ...]
"""How a peer is known, the best first."""


def new_quarantine() -> Quarantine:
    """Nobody is refused yet. Outlives terms."""
    return Quarantine(key=_key, seconds_min=SECONDS_MIN, seconds_max=SECONDS_MAX)


def _key(suspect: Suspect) -> str:
    return suspect.peer if suspect.event in _REFUSED else ""


def refusal(entry: Entry) -> InternalError:
    """What a peer is told that is refused. The same each time, so that whoever logs it can tell."""
    suspect = entry.suspect
    what = " ".join(filter(None, (suspect.event, suspect.subject)))
    until = datetime.fromtimestamp(entry.until, UTC).isoformat(timespec="seconds")
    return InternalError(
        f"{suspect.peer} is refused until {until}: its {what} led to a defect in the registry, whose log has more"
    )


class Peers:
    """Knows whose each session and stream is."""

    def __init__(self) -> None:
        self._names: dict[int | str, Names] = {}
        self._closed: deque[int | str] = deque()
        self._of: dict[type, Callable[[Any], tuple[Names, str]]] = {
            events.AgentRegistering: self._of_registering,
            events.AgentStored: self._of_stored,
            events.AgentHeartbeatReceived: self._of_session,
            events.AgentDisconnected: self._of_session,
            events.AgentLeaving: self._of_session,
            events.TaskUpdated: self._of_update,
            events.ExecutorExited: self._of_session,
            events.ExecutorMessageReceived: self._of_session,
            events.FrameworkSubscribing: self._of_subscribing,
            events.FrameworkStreamClosed: self._of_stream,
            events.FrameworkCalled: self._of_call,
            events.OperatorCalled: self._of_operator,
            events.OperatorKilledTask: self._of_kill,
            events.AllocatorConnected: self._of_allocator,
            events.AllocatorDisconnected: self._of_allocator,
            events.AllocatorReady: self._of_allocator,
            events.AllocationsMade: self._of_allocator,
            events.ObserverJoined: self._of_observer,
            events.ObserverReady: self._of_observer,
            events.ObserverLeft: self._of_observer,
            events.WhitelistUpdated: self._of_whitelist,
            events.TimerFired: self._of_timer,
        }
        """Those that are not here are of the registry itself: an election, what follows a write."""

    def agent_came(self, session: int, register: agent_session.Register) -> None:
        """An agent opened a session."""
        self._names[session] = _agent_names(register.agent_info.id.value, register)

    def agent_registered(self, session: int, agent_id: str) -> None:
        """The agent has been told its id, which may be a new one; unless it was turned away."""
        if agent_id:
            self._learn(session, _name(f"agent {agent_id}"))

    def framework_came(self, stream_id: str, call: scheduler.Call) -> None:
        """A framework opened a stream."""
        info = call.subscribe.framework_info
        self._names[stream_id] = _framework_names(info.id.value, info)

    def framework_subscribed(self, stream_id: str, framework_id: str) -> None:
        """The framework has been told its id, which may be a new one; unless it was turned away."""
        if framework_id:
            self._learn(stream_id, _name(f"framework {framework_id}"))

    def _learn(self, stream: int | str, name: str) -> None:
        self._names[stream] = (name, *(each for each in self._names.get(stream, ()) if each != name))

    def left(self, stream: int | str) -> None:
        """A session or a stream has ended; what it said before may still wait."""
        self._closed.append(stream)
        if len(self._closed) > CLOSED_STREAMS_MAX:
            self._names.pop(self._closed.popleft(), None)

    def suspect_of(self, event: events.Event) -> Suspect:
        """An event as another term can know it again."""
        kind = kind_of(type(event).__name__)
        names, subject = self._of.get(type(event), _nobodys)(event)
        peer, aliases = (names[0], names[1:]) if names else ("", ())
        if kind not in _REFUSED:
            aliases = names  # it is its sender that is refused
        return Suspect(kind, peer, subject, aliases)

    def _of_session(self, event: Any) -> tuple[Names, str]:
        return self._names.get(event.session, ()), ""

    def _of_registering(self, event: events.AgentRegistering) -> tuple[Names, str]:
        known = self._names.get(event.session)
        return known or _agent_names(event.register.agent_info.id.value, event.register), ""

    def _of_stored(self, event: events.AgentStored) -> tuple[Names, str]:
        return _agent_names(event.agent_id, event.register), ""

    def _of_update(self, event: events.TaskUpdated) -> tuple[Names, str]:
        return self._names.get(event.session, ()), _name(f"of task {event.update.status.task_id.value}")

    def _of_subscribing(self, event: events.FrameworkSubscribing) -> tuple[Names, str]:
        info, known = event.call.subscribe.framework_info, self._names.get(event.stream_id)
        return known or _framework_names(info.id.value, info), ""

    def _of_call(self, event: events.FrameworkCalled) -> tuple[Names, str]:
        # Whose the stream is, is known; whose the call says that it is, anybody can write.
        names = self._names.get(event.stream_id, ()) or (f"call {_digest(event.call)}",)
        return names, _call_type(event.call)

    def _of_stream(self, event: events.FrameworkStreamClosed) -> tuple[Names, str]:
        return self._names.get(event.stream_id, ()), ""

    def _of_operator(self, event: events.OperatorCalled) -> tuple[Names, str]:
        return (f"operator call {_digest(event.call)}",), _operator_call_type(event.call)

    def _of_kill(self, event: events.OperatorKilledTask) -> tuple[Names, str]:
        return (_name(f"kill of task {event.task_id} of framework {event.framework_id}"),), ""

    def _of_allocator(self, _event: events.Event) -> tuple[Names, str]:
        return (ALLOCATOR,), ""

    def _of_observer(self, _event: events.Event) -> tuple[Names, str]:
        return (OBSERVERS,), ""

    def _of_whitelist(self, _event: events.WhitelistUpdated) -> tuple[Names, str]:
        return ("the whitelist",), ""

    def _of_timer(self, event: events.TimerFired) -> tuple[Names, str]:
        return (" ".join(filter(None, ("timer", event.timer.purpose, event.timer.subject))),), ""


def _nobodys(_event: events.Event) -> tuple[Names, str]:
    return (), ""


def _agent_names(agent_id: str, register: agent_session.Register) -> Names:
    """By its id, and by where it is: one that has lost its id comes from there again."""
    place = _name(f"agent at {register.pid or register.agent_info.hostname}")
    return (_name(f"agent {agent_id}"), place) if agent_id else (place,)


def _framework_names(framework_id: str, info: mesos.FrameworkInfo) -> Names:
    """By its id, and by what it says of itself: one that has none, or comes without it, comes as that."""
    name = _name(f"framework '{info.name}' of '{info.principal or info.user}'")
    return (_name(f"framework {framework_id}"), name) if framework_id else (name,)


def _name(text: str) -> str:
    return shorten(text, NAME_CHARACTERS_MAX)


def _call_type(call: scheduler.Call) -> str:
    return scheduler.Call.Type.Name(call.type)


def _operator_call_type(call: master.Call) -> str:
    return master.Call.Type.Name(call.type)


def _digest(call: Message) -> str:
    # Also of a call that is not whole, which the core has yet to refuse.
    return hashlib.sha256(call.SerializePartialToString(deterministic=True)).hexdigest()[:16]
