"""Guarantees, limits, and what is kept free for guarantees."""

from __future__ import annotations

from mezzo_allocator.core.roles import CAPACITY_AT_START
from mezzo_allocator.testing import Conversation


def test_a_guarantee_is_met_before_anybody_else_is_served() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.framework("f", "fair")
    cluster.role("quota", guarantees={"cpus": 2, "mem": 1024})
    for number in range(4):
        cluster.agent(f"a{number}", "cpus:1;mem:512")
    served = [framework for framework, _, _ in cluster.offers()]
    # Two agents meet the guarantee; of the other two each role gets what its share says: both go to the one with less.
    assert served == ["q", "q", "f", "f"]


def test_ahead_of_others_a_role_gets_its_guarantee_and_no_more_of_that_resource() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.framework("f", "fair")
    cluster.role("quota", guarantees={"cpus": 1, "mem": 512})
    cluster.agent("a", "cpus:4;mem:4096")
    # The rest is given by share, and nobody has less than whoever has nothing.
    assert cluster.offers() == [("q", "a", "cpus:1;mem:512"), ("f", "a", "cpus:3;mem:3584")]


def test_what_is_not_guaranteed_comes_along_with_the_guarantee() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.framework("f", "fair")
    cluster.role("quota", guarantees={"cpus": 1, "mem": 512})
    cluster.agent("a", "cpus:4;mem:4096;disk:100;ports:[31000-31001]")
    assert cluster.offers() == [
        ("q", "a", "cpus:1;disk:100;mem:512;ports:[31000-31001]"),
        ("f", "a", "cpus:3;mem:3584"),
    ]


def test_a_guarantee_without_frameworks_is_laid_away() -> None:
    cluster = Conversation()
    cluster.framework("f", "fair")
    cluster.role("absent", guarantees={"cpus": 2, "mem": 1024})
    cluster.agent("a1", "cpus:1;mem:512")
    cluster.agent("a2", "cpus:1;mem:512")
    assert cluster.offers() == []
    cluster.agent("a3", "cpus:1;mem:512")
    assert len(cluster.offers()) == 1
    cluster.role("absent")
    assert len(cluster.offers()) == 2


def test_a_limit_cuts_an_offer_exactly() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", limits={"cpus": 1.5, "mem": 1000})
    cluster.agent("a", "cpus:4;mem:4096;disk:100;ports:[31000-31001]")
    assert cluster.offers() == [("q", "a", "cpus:1.5;disk:100;mem:1000;ports:[31000-31001]")]
    assert cluster.offers(after=1.0) == []
    cluster.framework("f", "fair")
    assert cluster.offers() == [("f", "a", "cpus:2.5;mem:3096")]


def test_a_limit_of_nothing_admits_nothing_of_that_resource() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", limits={"cpus": 0, "mem": 0})
    cluster.agent("a", "cpus:4;mem:4096")
    assert cluster.offers() == []


def test_a_role_at_its_limit_is_served_again_when_it_gives_back() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", limits={"cpus": 1, "mem": 512})
    cluster.agent("a", "cpus:1;mem:512")
    cluster.agent("b", "cpus:1;mem:512")
    (first,) = cluster.cycle()
    assert cluster.offers(after=1.0) == []
    cluster.decline(first, seconds=100.0)
    # Nothing has changed on the other agent; the next pass over all agents finds it.
    assert cluster.offers() == []
    ((_, other, _),) = cluster.full_pass()
    assert {cluster.agent_of(first), other} == {"a", "b"}


def test_a_guarantee_is_not_a_limit() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", guarantees={"cpus": 1})
    cluster.agent("a", "cpus:4;mem:512")
    assert cluster.offers() == [("q", "a", "cpus:4;mem:512")]


def test_guarantees_are_cut_finely_so_that_others_get_the_rest() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", guarantees={"cpus": 1, "mem": 512}, limits={"cpus": 1, "mem": 512})
    cluster.agent("a", "cpus:4;mem:4096")
    assert cluster.offers() == [("q", "a", "cpus:1;mem:512")]
    cluster.framework("f", "fair")
    assert cluster.offers() == [("f", "a", "cpus:3;mem:3584")]


def test_the_stages_of_one_cycle_make_one_allocation() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", guarantees={"cpus": 1, "mem": 512})
    cluster.agent("a", "cpus:4;mem:4096;disk:10")
    assert cluster.offers() == [("q", "a", "cpus:4;disk:10;mem:4096")]


