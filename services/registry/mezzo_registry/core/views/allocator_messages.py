"""What the registry tells the allocator: a snapshot when a session begins, then every change."""

from mesos.v1 import mesos_pb2 as mesos
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.resources import Resources
from mezzo_registry.core.context import Turn
from mezzo_registry.core.state import resource_cache
from mezzo_registry.core.state.cluster import Agent, Framework
from mezzo_registry.core.state.roles import amounts

Message = allocator.RegistryMessage


def connected(turn: Turn) -> None:
    """A session began: describe the whole cluster. Offers that are out stay out, as holdings."""
    cluster = turn.state
    cluster.allocator_connected = True
    cluster.allocator_cycle = 0
    turn.to_allocator(Message(begin=_begin(turn)))
    for role in cluster.configuration.roles():
        role_changed(turn, role)
    for framework in cluster.frameworks.values():
        framework_changed(turn, framework)
    for agent in cluster.agents.values():
        if agent.registered_at is not None:
            agent_changed(turn, agent, holdings=True)
    turn.to_allocator(Message(snapshot_end=allocator.SnapshotEnd()))


def _begin(turn: Turn) -> allocator.Begin:
    begin = allocator.Begin(registry_id=turn.identity.registry_id)
    if turn.identity.master_info.HasField("domain"):
        begin.domain.CopyFrom(turn.identity.master_info.domain)
    return begin


def disconnected(turn: Turn) -> None:
    """The session ended. Only new offers wait for the next one."""
    turn.state.allocator_connected = False


def role_changed(turn: Turn, role: str) -> None:
    """What is configured for a role is new, has changed, or is no more."""
    configuration = turn.state.configuration
    one = configuration.quota(role)
    update = allocator.RoleUpdate(
        role=role,
        weight=configuration.weight(role),
        quota_guarantees=amounts(one.guarantees.items()),
        quota_limits=amounts(one.limits.items()),
    )
    turn.to_allocator(Message(role_update=update))


def framework_changed(turn: Turn, framework: Framework) -> None:
    """A framework is new, or something about it has changed."""
    if not turn.state.allocator_connected:
        return
    message = Message()
    update = message.framework_update
    update.framework = framework.number
    update.framework_info.CopyFrom(framework.info)
    update.suppressed_roles.extend(sorted(framework.suppressed))
    update.active = framework.connected
    if framework.constraints is not None:
        update.offer_constraints.CopyFrom(framework.constraints)
    turn.to_allocator(message)


def framework_removed(turn: Turn, framework: Framework) -> None:
    """A framework is no more; all that it held was recovered before."""
    turn.to_allocator(Message(framework_removed=allocator.FrameworkRemoved(framework=framework.number)))


def agent_changed(turn: Turn, agent: Agent, *, holdings: bool) -> None:
    """An agent is new, or something about it has changed; with all that is held of it when `holdings`."""
    if not turn.state.allocator_connected:
        return
    message = Message()
    update = message.agent_update
    update.agent = agent.number
    update.agent_info.CopyFrom(agent.info)
    update.total.extend(resource_cache.plain(agent.total))
    update.active = turn.state.offerable(agent)
    update.capabilities.extend(agent.capabilities)
    update.cycle = turn.state.allocator_cycle
    update.keeps_holdings = not holdings
    unavailability = turn.state.unavailability(agent)
    if unavailability is not None:
        update.unavailability.CopyFrom(unavailability)
    if holdings:
        held: dict[int, list[mesos.Resource]] = {}
        for framework, role, resources in turn.state.holdings(agent):
            held.setdefault(framework.number, []).extend(resource_cache.allocated(resources, role))
        for number, resources_held in held.items():
            update.holdings.add(framework=number).resources.extend(resources_held)
    turn.to_allocator(message)


def agent_removed(turn: Turn, agent: Agent) -> None:
    """An agent is no more, or out of reach."""
    turn.to_allocator(Message(agent_removed=allocator.AgentRemoved(agent=agent.number)))


def recovered(
    turn: Turn,
    framework: Framework,
    agent: Agent,
    role: str,
    resources: Resources,
    filters: mesos.Filters | None = None,
    *,
    unanswered: bool = False,
) -> None:
    """A framework gives resources back: with `filters` when it declined them, `unanswered` when it said nothing."""
    if not turn.state.allocator_connected or not resources:
        return
    message = Message()
    back = message.recovered
    back.framework = framework.number
    back.agent = agent.number
    back.resources.extend(resource_cache.allocated(resources, role))
    back.unanswered = unanswered
    if filters is not None:
        back.filters.CopyFrom(filters)
    turn.to_allocator(message)


def allocated(turn: Turn, framework: Framework, agent: Agent, role: str, resources: Resources) -> None:
    """A framework holds resources that the allocator did not give it."""
    if not turn.state.allocator_connected or not resources:
        return
    message = Message()
    taken = message.allocated
    taken.framework = framework.number
    taken.agent = agent.number
    taken.resources.extend(resource_cache.allocated(resources, role))
    turn.to_allocator(message)


def inverse_offer_answered(
    turn: Turn,
    framework: Framework,
    agent: Agent,
    answer: "allocator.InverseOfferAnswered.Answer.ValueType",
    filters: mesos.Filters | None = None,
) -> None:
    """An inverse offer is no longer out; with what the framework said, if it did."""
    answered = allocator.InverseOfferAnswered(framework=framework.number, agent=agent.number, answer=answer)
    if filters is not None:
        answered.filters.CopyFrom(filters)
    turn.to_allocator(Message(inverse_offer_answered=answered))


def revived(turn: Turn, framework: Framework, roles: list[str], *, in_vain: bool) -> None:
    """A framework wants offers again."""
    turn.to_allocator(Message(revive=allocator.Revive(framework=framework.number, roles=roles, in_vain=in_vain)))


def suppressed(turn: Turn, framework: Framework, roles: list[str]) -> None:
    """A framework wants no more offers."""
    turn.to_allocator(Message(suppress=allocator.Suppress(framework=framework.number, roles=roles)))


def requested(turn: Turn, framework: Framework, requests: list[mesos.Request]) -> None:
    """A framework hints at what it needs."""
    turn.to_allocator(Message(request=allocator.Request(framework=framework.number, requests=requests)))
