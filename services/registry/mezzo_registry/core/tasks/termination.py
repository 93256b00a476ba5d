"""How tasks end in the cluster state, when not by an acknowledged update of their agent."""

from mesos.v1 import mesos_pb2 as mesos
from mezzo.task_states import TERMINAL
from mezzo_registry.core import mesos_messages
from mezzo_registry.core.context import Turn
from mezzo_registry.core.state.cluster import Framework, Task
from mezzo_registry.core.state.times import time_info
from mezzo_registry.core.state.transitions import STATE_NAMES
from mezzo_registry.core.tasks import statuses
from mezzo_registry.core.views import allocator_messages, observers


def count(turn: Turn, state: "mesos.TaskState.ValueType", status: mesos.TaskStatus) -> None:
    """Count an ending under Mesos' names; of a task that was never in the cluster state, too."""
    name = STATE_NAMES[state]
    turn.counters[f"tasks_{name}"] += 1
    if status.HasField("reason"):
        source = mesos.TaskStatus.Source.Name(status.source).lower()
        reason = mesos.TaskStatus.Reason.Name(status.reason).lower()
        turn.counters[f"task_{name}/{source}/{reason}"] += 1


def count_of_task(turn: Turn, task: Task, state: "mesos.TaskState.ValueType", status: mesos.TaskStatus) -> None:
    """Count the ending of a task that was in the cluster state, among its framework's as well."""
    count(turn, state, status)
    if state in TERMINAL:
        task.framework.counts.tasks[state] += 1


def end(
    turn: Turn,
    task: Task,
    state: "mesos.TaskState.ValueType",
    reason: "mesos.TaskStatus.Reason.ValueType",
    message: str,
) -> None:
    """The registry ends a task: it holds nothing any longer, its framework is told, and it is remembered."""
    assert state in TERMINAL
    status = statuses.of_task(turn, task, state, reason, message)
    if not task.terminal:
        turn.state.end_task(task, state)
        allocator_messages.recovered(turn, task.framework, task.agent, task.role, task.resources)
        count_of_task(turn, task, state, status)
    statuses.remember(task, status)
    statuses.send(turn, task.framework, status)
    complete(turn, task)


def never_started(
    turn: Turn,
    task: Task,
    state: "mesos.TaskState.ValueType",
    reason: "mesos.TaskStatus.Reason.ValueType",
    message: str,
) -> None:
    """End a task that is no longer in the cluster state: its framework is told, and it is kept among the completed."""
    status = statuses.of_task(turn, task, state, reason, message)
    task.state = state
    task.launch = None
    count_of_task(turn, task, state, status)
    statuses.remember(task, status)
    statuses.send(turn, task.framework, status)
    _remember(turn, task.framework, task)
    observers.task_updated(turn, task, status, observers.COMPLETED)


def complete(turn: Turn, task: Task) -> None:
    """Nothing is left to wait for: strike the task out and remember it among the completed."""
    task.pending = None
    task.launch = None
    turn.state.drop_task(task)
    _remember(turn, task.framework, task)
    if turn.observed:
        if task.statuses:
            last = task.statuses[-1]
        else:  # its agent said that it ended, and nothing more
            last = mesos.TaskStatus(state=task.state)
            last.task_id.value = task.id
            last.agent_id.value = task.agent.id
        observers.task_updated(turn, task, last, observers.COMPLETED)


def _remember(turn: Turn, framework: Framework, task: Task) -> None:
    framework.completed.append(task)
    while len(framework.completed) > turn.settings.max_completed_tasks_per_framework:
        observers.task_forgotten(turn, framework.completed.popleft(), observers.COMPLETED)


def become_unreachable(turn: Turn, task: Task) -> None:
    """The task's agent is out of reach. The task may run on; it holds no resources any longer."""
    framework, agent = task.framework, task.agent
    if task.terminal:
        complete(turn, task)
        return
    state = statuses.lost(framework, mesos.TASK_UNREACHABLE)
    status = statuses.of_task(
        turn,
        task,
        state,
        mesos.TaskStatus.REASON_AGENT_REMOVED,
        mesos_messages.AGENT_UNREACHABLE,
    )
    status.unreachable_time.CopyFrom(time_info(turn.now))
    turn.state.drop_task(task)
    allocator_messages.recovered(turn, framework, agent, task.role, task.resources)
    task.state = state
    task.launch = None
    task.pending = None
    count_of_task(turn, task, state, status)
    statuses.remember(task, status)
    statuses.send(turn, framework, status)
    turn.state.add_unreachable_task(task)
    observers.task_updated(turn, task, status, observers.UNREACHABLE)
    while len(framework.unreachable) > turn.settings.max_unreachable_tasks_per_framework:
        oldest = next(iter(framework.unreachable.values()))
        turn.state.drop_unreachable_task(oldest)
        observers.task_forgotten(turn, oldest, observers.UNREACHABLE)
