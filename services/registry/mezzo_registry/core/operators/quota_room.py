"""Which offers stand in the way of a quota that is new, and are rescinded for it."""

from collections import Counter
from collections.abc import Iterator, Mapping

from mezzo.resources import Limits, Quantities
from mezzo_registry.core.context import Context
from mezzo_registry.core.offers import offering
from mezzo_registry.core.state import consumption, sums
from mezzo_registry.core.state.cluster import ClusterState
from mezzo_registry.core.state.entities import Agent, Offer
from mezzo_registry.core.state.roles import Quota, ancestors, within


def rescind(context: Context, quotas: Mapping[str, Quota], raised: Mapping[str, Quantities]) -> None:
    """Rescind the offers that stand in the way of new quotas: those with which roles could exceed their limits, and as
    many as it takes to give roles what they are guaranteed. `raised` are the guarantees that are larger than before.
    """
    consumed = consumption.consumptions(context.state)
    limits = {role: one.limits for role, one in quotas.items() if one.limits}
    if limits:
        _keep_within(context, limits, consumed)
    if raised:
        lacks = {role: wanted - consumed.get(role, Quantities.EMPTY) for role, wanted in raised.items()}
        _make_room(context, {role: lacking for role, lacking in lacks.items() if lacking})


def _keep_within(context: Context, limits: Mapping[str, Limits], consumed: Mapping[str, Quantities]) -> None:
    """Rescind offers to roles that could exceed their limits if they took them, until they could not."""
    offered = sums.roll_up(context.state.offered.nonrevocable)
    for role, bounds in limits.items():
        held = consumed.get(role, Quantities.EMPTY)
        if bounds.admit(held + offered.get(role, Quantities.EMPTY)):
            continue
        left: Counter[str] = Counter()
        for offer in [one for one in context.state.offers.values() if within(one.role, role)]:
            together = left + Counter(_amounts(offer))
            if bounds.admit(held + Quantities(together)):
                left = together
            else:
                offering.rescind(context, offer)
        offered = sums.roll_up(context.state.offered.nonrevocable)


def _make_room(context: Context, lacks: Mapping[str, Quantities]) -> None:
    """Rescind offers for what roles lack: all of an agent's at once, so that the pieces are large, and those of as many
    agents as a role has frameworks, so that each of them can be offered one.
    """
    frameworks: Counter[str] = Counter()
    for framework in context.state.frameworks.values():
        if framework.connected:
            frameworks.update({top for role in framework.roles for top in (role, *ancestors(role))})
    offered = _offered_agents(context.state)
    for role, lacking in lacks.items():
        rescinded, agents = Counter[str](), 0
        while not Quantities(rescinded).contains(lacking) or agents < frameworks[role]:
            agent = next(offered, None)
            if agent is None:
                return
            agents += 1
            for offer in list(agent.offers.values()):
                rescinded.update(_amounts(offer))
                offering.rescind(context, offer)


def _offered_agents(cluster: ClusterState) -> Iterator[Agent]:
    """Yield the agents with offers, each once."""
    for agent in list(cluster.agents.values()):
        if agent.offers:
            yield agent


def _amounts(offer: Offer) -> dict[str, int]:
    return dict(sums.amounts(offer.resources)[0])
