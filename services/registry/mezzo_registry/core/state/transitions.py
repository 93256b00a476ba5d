"""The states of agents, frameworks and tasks, and which may follow which."""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

from mesos.v1 import mesos_pb2 as mesos


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


TaskState: TypeAlias = "mesos.TaskState.ValueType"

_IN_ANY_ORDER: Final = frozenset({mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_KILLING})
"""Executors report these in whatever order they like, and the same one again and again."""
_ENDED: Final = frozenset(
    {
        mesos.TASK_FINISHED,
        mesos.TASK_FAILED,
        mesos.TASK_KILLED,
        mesos.TASK_ERROR,
        mesos.TASK_LOST,
        mesos.TASK_DROPPED,
        mesos.TASK_GONE,
    }
)
"""The end: nothing follows. TASK_LOST stands for the finer ones where a framework is not partition-aware."""

TASK_TRANSITIONS: Final[dict[TaskState | None, frozenset[TaskState]]] = {
    None: frozenset({mesos.TASK_STAGING}) | _IN_ANY_ORDER | _ENDED,
    mesos.TASK_STAGING: frozenset({mesos.TASK_STAGING, mesos.TASK_UNREACHABLE}) | _IN_ANY_ORDER | _ENDED,
    mesos.TASK_STARTING: frozenset({mesos.TASK_UNREACHABLE}) | _IN_ANY_ORDER | _ENDED,
    mesos.TASK_RUNNING: frozenset({mesos.TASK_UNREACHABLE}) | _IN_ANY_ORDER | _ENDED,
    mesos.TASK_KILLING: frozenset({mesos.TASK_UNREACHABLE}) | _IN_ANY_ORDER | _ENDED,
    mesos.TASK_UNREACHABLE: frozenset(),
    mesos.TASK_FINISHED: frozenset(),
    mesos.TASK_FAILED: frozenset(),
    mesos.TASK_KILLED: frozenset(),
    mesos.TASK_ERROR: frozenset(),
    mesos.TASK_LOST: frozenset(),
    mesos.TASK_DROPPED: frozenset(),
    mesos.TASK_GONE: frozenset(),
}
"""State → those that may follow; under None those that a task may have when it is entered: TASK_STAGING when it is
launched, whatever it is by then when its agent reports it. What comes back from TASK_UNREACHABLE is entered anew.
"""

REPORTED_BY_AGENTS: Final = frozenset({mesos.TASK_STAGING}) | _IN_ANY_ORDER | _ENDED
"""The states that a task may have in an agent's snapshot; the others are for the registry to say."""
UPDATED_BY_AGENTS: Final = _IN_ANY_ORDER | _ENDED
"""The states that an update from an agent may carry: those that an executor may report, or the agent itself."""

STATE_NAMES = {state: name.removeprefix("TASK_").lower() for name, state in mesos.TaskState.items()}
"""running and so on, as the names of metrics have it."""
