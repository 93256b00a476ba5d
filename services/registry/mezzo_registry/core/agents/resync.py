"""Resync: what an agent reports when it registers, against the cluster state.

The agent is right about what runs; the registry about what should. A task that was sent but never seen by the agent is
sent again; one that the agent has shown to know and now lacks is lost; one that the registry does not know is entered,
unless its framework is completed.
"""

from collections.abc import Iterable

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.resources import Resources
from mezzo_registry.core import mesos_messages
from mezzo_registry.core.agents import removal
from mezzo_registry.core.context import Context
from mezzo_registry.core.frameworks import subscription
from mezzo_registry.core.state import resource_cache
from mezzo_registry.core.state.entities import Agent, Executor, ExecutorKey, Framework, Task, TaskKey
from mezzo_registry.core.state.transitions import TASK_TRANSITIONS
from mezzo_registry.core.tasks import statuses, termination
from mezzo_registry.core.views import observers

Message = agent_session.RegistryMessage
Status = mesos.TaskStatus


def apply(context: Context, agent: Agent, register: agent_session.Register, *, was_unreachable: bool) -> None:
    """Bring the cluster state and the agent to the same tasks and executors."""
    removal.rescind_offers(context, agent)
    known = _frameworks(context, agent, register)
    reported = {(task.framework_id.value, task.task_id.value): task for task in register.tasks}
    running = {(info.framework_id.value, info.executor_id.value): info for info in register.executors}
    again = _missing_tasks(context, agent, reported)
    _missing_executors(context, agent, running)
    agent.available = agent.total - Resources.sum(resources for _, _, resources in context.state.holdings(agent))
    for key, info in running.items():
        framework = known.get(key[0])
        if framework is not None and key not in agent.executors:
            _enter_executor(context, agent, framework, info)
    for task_key, source in reported.items():
        framework = known.get(task_key[0])
        if framework is not None:
            _resync_task(context, agent, framework, source, was_unreachable=was_unreachable)
    _resend(context, agent, again)
    if was_unreachable:
        _forget_unreachable_tasks(context, agent)
    for kill in agent.kills.values():
        context.to_agent(agent, kill)


def _frameworks(context: Context, agent: Agent, register: agent_session.Register) -> dict[str, Framework]:
    """Return the live frameworks of the agent's snapshot, by id, after sending it what it lacks of them."""
    known: dict[str, Framework] = {}
    for info in register.frameworks:
        framework_id = info.id.value
        if framework_id in context.state.completed:
            shutdown = agent_session.ShutdownFramework()
            shutdown.framework_id.value = framework_id
            context.to_agent(agent, Message(shutdown_framework=shutdown))
            continue
        framework = context.state.frameworks.get(framework_id)
        if framework is None:
            framework = subscription.recover(context, info)
        context.send_framework_info(agent, framework)
        known[framework_id] = framework
    return known


def _missing_tasks(
    context: Context, agent: Agent, reported: dict[TaskKey, mesos.Task]
) -> list[tuple[Task, Executor | None]]:
    """Drop the tasks that the agent lacks. Returns those to be sent again, with their executors."""
    again: list[tuple[Task, Executor | None]] = []
    for key, task in list(agent.tasks.items()):
        if key in reported:
            continue
        if task.terminal:
            # The agent was acknowledged, or has lost its disk. Either way there is nothing left to wait for.
            termination.complete(context, task)
        elif task.launch is not None:
            executor = agent.executors.get((key[0], task.executor_id)) if task.executor_id else None
            kill = agent.kills.get(key)
            context.state.drop_task(task)
            if kill is not None:
                agent.kills[key] = kill
            again.append((task, executor))
        else:
            state = statuses.lost(task.framework, mesos.TASK_DROPPED)
            termination.end(context, task, state, Status.REASON_RECONCILIATION, mesos_messages.TASK_UNKNOWN_TO_AGENT)
    return again


def _missing_executors(context: Context, agent: Agent, running: dict[ExecutorKey, mesos.ExecutorInfo]) -> None:
    for key, executor in list(agent.executors.items()):
        if key not in running:
            context.state.drop_executor(executor)
            observers.executor_removed(context, executor)


