"""What events are called wherever people read of them: in stories, logs and metrics."""

from __future__ import annotations

from mesos.v1.executor import executor_pb2 as executor_api
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo_agent.core.events import (
    ContainerActionFailed,
    ContainerEnded,
    ContainerNotStarted,
    ContainersRecovered,
    ContainerStarted,
    Event,
    ExecutorCalled,
    ExecutorDisconnected,
    ExecutorSubscribed,
    LaunchDeclined,
    LaunchRefused,
    RegistryMessageReceived,
    RemovalOrdered,
    SessionClosed,
    SessionOpened,
    TimerFired,
    TimerKind,
)

CALLS = frozenset({"executor_subscribe", "executor_update", "executor_message", "executor_disconnected"})
"""What an executor does."""
TIMERS = {kind: f"timer_{kind.replace(' ', '_')}" for kind in TimerKind}
CONDEMNED = "condemned"
"""A recovery reports those whom a defect was about."""
JOURNAL_RECORD = "journal_record"
"""A recovery applies a record."""
UNKNOWN = "unknown"
"""A message of a later version."""

_NAMES: dict[type, str] = {
    SessionOpened: "session_opened",
    SessionClosed: "session_closed",
    ContainerStarted: "container_started",
    ContainerNotStarted: "container_not_started",
    ContainerEnded: "container_ended",
    ContainerActionFailed: "container_action_failed",
    ContainersRecovered: "containers_recovered",
    ExecutorSubscribed: "executor_subscribe",
    ExecutorDisconnected: "executor_disconnected",
    LaunchRefused: "launch_refused",
    LaunchDeclined: "launch_declined",
    RemovalOrdered: "removal_ordered",
}


def names() -> list[str]:
    """Every name there is, but that of what is unknown."""
    messages = [member.name for member in session.RegistryMessage.DESCRIPTOR.oneofs_by_name["message"].fields]
    return sorted({*messages, *CALLS, *TIMERS.values(), *_NAMES.values(), CONDEMNED, JOURNAL_RECORD})


def name_of(event: Event) -> str:
    """The name of an event; of a message, a call or a timer, by what it is about."""
    match event:
        case RegistryMessageReceived():
            return event.message.WhichOneof("message") or UNKNOWN
        case ExecutorCalled():
            name = f"executor_{executor_api.Call.Type.Name(event.call.type).lower()}"
            return name if name in CALLS else "executor_message"
        case TimerFired():
            return TIMERS[event.timer.kind]
        case _:
            return _NAMES[type(event)]
