"""The states of tasks and agents, and which may follow which."""

import enum

from mesos.v1 import mesos_pb2 as mesos

MADE_BY_AGENTS = frozenset(mesos.TaskState.values()) - {
    mesos.TASK_UNREACHABLE,
    mesos.TASK_UNKNOWN,
    mesos.TASK_GONE_BY_OPERATOR,
}
"""The states that an update from an agent may carry; the others are for the registry to say."""


class AgentState(enum.Enum):
    """Where an agent stands with the registry. Unreachable and gone agents are known by id alone."""

    RECOVERED = "recovered"
    """Known from the store; not back since the election."""
    REGISTERING = "registering"
    """Its admission is on its way to the store."""
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    """Its stream broke; it has until its silence is too long."""
    REMOVED = "removed"
    """It has left, or is unreachable: the object is a memory of it."""


AGENT_TRANSITIONS = {
    (AgentState.RECOVERED, AgentState.REGISTERING),
    (AgentState.RECOVERED, AgentState.CONNECTED),
    (AgentState.RECOVERED, AgentState.REMOVED),
    (AgentState.REGISTERING, AgentState.CONNECTED),
    (AgentState.REGISTERING, AgentState.DISCONNECTED),
    (AgentState.REGISTERING, AgentState.REMOVED),
    (AgentState.CONNECTED, AgentState.CONNECTED),
    (AgentState.CONNECTED, AgentState.REGISTERING),
    (AgentState.CONNECTED, AgentState.DISCONNECTED),
    (AgentState.CONNECTED, AgentState.REMOVED),
    (AgentState.DISCONNECTED, AgentState.REGISTERING),
    (AgentState.DISCONNECTED, AgentState.CONNECTED),
    (AgentState.DISCONNECTED, AgentState.REMOVED),
}


class FrameworkState(enum.Enum):
    """Where a framework stands with the registry."""

    RECOVERED = "recovered"
    """Known from the agents that run its tasks; not back since the election."""
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    """Its stream broke; it has its failover time-out to come back."""
    COMPLETED = "completed"


FRAMEWORK_TRANSITIONS = {
    (FrameworkState.RECOVERED, FrameworkState.CONNECTED),
    (FrameworkState.RECOVERED, FrameworkState.COMPLETED),
    (FrameworkState.CONNECTED, FrameworkState.CONNECTED),
    (FrameworkState.CONNECTED, FrameworkState.DISCONNECTED),
    (FrameworkState.CONNECTED, FrameworkState.COMPLETED),
    (FrameworkState.DISCONNECTED, FrameworkState.CONNECTED),
    (FrameworkState.DISCONNECTED, FrameworkState.COMPLETED),
}


STATE_NAMES = {state: name.removeprefix("TASK_").lower() for name, state in mesos.TaskState.items()}
"""running and so on, as the names of metrics have it."""