def test_what_somebody_else_reserved_does_not_meet_a_guarantee() -> None:
    cluster = Conversation()
    cluster.framework("f", "fair")
    cluster.framework("r", "reserving")
    cluster.role("absent", guarantees={"cpus": 1, "mem": 512})
    cluster.agent("a", "cpus(reserving):8;mem(reserving):8192;cpus:1;mem:512")
    assert cluster.offers() == [("r", "a", "cpus(reserving):8;mem(reserving):8192")]


def test_reservations_count_against_quota_allocated_or_not() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.framework("f", "fair", suppressed=["fair"])
    cluster.role("quota", guarantees={"cpus": 2, "mem": 1024}, limits={"cpus": 2, "mem": 1024})
    cluster.agent("a", "cpus(quota):1;mem(quota):512")
    cluster.agent("b", "cpus:4;mem:4096")
    assert sorted(cluster.offers()) == [("q", "a", "cpus(quota):1;mem(quota):512"), ("q", "b", "cpus:1;mem:512")]
    usage = cluster.core.state.quota.usage("quota")
    assert usage == {"cpus": 2000, "mem": 1024000}


def test_reservations_beyond_a_guarantee_need_no_headroom() -> None:
    cluster = Conversation()
    cluster.framework("f", "fair")
    cluster.role("absent", guarantees={"cpus": 1, "mem": 512})
    cluster.agent("a", "cpus(absent):4;mem(absent):4096")
    cluster.agent("b", "cpus:1;mem:512")
    assert cluster.offers() == [("f", "b", "cpus:1;mem:512")]


def test_revocable_resources_meet_no_guarantee_and_know_no_limit() -> None:
    from mezzo.resources import Resources, parse
    from mezzo_allocator.testing import CAPABILITY

    cluster = Conversation()
    messages = parse("cpus:2").messages()
    messages[0].revocable.SetInParent()
    total = parse("cpus:1;mem:512") + Resources.of(messages)
    cluster.framework("q", "quota", capabilities=[CAPABILITY.REVOCABLE_RESOURCES])
    cluster.role("quota", guarantees={"cpus": 1, "mem": 512}, limits={"cpus": 1, "mem": 512})
    cluster.agent("a", total)
    (allocation,) = cluster.cycle()
    assert Resources.sum(allocation.resources) == total
    assert cluster.core.state.quota.usage("quota") == {"cpus": 1000, "mem": 512000}


def test_limits_hold_at_each_level_of_the_tree() -> None:
    cluster = Conversation()
    cluster.framework("f1", "eng/backend")
    cluster.framework("f2", "eng/frontend")
    cluster.role("eng", limits={"cpus": 3, "mem": 3072})
    cluster.role("eng/backend", limits={"cpus": 1, "mem": 1024})
    cluster.agent("a", "cpus:8;mem:8192")
    assert sorted(cluster.offers()) == [("f1", "a", "cpus:1;mem:1024"), ("f2", "a", "cpus:2;mem:2048")]


def test_a_child_without_a_guarantee_uses_what_its_siblings_leave_of_the_parents() -> None:
    cluster = Conversation()
    cluster.framework("plain", "eng/plain")
    cluster.framework("f", "fair")
    cluster.role("eng", guarantees={"cpus": 3, "mem": 3072})
    cluster.role("eng/kept", guarantees={"cpus": 2, "mem": 2048})
    for number in range(3):
        cluster.agent(f"a{number}", "cpus:1;mem:1024")
    # One agent is for whoever is in eng; two are set aside for eng/kept.
    assert [framework for framework, _, _ in cluster.offers()] == ["plain"]
    cluster.framework("kept", "eng/kept")
    assert [framework for framework, _, _ in cluster.offers()] == ["kept", "kept"]


def test_an_ancestors_reservation_used_by_a_child_counts_for_the_child() -> None:
    cluster = Conversation()
    cluster.framework("f", "eng/backend")
    cluster.role("eng", limits={"cpus": 4, "mem": 4096})
    cluster.role("eng/backend", limits={"cpus": 4, "mem": 4096})
    cluster.agent("a", "cpus(eng):3;mem(eng):3072")
    cluster.agent("b", "cpus:3;mem:3072")
    assert sorted(cluster.offers()) == [("f", "a", "cpus(eng):3;mem(eng):3072"), ("f", "b", "cpus:1;mem:1024")]
    assert cluster.core.state.quota.usage("eng") == {"cpus": 4000, "mem": 4096000}
    assert cluster.core.state.quota.usage("eng/backend") == {"cpus": 4000, "mem": 4096000}


