"""The allocator's core: events in, effects out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mezzo.errors import Conflict, NotFound
from mezzo_allocator.core import events as ev
from mezzo_allocator.core import invariants
from mezzo_allocator.core.agents import KNOWN, Agent, Piece
from mezzo_allocator.core.cycle import Cycle
from mezzo_allocator.core.explain import Explanation, explain
from mezzo_allocator.core.frameworks import NO_ROLES, Client, Framework
from mezzo_allocator.core.loops import REFERENCE, Loops
from mezzo_allocator.core.policy import Policy
from mezzo_allocator.core.quota import RoleQuota
from mezzo_allocator.core.state import AllocatorState

REFUSE_SECONDS_DEFAULT = 5.0
EXPLAINED_MAX = 100
"""How many clients are explained at once: each costs a look at all agents."""
REFUSE_SECONDS_MAX = 365 * 24 * 3600.0


class Allocator:
    """Decides who is offered what.

    Nothing is decided before the snapshot has ended. The caller starts a cycle with `CycleStarted` when `pending` says
    that there is something to look at or `wake_at` has come, and sends `FullPassWanted` each interval.
    """

    def __init__(self, policy: Policy | None = None, loops: Loops = REFERENCE) -> None:
        self.policy = policy or Policy()
        self._loops = loops
        self._handlers: dict[type, Callable[[Any, float], list[ev.Effect]]] = {
            ev.SessionBegun: self._begin,
            ev.SnapshotEnded: self._end_snapshot,
            ev.AgentChanged: self._change_agent,
            ev.AgentRemoved: self._remove_agent,
            ev.FrameworkChanged: self._change_framework,
            ev.FrameworkRemoved: self._remove_framework,
            ev.ResourcesRecovered: self._recover,
            ev.ResourcesAllocated: self._allocate,
            ev.InverseOfferAnswered: self._end_inverse_offer,
            ev.OffersRevived: self._revive,
            ev.OffersSuppressed: self._suppress,
            ev.ResourcesRequested: self._record_request,
            ev.RoleConfigured: self._configure_role,
            ev.FullPassWanted: self._want_full_pass,
            ev.CycleStarted: self._start_cycle,
        }
        self._reset()

    def _reset(self) -> None:
        self.state = AllocatorState(self.policy, self._loops)
        self._cycle = Cycle(self.state)
        self._complete = False

    def handle(self, event: ev.Event, *, now: float) -> list[ev.Effect]:
        """Handle an event, and return what follows. `now` is seconds on a clock that never goes back.

        Raises:
            NotFound: the event names somebody who was never announced; nothing has changed.
            Conflict: it releases what is not held; the two sides of the session disagree, and it should be begun anew.
        """
        return self._handlers[type(event)](event, now)

    def use_loops(self, loops: Loops) -> None:
        """Use another form of the inner loop; it decides the same."""
        self._loops = self.state.quota.loops = loops

    @property
    def pending(self) -> bool:
        """Whether a cycle would find anything to look at."""
        return self._complete and bool(self.state.backlog or self.state.maintenance.due)

    def wake_at(self) -> float | None:
        """When the next refusal ends, and a cycle is due although no event has come."""
        ends = (self.state.filters.next_end(), self.state.maintenance.next_end())
        return min((end for end in ends if end is not None), default=None) if self._complete else None

    def validate(self) -> None:
        """Check the invariants of the state.

        Raises:
            InvariantViolation: the state contradicts itself.
        """
        invariants.check(self.state)

    def explain(self, framework_id: str = "", role: str = "", agent_id: str = "") -> Iterator[Explanation]:
        """Explain why the framework (every one, if none is named) is offered what it is, in the role (in all).

        Each explanation is computed when it is asked for, and is about that moment. A role that only has quota or
        reservations has none.

        Raises:
            NotFound: there is no such framework, role or agent.
        """
        state = self.state
        agents = [each for each in state.agents.by_number.values() if agent_id in ("", each.id)]
        clients = [
            client
            for client in state.frameworks.clients.values()
            if framework_id in ("", client.framework.id) and role in ("", client.role)
        ]
        if agent_id and not agents:
            raise NotFound(f"agent {agent_id} not found")
        if framework_id and all(each.id != framework_id for each in state.frameworks.by_number.values()):
            raise NotFound(f"framework {framework_id} not found")
        if role and role not in state.tree.roles:
            raise NotFound(f"role {role} not found")
        if framework_id and not clients:
            raise NotFound(f"framework {framework_id} is not in role {role}")
        clients.sort(key=lambda client: (client.role, client.framework.id))
        return self._explanations(state, clients[:EXPLAINED_MAX], agents)

    def _explanations(self, state: AllocatorState, clients: list[Client], agents: list[Agent]) -> Iterator[Explanation]:
        for client in clients:
            if state is not self.state:
                return
            if state.frameworks.clients.get(client.number) is client:
                state.tree.refresh(self._loops)
                known = [agent for agent in agents if state.agents.by_number.get(agent.number) is agent]
                yield explain(state, self._cycle, client, known)

    # -- the session ---------------------------------------------------------------------------------------------------

    def _begin(self, event: ev.SessionBegun, now: float) -> list[ev.Effect]:
        del now
        self.state.break_cycles()
        self._reset()
        self.state.eligibility.set_domain(event.domain)
        return []

    def _end_snapshot(self, event: ev.SnapshotEnded, now: float) -> list[ev.Effect]:
        del event, now
        self._complete = True
        self.state.mark_all_dirty()
        return [ev.Ready()]

    def _want_full_pass(self, event: ev.FullPassWanted, now: float) -> list[ev.Effect]:
        del event, now
        self.state.mark_all_dirty()
        return []

    def _start_cycle(self, event: ev.CycleStarted, now: float) -> list[ev.Effect]:
        if not self._complete:
            return []
        self.state.backlog.mark_all(self.state.filters.expire(now))
        self.state.maintenance.expire(now)
        return [self._cycle.run(self._loops, event.agents_max, now)]

    # -- agents --------------------------------------------------------------------------------------------------------

    def _change_agent(self, event: ev.AgentChanged, now: float) -> list[ev.Effect]:
        del now
        state = self.state
        for number, _ in event.holdings or ():
            if number not in state.frameworks.by_number:  # before anything changes
                raise NotFound(f"agent {event.agent}: framework {number} holds resources but was never announced")
        agent = state.agents.by_number.get(event.agent)
        if agent is None:
            agent = state.agents.add(event.agent)
            state.fit()
        agent.describe(event.info)
        held = self._holdings_after(agent, event)
        given_since = [] if event.holdings is None else _given_after(agent, event.cycle)
        holders = state.release_all(agent)
        state.count_reservations(agent, -1)
        state.agents.set_total(agent, event.total)
        state.count_reservations(agent, 1)
        for client, (cycle, resources) in held:
            state.take(agent, client, resources, cycle)
        for number, (cycle, resources) in given_since:
            if state.agents.free_of(agent).contains(resources.nonshared().nonrevocable()):
                state.take(agent, state.frameworks.clients[number], resources, cycle)
        for client in holders:
            state.retire(client)
        state.agents.set_active(agent, active=event.active)
        state.eligibility.evaluate_agent(agent, event.info, event.capabilities, state.frameworks.clients.values())
        state.maintenance.plan(agent.row, event.unavailability)
        state.mark_dirty(agent)
        return []

    def _holdings_after(self, agent: Agent, event: ev.AgentChanged) -> list[tuple[Client, Piece]]:
        """Who holds what of an agent, as an event has it."""
        state = self.state
        if event.holdings is None:
            return [(state.frameworks.clients[n], piece) for n, pieces in agent.held.items() for piece in pieces]
        held = []
        for number, resources in event.holdings:
            framework = state.frameworks.by_number[number]
            for role, of_role in state.slicer.by_role(resources):
                held.append((state.client(framework, role), (KNOWN, of_role)))
        return held

    def _remove_agent(self, event: ev.AgentRemoved, now: float) -> list[ev.Effect]:
        del now
        state = self.state
        agent = state.agents.by_number.get(event.agent)
        if agent is None:
            return []
        holders = state.release_all(agent)
        state.count_reservations(agent, -1)
        state.filters.drop_agent(agent.row)
        state.fairness_rounds.end(agent.row)
        state.maintenance.plan(agent.row, None)
        state.agents.remove(agent)
        for client in holders:
            state.retire(client)
        return []

    # -- frameworks ----------------------------------------------------------------------------------------------------

    def _change_framework(self, event: ev.FrameworkChanged, now: float) -> list[ev.Effect]:
        state = self.state
        framework = state.frameworks.by_number.get(event.framework)
        if framework is None:
            framework = state.frameworks.add(event.framework, event.info.id.value)
        left = state.frameworks.describe(framework, event.info)
        state.fit()
        framework.active = event.active
        if not event.active:
            state.maintenance.forget_framework(framework.number)
        framework.suppressed = event.suppressed_roles or NO_ROLES
        framework.constraints = event.constraints
        agents = state.agents.by_number.values()
        for client in framework.clients.values():
            state.eligibility.evaluate_client(client, framework.constraints.get(client.role), agents)
            state.frameworks.refresh_activity(client, now=now)
        for client in left:
            state.backlog.mark_all(state.filters.clear(client.number))
            state.retire(client)
        # New capabilities or constraints may open agents to it that nothing else would make anybody look at.
        if framework.active:
            state.mark_all_dirty()
        return []

    def _remove_framework(self, event: ev.FrameworkRemoved, now: float) -> list[ev.Effect]:
        state = self.state
        framework = state.frameworks.by_number.get(event.framework)
        if framework is None:
            return []
        framework.removed = True
        framework.active = False
        state.maintenance.forget_framework(framework.number)
        clients = {client.number: client for client in framework.clients.values()}
        for client in clients.values():
            client.subscribed = False
            state.frameworks.refresh_activity(client, now=now)
        for agent in state.agents.by_number.values():
            for number in clients.keys() & agent.held.keys():
                state.release(agent, clients[number], agent.held_by(number))
                state.mark_dirty(agent)
        for client in clients.values():
            state.retire(client)
        if not clients:
            state.frameworks.remove(framework)
        return []

    def _revive(self, event: ev.OffersRevived, now: float) -> list[ev.Effect]:
        framework = self._framework(event.framework)
        self.state.maintenance.forget_answers(framework.number)
        for client in self.state.frameworks.named_roles(framework, event.roles):
            framework.suppressed -= {client.role}
            refused = set(self.state.filters.clear(client.number))
            self.state.backlog.mark_all(refused)
            if event.in_vain:
                for row in refused:
                    self.state.fairness_rounds.begin(row, client.number)
            if self.state.frameworks.refresh_activity(client, now=now):
                self.state.mark_all_dirty()
        return []

    def _suppress(self, event: ev.OffersSuppressed, now: float) -> list[ev.Effect]:
        framework = self._framework(event.framework)
        for client in self.state.frameworks.named_roles(framework, event.roles):
            framework.suppressed |= {client.role}
            self.state.frameworks.refresh_activity(client, now=now)
        return []

    def _record_request(self, event: ev.ResourcesRequested, now: float) -> list[ev.Effect]:
        del now
        self._framework(event.framework).requested = tuple(map(dict, event.amounts))
        return []

    def _framework(self, number: int) -> Framework:
        framework = self.state.frameworks.by_number.get(number)
        if framework is None:
            raise NotFound(f"framework {number} was never announced")
        return framework

    # -- resources -----------------------------------------------------------------------------------------------------

    def _recover(self, event: ev.ResourcesRecovered, now: float) -> list[ev.Effect]:
        state = self.state
        agent = state.agents.by_number.get(event.agent)
        if agent is None:
            return []  # it is gone, and what was held of it went with it
        framework = self._framework(event.framework)
        for role, resources in state.slicer.by_role(event.resources):
            client = framework.clients.get(role)
            if client is None:
                raise Conflict(f"framework {event.framework} holds nothing in role {role}, and releases {resources}")
            state.release(agent, client, resources)
            if event.refuse_seconds is not None and client.subscribed:
                portions = state.slicer.split(resources)
                refused = portions[0].resources if len(portions) == 1 else resources
                state.filters.refuse(agent.row, client.number, refused, self._refused_until(event.refuse_seconds, now))
            if event.unanswered:
                state.fairness_rounds.begin(agent.row, client.number)
            state.retire(client)
        state.mark_dirty(agent)
        return []

    def _refused_until(self, seconds: float, now: float) -> float:
        if not seconds >= 0:  # or no number at all
            seconds = REFUSE_SECONDS_DEFAULT
        # As in Mesos a refusal outlives one interval, or whoever refuses for no time would be asked again at once.
        return now + max(min(seconds, REFUSE_SECONDS_MAX), self.policy.allocation_interval_seconds)

    def _end_inverse_offer(self, event: ev.InverseOfferAnswered, now: float) -> list[ev.Effect]:
        agent = self.state.agents.by_number.get(event.agent)
        framework = self._framework(event.framework)
        if agent is not None:
            seconds = event.refuse_seconds
            until = self._refused_until(seconds, now) if seconds is not None else None
            self.state.maintenance.end(agent.row, framework.number, until)
        return []

    def _allocate(self, event: ev.ResourcesAllocated, now: float) -> list[ev.Effect]:
        del now
        state = self.state
        agent = state.agents.by_number.get(event.agent)
        if agent is None:
            return []
        framework = self._framework(event.framework)
        for role, resources in state.slicer.by_role(event.resources):
            state.take(agent, state.client(framework, role), resources)
        state.mark_dirty(agent)
        return []

    # -- roles ---------------------------------------------------------------------------------------------------------

    def _configure_role(self, event: ev.RoleConfigured, now: float) -> list[ev.Effect]:
        del now
        state = self.state
        state.tree.set_weight(event.role, event.weight)
        if state.quota.configure(event.role, RoleQuota.of(event.guarantees, event.limits)):
            state.recount_quota()
        state.filters.reconsider_all()
        state.mark_all_dirty()
        return []


def _given_after(agent: Agent, cycle: int | None) -> list[tuple[int, Piece]]:
    """What later cycles gave out, by client: allocations that were still on their way when the registry last looked."""
    if cycle is None:
        return []
    return [(number, piece) for number, pieces in agent.held.items() for piece in pieces if piece[0] > cycle]
