"""The beginning of a term: what the store holds becomes the cluster state; and what is forgotten as terms go by."""

from mezzo.resources import ResourceError, Resources
from mezzo_registry.core import records
from mezzo_registry.core.agents import removal
from mezzo_registry.core.context import Context
from mezzo_registry.core.effects import Persist
from mezzo_registry.core.events import Elected, TimerFired
from mezzo_registry.core.operators import role_calls
from mezzo_registry.core.state import resource_cache
from mezzo_registry.core.state.entities import Agent
from mezzo_registry.core.state.transitions import AgentState
from mezzo_registry.core.views import observers

GARBAGE = "garbage"
"""The timer of --registry_gc_interval."""


def elected(context: Context, event: Elected) -> None:
    """Begin a term. The agents that the store knows have --agent_reregister_timeout to come back."""
    cluster = context.state
    for info in event.admitted:
        total = Resources.EMPTY
        try:
            total = resource_cache.value_of(info.resources)
        except ResourceError as error:
            context.warn("stored resources of an agent are invalid", agent_id=info.id.value, error=str(error))
        agent = Agent(
            number=cluster.number(),
            info=info,
            total=total,
            state=AgentState.RECOVERED,
            last_seen_at=context.now,
            available=total,
        )
        cluster.add_agent(agent)
        cluster.recovered.add(agent.id)
    for agent_id, since in sorted(event.unreachable.items(), key=lambda item: item[1]):
        cluster.unreachable[agent_id] = since
    cluster.gone.update(event.gone)
    role_calls.recovered(context, event.configuration)
    cluster.plan = cluster.pending_plan = event.plan
    context.start_timer(removal.PINGS, context.settings.agent_ping_timeout)
    context.start_timer(GARBAGE, context.settings.registry_gc_interval)
    if cluster.recovered:
        context.start_timer(removal.REREGISTRATION, context.settings.agent_reregister_timeout)
    context.note(
        "elected",
        registry_id=context.identity.registry_id,
        agents=len(cluster.agents),
        unreachable=len(cluster.unreachable),
        gone=len(cluster.gone),
    )


def garbage_due(context: Context, event: TimerFired) -> None:
    """Forget unreachable agents that are too old, or too many: the oldest first."""
    cluster, settings = context.state, context.settings
    context.start_timer(event.timer.purpose, settings.registry_gc_interval)
    forgotten: list[str] = []
    surplus = len(cluster.unreachable) - settings.registry_max_agent_count
    for agent_id, since in cluster.unreachable.items():
        if len(forgotten) >= surplus and context.now - since <= settings.registry_max_agent_age:
            break
        forgotten.append(agent_id)
    for agent_id in forgotten:
        del cluster.unreachable[agent_id]
        observers.agent_removed(context, agent_id)
        # Each for itself: what is written as one has to fit into one transaction.
        context.emit(Persist(records.forget_unreachable(agent_id)))
    if forgotten:
        context.note("unreachable agents forgotten", agents=len(forgotten))
