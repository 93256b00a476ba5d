"""Whether an agent that starts with other flags can go on with what already runs."""

from __future__ import annotations

from mezzo.resources import Resources
from mezzo_agent.core import Agent
from mezzo_agent.core.holdings import held


def incompatibilities(agent: Agent) -> list[str]:
    """What of the agent's present resources is not enough for what runs, a sentence each; empty where all fits.

    Attributes, the host name, ports and the domain may change freely: the registry is told.
    """
    total = Resources.of(agent.state.agent_info.resources)
    used = held(agent.state)
    if total.contains(used):
        return []
    found = []
    for kind, amount in _by_name(used).items():
        offered = _by_name(total).get(kind, Resources.EMPTY)
        if not offered.contains(amount):
            found.append(f"{kind}: running tasks use {amount}, the agent now has {offered or 'none'}")
    return found


def _by_name(resources: Resources) -> dict[str, Resources]:
    return {name: resources.named(name) for name in sorted(resources.names())}
