"""The allocator's core: events in, effects out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mezzo.errors import Conflict, NotFound
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.agents import KNOWN, Agent, Piece
from mezzo_allocator.core.books import Books
from mezzo_allocator.core.cycle import Cycle
from mezzo_allocator.core.explain import Explanation, explain
from mezzo_allocator.core.frameworks import NO_ROLES, Client, Framework
from mezzo_allocator.core.loops import REFERENCE, Loops
from mezzo_allocator.core.policy import Policy
from mezzo_allocator.core.quota import RoleQuota
from mezzo_allocator.core.validation import validate

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
            ev.ResourcesRequested: self._hear_request,
            ev.RoleConfigured: self._configure_role,
            ev.FullPassWanted: self._want_full_pass,
            ev.CycleStarted: self._start_cycle,
        }
        self._reset()

    def _reset(self) -> None:
        self.books = Books(self.policy, self._loops)
        self._cycle = Cycle(self.books)
        self._complete = False

    def handle(self, event: ev.Event, *, now: float) -> list[ev.Effect]:
        """Takes an event in and returns what follows. `now` is seconds on a clock that never goes back.

        Raises NotFound where an event names somebody who was never announced, with nothing changed; Conflict where it
        gives back what is not held: the two sides of the session then disagree, and it should be begun anew.
        """
        return self._handlers[type(event)](event, now)

    def use_loops(self, loops: Loops) -> None:
        """Goes on with another form of the inner loop; it decides the same."""
        self._loops = self.books.quota.loops = loops

    @property
    def pending(self) -> bool:
        """Whether a cycle would find anything to look at."""
        return self._complete and bool(self.books.backlog or self.books.maintenance.due)

    def wake_at(self) -> float | None:
        """When the next refusal ends, and a cycle is due although no event has come."""
        ends = (self.books.filters.next_end(), self.books.maintenance.next_end())
        return min((end for end in ends if end is not None), default=None) if self._complete else None

    def validate(self) -> None:
        """Raises InvariantViolation where the books contradict themselves."""
        validate(self.books)

    def explain(self, framework_id: str = "", role: str = "", agent_id: str = "") -> Iterator[Explanation]:
        """Why the framework (every one, if none is named) is offered what it is, or nothing, in the role (in all).

        Each explanation is computed when it is asked for, and tells of that moment. A role that only has quota or
        reservations has none. Raises NotFound where nobody is called so.
        """
        books = self.books
        agents = [each for each in books.agents.by_number.values() if agent_id in ("", each.id)]
        clients = [
            client
            for client in books.frameworks.clients.values()
            if framework_id in ("", client.framework.id) and role in ("", client.role)
        ]
        if agent_id and not agents:
            raise NotFound(f"there is no agent {agent_id}")
        if framework_id and all(each.id != framework_id for each in books.frameworks.by_number.values()):
            raise NotFound(f"there is no framework {framework_id}")
        if role and role not in books.tree.roles:
            raise NotFound(f"there is no role {role}")
        if framework_id and not clients:
            raise NotFound(f"framework {framework_id} is not in role {role}")
        clients.sort(key=lambda client: (client.role, client.framework.id))
        return self._explanations(books, clients[:EXPLAINED_MAX], agents)

    def _explanations(self, books: Books, clients: list[Client], agents: list[Agent]) -> Iterator[Explanation]:
        for client in clients:
            if books is not self.books:
                return
            if books.frameworks.clients.get(client.number) is client:
                books.tree.refresh(self._loops)
                known = [agent for agent in agents if books.agents.by_number.get(agent.number) is agent]
                yield explain(books, self._cycle, client, known)

    # -- the session ---------------------------------------------------------------------------------------------------

    def _begin(self, event: ev.SessionBegun, now: float) -> list[ev.Effect]:
        del now
        self.books.dissolve()
        self._reset()
        self.books.eligibility.live_in(event.domain)
        return []

    def _end_snapshot(self, event: ev.SnapshotEnded, now: float) -> list[ev.Effect]:
        del event, now
        self._complete = True
        self.books.touch_everything()
        return [ev.Ready()]

    def _want_full_pass(self, event: ev.FullPassWanted, now: float) -> list[ev.Effect]:
        del event, now
        self.books.touch_everything()
        return []

    def _start_cycle(self, event: ev.CycleStarted, now: float) -> list[ev.Effect]:
        if not self._complete:
            return []
        self.books.backlog.mark_all(self.books.filters.expire(now))
        self.books.maintenance.expire(now)
        return [self._cycle.run(self._loops, event.agents_max, now)]

    # -- agents --------------------------------------------------------------------------------------------------------

    def _change_agent(self, event: ev.AgentChanged, now: float) -> list[ev.Effect]:
        del now
        books = self.books
        for number, _ in event.holdings or ():
            if number not in books.frameworks.by_number:  # before anything changes
                raise NotFound(f"agent {event.agent}: framework {number} holds resources but was never announced")
        agent = books.agents.by_number.get(event.agent)
        if agent is None:
            agent = books.agents.add(event.agent)
            books.fit()
        agent.describe(event.info)
        held = self._holdings_after(agent, event)
        given_since = [] if event.holdings is None else _given_after(agent, event.cycle)
        holders = books.release_all(agent)
        books.count_reservations(agent, -1)
        books.agents.set_total(agent, event.total)
        books.count_reservations(agent, 1)
        for client, (cycle, resources) in held:
            books.take(agent, client, resources, cycle)
        for number, (cycle, resources) in given_since:
            if books.agents.free_of(agent).contains(resources.nonshared().nonrevocable()):
                books.take(agent, books.frameworks.clients[number], resources, cycle)
        for client in holders:
            books.retire(client)
        books.agents.set_active(agent, active=event.active)
        books.eligibility.judge_agent(agent, event.info, event.capabilities, books.frameworks.clients.values())
        books.maintenance.plan(agent.row, event.unavailability)
        books.touch(agent)
        return []

    def _holdings_after(self, agent: Agent, event: ev.AgentChanged) -> list[tuple[Client, Piece]]:
        """Who holds what of an agent, as an event has it."""
        books = self.books
        if event.holdings is None:
            return [(books.frameworks.clients[n], piece) for n, pieces in agent.held.items() for piece in pieces]
        held = []
        for number, resources in event.holdings:
            framework = books.frameworks.by_number[number]
            for role, of_role in books.divider.by_role(resources):
                held.append((books.client(framework, role), (KNOWN, of_role)))
        return held

    def _remove_agent(self, event: ev.AgentRemoved, now: float) -> list[ev.Effect]:
        del now
        books = self.books
        agent = books.agents.by_number.get(event.agent)
        if agent is None:
            return []
        holders = books.release_all(agent)
        books.count_reservations(agent, -1)
        books.filters.drop_agent(agent.row)
        books.rounds.end(agent.row)
        books.maintenance.plan(agent.row, None)
        books.agents.remove(agent)
        for client in holders:
            books.retire(client)
        return []

    # -- frameworks ----------------------------------------------------------------------------------------------------

    def _change_framework(self, event: ev.FrameworkChanged, now: float) -> list[ev.Effect]:
        books = self.books
        framework = books.frameworks.by_number.get(event.framework)
        if framework is None:
            framework = books.frameworks.add(event.framework, event.info.id.value)
        left = books.frameworks.describe(framework, event.info)
        books.fit()
        framework.active = event.active
        if not event.active:
            books.maintenance.forget_framework(framework.number)
        framework.suppressed = event.suppressed_roles or NO_ROLES
        framework.constraints = event.constraints
        agents = books.agents.by_number.values()
        for client in framework.clients.values():
            books.eligibility.judge_client(client, framework.constraints.get(client.role), agents)
            books.frameworks.settle_activity(client, now=now)
        for client in left:
            books.backlog.mark_all(books.filters.clear(client.number))
            books.retire(client)
        # New capabilities or constraints may open agents to it that nothing else would make anybody look at.
        if framework.active:
            books.touch_everything()
        return []

    def _remove_framework(self, event: ev.FrameworkRemoved, now: float) -> list[ev.Effect]:
        books = self.books
        framework = books.frameworks.by_number.get(event.framework)
        if framework is None:
            return []
        framework.removed = True
        framework.active = False
        books.maintenance.forget_framework(framework.number)
        clients = {client.number: client for client in framework.clients.values()}
        for client in clients.values():
            client.subscribed = False
            books.frameworks.settle_activity(client, now=now)
        for agent in books.agents.by_number.values():
            for number in clients.keys() & agent.held.keys():
                books.give_back(agent, clients[number], agent.held_by(number))
                books.touch(agent)
        for client in clients.values():
            books.retire(client)
        if not clients:
            books.frameworks.remove(framework)
        return []

    def _revive(self, event: ev.OffersRevived, now: float) -> list[ev.Effect]:
        framework = self._framework(event.framework)
        self.books.maintenance.ask_again(framework.number)
        for client in self.books.frameworks.named_roles(framework, event.roles):
            framework.suppressed -= {client.role}
            refused = set(self.books.filters.clear(client.number))
            self.books.backlog.mark_all(refused)
            if event.in_vain:
                for row in refused:
                    self.books.rounds.begin(row, client.number)
            if self.books.frameworks.settle_activity(client, now=now):
                self.books.touch_everything()
        return []

    def _suppress(self, event: ev.OffersSuppressed, now: float) -> list[ev.Effect]:
        framework = self._framework(event.framework)
        for client in self.books.frameworks.named_roles(framework, event.roles):
            framework.suppressed |= {client.role}
            self.books.frameworks.settle_activity(client, now=now)
        return []

    def _hear_request(self, event: ev.ResourcesRequested, now: float) -> list[ev.Effect]:
        del now
        self._framework(event.framework).requested = tuple(map(dict, event.amounts))
        return []

    def _framework(self, number: int) -> Framework:
        framework = self.books.frameworks.by_number.get(number)
        if framework is None:
            raise NotFound(f"framework {number} was never announced")
        return framework

    # -- resources -----------------------------------------------------------------------------------------------------

    def _recover(self, event: ev.ResourcesRecovered, now: float) -> list[ev.Effect]:
        books = self.books
        agent = books.agents.by_number.get(event.agent)
        if agent is None:
            return []  # it is gone, and what was held of it went with it
        framework = self._framework(event.framework)
        for role, resources in books.divider.by_role(event.resources):
            client = framework.clients.get(role)
            if client is None:
                raise Conflict(f"framework {event.framework} holds nothing in role {role}, and gives back {resources}")
            books.give_back(agent, client, resources)
            if event.refuse_seconds is not None and client.subscribed:
                portions = books.divider.split(resources)
                refused = portions[0].resources if len(portions) == 1 else resources
                books.filters.refuse(agent.row, client.number, refused, self._refused_until(event.refuse_seconds, now))
            if event.unanswered:
                books.rounds.begin(agent.row, client.number)
            books.retire(client)
        books.touch(agent)
        return []

    def _refused_until(self, seconds: float, now: float) -> float:
        if not seconds >= 0:  # or no number at all
            seconds = REFUSE_SECONDS_DEFAULT
        # As in Mesos a refusal outlives one interval, or whoever refuses for no time would be asked again at once.
        return now + max(min(seconds, REFUSE_SECONDS_MAX), self.policy.allocation_interval_seconds)

    def _end_inverse_offer(self, event: ev.InverseOfferAnswered, now: float) -> list[ev.Effect]:
        agent = self.books.agents.by_number.get(event.agent)
        framework = self._framework(event.framework)
        if agent is not None:
            seconds = event.refuse_seconds
            until = self._refused_until(seconds, now) if seconds is not None else None
            self.books.maintenance.end(agent.row, framework.number, until)
        return []

    def _allocate(self, event: ev.ResourcesAllocated, now: float) -> list[ev.Effect]:
        del now
        books = self.books
        agent = books.agents.by_number.get(event.agent)
        if agent is None:
            return []
        framework = self._framework(event.framework)
        for role, resources in books.divider.by_role(event.resources):
            books.take(agent, books.client(framework, role), resources)
        books.touch(agent)
        return []

    # -- roles ---------------------------------------------------------------------------------------------------------

    def _configure_role(self, event: ev.RoleConfigured, now: float) -> list[ev.Effect]:
        del now
        books = self.books
        books.tree.set_weight(event.role, event.weight)
        if books.quota.configure(event.role, RoleQuota.of(event.guarantees, event.limits)):
            books.recount_quota()
        books.filters.reconsider_all()
        books.touch_everything()
        return []


def _given_after(agent: Agent, cycle: int | None) -> list[tuple[int, Piece]]:
    """What later cycles gave out, by client: allocations that were still on their way when the registry last looked."""
    if cycle is None:
        return []
    return [(number, piece) for number, pieces in agent.held.items() for piece in pieces if piece[0] > cycle]
