"""What the allocator is sent: a snapshot when a session begins, then every change."""

from mesos.v1 import mesos_pb2 as mesos
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.resources import Resources
from mezzo_registry.core.context import Context
from mezzo_registry.core.state import resource_cache
from mezzo_registry.core.state.entities import Agent, Framework
from mezzo_registry.core.state.roles import amounts

Message = allocator.RegistryMessage


def connected(context: Context) -> None:
    """Begin a session with a snapshot of the whole cluster. Offers that are out stay out, as holdings."""
    cluster = context.state
    cluster.allocator_connected = True
    cluster.allocator_cycle = 0
    context.to_allocator(Message(begin=_begin(context)))
    for role in cluster.configuration.roles():
        role_changed(context, role)
    for framework in cluster.frameworks.values():
        framework_changed(context, framework)
    for agent in cluster.agents.values():
        if agent.registered_at is not None:
            agent_changed(context, agent, holdings=True)
    context.to_allocator(Message(snapshot_end=allocator.SnapshotEnd()))


def _begin(context: Context) -> allocator.Begin:
    begin = allocator.Begin(registry_id=context.identity.registry_id)
    if context.identity.master_info.HasField("domain"):
        begin.domain.CopyFrom(context.identity.master_info.domain)
    return begin


def disconnected(context: Context) -> None:
    """End a session. Only new offers wait for the next one."""
    context.state.allocator_connected = False


def role_changed(context: Context, role: str) -> None:
    """Send what is configured for a role."""
    configuration = context.state.configuration
    one = configuration.quota(role)
    update = allocator.RoleUpdate(
        role=role,
        weight=configuration.weight(role),
        quota_guarantees=amounts(one.guarantees.items()),
        quota_limits=amounts(one.limits.items()),
    )
    context.to_allocator(Message(role_update=update))


def framework_changed(context: Context, framework: Framework) -> None:
    """Send a framework as it is."""
    if not context.state.allocator_connected:
        return
    message = Message()
    update = message.framework_update
    update.framework = framework.number
    update.framework_info.CopyFrom(framework.info)
    update.suppressed_roles.extend(sorted(framework.suppressed))
    update.active = framework.connected
    if framework.constraints is not None:
        update.offer_constraints.CopyFrom(framework.constraints)
    context.to_allocator(message)


def framework_removed(context: Context, framework: Framework) -> None:
    """Send that a framework is removed; all that it held was recovered before."""
    context.to_allocator(Message(framework_removed=allocator.FrameworkRemoved(framework=framework.number)))


def agent_changed(context: Context, agent: Agent, *, holdings: bool) -> None:
    """Send an agent as it is; with all that is held of it when `holdings`."""
    if not context.state.allocator_connected:
        return
    message = Message()
    update = message.agent_update
    update.agent = agent.number
    update.agent_info.CopyFrom(agent.info)
    update.total.extend(resource_cache.plain(agent.total))
    update.active = context.state.offerable(agent)
    update.capabilities.extend(agent.capabilities)
    update.cycle = context.state.allocator_cycle
    update.keeps_holdings = not holdings
    unavailability = context.state.unavailability(agent)
    if unavailability is not None:
        update.unavailability.CopyFrom(unavailability)
    if holdings:
        held: dict[int, list[mesos.Resource]] = {}
        for framework, role, resources in context.state.holdings(agent):
            held.setdefault(framework.number, []).extend(resource_cache.allocated(resources, role))
        for number, resources_held in held.items():
            update.holdings.add(framework=number).resources.extend(resources_held)
    context.to_allocator(message)


def agent_removed(context: Context, agent: Agent) -> None:
    """Send that an agent is removed or unreachable."""
    context.to_allocator(Message(agent_removed=allocator.AgentRemoved(agent=agent.number)))


def recovered(
    context: Context,
    framework: Framework,
    agent: Agent,
    role: str,
    resources: Resources,
    filters: mesos.Filters | None = None,
    *,
    unanswered: bool = False,
) -> None:
    """Return resources of a framework: with `filters` when it declined them, `unanswered` when it did not answer."""
    if not context.state.allocator_connected or not resources:
        return
    message = Message()
    back = message.recovered
    back.framework = framework.number
    back.agent = agent.number
    back.resources.extend(resource_cache.allocated(resources, role))
    back.unanswered = unanswered
    if filters is not None:
        back.filters.CopyFrom(filters)
    context.to_allocator(message)


def allocated(context: Context, framework: Framework, agent: Agent, role: str, resources: Resources) -> None:
    """Send that a framework holds resources which the allocator did not give it."""
    if not context.state.allocator_connected or not resources:
        return
    message = Message()
    taken = message.allocated
    taken.framework = framework.number
    taken.agent = agent.number
    taken.resources.extend(resource_cache.allocated(resources, role))
    context.to_allocator(message)


def inverse_offer_answered(
    context: Context,
    framework: Framework,
    agent: Agent,
    answer: "allocator.InverseOfferAnswered.Answer.ValueType",
    filters: mesos.Filters | None = None,
) -> None:
    """Send that an inverse offer is no longer out; with the framework's answer, if there was one."""
    answered = allocator.InverseOfferAnswered(framework=framework.number, agent=agent.number, answer=answer)
    if filters is not None:
        answered.filters.CopyFrom(filters)
    context.to_allocator(Message(inverse_offer_answered=answered))


def revived(context: Context, framework: Framework, roles: list[str], *, in_vain: bool) -> None:
    """Send that a framework wants offers again."""
    context.to_allocator(Message(revive=allocator.Revive(framework=framework.number, roles=roles, in_vain=in_vain)))


def suppressed(context: Context, framework: Framework, roles: list[str]) -> None:
    """Send that a framework wants no more offers."""
    context.to_allocator(Message(suppress=allocator.Suppress(framework=framework.number, roles=roles)))


def requested(context: Context, framework: Framework, requests: list[mesos.Request]) -> None:
    """Send what a framework hints that it needs."""
    context.to_allocator(Message(request=allocator.Request(framework=framework.number, requests=requests)))
