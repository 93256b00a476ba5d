"""The tree of roles: how it grows and shrinks, and in which order its leaves are served."""

from __future__ import annotations

from collections import Counter

from mezzo.resources import Resources, parse
from mezzo_allocator.core import events as ev
from mezzo_allocator.testing import Conversation

ONE = "cpus:1;mem:64"


def served(cluster: Conversation, agents: int) -> Counter[str]:
    """Who gets how many of so many equal agents, which come one after the other."""
    counts: Counter[str] = Counter()
    known = len(cluster.core.state.agents.by_number)
    for number in range(known, known + agents):
        cluster.agent(f"s{number}", ONE)
        ((framework, _, _),) = cluster.offers()
        counts[framework] += 1
    return counts


def share(cluster: Conversation, role: str) -> float:
    tree = cluster.core.state.tree
    tree.refresh(cluster.core.state.quota.loops)
    return float(tree.arrays.share[tree.roles[role]])


def test_siblings_share_what_their_parent_gets_at_every_depth() -> None:
    cluster = Conversation()
    for name in ("a/b/c/x", "a/b/c/y", "a/b/d", "a/e", "f"):
        cluster.framework(name, name)
    # f: a half. a: the other half, of which a/b and a/e have a quarter each, and so on down.
    assert served(cluster, 64) == {"f": 32, "a/e": 16, "a/b/d": 8, "a/b/c/x": 4, "a/b/c/y": 4}


def test_what_a_role_holds_is_what_those_below_it_hold() -> None:
    cluster = Conversation()
    cluster.framework("own", "a")
    cluster.framework("below", "a/b")
    cluster.framework("other", "c")
    holdings = {("own", "a"): "cpus:1;mem:64", ("below", "a/b"): "cpus:2;mem:64", ("other", "c"): "cpus:1"}
    cluster.agent("s", "cpus:8;mem:8192", holdings=holdings, active=False)
    assert (share(cluster, "a"), share(cluster, "a/b"), share(cluster, "c")) == (3 / 8, 2 / 8, 1 / 8)


def test_of_two_subtrees_the_whole_of_the_poorer_is_served_before_any_of_the_richer() -> None:
    cluster = Conversation()
    for name in ("a/x", "a/y", "b/x", "b/y"):
        cluster.framework(name, name)
    # b/x alone holds more than anybody in a; b/y holds nothing, and still a comes first.
    holdings = {("a/x", "a/x"): "cpus:1", ("a/y", "a/y"): "cpus:1", ("b/x", "b/x"): "cpus:3"}
    cluster.agent("s", "cpus:5;mem:64", holdings=holdings, active=False)
    cluster.agent("t", ONE)
    order = []
    for _ in range(4):
        (allocation,) = cluster.cycle()
        order.append(cluster.framework_of(allocation))
        cluster.decline(allocation, seconds=1000.0)
    assert order == ["a/x", "a/y", "b/y", "b/x"]


def test_a_role_that_becomes_a_parent_goes_on_sharing_with_its_child() -> None:
    cluster = Conversation()
    cluster.framework("a", "a")
    cluster.framework("z", "z")
    assert served(cluster, 4) == {"a": 2, "z": 2}
    cluster.framework("child", "a/b")
    # The child has to catch up with a's own framework before that is served again.
    assert served(cluster, 4) == {"child": 2, "z": 2}
    assert served(cluster, 4) == {"a": 1, "child": 1, "z": 2}
    cluster.framework("second", "a/c")
    assert served(cluster, 12) == {"second": 4, "child": 1, "a": 1, "z": 6}
    assert share(cluster, "a") == share(cluster, "z")


def test_a_role_whose_own_framework_takes_no_part_may_have_children_that_do() -> None:
    cluster = Conversation()
    cluster.framework("idle", "a", suppressed=["a"])
    cluster.framework("child", "a/b")
    cluster.framework("z", "z")
    assert served(cluster, 4) == {"child": 2, "z": 2}
    cluster.suppress("child")
    assert served(cluster, 2) == {"z": 2}
    cluster.revive("idle")
    assert served(cluster, 2) == {"idle": 2}


def test_a_role_without_clients_is_forgotten_with_those_above_it_that_nobody_else_needs() -> None:
    cluster = Conversation()
    cluster.framework("deep", "a/b/c")
    cluster.framework("own", "a")
    assert set(cluster.core.state.tree.roles) >= {"a", "a/b", "a/b/c"}
    cluster.remove_framework("deep")
    assert "a" in cluster.core.state.tree.roles
    assert "a/b" not in cluster.core.state.tree.roles
    cluster.agent("s", ONE)
    assert cluster.offers() == [("own", "s", ONE)]