def test_quota_counts_what_was_held_before_it_was_set() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.agent("a", "cpus:1;mem:512")
    assert len(cluster.cycle()) == 1
    cluster.role("quota", limits={"cpus": 2, "mem": 1024})
    cluster.agent("b", "cpus:4;mem:4096")
    assert cluster.offers() == [("q", "b", "cpus:1;mem:512")]


def test_a_disk_that_cannot_be_divided_is_given_whole_or_not_at_all() -> None:
    from mezzo.resources import Resources, parse

    disk = parse("disk:100").messages()[0]
    disk.disk.source.type = disk.disk.source.MOUNT
    disk.disk.source.mount.root = "/mnt/1"
    total = parse("cpus:2;mem:1024") + Resources.of([disk])
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", limits={"disk": 60})
    cluster.agent("a", total)
    assert cluster.offers() == [("q", "a", "cpus:2;mem:1024")]
    cluster.role("quota", limits={"disk": 100})
    cluster.recover("q", "a", "cpus:2;mem:1024", role="quota")
    (allocation,) = cluster.cycle()
    assert Resources.sum(allocation.resources) == total


def test_a_refusal_holds_against_an_offer_that_quota_cut() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", limits={"cpus": 1, "mem": 512})
    cluster.agent("a", "cpus:4;mem:4096")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=60.0)
    assert cluster.offers() == []
    assert cluster.full_pass() == []
    assert cluster.full_pass() == []
    cluster.role("quota", limits={"cpus": 2, "mem": 512})
    assert cluster.offers() == [("q", "a", "cpus:2;mem:512")]


def test_a_refusal_of_what_quota_cut_is_that_of_the_one_who_refused() -> None:
    cluster = Conversation()
    for name in ("first", "second", "third"):
        cluster.framework(name, "quota", suppressed=["quota"])
    cluster.role("quota", limits={"cpus": 1, "mem": 512})
    cluster.agent("a", "cpus:4;mem:4096")
    cluster.revive("second")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=60.0)
    assert cluster.offers() == []
    assert cluster.full_pass() == []
    cluster.revive("third")
    assert cluster.offers() == [("third", "a", "cpus:1;mem:512")]
    cluster.recover("third", "a", "cpus:1;mem:512", role="quota", refuse=60.0)
    assert cluster.full_pass() == []
    cluster.revive("first")
    assert cluster.offers() == [("first", "a", "cpus:1;mem:512")]


def test_the_smallest_guarantee_is_one() -> None:
    cluster = Conversation()
    cluster.framework("f", "fair")
    cluster.framework("q", "quota")
    cluster.role("quota", guarantees={"cpus": 0.001})
    cluster.agent("a", "cpus:0.001;mem:512")
    assert cluster.offers() == [("q", "a", "cpus:0.001;mem:512")]


def test_what_is_used_is_counted_anew_when_quota_is_configured_again() -> None:
    cluster = Conversation()
    cluster.framework("f", "eng")
    cluster.agent("a", "cpus:4;mem:512", holdings={("f", "eng"): "cpus:1;mem:64"})
    for _ in range(2):
        cluster.role("eng", guarantees={"cpus": 3}, limits={"cpus": 3})
        assert cluster.core.state.quota.usage("eng") == {"cpus": 1_000, "mem": 64_000}
        assert cluster.core.state.quota.headroom() == {"cpus": 2_000}
        cluster.role("eng")
    cluster.role("eng", limits={"cpus": 3})
    assert cluster.offers() == [("f", "a", "cpus:2;mem:448")]


def test_what_roles_beyond_the_room_at_the_start_hold_is_counted() -> None:
    cluster = Conversation()
    cluster.role("eng", limits={"cpus": 3})
    roles = [f"eng/{number}" for number in range(CAPACITY_AT_START)]
    cluster.framework("f", *roles, suppressed=roles)
    cluster.agent("a", "cpus:4;mem:512", holdings={("f", roles[-1]): "cpus:1;mem:64"})
    assert cluster.core.state.quota.usage("eng") == {"cpus": 1_000, "mem": 64_000}
