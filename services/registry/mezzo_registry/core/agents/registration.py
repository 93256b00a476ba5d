"""How agents come: new, back after a broken stream, back after an election, back from being unreachable.

A registering agent is checked, then written to the store, and only then part of the cluster. What it brings along is
brought in line with the cluster state in `resync`.
"""

from mesos.v1 import mesos_pb2 as mesos
from mezzo import equality
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.errors import Conflict, InvalidRequest
from mezzo.resources import Resources
from mezzo_registry.core import mesos_messages, records
from mezzo_registry.core.agents import removal, resync
from mezzo_registry.core.context import Context
from mezzo_registry.core.effects import CloseAgentSession, Persist, SendToAgent
from mezzo_registry.core.events import AgentHeartbeatReceived, AgentRegistering, AgentStored
from mezzo_registry.core.offers import offering
from mezzo_registry.core.state.entities import Agent
from mezzo_registry.core.state.transitions import AgentState
from mezzo_registry.core.validation.agent import check_domain, check_register
from mezzo_registry.core.views import allocator_messages, observers

Message = agent_session.RegistryMessage


def registering(context: Context, event: AgentRegistering) -> None:
    """Check what a registering agent reports, and have the store admit it."""
    register, cluster = event.register, context.state
    agent_id = register.agent_info.id.value
    context.counters["messages_reregister_slave" if agent_id else "messages_register_slave"] += 1
    try:
        total = check_register(register)
        required = context.settings.require_agent_domain
        check_domain(register.agent_info, context.identity.master_info, required=required)
    except InvalidRequest as error:
        context.warn("agent refused", hostname=register.agent_info.hostname, agent_id=agent_id, error=str(error))
        context.emit(CloseAgentSession(event.session, error))
        return
    if agent_id in cluster.gone:
        context.emit(_shutdown(event.session, mesos_messages.AGENT_GONE))
        context.emit(CloseAgentSession(event.session))
        return
    known = cluster.agents.get(agent_id)
    if cluster.plan.is_down(register.agent_info.hostname, register.pid):
        context.warn(
            "agent refused",
            hostname=register.agent_info.hostname,
            agent_id=agent_id,
            reason="the machine is down for maintenance",
        )
        context.emit(_shutdown(event.session, mesos_messages.MACHINE_IS_DOWN))
        context.emit(CloseAgentSession(event.session))
        if known is not None and known.state is AgentState.RECOVERED:
            removal.remove(context, known, mesos_messages.CAUSE_MACHINE_DOWN)
        return
    if known is not None:
        _returning(context, event, known, total)
        return
    info = mesos.AgentInfo()
    info.CopyFrom(register.agent_info)
    if not agent_id:
        agent_id = info.id.value = _new_id(context)
    agent = Agent(
        number=cluster.number(),
        info=info,
        total=total,
        state=AgentState.REGISTERING,
        last_seen_at=context.now,
        available=total,
        was_unreachable=cluster.unreachable.pop(agent_id, None) is not None,
    )
    cluster.add_agent(agent)
    cluster.attach_session(agent, event.session)
    context.emit(Persist(records.admit(info), AgentStored(event.session, agent_id, register)))


def _new_id(context: Context) -> str:
    """An id that no agent has, also none that somebody has guessed before it was given away."""
    cluster = context.state
    while True:
        agent_id = f"{context.identity.registry_id}-S{cluster.next_agent}"
        cluster.next_agent += 1
        if not any(agent_id in known for known in (cluster.agents, cluster.unreachable, cluster.gone)):
            return agent_id


def _returning(context: Context, event: AgentRegistering, agent: Agent, total: Resources) -> None:
    """Attach a known agent to its new session, which ends the one before."""
    if agent.session is not None:
        context.emit(CloseAgentSession(agent.session, Conflict("the agent has opened another session")))
        context.state.detach_session(agent)
    agent.last_seen_at = context.now
    if not equality.same(agent.info, event.register.agent_info):
        info = mesos.AgentInfo()
        info.CopyFrom(event.register.agent_info)
        if agent.state is not AgentState.REGISTERING:
            if agent.state is AgentState.CONNECTED:
                removal.rescind_offers(context, agent)
            context.state.move_agent(agent, AgentState.REGISTERING)
        context.state.attach_session(agent, event.session)
        context.emit(Persist(records.admit(info), AgentStored(event.session, agent.id, event.register)))
        return
    context.state.attach_session(agent, event.session)
    if agent.state is AgentState.REGISTERING:
        context.emit(Persist(records.admit(agent.info), AgentStored(event.session, agent.id, event.register)))
        return
    _admitted(context, agent, event.session, event.register, total)


