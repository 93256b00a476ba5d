"""In which order roles and frameworks are served, as shares, weights and the tree change under them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from mezzo.resources import Resources, parse
from mezzo_allocator.core.arrays import CLIENT, ROOT
from mezzo_allocator.core.policy import Policy, Sorter
from mezzo_allocator.testing import CAPABILITY, Conversation, revocable, shared_volume

RUNS = 600
# Three standard deviations of a part of one half in so many runs.
TOLERANCE = 3 * 0.5 / RUNS**0.5


def order(cluster: Conversation) -> list[str]:
    """The frameworks that take part, in the order in which an agent would be offered to them."""
    tree = cluster.core.state.tree
    tree.refresh(cluster.core.state.quota.loops)
    arrays = tree.arrays

    def below(node: int) -> Iterator[str]:
        begin = int(arrays.first[node])
        for child in arrays.order[begin : begin + int(arrays.active[node])].tolist():
            if arrays.kind[child] == CLIENT:
                yield cluster.core.state.frameworks.clients[int(arrays.client[child])].framework.id
            else:
                yield from below(child)

    return list(below(ROOT))


class Shares:
    """A cluster of one agent, of which frameworks that are called as their roles hold something."""

    def __init__(self, total: str = "cpus:100;mem:100") -> None:
        self.cluster = Conversation()
        self.total(total)

    def total(self, resources: str | Resources) -> None:
        self.cluster.agent("agent", resources, active=False, keeps_holdings=True)

    def hold(self, role: str, resources: str | Resources) -> None:
        self.cluster.framework(role, role)
        self.cluster.take(role, "agent", resources, role=role)

    def give_back(self, role: str, resources: str | Resources) -> None:
        self.cluster.recover(role, "agent", resources, role=role)

    def order(self) -> str:
        return " ".join(order(self.cluster))


DEEP = {"a": "a/a/a/a/a", "b": "b/b/b/b", "c": "c/c/c", "d": "d/d", "e": "e/e/e/e/e/e", "f": "f/f"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(lambda letter: letter, id="flat"),
        pytest.param(lambda letter: f"{letter}/{letter}", id="shallow"),
        pytest.param(DEEP.__getitem__, id="deep"),
    ],
)
def test_lower_dominant_shares_come_first_at_any_depth(name: Callable[[str], str]) -> None:
    def expected(letters: str) -> str:
        return " ".join(map(name, letters))

    shares = Shares()
    shares.hold(name("a"), "cpus:5;mem:5")
    shares.hold(name("b"), "cpus:6;mem:6")
    assert shares.order() == expected("ab")
    shares.hold(name("c"), "cpus:1;mem:1")
    shares.hold(name("d"), "cpus:3;mem:1")
    assert shares.order() == expected("cdab")
    shares.cluster.remove_framework(name("a"))
    shares.give_back(name("b"), "cpus:4;mem:4")
    assert shares.order() == expected("cbd")
    shares.hold(name("e"), "cpus:1;mem:5")
    shares.total("cpus:50;mem:100")
    assert shares.order() == expected("cbed")
    shares.total("cpus:50;mem:200")
    shares.hold(name("f"), "cpus:5;mem:1")
    shares.hold(name("c"), "mem:15")
    assert shares.order() == expected("ebdcf")
    shares.cluster.suppress(name("d"))
    assert shares.order() == expected("ebcf")
    shares.cluster.revive(name("d"))
    assert shares.order() == expected("ebdcf")


def test_shares_are_divided_by_weights() -> None:
    shares = Shares()
    shares.hold("a", "cpus:5;mem:5")
    shares.hold("b", "cpus:6;mem:6")
    assert shares.order() == "a b"
    shares.cluster.role("b", weight=2.0)
    assert shares.order() == "b a"
    shares.hold("c", "cpus:4;mem:4")
    assert shares.order() == "b c a"
    shares.cluster.role("d", weight=10.0)
    shares.hold("d", "cpus:10;mem:20")
    assert shares.order() == "d b c a"
    shares.cluster.remove_framework("b")
    shares.hold("d", "cpus:10;mem:25")
    assert shares.order() == "c d a"
    shares.cluster.role("e", weight=0.1)
    shares.hold("e", "cpus:1;mem:1")
    assert shares.order() == "c d a e"
    shares.cluster.remove_framework("a")
    assert shares.order() == "c d e"


def test_who_was_away_or_gave_back_has_been_served_as_often_as_before() -> None:
    cluster = Conversation()
    for name in ("a", "b", "c"):
        cluster.framework(name, suppressed=["*"])
    cluster.agent("agent", "cpus:1;mem:64")
    cluster.revive("a")
    for _ in range(3):
        (allocation,) = cluster.cycle()
        cluster.release(allocation)
    cluster.suppress("a")
    cluster.revive("b")
    (allocation,) = cluster.cycle()
    cluster.release(allocation)
    for name in ("a", "c"):
        cluster.revive(name)
    assert order(cluster) == ["c", "b", "a"]
    cluster.framework("a", active=False)
    assert order(cluster) == ["c", "b"]
    cluster.framework("a")
    assert order(cluster) == ["c", "b", "a"]


def test_what_siblings_hold_together_is_what_their_parent_is_compared_by() -> None:
    shares = Shares()
    shares.hold("a", "cpus:6;mem:6")
    for role in ("b/c", "b/d"):
        shares.cluster.framework(role, role)
    assert shares.order() == "b/c b/d a"
    shares.hold("b/c", "cpus:4;mem:4")
    shares.hold("b/d", "cpus:3;mem:3")
    assert shares.order() == "a b/d b/c"
    shares.hold("a", "cpus:2;mem:2")
    assert shares.order() == "b/d b/c a"
    shares.cluster.framework("b/e/f", "b/e/f")
    assert shares.order() == "b/e/f b/d b/c a"
    shares.hold("b/e/f", "cpus:3.5;mem:3.5")
    assert shares.order() == "a b/d b/e/f b/c"
    shares.cluster.remove_framework("b/e/f")
    assert shares.order() == "b/d b/c a"
    shares.give_back("b/c", "cpus:3;mem:3")
    assert shares.order() == "b/c b/d a"
    shares.hold("b/e/f", "cpus:3.5;mem:3.5")
    assert shares.order() == "b/c b/d b/e/f a"


def test_a_whole_subtree_comes_before_the_next() -> None:
    shares = Shares()
    for role in ("a/b", "c", "d", "d/e"):
        shares.cluster.framework(role, role)
    assert shares.order() == "a/b c d d/e"
    shares.hold("c", "cpus:8;mem:8")
    assert shares.order() == "a/b d d/e c"
    shares.hold("d", "cpus:3;mem:3")
    shares.hold("d/e", "cpus:2;mem:2")
    assert shares.order() == "a/b d/e d c"
    shares.hold("a/b", "cpus:6;mem:6")
    assert shares.order() == "d/e d a/b c"


def test_a_role_that_gets_a_child_competes_with_it_below_and_together_with_it_above() -> None:
    shares = Shares()
    shares.hold("a", "cpus:10;mem:10")
    shares.hold("b", "cpus:6;mem:6")
    assert shares.order() == "b a"
    shares.hold("a/c", "cpus:5;mem:5")
    assert shares.order() == "b a/c a"
    shares.cluster.remove_framework("a")
    assert shares.order() == "a/c b"
    shares.hold("a", "cpus:10;mem:10")
    assert shares.order() == "b a/c a"
    # Against its children a role's own frameworks have weight 1, whatever the weight of the role.
    shares.cluster.role("a/c", weight=0.2)
    assert shares.order() == "b a a/c"
    shares.cluster.role("a", weight=3.0)
    assert shares.order() == "a a/c b"
    shares.cluster.role("a/c")
    assert shares.order() == "a/c a b"
    shares.cluster.remove_framework("a/c")
    assert shares.order() == "a b"


def test_a_role_that_had_only_children_may_get_frameworks_of_its_own_and_lose_them() -> None:
    shares = Shares()
    shares.hold("x/a", "cpus:10;mem:10")
    shares.hold("x/b", "cpus:6;mem:6")
    assert shares.order() == "x/b x/a"
    shares.hold("x", "cpus:7;mem:7")
    assert shares.order() == "x/b x x/a"
    shares.hold("z", "cpus:20;mem:20")
    assert shares.order() == "z x/b x x/a"
    shares.cluster.remove_framework("x")
    assert shares.order() == "x/b x/a z"


def test_a_role_whose_frameworks_take_no_part_stays_so_while_a_child_comes_and_goes() -> None:
    shares = Shares()
    shares.hold("a", "cpus:10;mem:10")
    shares.hold("b", "cpus:6;mem:6")
    shares.cluster.suppress("a")
    assert shares.order() == "b"
    shares.hold("a/c", "cpus:5;mem:5")
    assert shares.order() == "b a/c"
    shares.cluster.remove_framework("a/c")
    assert shares.order() == "b"


def test_a_weight_above_counts_for_all_that_is_below() -> None:
    shares = Shares()
    shares.cluster.role("b", weight=3.0)
    shares.cluster.role("a", weight=2.0)
    for role in ("a/x", "b/y"):
        shares.cluster.framework(role, role)
    assert shares.order() == "a/x b/y"
    for role in ("a/x", "b/y"):
        shares.hold(role, "cpus:10;mem:10")
    assert shares.order() == "b/y a/x"
    shares.hold("b/z", "cpus:5;mem:5")
    assert shares.order() == "b/z b/y a/x"
    shares.hold("b", "cpus:4;mem:4")
    assert shares.order() == "a/x b b/z b/y"
    shares.hold("a/zz", "cpus:2;mem:2")
    assert shares.order() == "a/zz a/x b b/z b/y"


def test_disk_in_several_pieces_is_added_up() -> None:
    pieces = []
    for identity in ("v1", "v2"):
        (message,) = parse("disk(b):5").messages()
        message.disk.persistence.id = identity
        message.disk.volume.container_path = "data"
        message.disk.volume.mode = message.disk.volume.RW
        pieces.append(message)
    volumes = Resources.of(pieces)
    shares = Shares()
    shares.total(parse("cpus:100;mem:100;disk:90") + volumes)
    shares.hold("a", "cpus:9;mem:9;disk:9")
    shares.hold("b", parse("cpus:9;mem:9") + volumes)
    assert shares.order() == "a b"


def test_shares_follow_the_total() -> None:
    shares = Shares("cpus:10;mem:100")
    shares.hold("a", "cpus:2;mem:1")
    shares.hold("b", "cpus:1;mem:2")
    assert shares.order() == "b a"
    # a: a tenth of the memory; b: a fifth.
    shares.total("cpus:100;mem:10")
    assert shares.order() == "a b"


def test_shares_follow_the_totals_of_each_of_several_agents() -> None:
    cluster = Conversation()
    for name in ("a", "b"):
        cluster.framework(name, name)
    held = {"a": "cpus:2;mem:1", "b": "cpus:1;mem:3"}
    for name, what in held.items():
        cluster.agent(name, "cpus:5;mem:50", holdings={(name, name): what}, active=False)
    assert order(cluster) == ["b", "a"]
    cluster.agent("a", "cpus:95;mem:50", active=False, keeps_holdings=True)
    assert order(cluster) == ["a", "b"]


def test_shares_follow_what_is_taken_away_of_an_agent_and_of_who_holds_it() -> None:
    cluster = Conversation()
    for name in ("a", "b"):
        cluster.framework(name, name)
    cluster.agent("s", "cpus:10", holdings={("a", "a"): "cpus:6", ("b", "b"): "cpus:4"}, active=False)
    assert order(cluster) == ["b", "a"]
    cluster.agent("s", "cpus:5", holdings={("a", "a"): "cpus:1", ("b", "b"): "cpus:4"}, active=False)
    assert order(cluster) == ["a", "b"]


def test_what_is_revocable_counts_like_anything_else() -> None:
    shares = Shares()
    shares.total(parse("cpus:10;mem:100") + revocable("cpus:10"))
    shares.hold("a", "cpus:2;mem:1")
    shares.hold("b", parse("cpus:1;mem:1") + revocable("cpus:9"))
    assert shares.order() == "a b"


def test_what_is_held_of_each_agent_is_known_exactly_whoever_takes_part() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1")
    cluster.framework("away", "role2", active=False)
    everything = parse("cpus:2;mem:512;disk:10;ports:[31000-32000]")
    for name in ("a", "b"):
        cluster.agent(
            name, everything + parse("cpus:1"), holdings={("f", "role1"): everything, ("away", "role2"): "cpus:1"}
        )
    reserved = parse("cpus:2;mem:512;disk:5;disk(role1):5;ports:[31000-32000]")
    for total, held in ((everything, everything), (reserved, reserved), (everything, Resources.EMPTY)):
        for name in ("a", "b"):
            holdings = {("f", "role1"): held, ("away", "role2"): parse("cpus:1")}
            cluster.agent(name, total + parse("cpus:1"), holdings=holdings, active=False)
        state = cluster.core.state
        client = state.frameworks.by_number[1].clients["role1"]
        for agent in state.agents.by_number.values():
            assert agent.held_by(client.number).unallocated() == held
        assert state.columns.named(state.tree.arrays.alloc[client.node]) == {
            name: 2 * amount
            for name, amount in ((n, held.thousandths_of(n)) for n in ("cpus", "mem", "disk"))
            if amount
        }
        other = state.frameworks.by_number[2].clients["role2"]
        assert state.columns.named(state.tree.arrays.alloc[other.node]) == {"cpus": 2000}


# -- shared volumes ----------------------------------------------------------------------------------------------------


def sharing(disk_mb: int) -> tuple[Conversation, Resources]:
    """An agent with a shared volume of so much of its thousand MB of disk."""
    cluster = Conversation()
    volume = shared_volume("v", disk_mb)
    cluster.agent("agent", parse(f"cpus:100;mem:100;disk(eng):{1000 - disk_mb}") + volume, active=False)
    return cluster, volume


def hold(cluster: Conversation, name: str, resources: Resources) -> None:
    cluster.framework(name, "eng", capabilities=[CAPABILITY.SHARED_RESOURCES])
    cluster.take(name, "agent", resources, role="eng")


def test_a_shared_volume_may_be_the_dominant_resource_of_each_who_holds_it() -> None:
    cluster, volume = sharing(100)
    hold(cluster, "a", parse("cpus:5;mem:5") + volume)
    hold(cluster, "b", parse("cpus:6;mem:6"))
    assert order(cluster) == ["b", "a"]
    hold(cluster, "c", parse("cpus:1;mem:1") + volume)
    assert order(cluster) == ["b", "a", "c"]
    cluster.remove_framework("a")
    cluster.recover("b", "agent", "cpus:4;mem:4", role="eng")
    assert order(cluster) == ["b", "c"]
    hold(cluster, "d", parse("cpus:1;mem:5") + volume)
    assert order(cluster) == ["b", "c", "d"]


def test_whoever_shares_a_dominant_volume_has_the_same_share() -> None:
    cluster, volume = sharing(900)
    hold(cluster, "b", parse("cpus:5;mem:20") + volume)
    hold(cluster, "c", parse("cpus:10;mem:6") + volume)
    assert order(cluster) == ["b", "c"]
    hold(cluster, "a", parse("cpus:50;mem:40") + volume)
    assert order(cluster) == ["a", "b", "c"]


def test_more_copies_of_a_shared_volume_are_no_larger_share_and_the_last_one_counts_in_full() -> None:
    cluster, volume = sharing(50)
    hold(cluster, "a", parse("cpus:2;mem:2") + volume)
    hold(cluster, "b", parse("cpus:6;mem:6"))
    assert order(cluster) == ["a", "b"]
    hold(cluster, "a", volume + volume + volume)
    assert order(cluster) == ["a", "b"]
    cluster, volume = sharing(100)
    hold(cluster, "a", parse("cpus:2;mem:2") + volume + volume + volume)
    hold(cluster, "b", parse("cpus:6;mem:6"))
    assert order(cluster) == ["b", "a"]
    cluster.recover("a", "agent", volume, role="eng")
    assert order(cluster) == ["b", "a"]
    cluster.recover("a", "agent", volume + volume, role="eng")
    assert order(cluster) == ["a", "b"]


# -- at random ---------------------------------------------------------------------------------------------------------


def places(parts: dict[str, float]) -> dict[tuple[str, int], float]:
    """How likely each is in each place when one after the other is drawn by weight among those that are left."""
    likely: dict[tuple[str, int], float] = {}

    def draw(left: dict[str, float], place: int, chance: float) -> None:
        for name, weight in left.items():
            drawn = chance * weight / sum(left.values())
            likely[name, place] = likely.get((name, place), 0.0) + drawn
            draw({other: its for other, its in left.items() if other != name}, place + 1, drawn)

    draw(parts, 0, 1.0)
    return likely


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        pytest.param(
            {"r1": 1.0, "r2": 2.0, "r3": 3.0, "r4": 4.0, "r5": 5.0},
            {"r1": 1.0, "r2": 2.0, "r3": 3.0, "r4": 4.0, "r5": 5.0},
            id="flat",
        ),
        pytest.param(
            {"a": 1.0, "a/b": 2.0, "c": 2.0, "c/d": 1.0, "c/e": 2.0},
            {"a": 1 / 9, "a/b": 2 / 9, "c/d": 2 / 9, "c/e": 4 / 9},
            id="nested",
        ),
    ],
)
def test_each_place_in_the_order_is_drawn_by_weight(weights: dict[str, float], parts: dict[str, float]) -> None:
    cluster = Conversation(Policy(role_sorter=Sorter.RANDOM, framework_sorter=Sorter.RANDOM, seed=1))
    for role, weight in weights.items():
        cluster.role(role, weight)
    for role in parts:
        cluster.framework(role, role)
    cluster.agent("agent", "cpus:1;mem:64")
    counts: Counter[tuple[str, int]] = Counter()
    for _ in range(RUNS):
        for place in range(len(parts)):
            (allocation,) = cluster.cycle()
            counts[cluster.framework_of(allocation), place] += 1
            cluster.decline(allocation, seconds=1e6)
        for role in parts:
            cluster.revive(role)
    expected = places(parts)
    assert len(expected) == len(parts) ** 2
    wrong = {
        key: counts[key] / RUNS for key, chance in expected.items() if abs(counts[key] / RUNS - chance) > TOLERANCE
    }
    assert wrong == {}
