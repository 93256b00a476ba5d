"""Whom an event is about, so that it can be refused, or its subject be ended, once it has led to a defect.

Everything here works on the event alone, and on what the state says at that moment: it is asked when nothing else of
the state can be trusted any more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo_agent.core import effects
from mezzo_agent.core.event_names import CALLS, CONDEMNED, JOURNAL_RECORD, TIMERS, name_of
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
    Timer,
    TimerFired,
    TimerKind,
)
from mezzo_agent.core.model import Executor, ExecutorKind, Phase, Task
from mezzo_agent.core.state import AgentState

LAUNCHES = frozenset({"run_task", "run_task_group"})
_TIMERS_OF_EXECUTORS = {TimerKind.EXECUTOR_REGISTRATION, TimerKind.EXECUTOR_REREGISTRATION, TimerKind.EXECUTOR_SHUTDOWN}
_ENDED_BY_RECOVERY = {
    *LAUNCHES,
    *CALLS,
    *TIMERS.values(),
    *("kill_task", "shutdown_executor", "shutdown_framework"),
    # To be launched once more would lead to the same defect.
    "container_not_started",
    # Where they are about somebody, it is whom they had come to.
    *("registered", "session_opened", "containers_recovered", CONDEMNED, JOURNAL_RECORD),
}
NEVER_REFUSED = frozenset({"containers_recovered", "container_started", "container_not_started", "container_ended"})
"""Without the first no agent starts; what happens to a container is told once, and a task whose end is not heard of
never ends."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A kind of event, and whom it is about. Ids are empty where it is about nobody."""

    event: str
    framework_id: str = ""
    executor_id: str = ""
    task_ids: tuple[str, ...] = ()

    @property
    def ends(self) -> bool:
        """Whether a recovery after a defect ends whom it is about.

        What happened to a container is not among them: the recovery finds that out by itself, and what the registry
        says about tasks can mostly be refused alone.
        """
        return bool(self.framework_id) and self.event in _ENDED_BY_RECOVERY

    @property
    def name(self) -> str:
        """What of the framework it is."""
        executor = [f"executor {self.executor_id}"] if self.executor_id else []
        return ", ".join([*executor, *(f"task {task_id}" for task_id in self.task_ids)])


def of_event(event: Event, state: AgentState) -> Subject:
    """Whom an event is about; while one is being handled that is about several, whom the core has come to."""
    subject = _of_event(event, state)
    return subject if subject.framework_id or state.at is None else _with(subject, state.at)


def lives(subject: Subject, state: AgentState) -> bool:
    """Whether somebody whom it is about is there, and has not ended."""
    framework = state.frameworks.get(subject.framework_id)
    if framework is None:
        return False
    tasks = (framework.tasks.get(task_id) for task_id in subject.task_ids)
    return subject.executor_id in framework.executors or any(task and task.phase is not Phase.ENDED for task in tasks)


def of_effect(event: Event, effect: effects.Effect, state: AgentState) -> Subject:
    """Whom an event is about that has led to this effect."""
    subject = _of_event(event, state)
    if subject.framework_id:
        return subject
    match effect:
        case effects.LaunchContainer(config):
            if config.task_id:
                return replace(subject, framework_id=config.framework_id, task_ids=(config.task_id,))
            return replace(subject, framework_id=config.framework_id, executor_id=config.executor_id)
        case (
            effects.WatchContainer(container_id)
            | effects.KillContainer(container_id)
            | effects.DestroyContainer(container_id)
            | effects.UpdateContainer(container_id)
        ):
            return _with(subject, state.containers.get(container_id))
        case effects.StartTimer(timer) | effects.CancelTimer(timer):
            return _of_timer(subject.event, timer)
        case effects.SendToRegistry(message) if message.HasField("task_update"):
            update = message.task_update
            return _with(subject, state.task(update.framework_id.value, update.status.task_id.value))
    return subject


def of_record(state: AgentState) -> Subject:
    """Whom the record of the journal is about that was being applied."""
    if isinstance(state.at, checkpoint.CheckpointRecord):
        return _of_record(state.at)
    return _with(Subject(JOURNAL_RECORD), state.at)


