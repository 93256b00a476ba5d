"""Nobody starves: whoever could use an agent is offered it in bounded time, whatever others do with their offers.

Others may decline for as long or as short as they like, revive at once, and leave offers unanswered until these are
rescinded. What they really use is theirs as long as they use it; quota and reservations are there for whoever cannot
wait for it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from mesos.v1.mesos_pb2 import AgentInfo, FrameworkInfo
from mezzo.resources import Resources, parse
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.policy import Policy, Sorter
from mezzo_allocator.testing import Conversation, begun, cycle

ROLES = ["*", "eng", "eng/backend", "eng/backend/db", "ops"]
OFFER_TIMEOUT_TURNS = 12
TURN_SECONDS = 0.05
VICTIM = 0


@dataclass
class Rivals:
    """A framework that waits for an offer with what it needs, and others that only stand in its way."""

    dice: random.Random
    policy: Policy
    now: float = 0.0
    turn: int = 0
    out: list[tuple[int, ev.Allocation]] = field(default_factory=list)
    """Offers, and the turn in which they come back."""

    def __post_init__(self) -> None:
        self.core = begun(policy=self.policy)
        self.hoards = {number: self.dice.random() < 0.5 for number in range(1, self.dice.randint(2, 7))}
        self.revivers = {number for number in self.hoards if self.dice.random() < 0.5}
        self.revived: set[int] = set()
        sizes = [(self.dice.choice([1, 2, 4]), self.dice.choice([512, 1024])) for _ in range(self.dice.randint(1, 6))]
        for number in (VICTIM, *self.hoards):
            role = self.dice.choice(ROLES)
            info = FrameworkInfo(user="nobody", name="f", role=role)
            info.id.value = f"f-{number:02d}"
            self.handle(ev.RoleConfigured(role, self.dice.choice([0.5, 1.0, 4.0]), {}, {}))
            self.handle(ev.FrameworkChanged(number, info, frozenset(), True))
        for number, (cpus, mem) in enumerate(sizes):
            total = parse(f"cpus:{cpus};mem:{mem}")
            self.handle(ev.AgentChanged(number, AgentInfo(hostname="h"), total, (), True))
        self.demand = parse("cpus:{};mem:{}".format(*self.dice.choice(sizes)))

    @property
    def turns_max(self) -> int:
        """Every rival lets an offer time out, and all others decline in between; then the same once more in a round."""
        return 2 * (len(self.hoards) + 1) * (OFFER_TIMEOUT_TURNS + len(self.hoards) + 1)

    def handle(self, event: ev.Event) -> None:
        self.core.handle(event, now=self.now)

    def play(self) -> bool:
        """One turn; whether the victim was offered what it needs."""
        self.turn += 1
        self.now += TURN_SECONDS
        self.handle(ev.FullPassWanted())
        for turn, offer in self.out:
            if turn == self.turn:
                self.answer(offer)
        self.out = [(turn, offer) for turn, offer in self.out if turn > self.turn]
        for offer in cycle(self.core, self.now):
            self.core.validate()
            if offer.framework == VICTIM and Resources.sum(offer.resources).contains(self.demand):
                return True
            hoards = self.hoards.get(offer.framework, False)
            self.out.append((self.turn + (OFFER_TIMEOUT_TURNS if hoards else 1), offer))
        return False

    def answer(self, offer: ev.Allocation) -> None:
        back = Resources.sum(offer.resources).allocated_to(offer.role)
        unanswered = self.hoards.get(offer.framework, False)
        refuse = None if unanswered else self.dice.choice([0.0, 1.0, 5.0, 60.0])
        self.handle(ev.ResourcesRecovered(offer.framework, offer.agent, back, refuse, unanswered))
        if offer.framework in self.revivers:
            self.handle(ev.OffersRevived(offer.framework, in_vain=offer.framework in self.revived))
            self.revived.add(offer.framework)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), roles=st.sampled_from(Sorter), frameworks=st.sampled_from(Sorter))
def test_whoever_could_use_an_agent_is_offered_it_in_bounded_time(seed: int, roles: Sorter, frameworks: Sorter) -> None:
    policy = Policy(role_sorter=roles, framework_sorter=frameworks, seed=seed)
    rivals = Rivals(random.Random(seed), policy)
    assert any(rivals.play() for _ in range(rivals.turns_max))


def two_roles() -> Conversation:
    """The victim's role holds much, for others of it; the poorer role has frameworks that never answer."""
    cluster = Conversation()
    cluster.framework("rich", "eng")
    cluster.agent("theirs", "cpus:4;mem:512", holdings={("rich", "eng"): "cpus:4;mem:512"})
    cluster.suppress("rich")
    cluster.framework("victim", "eng")
    cluster.framework("silent1", "ops")
    cluster.framework("silent2", "ops")
    cluster.agent("a", "cpus:1;mem:512")
    return cluster


