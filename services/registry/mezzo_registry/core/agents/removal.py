"""How agents go: their stream breaks, their silence is too long, they leave, or another takes their place."""

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo_registry.core import mesos_messages, records
from mezzo_registry.core.context import Turn
from mezzo_registry.core.effects import CloseAgentSession, Persist, SendToAgent
from mezzo_registry.core.events import AgentDisconnected, AgentLeaving, AgentMarkedUnreachable, TimerFired
from mezzo_registry.core.offers import inverse_offers, offering
from mezzo_registry.core.state.cluster import Agent
from mezzo_registry.core.state.transitions import AgentState
from mezzo_registry.core.tasks import statuses, termination
from mezzo_registry.core.views import allocator_messages, observers

PINGS = "agent pings"
"""The timer of the look at who has been silent."""
REMOVAL_PERMIT = "agent removal permit"
"""The timer of --agent_removal_rate_limit."""
REREGISTRATION = "agent reregistration"
"""The timer of --agent_reregister_timeout after an election."""


def take_back_offers(turn: Turn, agent: Agent) -> None:
    """Rescind every offer of an agent, and every inverse offer about it."""
    for offer in list(agent.offers.values()):
        offering.rescind(turn, offer)
    inverse_offers.take_back(turn, inverse_offers.of_agent(turn, agent))


def disconnected(turn: Turn, event: AgentDisconnected) -> None:
    """An agent's stream broke. Its tasks may run on; nothing of it is offered until it is back."""
    agent = turn.state.agents_by_session.get(event.session)
    if agent is None:
        return
    turn.state.detach_session(agent)
    if agent.state is not AgentState.CONNECTED:
        return  # its admission is under way, and is finished in `registration.stored`
    agent.move(AgentState.DISCONNECTED)
    turn.note("agent disconnected", agent_id=agent.id, hostname=agent.info.hostname, why=event.reason)
    take_back_offers(turn, agent)
    allocator_messages.agent_changed(turn, agent, holdings=False)
    observers.agent_changed(turn, agent)


def pinged(turn: Turn, event: TimerFired) -> None:
    """Look at who has been silent for too long."""
    turn.start_timer(event.timer.purpose, turn.settings.agent_ping_timeout)
    limit = turn.now - turn.settings.agent_silence_limit
    for agent in turn.state.agents.values():
        if agent.heard_at <= limit and not agent.removal_scheduled and agent.state in _PINGED:
            schedule_removal(turn, agent)
    _grant_removals(turn)


_PINGED = (AgentState.CONNECTED, AgentState.DISCONNECTED)


def schedule_removal(turn: Turn, agent: Agent) -> None:
    """The agent has been silent for too long; it is unreachable as soon as the rate limit allows."""
    agent.removal_scheduled = True
    turn.state.removals.append(agent.id)
    turn.counters["slave_unreachable_scheduled"] += 1


def _grant_removals(turn: Turn) -> None:
    cluster, limit = turn.state, turn.settings.agent_removal_rate_limit
    while cluster.removals:
        agent = cluster.agents.get(cluster.removals[0])
        if agent is None or not agent.removal_scheduled or _spoke_again(turn, agent):
            cluster.removals.popleft()
            continue
        if limit is not None:
            if turn.now < cluster.removal_permit_at:
                turn.start_timer(REMOVAL_PERMIT, cluster.removal_permit_at - turn.now)
                return
            cluster.removal_permit_at = turn.now + limit.seconds_between
        cluster.removals.popleft()
        agent_id, since = agent.id, turn.now
        turn.order(Persist(records.mark_unreachable(agent_id, since), AgentMarkedUnreachable(agent_id)))


def _spoke_again(turn: Turn, agent: Agent) -> bool:
    silent = agent.heard_at <= turn.now - turn.settings.agent_silence_limit
    if silent or agent.state is AgentState.RECOVERED:
        return False
    agent.removal_scheduled = False
    turn.counters["slave_unreachable_canceled"] += 1
    return True


