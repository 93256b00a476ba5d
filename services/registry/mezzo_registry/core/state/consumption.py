"""What roles consume of their quotas.

A role consumes what it and those below it use, and what is reserved to them, used or not; nothing that is revocable.
What it is merely offered it does not consume.
"""

from collections import Counter, defaultdict

from mezzo.resources import Quantities
from mezzo_registry.core.state import sums
from mezzo_registry.core.state.cluster import ClusterState


def consumptions(cluster: ClusterState) -> dict[str, Quantities]:
    """Return consumption by role. Looks at every agent and offer: for the calls of operators."""
    by_role: dict[str, Counter[str]] = defaultdict(Counter)
    for role, used in cluster.used.nonrevocable.items():
        by_role[role].update(used)
    unused = [agent.available for agent in cluster.agents.values()]
    unused += [offer.resources for offer in cluster.offers.values()]
    for part in unused:
        for owner, reserved in sums.reserved_amounts(part):
            by_role[owner].update(dict(reserved))
    return sums.roll_up(by_role)


def capacity(cluster: ClusterState) -> Quantities:
    """Return what the agents have that is not revocable, those that are disconnected included."""
    total: Counter[str] = Counter()
    for agent in cluster.agents.values():
        if agent.registered_at is not None:
            total.update(dict(sums.amounts(agent.total)[0]))
    return Quantities(total)
