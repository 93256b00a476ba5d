"""How tasks end in the cluster state, when not by an acknowledged update of their agent."""

from mesos.v1 import mesos_pb2 as mesos
from mezzo.task_states import TERMINAL
from mezzo_registry.core import mesos_messages
from mezzo_registry.core.context import Context
from mezzo_registry.core.state.entities import Framework, Task
from mezzo_registry.core.state.times import time_info
from mezzo_registry.core.state.transitions import STATE_NAMES, TaskState
from mezzo_registry.core.tasks import statuses
from mezzo_registry.core.views import allocator_messages, observers


def count(context: Context, state: TaskState, status: mesos.TaskStatus) -> None:
    """Count how a task ended under Mesos' names; of one that was never in the cluster state, too."""
    name = STATE_NAMES[state]
    context.counters[f"tasks_{name}"] += 1
    if status.HasField("reason"):
        source = mesos.TaskStatus.Source.Name(status.source).lower()
        reason = mesos.TaskStatus.Reason.Name(status.reason).lower()
        context.counters[f"task_{name}/{source}/{reason}"] += 1


def count_of_task(context: Context, task: Task, state: TaskState, status: mesos.TaskStatus) -> None:
    """Count how a task ended that was in the cluster state, among its framework's as well."""
    count(context, state, status)
    if state in TERMINAL:
        task.framework.counts.tasks[state] += 1


def end(
    context: Context,
    task: Task,
    state: TaskState,
    reason: "mesos.TaskStatus.Reason.ValueType",
    message: str,
) -> None:
    """End a task: it holds nothing any longer, its framework is notified, and it is kept among the completed."""
    assert state in TERMINAL
    status = statuses.of_task(context, task, state, reason, message)
    if not task.terminal:
        context.state.move_task(task, state)
        allocator_messages.recovered(context, task.framework, task.agent, task.role, task.resources)
        count_of_task(context, task, state, status)
    statuses.record(task, status)
    statuses.send(context, task.framework, status)
    complete(context, task)


def never_started(
    context: Context,
    task: Task,
    state: TaskState,
    reason: "mesos.TaskStatus.Reason.ValueType",
    message: str,
) -> None:
    """End a task that was dropped: its framework is notified, and it is kept among the completed."""
    status = statuses.of_task(context, task, state, reason, message)
    context.state.move_task(task, state)
    task.launch = None
    count_of_task(context, task, state, status)
    statuses.record(task, status)
    statuses.send(context, task.framework, status)
    _keep_completed(context, task.framework, task)
    observers.task_updated(context, task, status, observers.COMPLETED)


def complete(context: Context, task: Task) -> None:
    """Drop a task that has nothing left to wait for, and keep it among the completed."""
    task.pending = None
    task.launch = None
    context.state.drop_task(task)
    _keep_completed(context, task.framework, task)
    if context.observed:
        if task.statuses:
            last = task.statuses[-1]
        else:  # its agent said that it ended, and nothing more
            last = mesos.TaskStatus(state=task.state)
            last.task_id.value = task.id
            last.agent_id.value = task.agent.id
        observers.task_updated(context, task, last, observers.COMPLETED)


def _keep_completed(context: Context, framework: Framework, task: Task) -> None:
    framework.completed.append(task)
    while len(framework.completed) > context.settings.max_completed_tasks_per_framework:
        observers.task_forgotten(context, framework.completed.popleft(), observers.COMPLETED)


def become_unreachable(context: Context, task: Task) -> None:
    """Drop a task whose agent is unreachable. The task may run on; it holds no resources any longer."""
    framework, agent = task.framework, task.agent
    if task.terminal:
        complete(context, task)
        return
    state = statuses.lost(framework, mesos.TASK_UNREACHABLE)
    status = statuses.of_task(
        context,
        task,
        state,
        mesos.TaskStatus.REASON_AGENT_REMOVED,
        mesos_messages.AGENT_UNREACHABLE,
    )
    status.unreachable_time.CopyFrom(time_info(context.now))
    context.state.move_task(task, state)
    context.state.drop_task(task)
    allocator_messages.recovered(context, framework, agent, task.role, task.resources)
    task.launch = None
    task.pending = None
    count_of_task(context, task, state, status)
    statuses.record(task, status)
    statuses.send(context, framework, status)
    context.state.add_unreachable_task(task)
    observers.task_updated(context, task, status, observers.UNREACHABLE)
    while len(framework.unreachable) > context.settings.max_unreachable_tasks_per_framework:
        oldest = next(iter(framework.unreachable.values()))
        context.state.drop_unreachable_task(oldest)
        observers.task_forgotten(context, oldest, observers.UNREACHABLE)