def test_a_child_that_goes_leaves_what_its_siblings_hold_alone() -> None:
    for active in (True, False):
        cluster = Conversation()
        cluster.framework("stays", "a/x")
        cluster.framework("goes", "a/y", active=active)
        cluster.framework("z", "z")
        cluster.agent("s", "cpus:4;mem:64", holdings={("stays", "a/x"): "cpus:1", ("z", "z"): "cpus:1"}, active=False)
        cluster.remove_framework("goes")
        assert (share(cluster, "a"), share(cluster, "a/x"), share(cluster, "z")) == (0.25, 0.25, 0.25)
        assert served(cluster, 2) == {"stays": 1, "z": 1}


def test_a_role_lives_as_long_as_anything_names_it() -> None:
    cluster = Conversation()
    cluster.agent("s", "cpus(a/b):1;mem(a/b):64")
    assert set(cluster.core.state.tree.roles) >= {"a", "a/b"}
    cluster.role("c", guarantees={"cpus": 1})
    assert "c" in cluster.core.state.tree.roles
    cluster.remove_agent("s")
    cluster.role("c")
    assert not set(cluster.core.state.tree.roles) & {"a", "a/b", "c"}


def test_a_weight_that_changes_weighs_on_the_whole_subtree() -> None:
    cluster = Conversation()
    for name in ("a/x", "a/y", "b"):
        cluster.framework(name, name)
    assert served(cluster, 8) == {"b": 4, "a/x": 2, "a/y": 2}
    cluster.role("a", weight=2.0)
    # a may have twice what b has: four more, two for each of its children.
    assert served(cluster, 4) == {"a/x": 2, "a/y": 2}
    cluster.role("a/x", weight=3.0)
    assert served(cluster, 6)["a/x"] == 4


def test_disks_of_several_kinds_are_one_resource_to_shares() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1")
    cluster.framework("f2", "role2")
    holdings = {("f1", "role1"): "disk:3;disk(role1):3", ("f2", "role2"): "disk:5"}
    cluster.agent("s", "disk:17;disk(role1):3", holdings=holdings, active=False)
    assert (share(cluster, "role1"), share(cluster, "role2")) == (6 / 20, 5 / 20)


def test_revocable_resources_count_in_shares() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1")
    cluster.framework("f2", "role2")
    (lent,) = parse("cpus:10").messages()
    lent.revocable.SetInParent()
    total = parse("cpus:10;mem:100") + Resources.of([lent])
    held = {("f1", "role1"): "cpus:2"}
    cluster.agent("s", total, holdings=held, active=False)
    cluster.say(ev.ResourcesAllocated(2, 1, Resources.of([lent]).allocated_to("role2")))
    assert (share(cluster, "role1"), share(cluster, "role2")) == (2 / 20, 10 / 20)


def test_shares_follow_the_size_of_the_cluster() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1")
    cluster.framework("f2", "role2")
    held = {("f1", "role1"): "cpus:2", ("f2", "role2"): "mem:50"}
    cluster.agent("s", "cpus:10;mem:100", holdings=held, active=False)
    assert (share(cluster, "role1"), share(cluster, "role2")) == (0.2, 0.5)
    cluster.agent("t", "mem:900", active=False)
    assert (share(cluster, "role1"), share(cluster, "role2")) == (0.2, 0.05)
    cluster.agent("t", "mem:150", active=False)
    assert share(cluster, "role2") == 0.2
    cluster.remove_agent("t")
    assert share(cluster, "role2") == 0.5


def test_what_is_held_counts_on_every_agent_it_is_held_of() -> None:
    cluster = Conversation()
    cluster.framework("f", "role")
    for name in ("s", "t"):
        cluster.agent(name, "cpus:10;mem:100", holdings={("f", "role"): "cpus:2"}, active=False)
    assert share(cluster, "role") == 0.2
    cluster.agent("t", "cpus:10;mem:100", holdings={("f", "role"): "cpus:6"}, active=False)
    assert share(cluster, "role") == 0.4
    cluster.recover("f", "s", "cpus:2", role="role")
    assert share(cluster, "role") == 0.3
    cluster.remove_agent("s")
    assert share(cluster, "role") == 0.6