def removal_permitted(turn: Turn, _event: TimerFired) -> None:
    """The rate limit allows one more removal."""
    _grant_removals(turn)


def reregistration_ended(turn: Turn, _event: TimerFired) -> None:
    """Agents known from the store that have not come back since the election are unreachable."""
    for agent_id in sorted(turn.state.recovered):
        agent = turn.state.agents[agent_id]
        if not agent.removal_scheduled and agent.state is AgentState.RECOVERED:
            turn.counters["recovery_slave_removals"] += 1
            schedule_removal(turn, agent)
    _grant_removals(turn)


def marked_unreachable(turn: Turn, event: AgentMarkedUnreachable) -> None:
    """The store says that an agent is unreachable; it may have come back while that was written."""
    cluster = turn.state
    agent = cluster.agents.get(event.agent_id)
    if agent is None:
        return
    if not agent.removal_scheduled or agent.state is AgentState.REGISTERING:
        turn.order(Persist(records.admit(agent.info)))
        return
    turn.counters["slave_unreachable_completed"] += 1
    turn.counters["slave_removals"] += 1
    turn.counters["slave_removals/reason_unhealthy"] += 1
    if agent.session is not None:
        turn.order(CloseAgentSession(agent.session))
    since = turn.now
    take_back_offers(turn, agent)
    for task in list(agent.tasks.values()):
        termination.become_unreachable(turn, task)
    cluster.unreachable[agent.id] = since
    _strike_out(turn, agent)
    observers.agent_gone(turn, agent.id, unreachable=True)
    turn.warn("agent unreachable", agent_id=agent.id, hostname=agent.info.hostname)


def leaving(turn: Turn, event: AgentLeaving) -> None:
    """An agent goes for good."""
    turn.counters["messages_unregister_slave"] += 1
    agent = turn.state.agents_by_session.get(event.session)
    if agent is not None:
        turn.counters["slave_removals/reason_unregistered"] += 1
        turn.note("agent leaves", agent_id=agent.id, reason=event.reason)
        remove(turn, agent, mesos_messages.CAUSE_UNREGISTERED)


def remove(turn: Turn, agent: Agent, reason: str) -> None:
    """An agent is no longer part of the cluster, and what ran on it is lost."""
    turn.counters["slave_removals"] += 1
    if agent.session is not None:
        shutdown = agent_session.RegistryMessage(shutdown=agent_session.Shutdown(reason=reason))
        turn.order(SendToAgent(agent.session, shutdown))
        turn.order(CloseAgentSession(agent.session))
    take_back_offers(turn, agent)
    for task in list(agent.tasks.values()):
        if task.terminal:
            termination.complete(turn, task)
        else:
            state = statuses.lost(task.framework, mesos.TASK_GONE)
            termination.end(
                turn,
                task,
                state,
                mesos.TaskStatus.REASON_AGENT_REMOVED,
                mesos_messages.agent_removed(agent.info.hostname, reason),
            )
    turn.order(Persist(records.remove(agent.id)))
    _strike_out(turn, agent)
    observers.agent_gone(turn, agent.id, unreachable=False)
    turn.note("agent removed", agent_id=agent.id, hostname=agent.info.hostname, why=reason)


def _strike_out(turn: Turn, agent: Agent) -> None:
    """The agent's tasks and offers are gone: drop its executors and itself, and tell the frameworks."""
    for executor in list(agent.executors.values()):
        turn.state.drop_executor(executor)
        allocator_messages.recovered(turn, executor.framework, agent, executor.role, executor.resources)
        observers.executor_removed(turn, executor)
    turn.state.drop_agent(agent)
    agent.move(AgentState.REMOVED)
    if agent.registered_at is not None:
        allocator_messages.agent_removed(turn, agent)
    failure = scheduler.Event(type=scheduler.Event.FAILURE)
    failure.failure.agent_id.value = agent.id
    for framework in turn.state.frameworks.values():
        turn.to_framework(framework, failure)
