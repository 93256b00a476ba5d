"""The entities of the agent's state: frameworks, their executors, their tasks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from pathlib import Path

from mesos.v1 import mesos_pb2 as mesos
from mezzo.task_states import TERMINAL
from mezzo_agent.ports import ContainerId

COMPLETED_TASKS_PER_EXECUTOR_MAX = 200
"""How many ended tasks of one executor `/state` still tells about."""


class ExecutorKind(Enum):
    """Who runs the tasks: the agent itself one command, or groups of them; or a program of the framework."""

    COMMAND = "command"
    POD = "pod"
    CUSTOM = "custom"


class ExecutorState(StrEnum):
    """REGISTERING → RUNNING → TERMINATING → TERMINATED; only a custom executor is ever REGISTERING."""

    REGISTERING = "registering"
    RUNNING = "running"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


class Phase(StrEnum):
    """How far the agent has come with a task, whatever its state: that is what was last reported of it."""

    QUEUED = "queued"
    """Its custom executor has not been sent it yet."""
    LAUNCHING = "launching"
    """Its container is being launched, or its executor has been sent it."""
    RUNNING = "running"
    """The agent itself supervises its container, which runs."""
    ENDED = "ended"
    """It runs no more; its updates may still wait for their acknowledgements."""


class KillCause(Enum):
    """Why a task is being killed, which decides what is reported when it has died."""

    REQUESTED = "requested"
    COMPLETION_TIME = "completion time"


@dataclass(frozen=True, slots=True)
class Kill:
    cause: KillCause
    grace_period_seconds: float


@dataclass(slots=True, eq=False)
class Task:
    info: mesos.TaskInfo
    framework_id: str
    executor: Executor | None
    """Which executor it belongs to; None for a task that was refused before there was one."""
    container_id: ContainerId | None = None
    """Where the agent supervises the task itself."""
    group: int = 0
    """Tasks of one group live and die together; 0 for a task that came alone."""
    phase: Phase = Phase.QUEUED
    state: mesos.TaskState.ValueType = mesos.TASK_STAGING
    pid: int | None = None
    kill: Kill | None = None
    statuses: list[mesos.TaskStatus] = field(default_factory=list)
    """The newest of each state, in the order in which they came."""
    pending: deque[mesos.TaskStatus] = field(default_factory=deque)
    """Updates that the framework has not acknowledged; the first one is under way."""
    attempts: int = 0
    """How often the first pending update has been sent in this session."""

    @property
    def id(self) -> str:
        return self.info.task_id.value

    @property
    def key(self) -> tuple[str, str]:
        """The framework's id, and its own."""
        return (self.framework_id, self.info.task_id.value)

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL

    def has_update(self, uuid: bytes) -> bool:
        """Whether an update of this id has been entered already."""
        return any(status.uuid == uuid for status in (*self.statuses, *self.pending))

    def apply_status(self, status: mesos.TaskStatus) -> None:
        """Make a status the task's newest."""
        self.state = status.state
        self.statuses = [known for known in self.statuses if known.state != status.state]
        self.statuses.append(status)


@dataclass(slots=True, eq=False)
class Executor:
    framework_id: str
    info: mesos.ExecutorInfo
    kind: ExecutorKind
    container_id: ContainerId
    sandbox: Path
    token: str = ""
    state: ExecutorState = ExecutorState.RUNNING
    pid: int | None = None
    connection: str | None = None
    """The stream on which a custom executor listens."""
    tasks: dict[str, Task] = field(default_factory=dict)
    """Tasks whose last update is not acknowledged yet."""
    completed_tasks: deque[Task] = field(default_factory=lambda: deque(maxlen=COMPLETED_TASKS_PER_EXECUTOR_MAX))
    kill_reason: tuple[mesos.TaskStatus.Reason.ValueType, str] | None = None
    """Why the agent ends it, where it does."""

    @property
    def id(self) -> str:
        return self.info.executor_id.value

    @property
    def key(self) -> tuple[str, str]:
        """The framework's id, and its own."""
        return (self.framework_id, self.info.executor_id.value)

    def live_tasks(self) -> list[Task]:
        return [task for task in self.tasks.values() if task.phase is not Phase.ENDED]


@dataclass(slots=True, eq=False)
class Framework:
    info: mesos.FrameworkInfo
    completed_executors: deque[Executor]
    executors: dict[str, Executor] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    """Tasks whose last update is not acknowledged yet, whether their executor still runs or not."""
    persisted: bool = False
    """It is in the journal."""
    shutting_down: bool = False
    """It is being shut down; its updates are dropped."""

    @property
    def id(self) -> str:
        return self.info.id.value

    @property
    def idle(self) -> bool:
        return not self.executors and not self.tasks

    def has(self, capability: mesos.FrameworkInfo.Capability.Type.ValueType) -> bool:
        return any(each.type == capability for each in self.info.capabilities)
