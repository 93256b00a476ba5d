"""Quota among reservations, nested roles and what is held: what counts against it, and what is kept free for it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mesos.v1.mesos_pb2 import Resource
from mezzo.resources import Resources, parse
from mezzo_allocator.testing import CAPABILITY, Conversation

DAY = 86_400.0
RESERVATION = Resource.ReservationInfo
KINDS = pytest.mark.parametrize(
    "kind", [pytest.param(RESERVATION.STATIC, id="static"), pytest.param(RESERVATION.DYNAMIC, id="dynamic")]
)


def reserved(text: str, role: str, kind: RESERVATION.Type.ValueType = RESERVATION.DYNAMIC) -> Resources:
    messages = parse(text).messages()
    for message in messages:
        message.reservations.add(type=kind, role=role)
    return Resources.of(messages)


def with_quota(cluster: Conversation, role: str, amounts: Mapping[str, float]) -> None:
    """Guarantee a role as much as it may have at most, as quota was before it had two sides."""
    cluster.role(role, guarantees=amounts, limits=amounts)


def shared(volume: str, disk: int, role: str) -> Resources:
    (message,) = reserved(f"disk:{disk}", role).messages()
    message.disk.persistence.id = volume
    message.disk.volume.container_path = "data"
    message.disk.volume.mode = message.disk.volume.RW
    message.shared.SetInParent()
    return Resources.of([message])


# -- what counts -------------------------------------------------------------------------------------------------------


@KINDS
def test_what_is_reserved_and_declined_counts_against_quota(kind: RESERVATION.Type.ValueType) -> None:
    cluster = Conversation()
    cluster.agent("a1", reserved("cpus:1;mem:1024", "quota", kind))
    with_quota(cluster, "quota", {"cpus": 1, "mem": 1024})
    cluster.framework("q", "quota")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=DAY)
    cluster.agent("a2", "cpus:1;mem:1024")
    assert cluster.offers() == []
    assert cluster.full_pass() == []


@KINDS
def test_what_is_reserved_and_held_counts_once_against_quota(kind: RESERVATION.Type.ValueType) -> None:
    cluster = Conversation()
    cluster.agent("a1", reserved("cpus:1;mem:1024", "quota", kind))
    with_quota(cluster, "quota", {"cpus": 2, "mem": 2048})
    cluster.framework("q", "quota")
    assert cluster.offers() == [("q", "a1", "cpus(quota):1;mem(quota):1024")]
    cluster.agent("a2", "cpus:1;mem:1024")
    assert cluster.offers() == [("q", "a2", "cpus:1;mem:1024")]
    cluster.agent("a3", "cpus:1;mem:1024")
    assert cluster.offers() == []


def test_what_is_reserved_counts_so_that_a_role_whose_share_is_lower_gets_no_more() -> None:
    cluster = Conversation()
    with_quota(cluster, "quota", {"cpus": 2, "mem": 256})
    cluster.framework("q", "quota")
    cluster.framework("f", "fair")
    # Without the memory, q would have less than f after the first agent.
    cluster.agent("a1", "cpus:8;mem(quota):256", holdings={("q", "quota"): "cpus:2;mem(quota):256"})
    assert cluster.offers() == [("f", "a1", "cpus:6")]
    cluster.agent("a2", "cpus:4")
    assert cluster.offers() == [("f", "a2", "cpus:4")]


def test_reserving_what_is_held_leaves_as_much_of_quota_as_before() -> None:
    cluster = Conversation()
    with_quota(cluster, "quota", {"cpus": 10, "mem": 1024})
    cluster.framework("q", "quota")
    cluster.agent("a1", "cpus:5;mem:512")
    assert cluster.offers() == [("q", "a1", "cpus:5;mem:512")]
    held = reserved("cpus:5;mem:512", "quota")
    cluster.agent("a1", held, holdings={("q", "quota"): held})
    cluster.agent("a2", "cpus:10;mem:1024")
    assert cluster.offers() == [("q", "a2", "cpus:5;mem:512")]


def test_unreserving_what_is_held_leaves_as_much_of_quota_as_before() -> None:
    cluster = Conversation()
    with_quota(cluster, "quota", {"cpus": 1, "mem": 1024})
    cluster.framework("q", "quota")
    cluster.agent("a1", reserved("cpus:1;mem:1024", "quota"))
    assert cluster.offers() == [("q", "a1", "cpus(quota):1;mem(quota):1024")]
    cluster.agent("a2", "cpus:1;mem:1024")
    assert cluster.offers() == []
    cluster.agent("a1", "cpus:1;mem:1024", holdings={("q", "quota"): "cpus:1;mem:1024"})
    assert cluster.offers() == []
    assert cluster.full_pass() == []


def test_a_shared_volume_that_is_offered_twice_leaves_room_for_as_much_again() -> None:
    cluster = Conversation()
    with_quota(cluster, "quota", {"cpus": 3, "mem": 2048, "disk": 100})
    cluster.framework("q", "quota", capabilities=[CAPABILITY.SHARED_RESOURCES])
    volume = shared("v", 50, "quota")
    cluster.agent("a1", reserved("cpus:2;mem:1024", "quota") + volume)
    (first,) = cluster.cycle()
    assert Resources.sum(first.resources).contains(volume)
    cluster.recover("q", "a1", reserved("cpus:1;mem:512", "quota"), role="quota")
    (second,) = cluster.cycle()
    assert Resources.sum(second.resources) == reserved("cpus:1;mem:512", "quota") + volume
    cluster.agent("a2", "cpus:1;mem:1024;disk:50")
    assert cluster.offers() == [("q", "a2", "cpus:1;disk:50;mem:1024")]
    cluster.agent("a3", "cpus:0.5;mem:512;disk:50")
    assert cluster.offers() == []


# -- what is kept free -------------------------------------------------------------------------------------------------


@KINDS
def test_reservations_beyond_the_quota_of_one_role_are_no_headroom_for_another(
    kind: RESERVATION.Type.ValueType,
) -> None:
    cluster = Conversation()
    with_quota(cluster, "reserving", {"cpus": 1, "mem": 1024})
    with_quota(cluster, "plain", {"cpus": 1, "mem": 1024})
    # As much as both are guaranteed together, and all of it is of one of them.
    cluster.agent("a1", reserved("cpus:2;mem:2048", "reserving", kind))
    cluster.agent("a2", "cpus:1;mem:1024")
    cluster.framework("f", "fair")
    assert cluster.offers() == []
    cluster.agent("a3", "cpus:1;mem:1024")
    ((framework, _, offered),) = cluster.offers()
    assert (framework, offered) == ("f", "cpus:1;mem:1024")


@KINDS
def test_a_role_without_quota_is_offered_what_is_reserved_for_it_while_the_rest_is_kept_free(
    kind: RESERVATION.Type.ValueType,
) -> None:
    cluster = Conversation()
    cluster.agent("a1", parse("cpus:2;mem:2048") + reserved("cpus:2;mem:2048", "fair", kind))
    with_quota(cluster, "quota", {"cpus": 2, "mem": 2048})
    cluster.framework("q", "quota")
    (allocation,) = cluster.cycle()
    assert cluster.summary(allocation) == ("q", "a1", "cpus:2;mem:2048")
    cluster.decline(allocation, seconds=DAY)
    cluster.framework("f", "fair")
    assert cluster.offers() == [("f", "a1", "cpus(fair):2;mem(fair):2048")]


def test_what_is_reserved_for_others_is_not_kept_free_for_a_guarantee_and_what_is_kept_free_is_not_theirs() -> None:
    cluster = Conversation()
    for name in ("a1", "a2"):
        cluster.agent(name, "cpus:4;mem:512")
    cluster.agent("a2", reserved("cpus:4;mem:512", "fair"))
    cluster.framework("q", "quota")
    with_quota(cluster, "quota", {"cpus": 4, "mem": 512})
    (allocation,) = cluster.cycle()
    assert cluster.summary(allocation) == ("q", "a1", "cpus:4;mem:512")
    cluster.decline(allocation, seconds=DAY)
    assert cluster.full_pass() == []
    cluster.framework("f", "fair")
    (allocation,) = cluster.cycle()
    assert cluster.summary(allocation) == ("f", "a2", "cpus(fair):4;mem(fair):512")
    cluster.decline(allocation, seconds=DAY)
    assert cluster.full_pass() == []


def test_what_a_child_holds_of_its_parents_reservation_is_no_longer_taken_off_what_is_free() -> None:
    cluster = Conversation()
    with_quota(cluster, "quota", {"cpus": 1, "mem": 1024})
    cluster.agent("a1", "cpus(a):1;mem(a):1024")
    cluster.framework("child", "a/b")
    assert cluster.offers() == [("child", "a1", "cpus(a):1;mem(a):1024")]
    cluster.framework("f", "fair")
    assert cluster.offers() == []
    for name in ("a2", "a3"):
        cluster.agent(name, "cpus:1;mem:1024")
    # One of the two is kept free for the guarantee, and only one.
    ((framework, _, offered),) = cluster.offers()
    assert (framework, offered) == ("f", "cpus:1;mem:1024")


def test_what_parents_and_children_hold_is_counted_once_in_what_is_free() -> None:
    cluster = Conversation()
    cluster.framework("child", "a/b")
    cluster.agent("a1", "cpus:1;mem:100")
    assert cluster.offers() == [("child", "a1", "cpus:1;mem:100")]
    cluster.framework("parent", "a")
    cluster.agent("a2", "cpus:1;mem:100")
    assert cluster.offers() == [("parent", "a2", "cpus:1;mem:100")]
    with_quota(cluster, "quota", {"cpus": 1, "mem": 100})
    cluster.agent("a3", "cpus:1;mem:100")
    assert cluster.offers() == []
    cluster.agent("a4", "cpus:1;mem:100")
    assert len(cluster.offers()) == 1
    assert cluster.full_pass() == []


def test_resources_without_quota_come_along_as_far_as_they_are_not_kept_free_for_others() -> None:
    cluster = Conversation()
    with_quota(cluster, "quota1", {"cpus": 2})
    everything = "cpus:1;mem:1024;ports:[31000-32000]"
    cluster.agent("a1", everything)
    cluster.framework("f", "quota1")
    assert cluster.offers() == [("f", "a1", everything)]
    with_quota(cluster, "quota2", {"mem": 1024})
    cluster.agent("a2", everything)
    # quota1 still needs a CPU; the memory is kept free for quota2.
    assert cluster.offers() == [("f", "a2", "cpus:1;ports:[31000-32000]")]
    cluster.agent("a3", everything)
    # quota1 has its CPUs; the memory of one of the two agents is enough for quota2.
    assert cluster.offers() == [("f", "a3", "mem:1024;ports:[31000-32000]")]


def test_a_limit_of_nothing_that_is_raised_admits_as_much_as_it_says() -> None:
    cluster = Conversation()
    cluster.framework("q", "*")
    cluster.role("*", limits={"cpus": 0, "mem": 0, "disk": 0})
    cluster.agent("a1", "cpus:2;mem:1024;disk:1024")
    assert cluster.offers() == []
    cluster.framework("f", "fair")
    assert cluster.offers() == [("f", "a1", "cpus:2;disk:1024;mem:1024")]
    cluster.role("*", limits={"cpus": 1, "mem": 512, "disk": 512})
    cluster.agent("a2", "cpus:2;mem:1024;disk:1024")
    half = "cpus:1;disk:512;mem:512"
    assert sorted(cluster.offers()) == [("f", "a2", half), ("q", "a2", half)]


def test_what_is_left_once_guarantees_are_met_goes_by_share_to_those_whom_no_limit_stops() -> None:
    cluster = Conversation()
    with_quota(cluster, "quota", {"cpus": 0.25, "mem": 128})
    cluster.framework("q", "quota")
    cluster.framework("f", "fair")
    cluster.agent("a1", "cpus:1;mem:512", holdings={("q", "quota"): "cpus:0.25;mem:128"})
    assert cluster.offers() == [("f", "a1", "cpus:0.75;mem:384")]
    # By share it would be q's.
    cluster.agent("a2", "cpus:1;mem:512")
    assert cluster.offers() == [("f", "a2", "cpus:1;mem:512")]


def test_a_role_whose_guarantee_is_not_met_gets_exactly_what_is_missing_although_its_share_is_higher() -> None:
    cluster = Conversation()
    with_quota(cluster, "quota1", {"cpus": 1, "mem": 200})
    with_quota(cluster, "quota2", {"cpus": 2, "mem": 2000})
    for number in (1, 2):
        cluster.framework(f"f{number}", f"quota{number}")
        holdings = {(f"f{number}", f"quota{number}"): "cpus:1;mem:1024"}
        cluster.agent(f"a{number}", "cpus:1;mem:1024", holdings=holdings)
    cluster.agent("a3", "cpus:2;mem:2048")
    assert cluster.offers() == [("f2", "a3", "cpus:1;mem:976")]


def test_what_a_child_holds_uses_up_the_limit_of_its_parent_for_both() -> None:
    cluster = Conversation()
    cluster.framework("child", "a/b")
    cluster.agent("a1", "cpus:1;mem:1024")
    assert cluster.offers() == [("child", "a1", "cpus:1;mem:1024")]
    with_quota(cluster, "a", {"cpus": 1, "mem": 1024})
    cluster.framework("parent", "a")
    cluster.agent("a2", "cpus:1;mem:1024")
    assert cluster.offers() == []


def test_a_childs_guarantee_is_met_out_of_the_parents_that_is_then_met_as_well() -> None:
    cluster = Conversation()
    cluster.framework("f", "aaa")
    with_quota(cluster, "x/b", {"cpus": 3, "mem": 300})
    cluster.framework("parent", "x/b")
    cluster.agent("a1", "cpus:2;mem:200")
    assert cluster.offers() == [("parent", "a1", "cpus:2;mem:200")]
    with_quota(cluster, "x/b/c", {"cpus": 1, "mem": 100})
    cluster.framework("child", "x/b/c")
    cluster.agent("a2", "cpus:1;mem:100")
    assert cluster.offers() == [("child", "a2", "cpus:1;mem:100")]
    cluster.agent("a3", "cpus:1;mem:100")
    assert cluster.offers() == [("f", "a3", "cpus:1;mem:100")]


@pytest.mark.parametrize("quota", [True, False], ids=["quota", "no quota"])
def test_a_shared_volume_in_use_is_offered_to_the_next_framework(quota: bool) -> None:
    cluster = Conversation()
    for name in ("f1", "f2"):
        cluster.framework(name, "role1", capabilities=[CAPABILITY.SHARED_RESOURCES])
    if quota:
        with_quota(cluster, "role1", {"cpus": 8, "mem": 2048, "disk": 4096})
    cluster.agent("a", "cpus:4;mem:1024;disk(role1):2048")
    assert cluster.offers() == [("f1", "a", "cpus:4;disk(role1):2048;mem:1024")]
    (disk,) = parse("disk(role1):2043").messages()
    volume = shared("v", 5, "role1")
    total = parse("cpus:4;mem:1024") + Resources.of([disk]) + volume
    cluster.agent("a", total, holdings={("f1", "role1"): total})
    # A task of f1's uses the volume; everything else comes back.
    left = parse("cpus:3;mem:1019") + Resources.of([disk])
    cluster.recover("f1", "a", left, role="role1")
    (allocation,) = cluster.cycle()
    assert cluster.framework_of(allocation) == "f2"
    assert Resources.sum(allocation.resources) == left + volume


@pytest.mark.parametrize(("limit", "offered"), [(0, []), (0.001, [("f", "a", "cpus(eng):0.001;mem(eng):512")])])
def test_a_limit_of_a_child_keeps_it_from_the_smallest_reservation_of_its_parent(
    limit: float, offered: list[tuple[str, str, str]]
) -> None:
    cluster = Conversation()
    cluster.framework("f", "eng/a")
    cluster.role("eng/a", limits={"cpus": limit})
    cluster.agent("a", "cpus(eng):0.001;mem(eng):512")
    assert cluster.offers() == offered
