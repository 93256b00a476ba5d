"""The random sorters: who is served how often, and that a seed determines it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from mezzo.resources import parse
from mezzo_allocator.core.kernel import draw
from mezzo_allocator.core.policy import Policy, Sorter
from mezzo_allocator.core.random_sorter import RandomSorter
from mezzo_allocator.testing import CAPABILITY, Conversation, revocable

ROUNDS = 600
# Four standard deviations of a part of one half in so many rounds.
TOLERANCE = 4 * 0.5 / ROUNDS**0.5


def cluster_of(
    role_sorter: Sorter = Sorter.RANDOM, framework_sorter: Sorter = Sorter.RANDOM, seed: int = 1
) -> Conversation:
    return Conversation(Policy(role_sorter=role_sorter, framework_sorter=framework_sorter, seed=seed))


def first_served(cluster: Conversation, rounds: int = ROUNDS) -> dict[str, float]:
    """Which part of the rounds each framework was offered the one agent, which is always given back."""
    cluster.agent("a", "cpus:1;mem:512")
    counts: Counter[str] = Counter()
    for _ in range(rounds):
        (allocation,) = cluster.cycle()
        counts[cluster.framework_of(allocation)] += 1
        cluster.release(allocation)
    return {name: count / rounds for name, count in counts.items()}


def assert_close(parts: Mapping[str, float], expected: Mapping[str, float]) -> None:
    assert parts.keys() == expected.keys()
    assert all(abs(parts[name] - expected[name]) < TOLERANCE for name in expected), parts


def test_a_roles_chance_is_in_proportion_to_its_weight() -> None:
    cluster = cluster_of()
    for name, weight in (("a", 1.0), ("b", 2.0), ("c", 5.0)):
        cluster.framework(name, name)
        cluster.role(name, weight)
    assert_close(first_served(cluster), {"a": 1 / 8, "b": 2 / 8, "c": 5 / 8})


def test_a_nested_roles_chance_is_its_part_of_its_parents() -> None:
    cluster = cluster_of()
    for name, role in (("a", "a"), ("x", "a/x"), ("y", "a/y"), ("b", "b")):
        cluster.framework(name, role)
    cluster.role("a", 3.0)
    cluster.role("a/y", 4.0)
    # The frameworks of `a` itself stand beside a/x and a/y with weight 1.
    assert_close(first_served(cluster), {"a": 3 / 24, "x": 3 / 24, "y": 12 / 24, "b": 6 / 24})


def test_roles_whose_frameworks_take_no_part_have_no_weight() -> None:
    cluster = cluster_of()
    cluster.framework("x", "a/x")
    cluster.framework("y", "a/y", suppressed=["a/y"])
    cluster.framework("b", "b")
    cluster.role("a/y", 100.0)
    assert_close(first_served(cluster), {"x": 1 / 2, "b": 1 / 2})


def test_a_weight_that_changes_changes_the_odds() -> None:
    cluster = cluster_of()
    for name in ("a", "b"):
        cluster.framework(name, name)
    assert_close(first_served(cluster), {"a": 1 / 2, "b": 1 / 2})
    cluster.role("b", 9.0)
    assert_close(first_served(cluster), {"a": 1 / 10, "b": 9 / 10})


@pytest.mark.parametrize("sorter", Sorter, ids=lambda sorter: sorter.value)
def test_a_weight_counts_from_the_next_decision_on_when_nothing_else_has_changed(sorter: Sorter) -> None:
    cluster = cluster_of(role_sorter=sorter, framework_sorter=Sorter.DRF)
    for name, held in (("a", "cpus:1;mem:512"), ("b", "cpus:2;mem:1024")):
        cluster.framework(name, name)
        cluster.agent(f"held by {name}", held, holdings={(name, name): held})
    for number in range(40):  # or so much of the tree would have changed that all of it is put in order anyway
        cluster.framework(f"idle{number}", "idle", suppressed=["idle"])
    cluster.agent("one", "cpus:1;mem:512")
    (allocation,) = cluster.cycle()
    cluster.release(allocation)
    cluster.role("b", 1e9)
    served = []
    for _ in range(8):
        (allocation,) = cluster.cycle()
        served.append(cluster.framework_of(allocation))
        cluster.release(allocation)
    assert served == ["b"] * 8


def test_frameworks_of_a_role_have_equal_chances() -> None:
    cluster = cluster_of(role_sorter=Sorter.DRF)
    for name in ("f1", "f2", "f3"):
        cluster.framework(name, "eng")
    assert_close(first_served(cluster), dict.fromkeys(("f1", "f2", "f3"), 1 / 3))


@pytest.mark.parametrize("refusing", [1, 40, 78])
def test_the_odds_of_those_who_can_be_served_do_not_depend_on_how_many_cannot(refusing: int) -> None:
    cluster = cluster_of()
    for number in range(refusing):
        cluster.framework(f"refuses{number}", f"role{number % 5}", "many")
    for name, weight in (("a", 1.0), ("b", 3.0)):
        cluster.framework(name, name, suppressed=[name])
        cluster.role(name, weight)
    cluster.agent("a", "cpus:1;mem:512")
    for _ in range(2 * refusing):
        (allocation,) = cluster.cycle()
        cluster.decline(allocation, seconds=1e6)
    for name in ("a", "b"):
        cluster.revive(name)
    assert_close(first_served(cluster), {"a": 1 / 4, "b": 3 / 4})


def test_roles_go_by_share_while_their_frameworks_are_drawn() -> None:
    cluster = cluster_of(role_sorter=Sorter.DRF)
    cluster.framework("rich", "rich")
    cluster.agent("held", "cpus:4;mem:64", holdings={("rich", "rich"): "cpus:4;mem:64"})
    for name in ("f1", "f2"):
        cluster.framework(name, "poor")
    assert_close(first_served(cluster), {"f1": 1 / 2, "f2": 1 / 2})


def test_frameworks_go_by_share_while_roles_are_drawn() -> None:
    cluster = cluster_of(framework_sorter=Sorter.DRF)
    for name, role in (("rich", "eng"), ("poor", "eng"), ("other", "ops")):
        cluster.framework(name, role)
    cluster.agent("held", "cpus:4;mem:64", holdings={("rich", "eng"): "cpus:4;mem:64"})
    assert_close(first_served(cluster), {"poor": 1 / 2, "other": 1 / 2})


def test_all_of_a_role_are_served_of_an_agent_before_another_role_is() -> None:
    beginnings: Counter[tuple[str, ...]] = Counter()
    for seed in range(30):
        cluster = cluster_of(seed=seed)
        cluster.framework("plain", "eng")
        for name, role in (("lent", "eng"), ("other", "ops")):
            cluster.framework(name, role, capabilities=[CAPABILITY.REVOCABLE_RESOURCES])
        cluster.agent("a", parse("cpus:1;mem:512") + revocable("cpus:1;mem:512"))
        served = tuple(framework for framework, _, _ in cluster.offers())
        beginnings[served] += 1
    # Whoever may have both takes both; what is lent and left over goes to the same role.
    assert beginnings.keys() == {("other",), ("lent",), ("plain", "lent")}


def test_a_seed_determines_every_draw() -> None:
    def draws(seed: int) -> list[str]:
        cluster = cluster_of(seed=seed)
        for number in range(10):
            cluster.framework(f"f{number}", f"role{number % 3}")
        for number in range(30):
            cluster.agent(f"a{number}", "cpus:1;mem:512")
        return [framework for framework, _, _ in cluster.offers()]

    assert draws(7) == draws(7)
    assert draws(7) != draws(8)


def test_numbers_are_those_of_the_published_generator() -> None:
    """Its two sequences are powers of their multipliers, which tells any place of them without those before it."""
    sampler = RandomSorter(Sorter.RANDOM, Sorter.RANDOM, seed=0).arrays
    sampler.state[:] = 12_345, 67_890
    for place in range(1, 1000):
        first = 12_345 * pow(40_014, place, 2_147_483_563) % 2_147_483_563
        second = 67_890 * pow(40_692, place, 2_147_483_399) % 2_147_483_399
        assert draw(sampler) == ((first - second) % 2_147_483_562 + 1) / 2_147_483_563


def test_guarantees_and_limits_hold_for_what_is_drawn() -> None:
    for seed in range(20):
        cluster = cluster_of(seed=seed)
        cluster.framework("guaranteed", "eng")
        cluster.framework("limited", "ops")
        cluster.framework("free", "free")
        cluster.role("eng", guarantees={"cpus": 1, "mem": 512}, limits={"cpus": 1, "mem": 512})
        cluster.role("ops", 100.0, limits={"cpus": 0, "mem": 0})
        cluster.agent("a", "cpus:1;mem:512")
        assert cluster.offers() == [("guaranteed", "a", "cpus:1;mem:512")]
        cluster.agent("b", "cpus:2;mem:512")
        assert cluster.offers() == [("free", "b", "cpus:2;mem:512")]
