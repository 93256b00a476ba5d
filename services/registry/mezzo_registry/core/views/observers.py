"""What observers are sent: a snapshot when they join, then every change. Nothing is built when nobody watches."""

import itertools
from collections.abc import Iterable, Iterator

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mezzo.confidential import withhold
from mezzo.operator.v1 import operator_pb2 as operator
from mezzo_registry.core.context import Context
from mezzo_registry.core.effects import PublishSnapshot
from mezzo_registry.core.events import ObserverJoined, ObserverLeft, ObserverReady
from mezzo_registry.core.state import resource_cache
from mezzo_registry.core.state.cluster import ClusterState
from mezzo_registry.core.state.entities import Agent, Executor, Framework, Offer, Task
from mezzo_registry.core.state.roles import amounts
from mezzo_registry.core.state.times import time_info
from mezzo_registry.core.state.transitions import AgentState, FrameworkState

Change = operator.StateChange
ACTIVE = operator.TASK_LIST_ACTIVE
UNREACHABLE = operator.TASK_LIST_UNREACHABLE
COMPLETED = operator.TASK_LIST_COMPLETED


TASKS_PER_PART = 1000


def joined(context: Context, event: ObserverJoined) -> None:
    """Send an observer the whole state, and every change from now on.

    Everything but the tasks is sent at once. Tasks can be many, so they come in parts, and the cluster's work goes on
    in between; a task that changes before its part comes is sent whole before its change is.
    """
    cluster, observer = context.state, event.observer
    cluster.observers.add(observer)
    cluster.pending_snapshots[observer] = {
        task: None
        for framework in (*cluster.completed.values(), *cluster.frameworks.values())
        for tasks in (framework.completed, framework.unreachable.values(), framework.tasks.values())
        for task in tasks
    }
    changes = list(_all_but_tasks(context))
    changes += _next_part(context, observer)
    context.emit(PublishSnapshot(observer, changes, begins=True, more=observer in cluster.pending_snapshots))


def ready(context: Context, event: ObserverReady) -> None:
    """Send an observer the next part of its snapshot."""
    if event.observer in context.state.pending_snapshots:
        changes = _next_part(context, event.observer)
        more = event.observer in context.state.pending_snapshots
        context.emit(PublishSnapshot(event.observer, changes, begins=False, more=more))


def left(context: Context, event: ObserverLeft) -> None:
    """Forget an observer."""
    context.state.observers.discard(event.observer)
    context.state.pending_snapshots.pop(event.observer, None)


def _next_part(context: Context, observer: int) -> list[operator.StateChange]:
    pending = context.state.pending_snapshots[observer]
    part = list(itertools.islice(pending, TASKS_PER_PART))
    for task in part:
        del pending[task]
    changes = [task_message(task, _list_of(task)) for task in part]
    if not pending:
        del context.state.pending_snapshots[observer]
        changes.append(Change(snapshot_end=operator.SnapshotEnd()))
    return changes


def _list_of(task: Task) -> "operator.TaskList.ValueType":
    if task.framework.tasks.get(task.id) is task:
        return ACTIVE
    return UNREACHABLE if task.framework.unreachable.get(task.id) is task else COMPLETED


def _send_pending(context: Context, task: Task) -> None:
    """Send a task as a whole to observers whose snapshot does not contain it yet, before a change of it."""
    for observer, pending in context.state.pending_snapshots.items():
        if task in pending:
            del pending[task]
            whole = [task_message(task, _list_of(task))]
            context.emit(PublishSnapshot(observer, whole, begins=False, more=True))


def _all_but_tasks(context: Context) -> Iterator[operator.StateChange]:
    cluster, identity = context.state, context.identity
    begin = operator.SnapshotBegin(
        master_info=identity.master_info,
        start_time=identity.started_at,
        elected_time=identity.elected_at,
        flags=flags_of(context),
        version=identity.version,
    )
    yield Change(snapshot_begin=begin)
    for role in sorted(cluster.roles.keys() | cluster.configuration.roles()):
        yield role_message(cluster, role)
    for agent in cluster.agents.values():
        yield agent_message(agent)
    for agent_id, since in cluster.unreachable.items():
        yield _unreachable_message(agent_id, since)
    for agent_id, since in cluster.gone.items():
        yield Change(agent_gone=operator.AgentGone(agent_id=mesos.AgentID(value=agent_id), gone=True, since=since))
    for framework in (*cluster.completed.values(), *cluster.frameworks.values()):
        yield framework_message(framework)
        for executor in framework.executors.values():
            yield _executor_message(executor)
    for offer in cluster.offers.values():
        yield Change(offer_added=operator.OfferAdded(offer=offer.message, made_at=offer.made_at))


