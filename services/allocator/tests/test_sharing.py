"""Who is served first: dominant resource fairness over roles and frameworks."""

from __future__ import annotations

import pytest

from mesos.v1.mesos_pb2 import AgentInfo, FrameworkInfo
from mezzo.resources import Resources, parse
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.core.policy import Policy
from mezzo_allocator.testing import CAPABILITY, Conversation


def test_nothing_is_allocated_before_the_snapshot_has_ended() -> None:
    core = Allocator()
    core.handle(ev.SessionBegun("r"), now=0.0)
    core.handle(ev.FrameworkChanged(1, FrameworkInfo(user="u", name="f"), frozenset(), True), now=0.0)
    core.handle(ev.AgentChanged(1, AgentInfo(hostname="h"), parse("cpus:1;mem:64"), (), True), now=0.0)
    assert not core.pending
    assert core.handle(ev.CycleStarted(), now=0.0) == []
    assert core.handle(ev.SnapshotEnded(), now=0.0) == [ev.Ready()]
    assert core.pending
    (outcome,) = core.handle(ev.CycleStarted(), now=0.0)
    assert isinstance(outcome, ev.Allocated)
    assert len(outcome.allocations) == 1


def test_an_offer_is_everything_that_is_free_on_an_agent() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:4;mem:1024;disk:100;ports:[31000-32000]")
    assert cluster.offers() == [("f", "a", "cpus:4;disk:100;mem:1024;ports:[31000-32000]")]
    assert cluster.offers() == []


def test_roles_take_turns_by_dominant_share() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1")
    cluster.agent("a1", "cpus:2;mem:1024")
    assert cluster.offers() == [("f1", "a1", "cpus:2;mem:1024")]
    cluster.framework("f2", "role2")
    cluster.agent("a2", "cpus:1;mem:512")
    assert cluster.offers() == [("f2", "a2", "cpus:1;mem:512")]
    # role1 has 2/3 of the CPUs, role2 1/3.
    cluster.agent("a3", "cpus:3;mem:2048")
    assert cluster.offers() == [("f2", "a3", "cpus:3;mem:2048")]
    cluster.framework("f3", "role1")
    # role1 is below role2 again, and within it f3 has nothing yet.
    cluster.agent("a4", "cpus:4;mem:4096")
    assert cluster.offers() == [("f3", "a4", "cpus:4;mem:4096")]


def test_equal_shares_are_served_by_number_of_allocations_and_then_by_name() -> None:
    cluster = Conversation()
    cluster.framework("f2")
    cluster.framework("f1")
    cluster.agent("a", "cpus:1;mem:64")
    served = []
    for _ in range(6):
        (allocation,) = cluster.cycle()
        served.append(cluster.framework_of(allocation))
        cluster.recover(served[-1], "a", "cpus:1;mem:64")
    assert served == ["f1", "f2"] * 3


def test_weights_make_shares_proportional() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1")
    cluster.framework("f2", "role2")
    cluster.role("role2", weight=2.0)
    for number in range(6):
        cluster.agent(f"a{number}", "cpus:2;mem:1024")
    counts = [framework for framework, _, _ in cluster.offers()]
    assert counts.count("f1") == 2
    assert counts.count("f2") == 4
    cluster.role("role1", weight=4.0)
    for number in range(6, 12):
        cluster.agent(f"a{number}", "cpus:2;mem:1024")
    counts += [framework for framework, _, _ in cluster.offers()]
    assert counts.count("f1") == 8
    assert counts.count("f2") == 4


def test_weights_count_at_each_level_of_the_tree() -> None:
    cluster = Conversation()
    cluster.framework("a1", "a/one")
    cluster.framework("a2", "a/two")
    cluster.framework("b", "b")
    cluster.role("a", weight=3.0)
    cluster.role("a/two", weight=2.0)
    for number in range(36):
        cluster.agent(f"s{number}", "cpus:1;mem:64")
    counts = [framework for framework, _, _ in cluster.offers()]
    assert {name: counts.count(name) for name in ("a1", "a2", "b")} == {"a1": 9, "a2": 18, "b": 9}


def test_the_clients_of_a_role_share_with_its_child_roles() -> None:
    cluster = Conversation()
    cluster.framework("own1", "a")
    cluster.framework("own2", "a")
    cluster.framework("child", "a/b")
    for number in range(8):
        cluster.agent(f"s{number}", "cpus:1;mem:64")
    counts = [framework for framework, _, _ in cluster.offers()]
    assert {name: counts.count(name) for name in ("own1", "own2", "child")} == {"own1": 2, "own2": 2, "child": 4}


def test_a_framework_in_two_roles_is_a_client_of_each() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1", "role2")
    cluster.agent("a1", "cpus:1;mem:64")
    cluster.agent("a2", "cpus:1;mem:64")
    assert sorted(allocation.role for allocation in cluster.cycle()) == ["role1", "role2"]


def test_resources_excluded_from_shares_do_not_count() -> None:
    cluster = Conversation(Policy(excluded_from_shares=frozenset(["gpus"])))
    cluster.framework("f1", "role1", capabilities=[CAPABILITY.GPU_RESOURCES])
    cluster.agent("a1", "cpus:1;mem:64;gpus:8")
    assert cluster.offers()[0][0] == "f1"
    cluster.agent("big", "cpus:98;mem:6400", active=False)
    cluster.framework("f2", "role2", capabilities=[CAPABILITY.GPU_RESOURCES])
    cluster.agent("a2", "cpus:2;mem:128")
    assert cluster.offers() == [("f2", "a2", "cpus:2;mem:128")]
    # role1 holds all GPUs, but by what counts it has less than role2.
    cluster.agent("a3", "cpus:1;mem:64")
    assert cluster.offers() == [("f1", "a3", "cpus:1;mem:64")]


@pytest.mark.parametrize(
    ("agent", "weight", "tasks"),
    [
        pytest.param("cpus:9;mem:18432", 1.0, (3, 2), id="DRF paper, section 4.1: two thirds each"),
        pytest.param("cpus:90;mem:184320", 2.0, (18, 24), id="ten times as large, B of weight 2: 40 and 80 percent"),
    ],
)
def test_the_example_of_the_paper(agent: str, weight: float, tasks: tuple[int, int]) -> None:
    """9 CPUs and 18 GB; tasks of A want 1 CPU and 4 GB, those of B 3 CPUs and 1 GB."""
    demands = {"A": "cpus:1;mem:4096", "B": "cpus:3;mem:1024"}
    cluster = Conversation()
    cluster.framework("A", "roleA")
    cluster.framework("B", "roleB")
    cluster.role("roleB", weight=weight)
    cluster.agent("a", agent)
    launched = dict.fromkeys(demands, 0)
    given_up: set[str] = set()
    while len(given_up) < 2:
        (allocation,) = cluster.cycle()
        name = cluster.framework_of(allocation)
        demand = parse(demands[name])
        if Resources.sum(allocation.resources).contains(demand):
            cluster.use(allocation, demands[name])
            launched[name] += 1
            cluster.revive(name)
        else:
            given_up.add(name)
            cluster.decline(allocation, seconds=1e6)
    assert (launched["A"], launched["B"]) == tasks
