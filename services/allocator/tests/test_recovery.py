"""What is given back is offered again, to whom and when."""

from __future__ import annotations

from mesos.v1.mesos_pb2 import AgentInfo, Resource
from mezzo.resources import Resources, parse
from mezzo_allocator.core import events as ev
from mezzo_allocator.testing import CAPABILITY, Conversation, revocable


def offered(cluster: Conversation) -> Resources:
    (allocation,) = cluster.cycle()
    return Resources.sum(allocation.resources)


def test_what_is_given_back_without_a_refusal_is_offered_again_at_once() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1")
    cluster.agent("a", "cpus(role1):1;mem(role1):200;cpus:1;mem:200")
    everything = offered(cluster)
    cluster.recover("f", "a", "cpus:1;mem:200", role="role1")
    assert cluster.offers() == [("f", "a", "cpus:1;mem:200")]
    cluster.recover("f", "a", "cpus(role1):1;mem(role1):200", role="role1")
    assert cluster.offers() == [("f", "a", "cpus(role1):1;mem(role1):200")]
    cluster.recover("f", "a", everything, role="role1")
    assert offered(cluster) == everything


def test_revocable_resources_that_are_given_back_are_offered_again() -> None:
    cluster = Conversation()
    cluster.framework("f", capabilities=[CAPABILITY.REVOCABLE_RESOURCES])
    cluster.agent("a", parse("cpus:1;mem:512") + revocable("cpus:4"))
    assert offered(cluster) == parse("cpus:1;mem:512") + revocable("cpus:4")
    cluster.recover("f", "a", revocable("cpus:3") + parse("cpus:0.5"))
    assert offered(cluster) == revocable("cpus:3") + parse("cpus:0.5")


def test_an_estimate_of_what_can_be_lent_follows_the_agent() -> None:
    cluster = Conversation()
    cluster.framework("f", capabilities=[CAPABILITY.REVOCABLE_RESOURCES])
    own = parse("cpus:1;mem:512")
    cluster.agent("a", own)
    assert offered(cluster) == own
    cluster.agent("a", own + revocable("cpus:10"), keeps_holdings=True)
    assert offered(cluster) == revocable("cpus:10")
    cluster.agent("a", own + revocable("cpus:12"), keeps_holdings=True)
    assert offered(cluster) == revocable("cpus:2")


def test_an_estimate_may_shrink_below_what_was_lent() -> None:
    own = parse("cpus:1;mem:512")
    cluster = Conversation()
    cluster.framework("f", capabilities=[CAPABILITY.REVOCABLE_RESOURCES])
    cluster.agent("a", own + revocable("cpus:10"))
    assert offered(cluster) == own + revocable("cpus:10")
    steps: list[tuple[str, str, list[str]]] = [
        ("cpus:4", "cpus:5", []),
        ("cpus:4", "cpus:2", ["cpus:1"]),
        ("cpus:6", "", ["cpus:2"]),
    ]
    for estimate, back, free in steps:
        cluster.agent("a", own + revocable(estimate), keeps_holdings=True)
        cluster.recover("f", "a", revocable(back))
        assert [what for _, _, what in cluster.offers()] == free
    cluster.agent("a", own, keeps_holdings=True)
    assert cluster.offers() == []
    cluster.recover("f", "a", revocable("cpus:6"))
    assert cluster.offers() == []


def test_an_agent_that_shrinks_is_offered_as_it_is_now() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:4;mem:512", holdings={("f", "*"): "cpus:1;mem:128"})
    cluster.agent("a", "cpus:2;mem:256", keeps_holdings=True)
    assert cluster.offers() == [("f", "a", "cpus:1;mem:128")]


def test_an_agent_that_learns_of_several_roles_is_offered_to_frameworks_with_them() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1", "role2")
    hierarchical, multiple = AgentInfo.Capability.HIERARCHICAL_ROLE, AgentInfo.Capability.MULTI_ROLE
    cluster.agent("a", "cpus:1;mem:512", capabilities=[hierarchical])
    assert cluster.offers() == []
    cluster.agent("a", "cpus:1;mem:512", capabilities=[hierarchical, multiple])
    assert len(cluster.offers()) == 1


