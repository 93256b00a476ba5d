"""`GET /api/v1/explain`: why frameworks are offered what they are, or nothing.

    GET /api/v1/explain?framework=<id or name>&role=<role>&agent=<id or hostname>

Each part of the query narrows it. The answer is `{"explanations": [...], "unanswered_offers": [...]}`. There is an
explanation for each framework in each of its roles: the fields of `mezzo.allocator.v1.Explanation` in snake case, and
besides

- `framework_name`;
- `verdict`: the explanation in one sentence;
- `summary`: a list of sentences that say why, and what would have to change;
- each of the `places` has a `kind`: `ROLE`, `FRAMEWORK`, or `OWN_FRAMEWORKS` for the node that the allocator calls `.`,
  in which the frameworks of a role stand together beside the roles below it.

`inactive_reason` is an enum's name, and is not there while the framework takes part. Numbers that are none are null.

`unanswered_offers` says which frameworks have offers that they have neither used nor declined, on the agents asked
about: `framework_id`, `framework_name`, `role`, `offers`, and `oldest_seconds`, how long the oldest has waited.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from aiohttp import web

from mezzo.allocator.v1.allocator_pb2 import Explanation
from mezzo.errors import Conflict, InvalidRequest, NotFound
from mezzo_chassis.http.exchange import json_response
from mezzo_gateway.adapters.registry import Registry
from mezzo_gateway.explanations.allocations import Surroundings, Unanswered, answer
from mezzo_gateway.http.reads import Reads
from mezzo_gateway.state.cluster import Cluster
from mezzo_gateway.state.records import LostAgent

# `jsonp` is for every endpoint.
PARAMETERS = ("framework", "role", "agent", "jsonp")
# A role that only others below it use is explained by explaining those; each is a question of its own.
ROLES_BELOW_MAX = 100


class Explain:
    """Finds out who is meant, asks the registry, and adds what the copy of the state knows."""

    def __init__(self, registry: Registry, reads: Reads) -> None:
        self._registry = registry
        self._reads = reads

    async def get(self, request: web.Request) -> web.Response:
        """Answer one question. 404 where nobody is called so, 409 where several are, 503 without an allocator."""
        cluster, query = self._reads.cluster(), request.query
        for name in query:
            if name not in PARAMETERS:
                raise InvalidRequest(name, "unknown parameter; must be framework, role or agent")
        framework_id = _framework_id(cluster, query["framework"]) if query.get("framework") else ""
        agent_id = _agent_id(cluster, query["agent"]) if query.get("agent") else ""
        roles = _roles(cluster, query["role"], framework_id) if query.get("role") else [""]
        found: list[Explanation] = []
        for role in roles:
            found += (await self._registry.explain(framework_id, role, agent_id)).explanations
        # Asked for again: while the registry was, a new snapshot may have taken the place of the old one.
        surroundings = _surroundings(self._reads.cluster(), found, agent_id, time.time())
        response = json_response(request, answer(found, surroundings))
        response.headers.update(self._reads.headers())
        return response


def _framework_id(cluster: Cluster, asked: str) -> str:
    """The framework of this id, or the only one of this name."""
    if asked in cluster.frameworks:
        return asked
    if asked in cluster.completed_frameworks:
        raise NotFound(f"framework {asked} has ended")
    named = [
        record.framework_id
        for record in cluster.frameworks.values()
        if record.message is not None and record.message.framework_info.name == asked
    ]
    return _only(named, "framework", asked)


def _agent_id(cluster: Cluster, asked: str) -> str:
    """The agent of this id, or the only one of this host name."""
    if asked in cluster.agents:
        return asked
    if asked in cluster.unreachable_agents:
        raise NotFound(f"agent {asked} is unreachable{_since(cluster.unreachable_agents[asked])}")
    if asked in cluster.gone_agents:
        raise NotFound(f"agent {asked} was marked gone by an operator{_since(cluster.gone_agents[asked])}")
    hosts = [agent_id for agent_id, record in cluster.agents.items() if record.message.agent_info.hostname == asked]
    return _only(hosts, "agent", asked)


def _since(lost: LostAgent) -> str:
    """Since when, in words; of a moment that everybody reads alike."""
    return "" if lost.since is None else f" since {datetime.fromtimestamp(lost.since, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _only(ids: list[str], kind: str, asked: str) -> str:
    if not ids:
        raise NotFound(f"{kind} {asked} not found")
    if len(ids) > 1:
        raise Conflict(f"{len(ids)} {kind}s are called {asked}; use an id: {', '.join(sorted(ids))}")
    return ids[0]


def _roles(cluster: Cluster, asked: str, framework_id: str) -> list[str]:
    """The role, if anybody is subscribed in it; else those below it in which somebody is."""
    frameworks = [cluster.frameworks[framework_id]] if framework_id else cluster.frameworks.values()
    subscribed = {role for framework in frameworks for role in framework.roles()}
    if asked in subscribed:
        return [asked]
    below = sorted(role for role in subscribed if role.startswith(f"{asked}/"))
    if below:
        return below[:ROLES_BELOW_MAX]
    if framework_id:
        raise NotFound(f"framework {framework_id} is not subscribed in role {asked}")
    if asked in cluster.roles:
        return []
    raise NotFound(f"role {asked} not found")


def _surroundings(cluster: Cluster, found: Iterable[Explanation], agent_id: str, now: float) -> Surroundings:
    unanswered = _unanswered(cluster, agent_id, now)
    names: dict[str, str] = {}
    for framework_id in _mentioned(found) | {each.framework_id for each in unanswered}:
        record = cluster.frameworks.get(framework_id)
        if record is not None and record.message is not None:
            names[framework_id] = record.message.framework_info.name
    return Surroundings(names, unanswered)


def _unanswered(cluster: Cluster, agent_id: str, now: float) -> list[Unanswered]:
    """Who has offers to answer, on the agent or on all; who waits longest comes first."""
    offers: Counter[tuple[str, str]] = Counter()
    oldest: dict[tuple[str, str], float] = {}
    for record in cluster.offers.values():
        offer = record.offer
        if agent_id and offer.agent_id.value != agent_id:
            continue
        holder = offer.framework_id.value, offer.allocation_info.role
        offers[holder] += 1
        if record.made_at is not None:
            oldest[holder] = min(record.made_at, oldest.get(holder, record.made_at))
    # Clocks of two machines: what was made in the future was made just now.
    ages = {holder: max(0.0, now - made_at) for holder, made_at in oldest.items()}
    found = [Unanswered(*holder, count, ages.get(holder)) for holder, count in offers.items()]
    return sorted(found, key=lambda each: (-(each.oldest_seconds or 0.0), each.framework_id, each.role))


def _mentioned(found: Iterable[Explanation]) -> set[str]:
    """The ids of frameworks whose names are of use: those that are explained, and those that use their quotas."""
    ids = {each.framework_id for each in found}
    ids |= {user.framework_id for each in found for quota in each.binding_quotas for user in quota.consumers}
    return ids