def flags_of(context: Context) -> dict[str, str]:
    """Return the registry's flags, and the allocator's that are the master's in Mesos; by name, as text."""
    return {**context.state.allocator_flags, **context.identity.flags}


def flags_changed(context: Context) -> None:
    """Publish flags that are not those of the snapshot."""
    if context.observed:
        context.publish(Change(flags_changed=operator.FlagsChanged(flags=flags_of(context))))


def role_message(cluster: ClusterState, role: str) -> operator.StateChange:
    """Describe a role; one that is neither used nor configured any more is forgotten."""
    configuration = cluster.configuration
    one, configured = configuration.quota(role), configuration.has(role)
    changed = operator.RoleChanged(
        role=role,
        weight=configuration.weight(role),
        quota_guarantees=amounts(one.guarantees.items()),
        quota_limits=amounts(one.limits.items()),
        configured=configured,
        forgotten=not configured and role not in cluster.roles,
    )
    return Change(role_changed=changed)


def agent_message(agent: Agent) -> operator.StateChange:
    """Describe an agent."""
    change = Change()
    changed = change.agent_changed
    changed.connected = agent.connected
    changed.recovered = agent.state is AgentState.RECOVERED
    message = changed.agent
    message.agent_info.CopyFrom(agent.info)
    message.active = agent.connected
    message.deactivated = False
    message.version = agent.version
    changed.mezzo_version = agent.mezzo_version
    if agent.pid:
        message.pid = agent.pid
    if agent.registered_at is not None:
        message.registered_time.CopyFrom(time_info(agent.registered_at))
    if agent.reregistered_at is not None:
        message.reregistered_time.CopyFrom(time_info(agent.reregistered_at))
    message.total_resources.extend(resource_cache.plain(agent.total))
    message.capabilities.extend(agent.capabilities)
    return change


def framework_message(framework: Framework) -> operator.StateChange:
    """Describe a framework."""
    change = Change()
    changed = change.framework_changed
    changed.completed = framework.state is FrameworkState.COMPLETED
    changed.client_address = framework.client_address
    message: master.Response.GetFrameworks.Framework = changed.framework
    message.framework_info.CopyFrom(framework.info)
    message.active = framework.connected
    message.connected = framework.connected
    message.recovered = framework.state is FrameworkState.RECOVERED
    if framework.registered_at is not None:
        message.registered_time.CopyFrom(time_info(framework.registered_at))
    if framework.reregistered_at is not None:
        message.reregistered_time.CopyFrom(time_info(framework.reregistered_at))
    if framework.unregistered_at is not None:
        message.unregistered_time.CopyFrom(time_info(framework.unregistered_at))
    if framework.constraints is not None:
        message.offer_constraints.CopyFrom(framework.constraints)
    return change


def task_message(task: Task, where: "operator.TaskList.ValueType") -> operator.StateChange:
    """Describe a task, in the form that operators read."""
    change = Change()
    change.task_added.list = where
    message = change.task_added.task
    source = task.source
    if isinstance(source, mesos.Task):
        message.CopyFrom(source)
        del message.statuses[:]
        message.ClearField("status_update_state")
        message.ClearField("status_update_uuid")
    else:
        _fill(message, task, source)
    message.state = task.state
    message.statuses.extend(task.statuses)
    # As Mesos' master has it: of the newest update that the agent sent, also when that is acknowledged.
    forwarded = next((status for status in reversed(task.statuses) if status.HasField("uuid")), None)
    if forwarded is not None:
        message.status_update_state = forwarded.state
        message.status_update_uuid = forwarded.uuid
    return change


def _fill(message: mesos.Task, task: Task, info: mesos.TaskInfo) -> None:
    message.name = info.name
    message.task_id.value = task.id
    message.framework_id.value = task.framework.id
    message.agent_id.value = task.agent.id
    message.state = task.state
    message.resources.extend(info.resources)
    if task.executor_id:
        message.executor_id.value = task.executor_id
    for field in ("labels", "discovery", "container", "health_check", "kill_policy"):
        if info.HasField(field):
            getattr(message, field).CopyFrom(getattr(info, field))
            withhold(getattr(message, field))
    if info.command.user:
        message.user = info.command.user
    elif task.framework.info.user:
        message.user = task.framework.info.user
    for name, limit in info.limits.items():
        message.limits[name].CopyFrom(limit)


