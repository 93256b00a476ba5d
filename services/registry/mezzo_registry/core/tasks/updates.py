"""The life of a task after its launch: updates, acknowledgements, kills; and what executors say and how they end."""

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.task_states import TERMINAL
from mezzo.validation.well_formed import is_well_formed
from mezzo_registry.core.context import Context
from mezzo_registry.core.events import ExecutorExited, ExecutorMessageReceived, TaskUpdated
from mezzo_registry.core.state.entities import Agent, Framework, Task, TaskKey
from mezzo_registry.core.state.transitions import UPDATED_BY_AGENTS
from mezzo_registry.core.tasks import reconciliation, statuses, termination
from mezzo_registry.core.views import allocator_messages, observers

Message = agent_session.RegistryMessage
UUID_BYTES = 16
ACKNOWLEDGED_MAX = 64
"""How many acknowledged updates are remembered of each agent: as many as may be under way when it goes."""


def task_updated(context: Context, event: TaskUpdated) -> None:
    """Record an agent's status update, and forward it to the framework.

    An update for a task that the registry does not know is forwarded all the same: the framework may know it. An
    invalid one is dropped, and counted. One that the framework has acknowledged already is not forwarded again: the
    agent is sent the acknowledgement, which did not reach it.
    """
    context.counters["messages_status_update"] += 1
    agent = context.state.agents_by_session.get(event.session)
    update = event.update
    status = update.status
    if agent is None or not _is_valid(update):
        context.counters["invalid_status_updates"] += 1
        return
    agent.last_seen_at = context.now
    framework = context.state.frameworks.get(update.framework_id.value)
    if framework is None:
        context.counters["invalid_status_updates"] += 1
        return
    if status.agent_id.value != agent.id:
        status.agent_id.value = agent.id
    key = (update.framework_id.value, status.task_id.value)
    if status.uuid and agent.acknowledged.get(key) == status.uuid:
        context.counters["valid_status_updates"] += 1
        _acknowledge(context, framework, agent, status.task_id.value, status.uuid)
        return
    sent = statuses.send(context, framework, status)
    task = agent.tasks.get(key)
    if task is None:
        context.counters["invalid_status_updates"] += 1
        return
    context.counters["valid_status_updates"] += 1
    _record_update(context, task, sent, update)


def _is_valid(update: agent_session.TaskUpdate) -> bool:
    if update.HasField("latest") and update.latest.state not in UPDATED_BY_AGENTS:
        return False
    return update.status.state in UPDATED_BY_AGENTS and is_well_formed(update)


def _record_update(context: Context, task: Task, status: mesos.TaskStatus, update: agent_session.TaskUpdate) -> None:
    task.reported = True
    task.launch = None
    task.pending = status if status.uuid else None
    task.announced = None
    latest = update.latest.state if update.HasField("latest") else status.state
    statuses.record(task, status)
    if not task.terminal:
        if latest in TERMINAL:
            context.state.move_task(task, latest)
            task.agent.kills.pop(task.key, None)
            allocator_messages.recovered(context, task.framework, task.agent, task.role, task.resources)
            termination.count_of_task(context, task, latest, update.latest if update.HasField("latest") else status)
        else:
            context.state.move_task(task, latest)
    if status.state in TERMINAL and task.pending is None:
        termination.complete(context, task)  # nobody is asked to acknowledge it
    elif context.observed:
        observers.task_updated(context, task, status, observers.ACTIVE)


def acknowledge(context: Context, framework: Framework, call: scheduler.Call.Acknowledge) -> None:
    """Pass an acknowledgement on to the agent. That of a terminal update completes the task."""
    agent = context.state.agents.get(call.agent_id.value)
    if agent is not None:
        _record_acknowledgement(agent, (framework.info.id.value, call.task_id.value), call.uuid)
    if agent is None or not agent.connected:
        # The agent sends the update again when it is back, and is sent the acknowledgement then.
        context.counters["invalid_status_update_acknowledgements"] += 1
        return
    context.counters["valid_status_update_acknowledgements"] += 1
    _acknowledge(context, framework, agent, call.task_id.value, call.uuid)


def _record_acknowledgement(agent: Agent, key: TaskKey, uuid: bytes) -> None:
    agent.acknowledged.pop(key, None)
    agent.acknowledged[key] = uuid
    if len(agent.acknowledged) > ACKNOWLEDGED_MAX:
        del agent.acknowledged[next(iter(agent.acknowledged))]


