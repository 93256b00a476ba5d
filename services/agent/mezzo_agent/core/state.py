"""The state that every part of the core works on, and the effects of the event that is being handled."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo_agent.core.effects import CancelTimer, Effect, Persist, SendToRegistry, StartTimer
from mezzo_agent.core.events import Timer, TimerKind
from mezzo_agent.core.failures import InvalidTransition
from mezzo_agent.core.model import Executor, ExecutorState, Framework, Phase, Task
from mezzo_agent.core.sandbox_names import SandboxName
from mezzo_agent.core.story import Key, Story
from mezzo_agent.core.transitions import EXECUTOR_TRANSITIONS, TASK_TRANSITIONS
from mezzo_agent.ports import ContainerId

COMPLETED_FRAMEWORKS_MAX = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the flags say, as far as decisions depend on it. Times are in seconds."""

    work_dir: Path
    ip: str
    """Where executors and others reach the agent's HTTP server, and the path of its Unix socket if there is one."""
    port: int
    domain_socket: Path | None = None
    grpc_port: int | None = None
    """Where executors reach the agent's gRPC server, on the same address."""
    version: str = "0"
    mesos_version: str = "0.0.0"
    switch_user: bool = True
    base_environment: Mapping[str, str] = field(default_factory=dict)
    """What every container finds in its environment, before anything of the task's own."""
    executor_registration_timeout: float = 60.0
    executor_reregistration_timeout: float = 2.0
    executor_shutdown_grace_period: float = 5.0
    recovery_timeout: float = 900.0
    kill_grace_period: float = 3.0
    """For tasks without a kill policy."""
    update_retry_min: float = 10.0
    update_retry_max: float = 600.0
    authenticate_executors: bool = False
    max_completed_executors_per_framework: int = 150

    @property
    def endpoint(self) -> str:
        return f"{self.ip}:{self.port}"

    @property
    def pid(self) -> str:
        """What Mesos calls the address of an agent."""
        return f"slave(1)@{self.endpoint}"


@dataclass(slots=True)
class Counts:
    """What has happened since the agent started; the names are those of Mesos' metrics where it has one."""

    tasks: Counter[int] = field(default_factory=Counter)
    """Terminal updates and TASK_KILLING, by state."""
    valid_status_updates: int = 0
    invalid_status_updates: int = 0
    valid_framework_messages: int = 0
    invalid_framework_messages: int = 0
    executors_terminated: int = 0
    container_launch_errors: int = 0
    launches: int = 0
    updates_resent: int = 0
    acknowledgements_ignored: int = 0


@dataclass(slots=True, eq=False)
class AgentState:
    settings: Settings
    agent_info: mesos.AgentInfo
    """As it registers: with its id once it has one, with all its resources and attributes."""
    new_id: Callable[[], bytes]
    """16 random bytes each time."""
    frameworks: dict[str, Framework] = field(default_factory=dict)
    completed_frameworks: deque[Framework] = field(default_factory=lambda: deque(maxlen=COMPLETED_FRAMEWORKS_MAX))
    containers: dict[ContainerId, Task | Executor] = field(default_factory=dict)
    """Who uses which container: an executor its own, a supervised task likewise."""
    registered: bool = False
    """The registry has answered Registered on the present stream."""
    unreported_exits: list[session.ExecutorExited] = field(default_factory=list)
    """Of executors that were in the snapshot of the present stream, and ended before Registered came."""
    master_info: mesos.MasterInfo | None = None
    removal_reason: str | None = None
    """The agent ends as soon as nothing runs any more, for this reason."""
    group_count: int = 0
    counts: Counts = field(default_factory=Counts)
    now: float = 0.0
    event: str = ""
    """The name of the event that is being handled."""
    story: Story = field(default_factory=Story)
    effects: list[Effect] = field(default_factory=list)
    at: Task | Executor | checkpoint.CheckpointRecord | None = None
    """Whom an event that is about several has come to: to know whom it was about that a defect was met."""
    reports_condemned: bool = False
    """The tasks that a recovery ends are being reported."""

    @property
    def agent_id(self) -> str:
        return self.agent_info.id.value

    def write_row(self, key: Key, what: str) -> None:
        """Add to the story what became of somebody."""
        self.story.record(self.now, self.event, key, what)

    def move_task(self, task: Task, phase: Phase) -> None:
        """Enter a phase; a task has no other way into it once it is in the state.

        Raises:
            InvalidTransition: the table does not have it.
        """
        if (task.phase, phase) not in TASK_TRANSITIONS:
            raise InvalidTransition(
                f"task {task.id} of {task.framework_id}", task.phase, phase, self.story.of(task.key)
            )
        self.write_row(task.key, f"{task.phase} -> {phase}")
        task.phase = phase

    def move_executor(self, executor: Executor, state: ExecutorState) -> None:
        """Enter a state; an executor has no other way into it once it is in the agent's state.

        Raises:
            InvalidTransition: the table does not have it.
        """
        if (executor.state, state) not in EXECUTOR_TRANSITIONS:
            what = f"executor {executor.id} of {executor.framework_id}"
            raise InvalidTransition(what, executor.state, state, self.story.of(executor.key))
        self.write_row(executor.key, f"{executor.state} -> {state}")
        executor.state = state

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def persist(self, record: checkpoint.CheckpointRecord) -> None:
        self.effects.append(Persist(record))

    def send(self, message: session.AgentMessage) -> None:
        """To the registry; lost when there is no session, and then the next snapshot makes it good."""
        if self.registered:
            self.effects.append(SendToRegistry(message))

    def start_timer(self, kind: TimerKind, framework_id: str, subject_id: str, delay_seconds: float) -> None:
        self.effects.append(StartTimer(Timer(kind, framework_id, subject_id), delay_seconds))

    def cancel_timer(self, kind: TimerKind, framework_id: str, subject_id: str) -> None:
        self.effects.append(CancelTimer(Timer(kind, framework_id, subject_id)))

    def new_container_id(self) -> ContainerId:
        return str(UUID(bytes=self.new_id()))

    def new_token(self) -> str:
        return (self.new_id() + self.new_id()).hex()

    def sandbox(self, framework_id: str, executor_id: str, container_id: ContainerId) -> Path:
        """Return the path of the sandbox of an executor's container.

        Raises:
            InvalidRequest: an id cannot name a folder.
        """
        return SandboxName(self.agent_id, framework_id, executor_id, container_id).path(self.settings.work_dir)

    def framework_of(self, task: Task) -> Framework:
        return self.frameworks[task.framework_id]

    def task(self, framework_id: str, task_id: str) -> Task | None:
        framework = self.frameworks.get(framework_id)
        return framework.tasks.get(task_id) if framework is not None else None

    def persist_framework(self, framework: Framework) -> None:
        """Write it down before the first thing that needs it."""
        if not framework.persisted:
            framework.persisted = True
            record = checkpoint.FrameworkRecord(framework_info=framework.info)
            self.persist(checkpoint.CheckpointRecord(framework=record))
