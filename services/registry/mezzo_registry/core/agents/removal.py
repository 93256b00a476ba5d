"""How agents go: their stream breaks, their silence is too long, they leave, or another takes their place."""

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo_registry.core import mesos_messages, records
from mezzo_registry.core.context import Context
from mezzo_registry.core.effects import CloseAgentSession, Persist, SendToAgent
from mezzo_registry.core.events import AgentDisconnected, AgentLeaving, AgentMarkedUnreachable, TimerFired
from mezzo_registry.core.offers import inverse_offers, offering
from mezzo_registry.core.state.entities import Agent
from mezzo_registry.core.state.transitions import AgentState
from mezzo_registry.core.tasks import statuses, termination
from mezzo_registry.core.views import allocator_messages, observers

PINGS = "agent pings"
"""The timer of the look at who has been silent."""
REMOVAL_PERMIT = "agent removal permit"
"""The timer of --agent_removal_rate_limit."""
REREGISTRATION = "agent reregistration"
"""The timer of --agent_reregister_timeout after an election."""


def rescind_offers(context: Context, agent: Agent) -> None:
    """Rescind every offer of an agent, and every inverse offer about it."""
    for offer in list(agent.offers.values()):
        offering.rescind(context, offer)
    inverse_offers.rescind(context, inverse_offers.of_agent(context, agent))


def disconnected(context: Context, event: AgentDisconnected) -> None:
    """Take a disconnected agent out of the offers. Its tasks may run on, and it may come back."""
    agent = context.state.agents_by_session.get(event.session)
    if agent is None:
        return
    context.state.detach_session(agent)
    if agent.state is not AgentState.CONNECTED:
        return  # its admission is under way, and is finished in `registration.stored`
    context.state.move_agent(agent, AgentState.DISCONNECTED)
    context.note("agent disconnected", agent_id=agent.id, hostname=agent.info.hostname, reason=event.reason)
    rescind_offers(context, agent)
    allocator_messages.agent_changed(context, agent, holdings=False)
    observers.agent_changed(context, agent)


def pinged(context: Context, event: TimerFired) -> None:
    """Find the agents that have been silent for too long."""
    context.start_timer(event.timer.purpose, context.settings.agent_ping_timeout)
    limit = context.now - context.settings.agent_silence_limit
    for agent in context.state.agents.values():
        if agent.last_seen_at <= limit and not agent.removal_scheduled and agent.state in _PINGED:
            schedule_removal(context, agent)
    _grant_removals(context)


_PINGED = (AgentState.CONNECTED, AgentState.DISCONNECTED)


def schedule_removal(context: Context, agent: Agent) -> None:
    """Queue a silent agent to be marked unreachable as soon as the rate limit allows."""
    agent.removal_scheduled = True
    context.state.removals.append(agent.id)
    context.counters["slave_unreachable_scheduled"] += 1


def _grant_removals(context: Context) -> None:
    cluster, limit = context.state, context.settings.agent_removal_rate_limit
    while cluster.removals:
        agent = cluster.agents.get(cluster.removals[0])
        if agent is None or not agent.removal_scheduled or _seen_again(context, agent):
            cluster.removals.popleft()
            continue
        if limit is not None:
            if context.now < cluster.removal_permit_at:
                context.start_timer(REMOVAL_PERMIT, cluster.removal_permit_at - context.now)
                return
            cluster.removal_permit_at = context.now + limit.seconds_between
        cluster.removals.popleft()
        agent_id, since = agent.id, context.now
        context.emit(Persist(records.mark_unreachable(agent_id, since), AgentMarkedUnreachable(agent_id)))


def _seen_again(context: Context, agent: Agent) -> bool:
    silent = agent.last_seen_at <= context.now - context.settings.agent_silence_limit
    if silent or agent.state is AgentState.RECOVERED:
        return False
    agent.removal_scheduled = False
    context.counters["slave_unreachable_canceled"] += 1
    return True


def removal_permitted(context: Context, _event: TimerFired) -> None:
    """Mark the next queued agent unreachable: the rate limit allows one more."""
    _grant_removals(context)


def reregistration_ended(context: Context, _event: TimerFired) -> None:
    """Queue the agents known from the store that have not re-registered since the election."""
    for agent_id in sorted(context.state.recovered):
        agent = context.state.agents[agent_id]
        if not agent.removal_scheduled and agent.state is AgentState.RECOVERED:
            context.counters["recovery_slave_removals"] += 1
            schedule_removal(context, agent)
    _grant_removals(context)


def marked_unreachable(context: Context, event: AgentMarkedUnreachable) -> None:
    """Drop an agent that the store has marked unreachable, unless it has come back meanwhile."""
    cluster = context.state
    agent = cluster.agents.get(event.agent_id)
    if agent is None:
        return
    if not agent.removal_scheduled or agent.state is AgentState.REGISTERING:
        context.emit(Persist(records.admit(agent.info)))
        return
    context.counters["slave_unreachable_completed"] += 1
    context.counters["slave_removals"] += 1
    context.counters["slave_removals/reason_unhealthy"] += 1
    if agent.session is not None:
        context.emit(CloseAgentSession(agent.session))
    since = context.now
    rescind_offers(context, agent)
    for task in list(agent.tasks.values()):
        termination.become_unreachable(context, task)
    cluster.unreachable[agent.id] = since
    _drop(context, agent)
    observers.agent_unreachable(context, agent.id, since)
    context.warn("agent unreachable", agent_id=agent.id, hostname=agent.info.hostname)


def leaving(context: Context, event: AgentLeaving) -> None:
    """Remove an agent that has unregistered."""
    context.counters["messages_unregister_slave"] += 1
    agent = context.state.agents_by_session.get(event.session)
    if agent is not None:
        context.counters["slave_removals/reason_unregistered"] += 1
        context.note("agent unregistered", agent_id=agent.id, reason=event.reason)
        remove(context, agent, mesos_messages.CAUSE_UNREGISTERED)


def remove(context: Context, agent: Agent, reason: str) -> None:
    """Remove an agent from the cluster; what ran on it is lost."""
    context.counters["slave_removals"] += 1
    if agent.session is not None:
        shutdown = agent_session.RegistryMessage(shutdown=agent_session.Shutdown(reason=reason))
        context.emit(SendToAgent(agent.session, shutdown))
        context.emit(CloseAgentSession(agent.session))
    rescind_offers(context, agent)
    for task in list(agent.tasks.values()):
        if task.terminal:
            termination.complete(context, task)
        else:
            state = statuses.lost(task.framework, mesos.TASK_GONE)
            termination.end(
                context,
                task,
                state,
                mesos.TaskStatus.REASON_AGENT_REMOVED,
                mesos_messages.agent_removed(agent.info.hostname, reason),
            )
    context.emit(Persist(records.remove(agent.id)))
    _drop(context, agent)
    observers.agent_removed(context, agent.id)
    context.note("agent removed", agent_id=agent.id, hostname=agent.info.hostname, reason=reason)


def _drop(context: Context, agent: Agent) -> None:
    """Drop an agent whose tasks and offers are gone, with its executors, and notify the frameworks."""
    for executor in list(agent.executors.values()):
        context.state.drop_executor(executor)
        allocator_messages.recovered(context, executor.framework, agent, executor.role, executor.resources)
        observers.executor_removed(context, executor)
    context.state.drop_agent(agent)
    if agent.registered_at is not None:
        allocator_messages.agent_removed(context, agent)
    failure = scheduler.Event(type=scheduler.Event.FAILURE)
    failure.failure.agent_id.value = agent.id
    for framework in context.state.frameworks.values():
        context.to_framework(framework, failure)