def test_a_framework_that_comes_back_is_offered_again_although_it_had_suppressed() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1")
    cluster.agent("a", "cpus:2;mem:1024")
    (allocation,) = cluster.cycle()
    cluster.recover("f", "a", "cpus:2;mem:1024", role="role1")
    cluster.suppress("f")
    cluster.framework("f", "role1", active=False)
    assert cluster.full_pass() == []
    cluster.framework("f", "role1")
    assert cluster.cycle() == [allocation]


# -- operations change what is held, not how much ----------------------------------------------------------------------


def volume(role: str, size: float) -> Resources:
    (disk,) = parse(f"disk({role}):{size}").messages()
    disk.disk.persistence.id = "v"
    disk.disk.volume.container_path = "data"
    disk.disk.volume.mode = disk.disk.volume.RW
    return Resources.of([disk])


def holding(cluster: Conversation, total: Resources, held: Resources, role: str) -> None:
    """Says that an agent has become `total`, of which the framework `f` holds `held`."""
    numbers = cluster.core.state.frameworks.by_number
    (framework,) = numbers
    event = ev.AgentChanged(1, AgentInfo(hostname="a"), total, [(framework, held.allocated_to(role))], True)
    cluster.say(event)


def test_a_volume_that_was_made_of_what_is_held_is_offered_once_it_is_given_back() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1")
    cluster.agent("a", "cpus:1;mem:512;disk(role1):100")
    assert len(cluster.cycle()) == 1
    parts = parse("cpus:1;mem:512;disk(role1):60") + volume("role1", 40)
    holding(cluster, parts, parts, "role1")
    assert cluster.offers() == []
    cluster.recover("f", "a", parts, role="role1")
    assert offered(cluster) == parts


def test_a_shared_volume_that_was_made_and_destroyed_leaves_the_disk_it_was_made_of() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1", capabilities=[CAPABILITY.SHARED_RESOURCES])
    before = parse("cpus:1;mem:512;disk(role1):100")
    cluster.agent("a", before)
    assert offered(cluster) == before
    (shared,) = volume("role1", 5).messages()
    shared.shared.SetInParent()
    with_volume = parse("cpus:1;mem:512;disk(role1):95") + Resources.of([shared])
    for total in (with_volume, before):
        holding(cluster, total, total, "role1")
        cluster.recover("f", "a", total, role="role1")
        assert offered(cluster) == total


def test_what_an_operation_took_away_is_not_offered_again() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1")
    cluster.agent("a", parse("cpus:1;mem:512") + volume("role1", 40))
    assert len(cluster.cycle()) == 1
    left = parse("cpus:1;mem:512")
    holding(cluster, left, left, "role1")
    cluster.recover("f", "a", left, role="role1")
    assert offered(cluster) == left


def test_what_is_free_may_become_reserved() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1")
    cluster.framework("g", "role2")
    cluster.suppress("f")
    cluster.suppress("g")
    cluster.agent("a", "cpus:2;mem:512")
    (reserved,) = parse("cpus(role2):2").messages()
    reserved.reservations[0].type = Resource.ReservationInfo.DYNAMIC
    cluster.agent("a", Resources.of([reserved]) + parse("mem:512"))
    cluster.revive("f")
    assert cluster.offers() == [("f", "a", "mem:512")]
    cluster.revive("g")
    assert cluster.offers() == [("g", "a", "cpus(role2):2")]


# -- nobody is passed over ---------------------------------------------------------------------------------------------


def test_a_framework_that_may_not_see_an_agent_does_not_stand_before_one_that_may() -> None:
    cluster = Conversation()
    cluster.framework("a-plain", "quota")
    cluster.framework("b-gpu", "quota", capabilities=[CAPABILITY.GPU_RESOURCES])
    cluster.role("quota", guarantees={"cpus": 4, "mem": 2048})
    cluster.agent("a", "cpus:2;mem:1024;gpus:1")
    assert cluster.offers() == [("b-gpu", "a", "cpus:2;gpus:1;mem:1024")]


def test_reserved_ports_come_and_go_with_their_agents() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1")
    cluster.role("role1", limits={"cpus": 8})
    for name in ("a", "b"):
        cluster.agent(name, "cpus:1;mem:512;ports(role1):[31000-31009]")
    assert len(cluster.offers()) == 2
    for name in ("a", "b"):
        cluster.remove_agent(name)
    assert cluster.core.state.quota.usage("role1") == {}
    cluster.agent("a", "cpus:1;mem:512;ports(role1):[31000-31009]")
    assert cluster.offers() == [("f", "a", "cpus:1;mem:512;ports(role1):[31000-31009]")]
