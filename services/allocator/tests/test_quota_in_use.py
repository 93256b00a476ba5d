"""What counts against quota, and who is served when several roles have one."""

from __future__ import annotations

import pytest

from mesos.v1.mesos_pb2 import AgentInfo, Resource
from mezzo.resources import Resources, parse
from mezzo_allocator.core import events as ev
from mezzo_allocator.testing import CAPABILITY, Conversation


def usage(cluster: Conversation, role: str) -> dict[str, int]:
    """Whole units by name."""
    return {name: amount // 1000 for name, amount in cluster.core.state.quota.usage(role).items()}


# -- reservations ------------------------------------------------------------------------------------------------------


def test_what_is_reserved_and_nobody_holds_uses_quota_up() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", limits={"cpus": 3, "mem": 1536})
    cluster.agent("a", "cpus(quota):2;mem(quota):1024", active=False)
    cluster.agent("b", "cpus:4;mem:4096")
    assert usage(cluster, "quota") == {"cpus": 2, "mem": 1024}
    assert cluster.offers() == [("q", "b", "cpus:1;mem:512")]


def test_reserving_what_is_held_and_back_uses_no_more_quota() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", limits={"cpus": 2, "mem": 1024})
    cluster.agent("a", "cpus:2;mem:1024")
    assert len(cluster.cycle()) == 1
    assert usage(cluster, "quota") == {"cpus": 2, "mem": 1024}
    for text in ("cpus(quota):2;mem(quota):512;mem:512", "cpus:1;cpus(quota):1;mem:1024"):
        total = parse(text)
        held = [(1, total.allocated_to("quota"))]
        cluster.say(ev.AgentChanged(1, AgentInfo(hostname="a"), total, held, True))
        assert usage(cluster, "quota") == {"cpus": 2, "mem": 1024}


def test_what_is_reserved_for_a_role_below_uses_the_quota_of_those_above() -> None:
    cluster = Conversation()
    cluster.framework("f", "eng")
    cluster.role("eng", limits={"cpus": 3, "mem": 3072})
    cluster.agent("a", "cpus(eng/backend):2;mem(eng/backend):2048")
    cluster.agent("b", "cpus:4;mem:4096")
    assert usage(cluster, "eng") == {"cpus": 2, "mem": 2048}
    assert cluster.offers() == [("f", "b", "cpus:1;mem:1024")]


def test_a_shared_volume_uses_quota_once_however_many_hold_it() -> None:
    (disk,) = parse("disk(eng):10").messages()
    disk.disk.persistence.id = "v"
    disk.disk.volume.container_path = "data"
    disk.disk.volume.mode = disk.disk.volume.RW
    disk.shared.SetInParent()
    cluster = Conversation()
    for name in ("f1", "f2"):
        cluster.framework(name, "eng", capabilities=[CAPABILITY.SHARED_RESOURCES])
    cluster.role("eng", limits={"disk": 10, "cpus": 8})
    cluster.agent("a", parse("cpus:2;mem:1024") + Resources.of([disk]))
    assert usage(cluster, "eng")["disk"] == 10
    (first,) = cluster.cycle()
    cluster.recover(cluster.framework_of(first), "a", "cpus:1;mem:512", role="eng", refuse=60.0)
    (second,) = cluster.cycle()
    for allocation in (first, second):
        assert Resources.sum(allocation.resources).shared() == Resources.of([disk])
    assert cluster.framework_of(first) != cluster.framework_of(second)
    assert usage(cluster, "eng")["disk"] == 10


def test_a_reservation_that_is_refined_is_used_by_the_role_that_it_was_refined_for() -> None:
    (resource,) = parse("cpus:2").messages()
    for role in ("eng", "eng/backend"):
        resource.reservations.add(type=Resource.ReservationInfo.DYNAMIC, role=role)
    cluster = Conversation()
    for role in ("eng", "eng/backend", "eng/frontend"):
        cluster.role(role, limits={"cpus": 4})
    cluster.agent("a", Resources.of([resource]))
    assert usage(cluster, "eng") == usage(cluster, "eng/backend") == {"cpus": 2}
    assert usage(cluster, "eng/frontend") == {}


# -- several frameworks, several roles ---------------------------------------------------------------------------------


def test_frameworks_in_a_role_with_quota_share_it_fairly() -> None:
    cluster = Conversation()
    cluster.framework("q1", "quota")
    cluster.framework("q2", "quota")
    cluster.framework("f", "fair")
    cluster.role("quota", guarantees={"cpus": 6, "mem": 6144}, limits={"cpus": 6, "mem": 6144})
    for number in range(8):
        cluster.agent(f"a{number}", "cpus:1;mem:1024")
    allocations = cluster.cycle()
    assert [cluster.framework_of(each) for each in allocations] == [*(["q1", "q2"] * 3), "f", "f"]
    cluster.decline(allocations[0], seconds=60.0)
    # What one of them declines is the other's, whatever it has, and not f's.
    assert cluster.offers() == [("q2", cluster.agent_of(allocations[0]), "cpus:1;mem:1024")]
    cluster.agent("more", "cpus:1;mem:1024")
    assert cluster.offers() == [("f", "more", "cpus:1;mem:1024")]


def test_each_of_several_roles_with_quota_has_its_own() -> None:
    cluster = Conversation()
    cluster.framework("f", "fair")
    cluster.framework("q1", "quota1")
    cluster.framework("q2", "quota2")
    cluster.role("quota1", guarantees={"cpus": 1, "mem": 200})
    cluster.role("quota2", guarantees={"cpus": 2, "mem": 256})
    cluster.agent("a", "cpus:1;mem:200")
    cluster.agent("b", "cpus:2;mem:256")
    assert cluster.offers() == [("q1", "a", "cpus:1;mem:200"), ("q2", "b", "cpus:2;mem:256")]
    cluster.agent("c", "cpus:1;mem:512")
    assert cluster.offers() == [("f", "c", "cpus:1;mem:512")]


def test_a_role_whose_guarantee_is_met_does_not_stand_before_one_whose_is_not() -> None:
    cluster = Conversation()
    cluster.framework("met", "quota1")
    cluster.framework("lacking", "quota2")
    cluster.role("quota1", guarantees={"cpus": 1, "mem": 200})
    cluster.role("quota2", guarantees={"cpus": 3, "mem": 3072})
    cluster.agent("a", "cpus:2;mem:2048", holdings={("met", "quota1"): "cpus:1;mem:512"}, active=False)
    cluster.agent("b", "cpus:2;mem:2048", holdings={("lacking", "quota2"): "cpus:2;mem:2048"})
    cluster.agent("c", "cpus:1;mem:1024")
    assert cluster.offers() == [("lacking", "c", "cpus:1;mem:1024")]


def test_a_role_with_frameworks_gets_what_it_is_guaranteed_although_another_has_none() -> None:
    cluster = Conversation()
    cluster.role("absent", guarantees={"cpus": 1, "mem": 1024})
    cluster.role("quota", guarantees={"cpus": 2, "mem": 2048})
    cluster.framework("q", "quota")
    cluster.agent("a", "cpus:2;mem:2048")
    assert cluster.offers() == [("q", "a", "cpus:2;mem:2048")]


def test_what_a_role_with_a_guarantee_declines_is_kept_for_it() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.framework("f", "fair")
    cluster.role("quota", guarantees={"cpus": 2, "mem": 1024})
    for name in ("a", "b"):
        cluster.agent(name, "cpus:1;mem:512")
    first, _ = cluster.cycle()
    cluster.decline(first, seconds=30.0)
    assert cluster.offers(after=1.0) == []
    assert cluster.full_pass() == []
    assert cluster.offers(after=30.0) == [("q", cluster.agent_of(first), "cpus:1;mem:512")]


def test_without_its_quota_a_role_is_served_by_its_share_again() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.framework("f", "fair")
    cluster.role("quota", guarantees={"cpus": 2, "mem": 1024})
    for name in ("a", "b"):
        cluster.agent(name, "cpus:1;mem:512", holdings={("q", "quota"): "cpus:1;mem:512"})
    cluster.role("quota")
    cluster.recover("q", "a", "cpus:1;mem:512", role="quota")
    assert cluster.offers() == [("f", "a", "cpus:1;mem:512")]
    assert cluster.core.state.quota.usage("quota") == {}


def test_what_absent_roles_are_guaranteed_is_laid_away_for_each_of_them() -> None:
    cluster = Conversation()
    cluster.framework("f", "fair")
    cluster.role("absent1", guarantees={"cpus": 1, "mem": 512})
    cluster.role("absent2", guarantees={"cpus": 2, "mem": 1024})
    for number in range(3):
        cluster.agent(f"a{number}", "cpus:1;mem:512")
    assert cluster.offers() == []
    cluster.role("absent2")
    assert len(cluster.offers()) == 2


def test_a_role_that_starves_gets_what_comes_free_once_it_has_a_guarantee() -> None:
    cluster = Conversation()
    cluster.framework("greedy", "fair")
    for name in ("a", "b"):
        cluster.agent(name, "cpus:1;mem:512")
    assert len(cluster.offers()) == 2
    cluster.framework("starving", "quota")
    cluster.role("fair", weight=1000.0)
    cluster.role("quota", guarantees={"cpus": 2, "mem": 1024})
    for name in ("a", "b"):
        cluster.recover("greedy", name, "cpus:1;mem:512", role="fair")
    assert [framework for framework, _, _ in cluster.offers()] == ["starving", "starving"]


def test_one_resource_at_its_limit_leaves_the_others() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", guarantees={"cpus": 2, "mem": 1024}, limits={"cpus": 2, "mem": 1024})
    cluster.agent("a", "cpus:1;mem:1024")
    assert cluster.offers() == [("q", "a", "cpus:1;mem:1024")]
    cluster.agent("b", "cpus:1;mem:512")
    assert cluster.offers() == [("q", "b", "cpus:1")]
    cluster.agent("c", "cpus:1;mem:512")
    assert cluster.offers() == []


def test_of_several_disks_that_cannot_be_divided_as_many_are_given_as_quota_has_room_for() -> None:
    disks = []
    for root in ("/mnt/1", "/mnt/2"):
        (disk,) = parse("disk:50").messages()
        disk.disk.source.type = disk.disk.source.MOUNT
        disk.disk.source.mount.root = root
        disks.append(disk)
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", guarantees={"cpus": 1, "disk": 60}, limits={"cpus": 1, "disk": 60})
    cluster.agent("a", parse("cpus:1;disk:5") + Resources.of(disks))
    (allocation,) = cluster.cycle()
    given = Resources.sum(allocation.resources)
    assert given.disk == 55
    assert sum(kind.size is not None for kind in given) == 1


# -- nested roles ------------------------------------------------------------------------------------------------------


def test_what_a_child_holds_meets_the_guarantee_of_its_parent() -> None:
    cluster = Conversation()
    cluster.framework("child", "eng/backend")
    cluster.framework("f", "fair")
    cluster.role("eng", guarantees={"cpus": 2, "mem": 1024})
    holdings = {("child", "eng/backend"): "cpus:2;mem:1024"}
    cluster.agent("a", "cpus:2;mem:1024", holdings=holdings)
    cluster.agent("b", "cpus:1;mem:512")
    # Nothing more is set aside for eng, whoever of it holds what it is guaranteed.
    assert cluster.core.state.quota.headroom() == {}
    assert cluster.offers() == [("f", "b", "cpus:1;mem:512")]


def test_what_a_child_is_guaranteed_is_laid_away_although_its_parents_guarantee_is_used_up() -> None:
    cluster = Conversation()
    cluster.framework("own", "eng", suppressed=["eng"])
    cluster.framework("f", "fair")
    cluster.role("eng", guarantees={"cpus": 2, "mem": 1024})
    cluster.role("eng/backend", guarantees={"cpus": 1, "mem": 512})
    cluster.agent("a", "cpus:2;mem:1024", holdings={("own", "eng"): "cpus:2;mem:1024"})
    cluster.agent("b", "cpus:1;mem:512")
    assert cluster.core.state.quota.headroom() == {"cpus": 1000, "mem": 512_000}
    assert cluster.offers() == []
    cluster.framework("child", "eng/backend")
    assert cluster.offers() == [("child", "b", "cpus:1;mem:512")]


def test_a_child_that_comes_later_finds_counted_what_its_parent_already_holds() -> None:
    cluster = Conversation()
    cluster.framework("own", "eng")
    cluster.role("eng", limits={"cpus": 3, "mem": 3072})
    cluster.agent("a", "cpus:2;mem:2048")
    assert len(cluster.offers()) == 1
    cluster.framework("child", "eng/backend")
    cluster.suppress("own")
    cluster.agent("b", "cpus:2;mem:2048")
    assert cluster.offers() == [("child", "b", "cpus:1;mem:1024")]
    assert usage(cluster, "eng") == {"cpus": 3, "mem": 3072}
    assert usage(cluster, "eng/backend") == {"cpus": 1, "mem": 1024}


@pytest.mark.parametrize(
    ("resources", "offered"),
    [
        ("cpus:0.006;mem:16;cpus(eng):0.006;mem(eng):16", True),
        ("cpus:0.006;mem:16;cpus(ops):0.006;mem(ops):16", False),
        ("cpus:0.01;mem:31", True),
        ("cpus:0.009;mem:32", True),
        ("cpus:1", True),
        ("mem:64", True),
        ("cpus:0.009;mem:31.999;disk:1000", False),
        ("disk:1000;ports:[31000-31009]", False),
    ],
)
def test_enough_of_one_resource_is_worth_an_offer(resources: str, offered: bool) -> None:
    cluster = Conversation()
    cluster.framework("f", "eng")
    cluster.agent("a", resources)
    assert bool(cluster.offers()) is offered