def _of_event(event: Event, state: AgentState) -> Subject:
    name = name_of(event)
    match event:
        case RegistryMessageReceived(message) | LaunchRefused(message) | LaunchDeclined(message):
            return _of_message(name, message)
        case ExecutorCalled(call) | ExecutorSubscribed(call):
            return Subject(name, call.framework_id.value, call.executor_id.value)
        case ExecutorDisconnected(connection):
            return _with(Subject(name), _listening_on(connection, state))
        case TimerFired(timer):
            return _of_timer(name, timer)
        case ContainerStarted() | ContainerNotStarted() | ContainerEnded() | ContainerActionFailed():
            return _with(Subject(name), state.containers.get(event.container_id))
        case ContainersRecovered() if state.reports_condemned:
            return Subject(CONDEMNED)
        case _:
            return Subject(name)


def _of_message(name: str, message: session.RegistryMessage) -> Subject:
    kind = message.WhichOneof("message")
    if kind is None:
        return Subject(name)
    member = getattr(message, kind)
    match member:
        case session.RunTask():
            return Subject(name, member.framework_id.value, task_ids=(member.task.task_id.value,))
        case session.RunTaskGroup():
            tasks = tuple(task.task_id.value for task in member.task_group.tasks)
            return Subject(name, member.framework_id.value, task_ids=tasks)
        case session.KillTask() | session.AcknowledgeUpdate():
            return Subject(name, member.framework_id.value, task_ids=(member.task_id.value,))
        case session.ShutdownExecutor() | session.FrameworkMessage():
            return Subject(name, member.framework_id.value, member.executor_id.value)
        case session.ShutdownFramework():
            return Subject(name, member.framework_id.value)
        case session.FrameworkUpdate():
            return Subject(name, member.framework_info.id.value)
        case _:
            return Subject(name)


def _of_timer(name: str, timer: Timer) -> Subject:
    if timer.kind in _TIMERS_OF_EXECUTORS:
        return Subject(name, timer.framework_id, timer.subject_id)
    return Subject(name, timer.framework_id, task_ids=(timer.subject_id,))


def _of_record(record: checkpoint.CheckpointRecord) -> Subject:
    kind = record.WhichOneof("record")
    match getattr(record, kind or "agent"):
        case checkpoint.FrameworkRecord() as member:
            return Subject(JOURNAL_RECORD, member.framework_info.id.value)
        case checkpoint.ExecutorRecord() as member:
            return Subject(JOURNAL_RECORD, member.framework_id.value, member.executor_info.executor_id.value)
        case checkpoint.ExecutorRemoved() as member:
            return Subject(JOURNAL_RECORD, member.framework_id.value, member.executor_id.value)
        case checkpoint.TaskRecord() as member:
            return Subject(JOURNAL_RECORD, member.framework_id.value, task_ids=(member.task.task_id.value,))
        case checkpoint.UpdateRecord() as member:
            return Subject(JOURNAL_RECORD, member.framework_id.value, task_ids=(member.status.task_id.value,))
        case checkpoint.AcknowledgementRecord() | checkpoint.KillRecord() as member:
            return Subject(JOURNAL_RECORD, member.framework_id.value, task_ids=(member.task_id.value,))
        case checkpoint.FrameworkRemoved() as member:
            return Subject(JOURNAL_RECORD, member.framework_id.value)
        case _:
            return Subject(JOURNAL_RECORD)


def _with(subject: Subject, entity: Task | Executor | checkpoint.CheckpointRecord | None) -> Subject:
    match entity:
        case Task():
            return replace(subject, framework_id=entity.framework_id, task_ids=(entity.id,))
        case Executor() if entity.kind is ExecutorKind.COMMAND:
            return replace(subject, framework_id=entity.framework_id, task_ids=(entity.id,))
        case Executor():
            return replace(subject, framework_id=entity.framework_id, executor_id=entity.id)
        case _:
            return subject


def _listening_on(connection: str, state: AgentState) -> Executor | None:
    executors = (each for framework in state.frameworks.values() for each in framework.executors.values())
    return next((each for each in executors if each.connection == connection), None)
