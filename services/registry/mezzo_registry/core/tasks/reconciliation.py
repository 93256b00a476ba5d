"""RECONCILE, RECONCILE_OPERATIONS: what the registry can say of what a framework asks about.

See docs/reconciliation.md of Mesos.
"""

from collections.abc import Sequence

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo_registry.core import mesos_messages
from mezzo_registry.core.context import Context
from mezzo_registry.core.state.entities import Framework, Task
from mezzo_registry.core.state.times import time_info
from mezzo_registry.core.state.transitions import AgentState
from mezzo_registry.core.tasks import statuses

Status = mesos.TaskStatus
REASON = Status.REASON_RECONCILIATION


def reconcile(context: Context, framework: Framework, requested: Sequence[scheduler.Call.Reconcile.Task]) -> None:
    """Answer for each task asked about; for all that the registry knows when none is named."""
    if not requested:
        for task in list(framework.tasks.values()):
            _answer_known(context, framework, task)
    for one in requested:
        answer_one(context, framework, one.task_id.value, one.agent_id.value)


def answer_one(context: Context, framework: Framework, task_id: str, agent_id: str) -> None:
    """Report what is known of one task; nothing while its agent may yet come back from before the election."""
    cluster = context.state
    task = framework.tasks.get(task_id)
    if task is not None:
        _answer_known(context, framework, task)
        return
    missed = framework.unreachable.get(task_id)
    if missed is not None:
        _answer_unreachable(context, framework, task_id, missed.agent.id)
        return
    if agent_id in cluster.recovered or (not agent_id and cluster.recovered):
        return
    agent = cluster.agents.get(agent_id)
    if agent is not None and agent.state is AgentState.REGISTERING:
        return
    if agent is not None:
        state, message = mesos.TASK_GONE, mesos_messages.RECONCILED_UNKNOWN_TO_AGENT
    elif agent_id in cluster.unreachable:
        _answer_unreachable(context, framework, task_id, agent_id)
        return
    elif agent_id in cluster.gone:
        state, message = mesos.TASK_GONE_BY_OPERATOR, mesos_messages.RECONCILED_GONE
    else:
        state, message = mesos.TASK_UNKNOWN, mesos_messages.RECONCILED_UNKNOWN
    made = statuses.status(context, task_id, statuses.lost(framework, state), REASON, message, agent_id)
    statuses.send(context, framework, made)


def reconcile_operations(
    context: Context, framework: Framework, requested: Sequence[scheduler.Call.ReconcileOperations.Operation]
) -> None:
    """Answer for each operation asked about. Each has ended in the turn of its ACCEPT, so none is known by now."""
    for one in requested:
        event = scheduler.Event(type=scheduler.Event.UPDATE_OPERATION_STATUS)
        status = event.update_operation_status.status
        status.operation_id.CopyFrom(one.operation_id)
        status.state, status.message = _of_operation(context, one.agent_id.value)
        if one.HasField("agent_id"):
            status.agent_id.CopyFrom(one.agent_id)
        if one.HasField("resource_provider_id"):
            status.resource_provider_id.CopyFrom(one.resource_provider_id)
        context.to_framework(framework, event)


def _of_operation(context: Context, agent_id: str) -> tuple["mesos.OperationState.ValueType", str]:
    cluster = context.state
    if agent_id in cluster.recovered or (not agent_id and cluster.recovered):
        return mesos.OPERATION_RECOVERING, mesos_messages.OPERATION_AGENT_RECOVERED
    if agent_id in cluster.unreachable:
        return mesos.OPERATION_UNREACHABLE, mesos_messages.OPERATION_UNREACHABLE
    if agent_id in cluster.gone:
        return mesos.OPERATION_GONE_BY_OPERATOR, mesos_messages.OPERATION_GONE
    if agent_id in cluster.agents:
        return mesos.OPERATION_UNKNOWN, mesos_messages.OPERATION_UNKNOWN
    unknown = mesos_messages.OPERATION_AND_AGENT_UNKNOWN if agent_id else mesos_messages.OPERATION_WITHOUT_AGENT
    return mesos.OPERATION_UNKNOWN, unknown


def _answer_known(context: Context, framework: Framework, task: Task) -> None:
    """Report the state that the framework was sent, if it has not acknowledged that, or is to be sent; else the newest.

    A state that no update has told of yet would come too early: the updates before it are still to come.
    """
    on_its_way = task.announced if task.pending is None else task.pending.state
    state = task.state if on_its_way is None else on_its_way
    statuses.send(context, framework, statuses.of_task(context, task, state, REASON, mesos_messages.RECONCILED_LATEST))


def _answer_unreachable(context: Context, framework: Framework, task_id: str, agent_id: str) -> None:
    state = statuses.lost(framework, mesos.TASK_UNREACHABLE)
    made = statuses.status(context, task_id, state, REASON, mesos_messages.RECONCILED_UNREACHABLE, agent_id)
    since = context.state.unreachable.get(agent_id)
    if since is not None:
        made.unreachable_time.CopyFrom(time_info(since))
    statuses.send(context, framework, made)
