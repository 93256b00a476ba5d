"""Frameworks and agents, no two of them alike, come one at a time: who gets what each time."""

from __future__ import annotations

import pytest

from mesos.v1.mesos_pb2 import Resource
from mezzo.resources import Resources, parse
from mezzo_allocator.core.measures import dominant_shares
from mezzo_allocator.core.policy import Policy
from mezzo_allocator.testing import CAPABILITY, Conversation


def given_to(cluster: Conversation, agent: str, resources: str | Resources) -> str:
    """Add an agent, see that all of it goes to one framework, and return which."""
    cluster.agent(agent, resources)
    ((framework, offered, _),) = cluster.offers()
    assert offered == agent
    assert cluster.full_pass() == []
    return framework


@pytest.mark.parametrize(
    ("excluded", "first_agent"),
    [
        pytest.param([], "cpus:2;mem:1024", id="all resources are shared"),
        # All the GPUs of the cluster are role1's from the beginning on.
        pytest.param(["gpus"], "cpus:2;mem:1024;gpus:1", id="gpus are excluded from shares"),
    ],
)
def test_each_agent_goes_to_the_role_with_the_lowest_share_and_therein_to_the_framework_with_the_lowest(
    excluded: list[str], first_agent: str
) -> None:
    cluster = Conversation(Policy(excluded_from_shares=frozenset(excluded)))
    cluster.framework("f1", "role1", capabilities=[CAPABILITY.GPU_RESOURCES])
    assert given_to(cluster, "a1", first_agent) == "f1"
    cluster.framework("f2", "role2")
    assert given_to(cluster, "a2", "cpus:1;mem:512") == "f2"
    # role1 has 2 of the 6 CPUs that there are now, role2 has 1.
    assert given_to(cluster, "a3", "cpus:3;mem:2048") == "f2"
    cluster.framework("f3", "role1")
    # role1 has 2 of 10 and role2 4; of role1 f1 has all.
    assert given_to(cluster, "a4", "cpus:4;mem:4096") == "f3"
    cluster.framework("f4", "role1")
    # f4 has nothing at all, but its role has 6 of 11, and role2 has 4.
    assert given_to(cluster, "a5", "cpus:1;mem:512") == "f2"


def test_what_is_reserved_counts_in_the_shares_of_roles_and_of_the_frameworks_in_them() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1")
    assert given_to(cluster, "a1", "cpus:1;mem:512;cpus(role1):100;mem(role1):1024") == "f1"
    cluster.framework("f2", "role2")
    assert given_to(cluster, "a2", "cpus:2;mem:512") == "f2"
    assert given_to(cluster, "a3", "cpus:2;mem:512") == "f2"
    cluster.framework("f3", "role1")
    assert given_to(cluster, "a4", "cpus(role1):2;mem(role1):1024") == "f3"


def test_a_subtree_that_has_less_is_served_before_an_empty_leaf_of_one_that_has_more() -> None:
    cluster = Conversation()
    cluster.framework("b", "a/b")
    assert given_to(cluster, "s1", "cpus:2;mem:1024") == "b"
    cluster.framework("c", "a/c")
    cluster.framework("e", "d/e")
    assert given_to(cluster, "s2", "cpus:1;mem:512") == "e"
    cluster.framework("f", "d/f")
    # Neither c nor f has anything; d has a third of the cluster, and a two thirds.
    assert given_to(cluster, "s3", "cpus:2;mem:1024") == "f"
    # Now a has 2 of 6, of which c has nothing, and d 3.
    assert given_to(cluster, "s4", "cpus:1;mem:512") == "c"


def test_one_cycle_gives_each_of_two_roles_a_whole_agent() -> None:
    cluster = Conversation()
    for name in ("a1", "a2"):
        cluster.agent(name, "cpus:2;mem:1024")
    cluster.framework("f1", "role1")
    allocations = cluster.cycle()
    assert [cluster.summary(each)[::2] for each in allocations] == [("f1", "cpus:2;mem:1024")] * 2
    for each in allocations:
        cluster.release(each)
    cluster.framework("f2", "role2")
    assert sorted(each[::2] for each in cluster.offers()) == [("f1", "cpus:2;mem:1024"), ("f2", "cpus:2;mem:1024")]


