"""Random clusters: what must hold whatever happens.

`Naive` decides as the documents say, from scratch for each agent, without arrays, without bits and without an order
that is kept; the allocator has to agree with it decision by decision, in both forms of its inner loop.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mesos.v1.mesos_pb2 import AgentInfo, FrameworkInfo
from mezzo.resources import Resources, parse
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.loops import REFERENCE, Loops
from mezzo_allocator.core.policy import Policy, Sorter
from mezzo_allocator.testing import CAPABILITY, begun, cycle, revocable, shared_volume, unavailability

ROLES = ["*", "eng", "eng/backend", "eng/backend/db", "ops"]
SORTERS = st.sampled_from(Sorter)
REFUSALS_SECONDS = [1.0, 5.0, 60.0]

Client = tuple[int, str]


# -- a random life of a cluster ----------------------------------------------------------------------------------------


@dataclass
class Life:
    """Makes up events that fit each other, and remembers what they need to."""

    dice: random.Random
    with_quota: bool = False
    beyond_naive: bool = False
    """With what the naive allocator does not know: shared volumes, unanswered offers, maintenance."""
    now: float = 10.0
    frameworks: dict[int, FrameworkInfo] = field(default_factory=dict)
    agents: dict[int, Resources] = field(default_factory=dict)
    held: list[tuple[int, int, str, Resources]] = field(default_factory=list)
    """(framework, agent, role, resources)"""
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10_000)))

    def event(self) -> ev.Event:
        kinds = [
            self.new_framework,
            self.new_agent,
            self.revive,
            self.suppress,
            self.weigh,
            self.leave,
            self.break_down,
        ]
        kinds += [self.release] * 12 if self.held else []
        kinds += [self.new_agent] * 4 if len(self.agents) < 4 else []
        kinds += [self.new_framework] * 4 if len(self.frameworks) < 3 else []
        kinds += [self.set_quota] * 2 if self.with_quota else []
        kinds += [self.estimate_anew] * 2 if self.beyond_naive and self.agents else []
        return self.dice.choice(kinds)()

    def new_framework(self) -> ev.Event:
        if len(self.frameworks) >= 8:
            return self.revive()
        number = next(self.numbers)
        info = FrameworkInfo(user="nobody", name="f")
        info.id.value = f"f-{number:04d}"
        info.roles.extend(sorted(self.dice.sample(ROLES, self.dice.choice([1, 1, 2]))))
        info.capabilities.add(type=CAPABILITY.MULTI_ROLE)
        if self.dice.random() < 0.3:
            info.capabilities.add(type=CAPABILITY.REVOCABLE_RESOURCES)
        if self.beyond_naive and self.dice.random() < 0.7:
            info.capabilities.add(type=CAPABILITY.SHARED_RESOURCES)
        self.frameworks[number] = info
        suppressed = frozenset(role for role in info.roles if self.dice.random() < 0.2)
        return ev.FrameworkChanged(number, info, suppressed, True)

    def new_agent(self) -> ev.Event:
        if len(self.agents) >= 10:
            return self.revive()
        number = next(self.numbers)
        cpus, mem = self.dice.choice([(1, 512), (2, 1024), (4, 2048), (0.5, 16), (3, 96)])
        total = parse(f"cpus:{cpus};mem:{mem};ports:[31000-31009]")
        if self.dice.random() < 0.4:
            total += parse(f"cpus({self.dice.choice(ROLES[1:])}):1;mem({self.dice.choice(ROLES[1:])}):64")
        if self.dice.random() < 0.3:
            (spare,) = parse("cpus:1").messages()
            spare.revocable.SetInParent()
            total += Resources.of([spare])
        if self.beyond_naive and self.dice.random() < 0.6:
            total += shared_volume(f"v{number}", role=self.dice.choice(ROLES[1:]))
        self.agents[number] = total
        planned = unavailability(number) if self.beyond_naive and self.dice.random() < 0.3 else None
        return ev.AgentChanged(number, AgentInfo(hostname=f"h{number}"), total, (), True, unavailability=planned)

    def estimate_anew(self) -> ev.Event:
        """What an agent can lend changes, also to less than was lent, and so does its maintenance."""
        number = self.dice.choice(sorted(self.agents))
        lent = revocable(f"cpus:{self.dice.choice([1, 2])}") if self.dice.random() < 0.6 else Resources.EMPTY
        total = self.agents[number] = self.agents[number].nonrevocable() + lent
        planned = unavailability(self.dice.choice([1, 2])) if self.dice.random() < 0.5 else None
        return ev.AgentChanged(number, AgentInfo(hostname="h"), total, None, True, unavailability=planned)

    def release(self) -> ev.Event:
        framework, agent, role, resources = self.held.pop(self.dice.randrange(len(self.held)))
        back = resources
        if self.dice.random() < 0.5:
            kept = self.dice.choice(["cpus", "ports", "disk", "none"])
            back = resources.filter(lambda kind: kind.name != kept) or resources
            if back != resources:
                self.held.append((framework, agent, role, resources - back))
        refuse = self.dice.choice([None, *REFUSALS_SECONDS])
        unanswered = self.beyond_naive and refuse is None and self.dice.random() < 0.5
        return ev.ResourcesRecovered(framework, agent, back.allocated_to(role), refuse, unanswered)

    def some_roles(self) -> tuple[int, list[str]]:
        number = self.dice.choice(sorted(self.frameworks))
        roles = list(self.frameworks[number].roles)
        return number, self.dice.choice([[], roles[:1]])

    def revive(self) -> ev.Event:
        in_vain = self.beyond_naive and self.dice.random() < 0.5
        return ev.OffersRevived(*self.some_roles(), in_vain) if self.frameworks else self.new_framework()

    def suppress(self) -> ev.Event:
        return ev.OffersSuppressed(*self.some_roles()) if self.frameworks else self.new_framework()

    def weigh(self) -> ev.Event:
        return ev.RoleConfigured(self.dice.choice(ROLES), self.dice.choice([0.5, 1.0, 2.0, 3.0]), {}, {})

    def set_quota(self) -> ev.Event:
        role, amount = self.dice.choice(ROLES[1:]), self.dice.choice([0, 1, 2, 4])
        guarantees = {"cpus": float(amount), "mem": amount * 512.0} if self.dice.random() < 0.6 else {}
        limits = {"cpus": float(amount + self.dice.choice([0, 1]))} if self.dice.random() < 0.5 else {}
        return ev.RoleConfigured(role, 1.0, guarantees, limits)

    def leave(self) -> ev.Event:
        if len(self.frameworks) < 3:
            return self.new_framework()
        number = self.dice.choice(sorted(self.frameworks))
        del self.frameworks[number]
        self.held = [each for each in self.held if each[0] != number]
        return ev.FrameworkRemoved(number)

    def break_down(self) -> ev.Event:
        if len(self.agents) < 4:
            return self.new_agent()
        number = self.dice.choice(sorted(self.agents))
        del self.agents[number]
        self.held = [each for each in self.held if each[1] != number]
        return ev.AgentRemoved(number)

    def note(self, allocations: list[ev.Allocation]) -> None:
        for each in allocations:
            self.held.append((each.framework, each.agent, each.role, Resources.sum(each.resources)))


# -- the naive allocator -----------------------------------------------------------------------------------------------


class Naive:
    """Weighted hierarchical DRF with reservations, capabilities and refusals; no quota."""

    def __init__(self) -> None:
        self.frameworks: dict[int, FrameworkInfo] = {}
        self.active: set[Client] = set()
        self.agents: dict[int, Resources] = {}
        self.held: dict[tuple[int, Client], Resources] = {}
        self.weights: dict[str, float] = {}
        self.served: dict[str, int] = {}
        self.refused: list[tuple[Client, int, Resources, float]] = []

    def hear(self, event: Any, now: float) -> None:
        name = type(event).__name__
        if isinstance(event, ev.FrameworkChanged):
            self.frameworks[event.framework] = event.info
            self.active |= {(event.framework, r) for r in event.info.roles if r not in event.suppressed_roles}
        elif isinstance(event, ev.AgentChanged):
            self.agents[event.agent] = event.total
        elif isinstance(event, ev.RoleConfigured):
            self.weights[event.role] = event.weight
        elif isinstance(event, ev.AgentRemoved):
            del self.agents[event.agent]
            self.held = {key: value for key, value in self.held.items() if key[0] != event.agent}
        elif isinstance(event, ev.FrameworkRemoved):
            self._forget(event.framework)
        elif isinstance(event, ev.ResourcesRecovered):
            for role, resources in event.resources.allocations().items():
                client, back = (event.framework, role), resources.unallocated()
                self.held[event.agent, client] -= back
                if event.refuse_seconds is not None:
                    self.refused.append((client, event.agent, back, now + event.refuse_seconds))
        elif isinstance(event, (ev.OffersRevived, ev.OffersSuppressed)):
            roles = event.roles or self.frameworks[event.framework].roles
            clients = {(event.framework, role) for role in roles}
            if isinstance(event, ev.OffersRevived):
                self.active |= clients
                self.refused = [each for each in self.refused if each[0] not in clients]
            else:
                self.active -= clients
        else:
            raise AssertionError(name)

    def _forget(self, framework: int) -> None:
        info = self.frameworks.pop(framework)
        self.active = {client for client in self.active if client[0] != framework}
        self.held = {key: value for key, value in self.held.items() if key[1][0] != framework}
        for role in info.roles:
            self.served.pop(f"{role}/./{info.id.value}", None)
        # A role that nobody uses any more is forgotten with its counts.
        self._forget_unused_roles()

    def _forget_unused_roles(self) -> None:
        used: set[str] = set()
        roles = {role for info in self.frameworks.values() for role in info.roles}
        roles |= {kind.role for total in self.agents.values() for kind in total if kind.reservations}
        for role in roles:
            steps = role.split("/")
            used |= {"/".join(steps[: depth + 1]) for depth in range(len(steps))}
        own = {role for info in self.frameworks.values() for role in info.roles}
        for path in list(self.served):
            role = path.split("/.")[0]
            if role not in used or (path == f"{role}/." and role not in own and role not in used):
                del self.served[path]

    def free(self, agent: int) -> Resources:
        return self.agents[agent] - Resources.sum(held for (a, _), held in self.held.items() if a == agent)

    def decisions(self, agent: int, now: float) -> list[tuple[int, str, Resources]]:
        """Gives out an agent: (framework, role, resources) in order."""
        made: list[tuple[int, str, Resources]] = []
        asked: set[Client] = set()
        while True:
            client, offered = next(self._willing(agent, asked, now), (None, Resources.EMPTY))
            if client is None:
                return made
            asked.add(client)
            self.take(agent, client, offered)
            made.append((*client, offered))

    def take(self, agent: int, client: Client, offered: Resources) -> None:
        self.held[agent, client] = self.held.get((agent, client), Resources.EMPTY) + offered
        for path in self._paths(client):
            self.served[path] = self.served.get(path, 0) + 1

    def _paths(self, client: Client) -> list[str]:
        steps = client[1].split("/")
        paths = ["/".join(steps[: depth + 1]) for depth in range(len(steps))]
        return [*paths, f"{client[1]}/.", f"{client[1]}/./{self.frameworks[client[0]].id.value}"]

    def _willing(self, agent: int, asked: set[Client], now: float) -> Iterator[tuple[Client, Resources]]:
        free = self.free(agent)
        for client in sorted(self.active - asked, key=self._order):
            offered = self._visible(client, free)
            if offered and self._worthwhile(offered) and not self._refuses(client, agent, offered, now):
                yield client, offered

    def _order(self, client: Client) -> list[tuple[float, int, str]]:
        """The place of each node on the way down; comparing two clients compares where their ways part."""
        return [(self._share(path), self.served.get(path, 0), path.rpartition("/")[2]) for path in self._paths(client)]

    def _share(self, path: str) -> float:
        total = Resources.sum(self.agents.values())
        mine = Resources.sum(
            held
            for (_, client), held in self.held.items()
            if client[0] in self.frameworks and path in self._paths(client)
        )
        shares = [
            mine.thousandths_of(name) / total.thousandths_of(name)
            for name in ("cpus", "mem")
            if total.thousandths_of(name)
        ]
        return max(shares, default=0.0) / self.weights.get(path, 1.0)

    def _visible(self, client: Client, free: Resources) -> Resources:
        capabilities = {capability.type for capability in self.frameworks[client[0]].capabilities}
        visible = free.allocatable_to(client[1])
        return visible if CAPABILITY.REVOCABLE_RESOURCES in capabilities else visible.nonrevocable()

    @staticmethod
    def _worthwhile(offered: Resources) -> bool:
        return offered.thousandths_of("cpus") >= 10 or offered.thousandths_of("mem") >= 32_000

    def _refuses(self, client: Client, agent: int, offered: Resources, now: float) -> bool:
        return any(
            who == client and where == agent and until > now and what.contains(offered)
            for who, where, what, until in self.refused
        )


# -- properties --------------------------------------------------------------------------------------------------------


def run_beside_naive(seed: int, loops: Loops) -> None:
    life, core, naive = Life(random.Random(seed)), begun(loops), Naive()
    for _ in range(50):
        # Refusals end at the next tick; between whole seconds that makes no difference.
        life.now += life.dice.choice([0, 0, 0, 1, 7]) + 0.0
        event = life.event()
        core.handle(event, now=life.now)
        naive.hear(event, life.now)
        decided = life.now + 0.5
        core.handle(ev.FullPassWanted(), now=decided)
        while core.pending:
            allocations = cycle(core, decided, agents_max=1)
            core.validate()
            life.note(allocations)
            if not allocations:
                continue
            (agent,) = {allocation.agent for allocation in allocations}
            given = [(each.framework, each.role, Resources.sum(each.resources)) for each in allocations]
            expected = _foreseen(naive, agent, decided)
            assert given == expected[: len(given)], (seed, event)
            assert len(given) == len(expected) or core.pending, (seed, event)
            for framework, role, offered in given:
                naive.take(agent, (framework, role), offered)
        for agent in naive.agents:
            assert _foreseen(naive, agent, decided) == [], (seed, event, agent)


def _foreseen(naive: Naive, agent: int, now: float) -> list[tuple[int, str, Resources]]:
    held, served = dict(naive.held), dict(naive.served)
    decisions = naive.decisions(agent, now)
    naive.held, naive.served = held, served
    return decisions


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
@pytest.mark.slow("compares every decision of many clusters with that of a plain allocator")
def test_every_decision_is_the_one_that_a_naive_allocator_makes(seed: int) -> None:
    run_beside_naive(seed, REFERENCE)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), with_quota=st.booleans(), roles=SORTERS, frameworks=SORTERS)
def test_the_compiled_inner_loop_decides_as_the_plain_one(
    compiled: Loops, seed: int, with_quota: bool, roles: Sorter, frameworks: Sorter
) -> None:
    life = Life(random.Random(seed), with_quota, beyond_naive=True)
    policy = Policy(role_sorter=roles, framework_sorter=frameworks, seed=seed)
    plain, fast = begun(policy=policy), begun(compiled, policy)
    for _ in range(80):
        life.now += life.dice.choice([0.0, 0.1, 1.0])
        event = life.event()
        agents_max = life.dice.choice([1, 3, 100])
        outcomes = []
        for core in (plain, fast):
            core.handle(event, now=life.now)
            outcomes.append(cycle(core, life.now, agents_max))
        assert outcomes[0] == outcomes[1]
        life.note(outcomes[0])
    plain.validate()
    fast.validate()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_nothing_is_given_out_twice_and_limits_hold(seed: int) -> None:
    life, core = Life(random.Random(seed), with_quota=True, beyond_naive=True), begun()
    for _ in range(80):
        life.now += life.dice.choice([0.0, 0.5, 2.0])
        core.handle(life.event(), now=life.now)
        before = {role: core.state.quota.usage(role) for role in core.state.quota.configured}
        life.note(cycle(core, life.now))
        core.validate()
        for number, total in life.agents.items():
            given = Resources.sum(resources for _, agent, _, resources in life.held if agent == number)
            assert total.contains(given.nonshared().nonrevocable())
        for role, quota in core.state.quota.configured.items():
            usage = core.state.quota.usage(role)
            for name, limit in quota.limits.items():
                # What is beyond a limit may stay, since the limit or a reservation came later; a cycle adds nothing.
                assert usage.get(name, 0) <= max(limit, before[role].get(name, 0))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    frameworks=st.integers(2, 8),
    agents=st.integers(1, 12),
)
def test_whoever_can_be_served_is_asked_within_a_round_of_refusals(seed: int, frameworks: int, agents: int) -> None:
    """However the others answer: after as many cycles as there are frameworks each has been offered each agent that
    somebody gave back."""
    dice = random.Random(seed)
    core = begun()
    names = {}
    for number in range(frameworks):
        info = FrameworkInfo(user="nobody", name="f", role=dice.choice(ROLES))
        info.id.value = f"f-{number:02d}"
        names[number] = info
        core.handle(ev.FrameworkChanged(number, info, frozenset(), True), now=0.0)
    for number in range(agents):
        total = parse(f"cpus:{dice.choice([1, 2, 3])};mem:1024")
        core.handle(ev.AgentChanged(number, AgentInfo(hostname="h"), total, (), True), now=0.0)
    offered: dict[int, set[int]] = {number: set() for number in names}
    for turn in range(frameworks):
        for each in cycle(core, now=float(turn)):
            offered[each.framework].add(each.agent)
            back = Resources.sum(each.resources).allocated_to(each.role)
            core.handle(ev.ResourcesRecovered(each.framework, each.agent, back, 3600.0), now=float(turn))
    assert all(seen == set(range(agents)) for seen in offered.values())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whoever_is_said_to_be_first_is_offered_what_is_said_to_be_offerable(seed: int) -> None:
    life, core = Life(random.Random(seed)), begun()
    for _ in range(40):
        life.now += life.dice.choice([0.0, 0.5, 2.0])
        core.handle(life.event(), now=life.now)
        life.note(cycle(core, life.now, life.dice.choice([1, 100])))
    while core.pending:
        life.note(cycle(core, life.now))
    # Something comes free on one agent, and nothing changes elsewhere.
    if not life.held:
        return
    framework, agent, role, resources = life.held.pop()
    core.handle(ev.ResourcesRecovered(framework, agent, resources.allocated_to(role)), now=life.now)
    first = [
        (explanation.framework_id, explanation.role)
        for explanation in core.explain()
        if explanation.inactive_because is None
        and explanation.verdicts[agent] == "offerable"
        and all(place.place == 1 for place in explanation.places)
    ]
    offered = cycle(core, life.now)
    assert len(first) <= 1
    if first:
        served = offered[0]
        assert served.agent == agent
        assert [(life.frameworks[served.framework].id.value, served.role)] == first


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), with_quota=st.booleans())
@example(seed=326, with_quota=True)  # a refusal of an offer that quota cut, and quota cuts another now
def test_explanations_are_what_the_allocator_then_does(seed: int, with_quota: bool) -> None:
    """With everybody else suppressed, a client is offered what it was told to be offerable, and nothing else."""
    life, core = Life(random.Random(seed), with_quota), begun()
    for _ in range(40):
        life.now += life.dice.choice([0.0, 0.5, 2.0])
        core.handle(life.event(), now=life.now)
        life.note(cycle(core, life.now, life.dice.choice([1, 100])))
    chosen = life.dice.choice(sorted(life.frameworks)) if life.frameworks else None
    if chosen is None:
        return
    role = life.frameworks[chosen].roles[0]
    for number, info in life.frameworks.items():
        others = [each for each in info.roles if (number, each) != (chosen, role)]
        if others:
            core.handle(ev.OffersSuppressed(number, others), now=life.now)
    (explanation,) = core.explain(life.frameworks[chosen].id.value, role)
    offerable = {agent for agent, verdict in explanation.verdicts.items() if verdict == "offerable"}
    core.handle(ev.FullPassWanted(), now=life.now)
    offered = {each.agent for each in cycle(core, life.now)}
    if explanation.inactive_because is not None:
        assert not offered
    elif core.state.quota.on:
        # The first offers may use up what quota leaves for the others.
        assert offered <= offerable
    else:
        assert offered == offerable
