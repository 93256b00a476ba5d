"""The statuses that the registry itself makes: without a uuid, for nobody has to acknowledge them."""

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.errors import shorten
from mezzo_registry.core.context import Context
from mezzo_registry.core.state.entities import Framework, Task
from mezzo_registry.core.state.transitions import TaskState


def status(
    context: Context,
    task_id: str,
    state: TaskState,
    reason: "mesos.TaskStatus.Reason.ValueType",
    message: str,
    agent_id: str = "",
) -> mesos.TaskStatus:
    """Make a status of a task."""
    made = mesos.TaskStatus(
        state=state,
        source=mesos.TaskStatus.SOURCE_MASTER,
        reason=reason,
        message=shorten(message),
        timestamp=context.now,
    )
    made.task_id.value = task_id
    if agent_id:
        made.agent_id.value = agent_id
    return made


def of_task(
    context: Context,
    task: Task,
    state: TaskState,
    reason: "mesos.TaskStatus.Reason.ValueType",
    message: str,
) -> mesos.TaskStatus:
    """Make a status of a known task, with what is known of its container and health."""
    made = status(context, task.id, state, reason, message, task.agent.id)
    if task.executor_id:
        made.executor_id.value = task.executor_id
    if task.statuses:
        last = task.statuses[-1]
        if last.HasField("healthy"):
            made.healthy = last.healthy
        if last.HasField("check_status"):
            made.check_status.CopyFrom(last.check_status)
        if last.HasField("container_status"):
            made.container_status.CopyFrom(last.container_status)
        if last.HasField("labels"):
            made.labels.CopyFrom(last.labels)
        if last.HasField("unreachable_time"):
            made.unreachable_time.CopyFrom(last.unreachable_time)
    return made


def send(context: Context, framework: Framework, made: mesos.TaskStatus) -> mesos.TaskStatus:
    """Forward a status to its framework. Returns it as it was sent: a copy that may be kept."""
    event = scheduler.Event(type=scheduler.Event.UPDATE)
    sent = event.update.status
    sent.CopyFrom(made)
    context.to_framework(framework, event)
    return sent


def lost(framework: Framework, instead: TaskState) -> TaskState:
    """Return TASK_LOST for frameworks that know nothing finer, `instead` for those that are partition-aware."""
    return instead if framework.partition_aware else mesos.TASK_LOST


def record(task: Task, made: mesos.TaskStatus) -> None:
    """Record a status: the newest of each run of equal states, without the executor's data."""
    kept = made
    if made.HasField("data"):
        kept = mesos.TaskStatus()
        kept.CopyFrom(made)
        kept.ClearField("data")
    if task.statuses and task.statuses[-1].state == kept.state:
        task.statuses[-1] = kept
    else:
        task.statuses.append(kept)
