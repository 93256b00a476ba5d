"""What can happen to a registry. Each event is a fact; `Registry.handle` says what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo_registry.core.state.maintenance import Plan
from mezzo_registry.core.state.roles import Configuration, Quota


@dataclass(frozen=True, slots=True)
class Elected:
    """This registry leads from now on; with what the store holds."""

    admitted: tuple[mesos.AgentInfo, ...] = ()
    unreachable: Mapping[str, float] = field(default_factory=dict)
    """Agent id → when it was marked, in seconds since the epoch."""
    gone: Mapping[str, float] = field(default_factory=dict)
    configuration: Configuration = field(default_factory=Configuration)
    plan: Plan = field(default_factory=Plan)


# --- agents -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgentRegistering:
    """An agent opened its session with a whole snapshot of itself."""

    session: int
    register: agent_session.Register


@dataclass(frozen=True, slots=True)
class AgentStored:
    """The store has admitted the agent; `agent_id` may be one that it has just been given."""

    session: int
    agent_id: str
    register: agent_session.Register


@dataclass(frozen=True, slots=True)
class AgentHeartbeatReceived:
    """An agent sent a heartbeat, or a message of a kind that is not known here."""

    session: int


@dataclass(frozen=True, slots=True)
class AgentDisconnected:
    """An agent's stream ended."""

    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class AgentLeaving:
    """An agent says that it goes for good."""

    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class AgentMarkedUnreachable:
    """The store says that the agent is unreachable."""

    agent_id: str


@dataclass(frozen=True, slots=True)
class TaskUpdated:
    """An agent forwards a status update."""

    session: int
    update: agent_session.TaskUpdate


@dataclass(frozen=True, slots=True)
class ExecutorExited:
    """An executor of an agent has ended."""

    session: int
    exited: agent_session.ExecutorExited


@dataclass(frozen=True, slots=True)
class ExecutorMessageReceived:
    """An executor sent a message to its framework."""

    session: int
    message: agent_session.ExecutorMessage


@dataclass(frozen=True, slots=True)
class WhitelistUpdated:
    """From now on only agents on these hosts may be offered."""

    hostnames: frozenset[str]


# --- frameworks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FrameworkSubscribing:
    """A framework opened an event stream. `request` is what a refusal answers."""

    request: int
    stream_id: str
    call: scheduler.Call
    client_address: str = ""
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class FrameworkStreamClosed:
    """A framework's event stream ended."""

    stream_id: str


@dataclass(frozen=True, slots=True)
class FrameworkCalled:
    """A framework made any call but SUBSCRIBE. It is admitted unless a `Refuse` of `request` follows."""

    request: int
    stream_id: str
    call: scheduler.Call
    correlation_id: str = ""
    """Of the request behind it; what is noted of it carries the id."""


# --- the allocator ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AllocatorConnected:
    """A session with an allocator began; it knows nothing yet."""


@dataclass(frozen=True, slots=True)
class AllocatorDisconnected:
    """The session with the allocator ended."""


@dataclass(frozen=True, slots=True)
class AllocatorReady:
    """The allocator has taken the snapshot, and says how it is configured."""

    flags: Mapping[str, str]
    """Those that Mesos' master has, by name."""


@dataclass(frozen=True, slots=True)
class AllocationsMade:
    """The allocator advises offers."""

    allocations: allocator.Allocations


# --- operators and observers ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OperatorCalled:
    """An operator made a call. An `Answer` or a `Refuse` of `request` follows."""

    request: int
    call: master.Call
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class OperatorKilledTask:
    """An operator wants a task of any framework killed. An `Answer` or a `Refuse` of `request` follows."""

    request: int
    framework_id: str
    task_id: str
    correlation_id: str = ""
    kill_policy: mesos.KillPolicy | None = None
    """Instead of the task's own."""


@dataclass(frozen=True, slots=True)
class RolesStored:
    """The store has what is configured for roles."""

    request: int | None
    """What an `Answer` answers; none for the weights of the flags."""
    weights: Mapping[str, float] = field(default_factory=dict)
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    """A quota that says nothing was removed."""


@dataclass(frozen=True, slots=True)
class MaintenanceStored:
    """The store has what is planned of maintenance. `request` is what an `Answer` answers."""

    request: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class ObserverJoined:
    """An observer wants a copy of the state; or wants it anew, having missed changes."""

    observer: int


@dataclass(frozen=True, slots=True)
class ObserverReady:
    """An observer has received what was sent of a snapshot so far, and wants more."""

    observer: int


@dataclass(frozen=True, slots=True)
class ObserverLeft:
    """An observer's stream ended."""

    observer: int


# --- time -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that a `StartTimer` started has run out."""

    timer: "Timer"


@dataclass(frozen=True, slots=True)
class Timer:
    """What a timer is for. Starting one that runs starts it anew."""

    purpose: str
    subject: str = ""


Event = (
    Elected
    | AgentRegistering
    | AgentStored
    | AgentHeartbeatReceived
    | AgentDisconnected
    | AgentLeaving
    | AgentMarkedUnreachable
    | TaskUpdated
    | ExecutorExited
    | ExecutorMessageReceived
    | WhitelistUpdated
    | FrameworkSubscribing
    | FrameworkStreamClosed
    | FrameworkCalled
    | AllocatorConnected
    | AllocatorDisconnected
    | AllocatorReady
    | AllocationsMade
    | OperatorCalled
    | OperatorKilledTask
    | RolesStored
    | MaintenanceStored
    | ObserverJoined
    | ObserverReady
    | ObserverLeft
    | TimerFired
)