def agent_changed(context: Context, agent: Agent) -> None:
    """Publish an agent."""
    if context.observed:
        context.publish(agent_message(agent))


def _unreachable_message(agent_id: str, since: float) -> operator.StateChange:
    return Change(agent_gone=operator.AgentGone(agent_id=mesos.AgentID(value=agent_id), unreachable=True, since=since))


def agent_unreachable(context: Context, agent_id: str, since: float) -> None:
    """Publish that an agent is unreachable since then."""
    if context.observed:
        context.publish(_unreachable_message(agent_id, since))


def agent_removed(context: Context, agent_id: str) -> None:
    """Publish that an agent is no longer there, or is no longer remembered as unreachable."""
    if context.observed:
        context.publish(Change(agent_gone=operator.AgentGone(agent_id=mesos.AgentID(value=agent_id))))


def framework_changed(context: Context, framework: Framework) -> None:
    """Publish a framework."""
    if context.observed:
        context.publish(framework_message(framework))


def framework_forgotten(context: Context, framework: Framework) -> None:
    """Publish that a completed framework, and every task of it, is no longer kept."""
    if context.observed:
        for task in framework.completed:
            _send_pending(context, task)
        forgotten = operator.FrameworkForgotten()
        forgotten.framework_id.value = framework.id
        context.publish(Change(framework_forgotten=forgotten))


def roles_changed(context: Context, roles: Iterable[str]) -> None:
    """Publish roles that are new or vanished, or for which something else is configured."""
    if context.observed:
        for role in roles:
            context.publish(role_message(context.state, role))


def task_added(context: Context, task: Task, where: "operator.TaskList.ValueType" = ACTIVE) -> None:
    """Publish a task, all that is known of it."""
    if context.observed:
        context.publish(task_message(task, where))


def task_updated(context: Context, task: Task, status: mesos.TaskStatus, where: "operator.TaskList.ValueType") -> None:
    """Publish a task's newest status, and in which list it stands now."""
    if not context.observed:
        return
    _send_pending(context, task)
    change = Change()
    updated = change.task_updated
    updated.framework_id.value = task.framework.id
    updated.agent_id.value = task.agent.id
    updated.status.CopyFrom(status)
    updated.latest.task_id.value = task.id
    updated.latest.state = task.state
    updated.list = where
    updated.unacknowledged = task.pending is not None
    context.publish(change)


def task_forgotten(context: Context, task: Task, where: "operator.TaskList.ValueType") -> None:
    """Publish that a task is no longer kept in a list."""
    if context.observed:
        _send_pending(context, task)
        change = Change()
        forgotten = change.task_forgotten
        forgotten.framework_id.value = task.framework.id
        forgotten.task_id.value = task.id
        forgotten.agent_id.value = task.agent.id
        forgotten.list = where
        context.publish(change)


def _executor_message(executor: Executor) -> operator.StateChange:
    added = operator.ExecutorAdded(executor_info=executor.info)
    added.agent_id.value = executor.agent.id
    withhold(added.executor_info)
    return Change(executor_added=added)


def executor_added(context: Context, executor: Executor) -> None:
    """Publish an executor."""
    if context.observed:
        context.publish(_executor_message(executor))


def executor_removed(context: Context, executor: Executor) -> None:
    """Publish that an executor has ended."""
    if context.observed:
        removed = operator.ExecutorRemoved()
        removed.framework_id.value = executor.framework.id
        removed.agent_id.value = executor.agent.id
        removed.executor_id.value = executor.info.executor_id.value
        context.publish(Change(executor_removed=removed))


def offer_added(context: Context, offer: Offer) -> None:
    """Publish an offer that is out."""
    if context.observed:
        change = Change()
        change.offer_added.offer.CopyFrom(offer.message)
        change.offer_added.made_at = offer.made_at
        context.publish(change)


def offer_removed(context: Context, offer: Offer) -> None:
    """Publish that an offer is no longer out."""
    if context.observed:
        change = Change()
        change.offer_removed.offer_id.value = offer.id
        context.publish(change)