def test_a_weight_that_a_role_has_before_it_has_frameworks_counts_from_the_first_on() -> None:
    cluster = Conversation()
    for number in range(6):
        cluster.agent(f"a{number}", "cpus:2;mem:1024")

    def agents_by_framework() -> dict[str, int]:
        allocations = cluster.cycle()
        for each in allocations:
            cluster.release(each)
        served = [cluster.framework_of(each) for each in allocations]
        return {name: served.count(name) for name in sorted(set(served))}

    cluster.framework("f1", "role1")
    cluster.framework("f2", "role2")
    assert agents_by_framework() == {"f1": 3, "f2": 3}
    cluster.role("role2", weight=2.0)
    assert agents_by_framework() == {"f1": 2, "f2": 4}
    cluster.role("role3", weight=3.0)
    cluster.framework("f3", "role3")
    assert agents_by_framework() == {"f1": 1, "f2": 2, "f3": 3}


def test_an_agent_that_is_gone_leaves_no_share_behind() -> None:
    cluster = Conversation()
    cluster.framework("f1")
    assert given_to(cluster, "a1", "cpus:2;mem:200") == "f1"
    cluster.framework("f2")
    assert given_to(cluster, "a2", "cpus:1;mem:100") == "f2"
    # f1 would come after f2: it has had more, of which nothing is left.
    cluster.remove_agent("a1")
    assert given_to(cluster, "a3", "cpus:1;mem:100") == "f1"


def test_what_is_held_of_what_an_agent_gets_in_addition_counts_in_shares() -> None:
    cluster = Conversation()
    for number in (1, 2):
        cluster.framework(f"f{number}", f"role{number}", active=False)
    cluster.agent("a1", "cpus:1;mem:100;disk:10")
    cluster.agent("a1", "cpus:3;mem:300;disk:30", holdings={("f1", "role1"): "cpus:2;mem:200;disk:20"})
    cluster.framework("f2", "role2")
    assert cluster.offers() == [("f2", "a1", "cpus:1;disk:10;mem:100")]
    cluster.framework("f1", "role1")
    # Of 4 CPUs role1 has 2, and role2 1.
    assert given_to(cluster, "a2", "cpus:1;mem:100;disk:10") == "f2"


def test_what_is_held_in_addition_of_what_an_agent_had_before_is_not_offered() -> None:
    cluster = Conversation()
    cluster.agent("a", "cpus:2;mem:200;disk:20")
    cluster.framework("f", "role", active=False)
    cluster.agent("a", "cpus:2;mem:200;disk:20", holdings={("f", "role"): "cpus:1;mem:100;disk:10"})
    cluster.framework("f", "role")
    assert cluster.offers() == [("f", "a", "cpus:1;disk:10;mem:100")]


def test_what_is_told_twice_counts_once_whether_the_framework_or_the_agent_is_told_of_first() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1")
    cluster.agent("a1", "cpus:1", holdings={("f1", "role1"): "cpus:1"})
    cluster.framework("f2", "role2")
    for _ in range(2):
        cluster.agent("a2", "cpus:1", holdings={("f2", "role2"): "cpus:1"})
        cluster.framework("f2", "role2")
    assert dominant_shares(cluster.core.state) == {"role1": 0.5, "role2": 0.5}


def test_a_framework_that_knows_no_refined_reservations_does_not_stand_before_one_that_does() -> None:
    cluster = Conversation()
    cluster.framework("knows", "parent/child", capabilities=[CAPABILITY.RESERVATION_REFINEMENT])
    assert given_to(cluster, "a1", "cpus:1;mem:64") == "knows"
    cluster.framework("poorer", "parent/child")
    messages = parse("cpus:1;mem:64").messages()
    for message in messages:
        for role in ("parent", "parent/child"):
            message.reservations.add(type=Resource.ReservationInfo.DYNAMIC, role=role)
    assert given_to(cluster, "a2", Resources.of(messages)) == "knows"


def test_a_framework_may_come_to_want_less_than_the_minimum() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1")
    cluster.agent("a", "cpus:0.005;mem:16;disk:128")
    assert cluster.offers() == []
    cluster.framework("f", "role1", minimum=[{"cpus": 0.003}])
    assert cluster.offers() == [("f", "a", "cpus:0.005;disk:128;mem:16")]


def test_who_refused_for_less_than_an_interval_is_passed_over_once() -> None:
    cluster = Conversation()
    for name in ("f1", "f2"):
        cluster.framework(name, "role")
    cluster.agent("a1", "cpus:1;mem:512", holdings={("f1", "role"): "cpus:1;mem:512"})
    cluster.agent("a2", "cpus:1;mem:512")
    (allocation,) = cluster.cycle()
    assert cluster.framework_of(allocation) == "f2"
    cluster.decline(allocation, seconds=0.5)
    # f1 gets it, although it has more than f2 has.
    (allocation,) = cluster.cycle(after=0.6)
    assert cluster.framework_of(allocation) == "f1"
    cluster.release(allocation)
    assert cluster.offers(after=0.6) == [("f2", "a2", "cpus:1;mem:512")]
