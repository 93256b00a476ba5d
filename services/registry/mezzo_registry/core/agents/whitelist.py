"""The whitelist: agents on other hosts run what they run, but are not offered."""

from mezzo_registry.core.context import Context
from mezzo_registry.core.events import WhitelistUpdated
from mezzo_registry.core.views import allocator_messages


def updated(context: Context, event: WhitelistUpdated) -> None:
    """Replace the whitelist, and update the allocator on the agents for which that makes a difference.

    Offers that are out stay out, as in Mesos.
    """
    cluster = context.state
    before = {agent.id for agent in cluster.agents.values() if cluster.offerable(agent)}
    cluster.whitelist = event.hostnames
    changed = [agent for agent in cluster.agents.values() if cluster.offerable(agent) != (agent.id in before)]
    for agent in changed:
        allocator_messages.agent_changed(context, agent, holdings=False)
    context.note("whitelist updated", hosts=len(event.hostnames), agents_changed=len(changed))
