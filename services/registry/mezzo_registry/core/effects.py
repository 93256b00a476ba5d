"""What a registry wants done. The shell runs the effects: all of one destination in one message, in order."""

from dataclasses import dataclass, field

from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.errors import MezzoError
from mezzo.operator.v1 import operator_pb2 as operator
from mezzo_registry.core.events import Event, Timer
from mezzo_registry.core.records import Write


@dataclass(frozen=True, slots=True)
class SendToAgent:
    """Put a message on an agent's session."""

    session: int
    message: agent_session.RegistryMessage


@dataclass(frozen=True, slots=True)
class CloseAgentSession:
    """End an agent's session, after what was sent before; with `error` as its status, when there is one."""

    session: int
    error: MezzoError | None = None


@dataclass(frozen=True, slots=True)
class SendToFramework:
    """Put an event on a framework's stream."""

    stream_id: str
    event: scheduler.Event


@dataclass(frozen=True, slots=True)
class CloseFrameworkStream:
    """End a framework's stream, after what was sent before."""

    stream_id: str


@dataclass(frozen=True, slots=True)
class SendToAllocator:
    """Put a message on the session with the allocator."""

    message: allocator.RegistryMessage


@dataclass(frozen=True, slots=True)
class Publish:
    """Send a change to every observer."""

    change: operator.StateChange


@dataclass(frozen=True, slots=True)
class PublishSnapshot:
    """Send one observer a part of a snapshot."""

    observer: int
    changes: list[operator.StateChange] = field(repr=False)
    begins: bool
    """It replaces whatever waits for the observer."""
    more: bool
    """Another part follows once the observer has said `ObserverReady`."""


@dataclass(frozen=True, slots=True)
class Persist:
    """Write to the store, all or nothing; when that is durable, and only then, hand back the event `then`."""

    writes: tuple[Write, ...]
    then: Event | None = None


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Hand back `TimerFired(timer)` after so many seconds."""

    timer: Timer
    after_seconds: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget a timer, if it runs."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer an operator's call."""

    request: int
    response: master.Response | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer a call with an error. Nothing has changed."""

    request: int
    error: MezzoError


@dataclass(frozen=True, slots=True)
class Note:
    """Write to the log: `level` is info or warning; `event` says what happened, `details` to what."""

    level: str
    event: str
    details: dict[str, object] = field(default_factory=dict)


Effect = (
    SendToAgent
    | CloseAgentSession
    | SendToFramework
    | CloseFrameworkStream
    | SendToAllocator
    | Publish
    | PublishSnapshot
    | Persist
    | StartTimer
    | CancelTimer
    | Answer
    | Refuse
    | Note
)