def _enter_executor(context: Context, agent: Agent, framework: Framework, info: mesos.ExecutorInfo) -> None:
    executor = Executor(
        info=info,
        framework=framework,
        agent=agent,
        resources=resource_cache.value_of(info.resources),
        role=_role(info.resources, framework),
    )
    context.state.add_executor(executor)
    observers.executor_added(context, executor)


def _role(resources: Iterable[mesos.Resource], framework: Framework) -> str:
    for resource in resources:
        if resource.allocation_info.role:
            return resource.allocation_info.role
    return framework.roles[0] if framework.roles else "*"


def _resync_task(
    context: Context, agent: Agent, framework: Framework, source: mesos.Task, *, was_unreachable: bool
) -> None:
    task_id = source.task_id.value
    task = framework.tasks.get(task_id)
    if task is not None and task.agent is not agent:
        context.warn(
            "task runs on two agents; killing it on the one that came back",
            framework_id=framework.id, task_id=task_id, agent_id=agent.id, other_agent_id=task.agent.id,
        )  # fmt: skip
        kill = agent_session.KillTask()
        kill.framework_id.value = framework.id
        kill.task_id.value = task_id
        context.to_agent(agent, Message(kill_task=kill))
        return
    if task is not None:
        task.reported = True
        task.launch = None
        task.announced = _announced(source)
        if not task.terminal and source.state in TASK_TRANSITIONS[task.state]:  # it may be behind, but never ahead
            context.state.move_task(task, source.state)
        observers.task_added(context, task)
        return
    task = Task(
        id=task_id,
        framework=framework,
        agent=agent,
        source=source,
        resources=resource_cache.value_of(source.resources),
        role=_role(source.resources, framework),
        executor_id=source.executor_id.value,
        state=source.state,
        statuses=list(source.statuses),
        announced=_announced(source),
        reported=True,
    )
    context.state.add_task(task)
    missed = framework.unreachable.get(task_id)
    if missed is not None:
        context.state.drop_unreachable_task(missed)
        observers.task_forgotten(context, missed, observers.UNREACHABLE)
    observers.task_added(context, task)
    if was_unreachable and not task.terminal:
        back = statuses.of_task(
            context, task, task.state, Status.REASON_AGENT_REREGISTERED, mesos_messages.AGENT_REREGISTERED
        )
        statuses.send(context, framework, back)


def _announced(source: mesos.Task) -> "mesos.TaskState.ValueType | None":
    return source.status_update_state if source.HasField("status_update_state") else None


def _resend(context: Context, agent: Agent, again: list[tuple[Task, Executor | None]]) -> None:
    """Send what the agent has never seen, where it still fits. A group goes as one, as it came."""
    sent: set[int] = set()
    for task, executor in again:
        new = executor is not None and executor.key not in agent.executors
        needed = task.resources + executor.resources if executor is not None and new else task.resources
        if not agent.available.contains(needed):
            agent.kills.pop(task.key, None)
            state = statuses.lost(task.framework, mesos.TASK_DROPPED)
            termination.never_started(
                context, task, state, Status.REASON_AGENT_RESTARTED, "the agent came back with too little for it"
            )
            continue
        if executor is not None and new:
            context.state.add_executor(executor)
            observers.executor_added(context, executor)
        context.state.add_task(task)
        assert task.launch is not None
        if id(task.launch) not in sent:
            sent.add(id(task.launch))
            context.send_framework_info(agent, task.framework)
            context.to_agent(agent, task.launch)


def _forget_unreachable_tasks(context: Context, agent: Agent) -> None:
    """End the tasks that were on the agent when it became unreachable, and are not there any more."""
    for task in list(context.state.unreachable_tasks.get(agent.id, {}).values()):
        context.state.drop_unreachable_task(task)
        observers.task_forgotten(context, task, observers.UNREACHABLE)
        if task.framework.partition_aware:
            gone = statuses.of_task(
                context, task, mesos.TASK_GONE, Status.REASON_RECONCILIATION, mesos_messages.RECONCILED_UNKNOWN_TO_AGENT
            )
            statuses.send(context, task.framework, gone)
