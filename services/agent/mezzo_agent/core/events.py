"""What the agent is told. Each event is a fact."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as executor
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo_agent.ports import ContainerId, RecoveredContainer, Termination

# --- the session with the registry


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """There is a stream to the leading registry, and nothing has been said on it."""


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The stream has ended."""


@dataclass(frozen=True, slots=True)
class RegistryMessageReceived:
    """Whatever the registry says: the member of the oneof decides."""

    message: session.RegistryMessage


@dataclass(frozen=True, slots=True)
class LaunchRefused:
    """A RunTask or RunTaskGroup like this one led to a defect: its tasks are not launched, for this reason."""

    message: session.RegistryMessage
    reason: str


@dataclass(frozen=True, slots=True)
class LaunchDeclined:
    """As LaunchRefused, where even that led to a defect: nothing of it is kept."""

    message: session.RegistryMessage
    reason: str


# --- containers


@dataclass(frozen=True, slots=True)
class ContainerStarted:
    container_id: ContainerId
    pid: int


@dataclass(frozen=True, slots=True)
class ContainerNotStarted:
    container_id: ContainerId
    reason: mesos.TaskStatus.Reason.ValueType
    message: str


@dataclass(frozen=True, slots=True)
class ContainerEnded:
    container_id: ContainerId
    termination: Termination


@dataclass(frozen=True, slots=True)
class ContainerActionFailed:
    """It could not be signaled, or what it may use could not be changed. `action` says which."""

    container_id: ContainerId
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class ContainersRecovered:
    """What has become of every container that the journal names."""

    found: dict[ContainerId, RecoveredContainer]
    intact: bool = True
    """Whether the journal was. What had ended may look in a damaged one as if it had never been launched."""


# --- executors


@dataclass(frozen=True, slots=True)
class ExecutorSubscribed:
    """A call SUBSCRIBE. `connection` names the stream that the executor reads; `token` is what it sent, if anything."""

    call: executor.Call
    token: str | None
    connection: str


@dataclass(frozen=True, slots=True)
class ExecutorCalled:
    """Any other call."""

    call: executor.Call
    token: str | None


@dataclass(frozen=True, slots=True)
class ExecutorDisconnected:
    connection: str


# --- time


class TimerKind(StrEnum):
    UPDATE_RETRY = "update retry"
    KILL_GRACE = "kill grace"
    MAX_COMPLETION = "max completion"
    EXECUTOR_REGISTRATION = "executor registration"
    EXECUTOR_REREGISTRATION = "executor reregistration"
    EXECUTOR_SHUTDOWN = "executor shutdown"


@dataclass(frozen=True, slots=True)
class Timer:
    """What a timer is for. `subject_id` is a task's id or an executor's, as its kind says."""

    kind: TimerKind
    framework_id: str
    subject_id: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    timer: Timer


# --- the operator


@dataclass(frozen=True, slots=True)
class RemovalOrdered:
    """End everything, say goodbye and go for good (`--recover=cleanup`, SIGUSR1)."""

    reason: str


Event = (
    SessionOpened
    | SessionClosed
    | RegistryMessageReceived
    | LaunchRefused
    | LaunchDeclined
    | ContainerStarted
    | ContainerNotStarted
    | ContainerEnded
    | ContainerActionFailed
    | ContainersRecovered
    | ExecutorSubscribed
    | ExecutorCalled
    | ExecutorDisconnected
    | TimerFired
    | RemovalOrdered
)