def stored(context: Context, event: AgentStored) -> None:
    """Complete the registration of an agent that the store has admitted."""
    agent = context.state.agents.get(event.agent_id)
    if agent is None:
        context.note("agent disconnected before its admission was stored", agent_id=event.agent_id)
        return
    if agent.session != event.session:
        # Its stream broke meanwhile, or it registered once more. In the latter case another AgentStored follows.
        if agent.session is None and agent.state is AgentState.REGISTERING:
            context.state.move_agent(agent, AgentState.DISCONNECTED)
            if agent.registered_at is not None:
                allocator_messages.agent_changed(context, agent, holdings=False)
                observers.agent_changed(context, agent)
        return
    if context.state.plan.is_down(event.register.agent_info.hostname, event.register.pid):
        # It went down while the agent was admitted, and was known by an address that the agent had yet to bring.
        removal.remove(context, agent, mesos_messages.CAUSE_MACHINE_DOWN)
        return
    total = check_register(event.register)
    agent.info.CopyFrom(event.register.agent_info)
    agent.info.id.value = event.agent_id
    _admitted(context, agent, event.session, event.register, total)


def _admitted(context: Context, agent: Agent, session: int, register: agent_session.Register, total: Resources) -> None:
    cluster = context.state
    if not register.agent_info.id.value:
        _remove_old_self(context, register)
    cluster.set_pid(agent, register.pid)
    first_time = agent.registered_at is None
    was_unreachable, agent.was_unreachable = agent.was_unreachable, False
    cluster.recovered.discard(agent.id)
    if agent.removal_scheduled:
        agent.removal_scheduled = False
        context.counters["slave_unreachable_canceled"] += 1
    # An agent from before there were two speaks the API that the registry speaks.
    agent.version = register.mesos_version or context.identity.master_info.version
    agent.mezzo_version = register.version
    agent.capabilities = tuple(register.capabilities)
    if first_time:
        agent.registered_at = context.now
    if register.agent_info.id.value:
        agent.reregistered_at = context.now
        context.counters["slave_reregistrations"] += 1
    else:
        context.counters["slave_registrations"] += 1
    context.state.move_agent(agent, AgentState.CONNECTED)
    agent.offer_form = offering.offer_form(cluster, agent)
    agent.total = total
    _send_registered(context, agent, session)
    # Before its tasks: observers know nobody's.
    observers.agent_changed(context, agent)
    resync.apply(context, agent, register, was_unreachable=was_unreachable)
    allocator_messages.agent_changed(context, agent, holdings=True)
    context.note(
        "agent registered", agent_id=agent.id, hostname=agent.info.hostname, pid=agent.pid, resources=total.brief()
    )


def _send_registered(context: Context, agent: Agent, session: int) -> None:
    registered = agent_session.Registered(
        heartbeat_interval_seconds=context.settings.agent_ping_timeout,
        heartbeat_timeout_seconds=context.settings.agent_silence_limit,
        master_info=context.identity.master_info,
    )
    registered.agent_id.value = agent.id
    assert agent.session == session
    context.to_agent(agent, Message(registered=registered))


def _remove_old_self(context: Context, register: agent_session.Register) -> None:
    """Remove the disconnected agent at a new agent's address: it is the same one, which has lost its id.

    As in Mesos (`Master::registerSlave`), whose agents keep their address for life. Here addresses change hands: so it
    is the same machine only under the same hostname, and an agent that has its id is nobody's successor.
    """
    for earlier in list(context.state.agents_by_pid.get(register.pid, {}).values()):
        if earlier.state is AgentState.DISCONNECTED and earlier.info.hostname == register.agent_info.hostname:
            context.counters["slave_removals/reason_registered"] += 1
            removal.remove(context, earlier, mesos_messages.CAUSE_SAME_ADDRESS)


def _shutdown(session: int, reason: str) -> SendToAgent:
    return SendToAgent(session, Message(shutdown=agent_session.Shutdown(reason=reason)))


def heartbeat(context: Context, event: AgentHeartbeatReceived) -> None:
    """Record that an agent is alive."""
    agent = context.state.agents_by_session.get(event.session)
    if agent is not None:
        agent.last_seen_at = context.now