def test_an_agent_goes_around_once_an_offer_of_it_was_left_unanswered() -> None:
    cluster = two_roles()
    order = []
    for _ in range(6):
        (allocation,) = cluster.cycle()
        order.append(cluster.framework_of(allocation))
        cluster.time_out(allocation)
    assert order == ["silent1", "silent2", "victim"] * 2


def test_explanations_tell_whom_an_agent_has_gone_by() -> None:
    cluster = two_roles()
    (allocation,) = cluster.cycle()
    cluster.time_out(allocation)
    gone_by = {each.framework_id: each.agents_gone_by for each in cluster.core.explain()}
    assert gone_by == {"silent1": 1, "silent2": 0, "victim": 0, "rich": 0}


def test_whoever_is_alone_is_offered_again_what_it_left_unanswered_at_once() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    for _ in range(3):
        (allocation,) = cluster.cycle()
        cluster.time_out(allocation)


def test_shares_rule_again_when_the_round_is_over() -> None:
    cluster = two_roles()
    for name in ("silent1", "silent2", "victim"):
        (allocation,) = cluster.cycle()
        assert cluster.framework_of(allocation) == name
        if name == "silent1":
            cluster.time_out(allocation)
        else:
            cluster.release(allocation)
    served = []
    for _ in range(4):
        (allocation,) = cluster.cycle()
        served.append(cluster.framework_of(allocation))
        cluster.release(allocation)
    assert "victim" not in served


def test_what_is_given_back_without_being_unanswered_begins_no_round() -> None:
    cluster = two_roles()
    for _ in range(6):
        (allocation,) = cluster.cycle()
        assert cluster.framework_of(allocation) != "victim"
        cluster.release(allocation)


def test_whoever_revives_what_it_refused_and_launches_nothing_comes_after_others() -> None:
    cluster = two_roles()
    cluster.suppress("silent2")
    (first,) = cluster.cycle()
    assert cluster.framework_of(first) == "silent1"
    cluster.decline(first, seconds=60.0)
    cluster.revive("silent1", in_vain=True)
    (second,) = cluster.cycle()
    assert cluster.framework_of(second) == "victim"
    cluster.decline(second, seconds=60.0)
    (third,) = cluster.cycle()
    assert cluster.framework_of(third) == "silent1"


def test_whoever_revives_when_it_has_work_comes_by_its_share() -> None:
    cluster = two_roles()
    cluster.suppress("silent2")
    (first,) = cluster.cycle()
    cluster.decline(first, seconds=60.0)
    cluster.revive("silent1")
    (second,) = cluster.cycle()
    assert cluster.framework_of(second) == "silent1"


def test_a_refusal_keeps_its_place_in_a_round() -> None:
    cluster = two_roles()
    (first,) = cluster.cycle()
    cluster.time_out(first)
    (second,) = cluster.cycle()
    cluster.decline(second, seconds=0.0)
    (third,) = cluster.cycle(after=2.0)
    assert cluster.framework_of(third) == "victim"


def test_a_framework_that_comes_later_has_its_turn_in_the_round() -> None:
    cluster = two_roles()
    (first,) = cluster.cycle()
    cluster.time_out(first)
    (second,) = cluster.cycle()
    cluster.framework("new", "eng")
    cluster.release(second)
    turns = []
    for _ in range(2):
        (allocation,) = cluster.cycle()
        turns.append(cluster.framework_of(allocation))
        cluster.release(allocation)
    assert set(turns) == {"victim", "new"}


def test_a_framework_that_goes_leaves_no_trace_in_a_round() -> None:
    cluster = two_roles()
    (first,) = cluster.cycle()
    cluster.time_out(first)
    cluster.remove_framework("silent1")
    cluster.framework("new", "ops")
    (second,) = cluster.cycle()
    assert cluster.framework_of(second) in ("new", "silent2")
    cluster.release(second)
    (third,) = cluster.cycle()
    assert {cluster.framework_of(each) for each in (second, third)} == {"new", "silent2"}