def _acknowledge(context: Context, framework: Framework, agent: Agent, task_id: str, uuid: bytes) -> None:
    message = Message()
    acknowledged = message.acknowledge_update
    acknowledged.framework_id.value = framework.info.id.value
    acknowledged.task_id.value = task_id
    acknowledged.uuid = uuid
    context.send_framework_info(agent, framework)
    context.to_agent(agent, message)
    task = framework.tasks.get(task_id)
    if task is None or task.agent is not agent or task.pending is None or task.pending.uuid != uuid:
        return
    if task.pending.state in TERMINAL:
        termination.complete(context, task)
        return
    task.pending = None


def kill(
    context: Context, framework: Framework, task_id: str, agent_id: str, kill_policy: mesos.KillPolicy | None = None
) -> None:
    """Kill a task. For an unknown one the framework is sent what a reconciliation would answer."""
    task = framework.tasks.get(task_id)
    if task is None:
        reconciliation.answer_one(context, framework, task_id, agent_id)
        return
    if agent_id and agent_id != task.agent.id:
        context.warn(
            "KILL names another agent than the task's", framework_id=framework.id, task_id=task_id, agent_id=agent_id
        )
    if task.terminal:
        return
    message = Message()
    order = message.kill_task
    order.framework_id.value = framework.id
    order.task_id.value = task_id
    if kill_policy is not None:
        order.kill_policy.CopyFrom(kill_policy)
    task.agent.kills[task.key] = message
    context.send_framework_info(task.agent, framework)
    context.to_agent(task.agent, message)


def shutdown_executor(context: Context, framework: Framework, call: scheduler.Call.Shutdown) -> None:
    """Shut an executor down. The agent reports when it has ended."""
    agent = context.state.agents.get(call.agent_id.value)
    if agent is None or (framework.id, call.executor_id.value) not in agent.executors:
        context.warn(
            "SHUTDOWN names an unknown executor",
            framework_id=framework.id, agent_id=call.agent_id.value, executor_id=call.executor_id.value,
        )  # fmt: skip
        return
    message = Message()
    order = message.shutdown_executor
    order.framework_id.value = framework.id
    order.executor_id.value = call.executor_id.value
    context.send_framework_info(agent, framework)
    context.to_agent(agent, message)


def message_to_executor(context: Context, framework: Framework, call: scheduler.Call.Message) -> None:
    """Pass a framework's message on to its executor, if its agent is connected."""
    context.counters["messages_framework_to_executor"] += 1
    agent = context.state.agents.get(call.agent_id.value)
    if agent is None or not agent.connected:
        context.counters["invalid_framework_to_executor_messages"] += 1
        return
    context.counters["valid_framework_to_executor_messages"] += 1
    message = Message()
    passed = message.framework_message
    passed.framework_id.value = framework.id
    passed.executor_id.value = call.executor_id.value
    passed.data = call.data
    context.send_framework_info(agent, framework)
    context.to_agent(agent, message)


def message_to_framework(context: Context, event: ExecutorMessageReceived) -> None:
    """Pass an executor's message on to its framework, if it is subscribed."""
    context.counters["messages_executor_to_framework"] += 1
    agent = context.state.agents_by_session.get(event.session)
    framework = context.state.frameworks.get(event.message.framework_id.value)
    if agent is None or framework is None or not framework.connected or not is_well_formed(event.message):
        context.counters["invalid_executor_to_framework_messages"] += 1
        return
    agent.last_seen_at = context.now
    context.counters["valid_executor_to_framework_messages"] += 1
    passed = scheduler.Event(type=scheduler.Event.MESSAGE)
    passed.message.agent_id.value = agent.id
    passed.message.executor_id.value = event.message.executor_id.value
    passed.message.data = event.message.data
    context.to_framework(framework, passed)


def executor_exited(context: Context, event: ExecutorExited) -> None:
    """Drop an executor that has ended, and notify its framework."""
    context.counters["messages_exited_executor"] += 1
    agent = context.state.agents_by_session.get(event.session)
    if agent is None:
        return
    agent.last_seen_at = context.now
    exited = event.exited
    executor = agent.executors.get((exited.framework_id.value, exited.executor_id.value))
    if executor is None:
        return
    context.state.drop_executor(executor)
    allocator_messages.recovered(context, executor.framework, agent, executor.role, executor.resources)
    observers.executor_removed(context, executor)
    failure = scheduler.Event(type=scheduler.Event.FAILURE)
    failure.failure.agent_id.value = agent.id
    failure.failure.executor_id.value = exited.executor_id.value
    failure.failure.status = exited.wait_status
    context.to_framework(executor.framework, failure)
