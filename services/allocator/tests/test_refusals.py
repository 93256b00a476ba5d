"""Declined offers, suppression and revival."""

from __future__ import annotations

import math

from mezzo_allocator.testing import Conversation


def test_declined_offer_is_not_sent_again_before_the_filter_expires() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=5.0)
    assert cluster.offers() == []
    assert cluster.offers(after=4.9) == []
    due = cluster.core.wake_at()
    assert due is not None
    assert 0.0 < due - cluster.now < 0.15
    assert cluster.offers(after=due - cluster.now) == [("f", "a", "cpus:1;mem:512")]


def test_a_refusal_is_for_one_framework_in_one_role_on_one_agent() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1", "role2")
    cluster.agent("a", "cpus:1;mem:512")
    (first,) = cluster.cycle()
    cluster.decline(first)
    (second,) = cluster.cycle()
    assert {first.role, second.role} == {"role1", "role2"}
    cluster.decline(second)
    assert cluster.offers() == []
    cluster.agent("b", "cpus:1;mem:512")
    assert [agent for _, agent, _ in cluster.offers()] == ["b"]


def test_a_refusal_does_not_hold_against_more_than_was_refused() -> None:
    cluster = Conversation()
    cluster.framework("busy", "role1")
    cluster.framework("f", "role2")
    cluster.agent("a", "cpus:4;mem:4096", holdings={("busy", "role1"): "cpus:2;mem:2048"})
    cluster.suppress("busy")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=1000.0)
    assert cluster.offers() == []
    cluster.recover("busy", "a", "cpus:1;mem:1024", role="role1")
    assert cluster.offers() == [("f", "a", "cpus:3;mem:3072")]


def test_a_refusal_holds_against_less_than_was_refused() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.framework("other", active=False)
    cluster.agent("a", "cpus:4;mem:4096")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=100.0)
    cluster.take("other", "a", "cpus:1;mem:1024")
    assert cluster.offers(after=1.0) == []


def test_refusing_for_no_time_still_lets_one_interval_pass() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=0.0)
    assert cluster.offers() == []
    assert len(cluster.offers(after=1.1)) == 1


def test_a_negative_time_means_the_default_and_an_endless_one_a_year() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=-1.0)
    assert cluster.offers(after=4.5) == []
    (allocation,) = cluster.cycle(after=1.0)
    cluster.decline(allocation, seconds=1e30)
    assert cluster.offers(after=364 * 86400.0) == []
    assert len(cluster.offers(after=2 * 86400.0)) == 1


def test_a_time_that_is_no_number_means_the_default() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=math.nan)
    assert cluster.offers(after=4.9) == []
    assert cluster.offers(after=0.2) == [("f", "a", "cpus:1;mem:512")]


def test_of_two_refusals_of_the_same_the_longer_one_counts() -> None:
    for first, second in ((5.0, 50.0), (50.0, 5.0)):
        cluster = Conversation()
        cluster.framework("f")
        cluster.agent("a", "cpus:2;mem:1024")
        cluster.cycle()
        cluster.recover("f", "a", "cpus:1;mem:512", refuse=first)
        cluster.recover("f", "a", "cpus:1;mem:512", refuse=second)
        cluster.take("f", "a", "cpus:1;mem:512")
        assert cluster.offers(after=6.0) == []
        assert cluster.offers(after=30.0) == []
        assert len(cluster.offers(after=20.0)) == 1


def test_refused_resources_go_to_the_next_framework_at_once() -> None:
    cluster = Conversation()
    for name in ("f1", "f2", "f3"):
        cluster.framework(name)
    cluster.agent("a", "cpus:1;mem:512")
    asked = []
    for _ in range(3):
        (allocation,) = cluster.cycle()
        asked.append(cluster.framework_of(allocation))
        cluster.decline(allocation, seconds=60.0)
    assert asked == ["f1", "f2", "f3"]
    assert cluster.offers() == []


def test_suppressed_framework_gets_no_offers_until_it_revives() -> None:
    cluster = Conversation()
    cluster.framework("f", suppressed=["*"])
    cluster.agent("a", "cpus:1;mem:512")
    assert cluster.offers() == []
    cluster.revive("f")
    (allocation,) = cluster.cycle()
    cluster.suppress("f")
    cluster.recover("f", "a", "cpus:1;mem:512")
    assert cluster.offers(after=10.0) == []
    assert allocation.role == "*"
    cluster.revive("f")
    assert cluster.cycle() == [allocation]
    cluster.revive("f")
    assert cluster.cycle() == []


def test_revive_forgets_refusals() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=1000.0)
    assert cluster.offers() == []
    cluster.revive("f")
    assert len(cluster.offers()) == 1
    assert cluster.core.wake_at() is None


def test_revive_and_suppress_are_per_role() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1", "role2", suppressed=["role1", "role2"])
    cluster.agent("a", "cpus:1;mem:512")
    cluster.agent("b", "cpus:1;mem:512")
    cluster.revive("f", "role2")
    allocations = cluster.cycle()
    assert [allocation.role for allocation in allocations] == ["role2", "role2"]
    for allocation in allocations:
        cluster.decline(allocation, seconds=1000.0)
    cluster.suppress("f", "role2")
    cluster.revive("f", "role1")
    assert [allocation.role for allocation in cluster.cycle()] == ["role1", "role1"]


def test_inactive_framework_gets_nothing_and_what_it_holds_counts() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1", active=False)
    cluster.framework("f2", "role2")
    cluster.agent("a", "cpus:4;mem:4096", holdings={("f1", "role1"): "cpus:2;mem:2048"})
    assert cluster.offers() == [("f2", "a", "cpus:2;mem:2048")]
    cluster.framework("f1", "role1")
    cluster.agent("b", "cpus:1;mem:512")
    cluster.agent("c", "cpus:1;mem:512")
    assert [framework for framework, _, _ in cluster.offers()] == ["f1", "f2"]


def test_a_role_left_is_no_longer_offered_and_its_refusals_are_forgotten() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1", "role2", suppressed=["role2"])
    cluster.agent("a", "cpus:2;mem:512")
    (allocation,) = cluster.cycle()
    cluster.use(allocation, "cpus:1;mem:256", seconds=1000.0)
    cluster.framework("f", "role2")
    assert [each.role for each in cluster.cycle()] == ["role2"]
    cluster.recover("f", "a", "cpus:1;mem:256", role="role1")
    cluster.framework("f", "role1")
    assert [each.role for each in cluster.cycle()] == ["role1"]


def test_more_than_was_refused_of_reserved_and_unreserved_is_offered_at_once() -> None:
    cluster = Conversation()
    cluster.framework("f", "eng")
    cluster.agent("a", "cpus:2;mem:512;cpus(eng):2;mem(eng):512")
    (allocation,) = cluster.cycle()
    cluster.use(allocation, "cpus:1;mem:256", seconds=1000.0)
    assert cluster.full_pass() == []
    cluster.recover("f", "a", "cpus:1;mem:256", role="eng")
    assert cluster.offers() == [("f", "a", "cpus(eng):2;cpus:2;mem(eng):512;mem:512")]
