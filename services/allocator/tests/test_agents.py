"""Agents that come, change and go, and what frameworks hold of them."""

from __future__ import annotations

import gc
import weakref

import pytest

from mezzo.errors import Conflict, NotFound
from mezzo_allocator.core import events as ev
from mezzo_allocator.testing import Conversation


def test_what_is_held_when_an_agent_registers_is_not_offered() -> None:
    cluster = Conversation()
    cluster.framework("f1")
    cluster.framework("f2", "role2", active=False)
    cluster.agent("a", "cpus:4;mem:4096", holdings={("f1", "*"): "cpus:1;mem:1024", ("f2", "role2"): "cpus:1;mem:1024"})
    assert cluster.offers() == [("f1", "a", "cpus:2;mem:2048")]


def test_an_agent_that_may_not_be_offered_keeps_what_it_has() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512", active=False)
    assert cluster.offers() == []
    cluster.agent("a", "cpus:1;mem:512", active=True)
    assert cluster.offers() == [("f", "a", "cpus:1;mem:512")]


def test_more_resources_of_an_agent_are_offered() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    cluster.cycle()
    cluster.agent("a", "cpus:3;mem:512", holdings={("f", "*"): "cpus:1;mem:512"})
    assert cluster.offers() == [("f", "a", "cpus:2")]


def test_removed_agent_takes_everything_held_of_it_along() -> None:
    cluster = Conversation()
    cluster.framework("f1")
    cluster.framework("f2")
    cluster.agent("a", "cpus:8;mem:512")
    assert cluster.offers() == [("f1", "a", "cpus:8;mem:512")]
    cluster.remove_agent("a")
    cluster.recover("f1", "a", "cpus:8;mem:512")
    cluster.agent("b", "cpus:1;mem:512")
    # f1 holds nothing any more; f2 has been served less often.
    assert cluster.offers() == [("f2", "b", "cpus:1;mem:512")]
    cluster.remove_agent("a")


def test_allocations_on_their_way_survive_an_agent_update_that_does_not_know_of_them() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    (allocation,) = cluster.cycle()
    seen = 0
    cluster.agent("a", "cpus:1;mem:512", cycle=seen)
    assert cluster.offers() == []
    cluster.decline(allocation)
    assert len(cluster.offers(after=6.0)) == 1


def test_without_a_cycle_the_holdings_of_an_update_are_the_truth() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    cluster.cycle()
    cluster.agent("a", "cpus:1;mem:512")
    assert cluster.offers() == [("f", "a", "cpus:1;mem:512")]


def test_giving_back_what_is_not_held_is_a_conflict() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    with pytest.raises(Conflict, match="holds nothing of agent 1"):
        cluster.recover("f", "a", "cpus:1")


def test_holding_more_than_there_is_is_a_conflict() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    with pytest.raises(Conflict, match="free, not cpus:2"):
        cluster.take("f", "a", "cpus:2")


def test_an_unknown_framework_is_named() -> None:
    cluster = Conversation()
    with pytest.raises(NotFound, match="framework 7 was never announced"):
        cluster.say(ev.OffersRevived(7))


def test_removed_framework_is_forgotten_and_what_was_on_its_way_to_it_is_free() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1")
    cluster.agent("a", "cpus:1;mem:512")
    cluster.cycle()
    cluster.remove_framework("f1")
    assert cluster.core.state.frameworks.by_number == {}
    assert "role1" not in cluster.core.state.tree.roles
    cluster.framework("f2", "role1")
    assert cluster.offers() == [("f2", "a", "cpus:1;mem:512")]


def test_an_update_may_leave_holdings_as_they_are() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:2;mem:512", holdings={("f", "*"): "cpus:1;mem:256"})
    cluster.agent("a", "cpus:2;mem:512", active=False, keeps_holdings=True)
    assert cluster.offers() == []
    cluster.agent("a", "cpus:2;mem:512", keeps_holdings=True)
    assert cluster.offers() == [("f", "a", "cpus:1;mem:256")]
    cluster.recover("f", "a", "cpus:2;mem:512")
    assert cluster.offers() == [("f", "a", "cpus:2;mem:512")]


def test_a_new_session_starts_from_nothing() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    cluster.cycle()
    cluster.say(ev.SessionBegun("another"))
    assert not cluster.core.pending
    cluster.say(ev.SnapshotEnded())
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    (allocation,) = cluster.cycle()
    assert allocation.framework == 1


def test_the_agents_of_an_ended_session_are_let_go_without_a_garbage_collection() -> None:
    cluster = Conversation()
    cluster.agent("a", "cpus:1;mem:512")
    table = weakref.ref(cluster.core.state.agents)
    gc.disable()
    try:
        cluster.say(ev.SessionBegun("another"))
        assert table() is None
    finally:
        gc.enable()


def test_a_cycle_looks_at_a_bounded_number_of_agents_and_leaves_the_rest_for_the_next() -> None:
    cluster = Conversation()
    cluster.framework("f")
    for number in range(10):
        cluster.agent(f"a{number}", "cpus:1;mem:512")
    assert len(cluster.cycle(agents_max=4)) == 4
    assert cluster.core.pending
    assert len(cluster.cycle(agents_max=4)) == 4
    assert len(cluster.cycle(agents_max=4)) == 2
    assert not cluster.core.pending


def test_a_new_kind_of_resource_finds_its_column() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1")
    cluster.framework("f2", "role2")
    cluster.agent("a", "cpus:1;mem:512")
    assert [framework for framework, _, _ in cluster.offers()] == ["f1"]
    cluster.agent("b", "cpus:1;mem:512;bandwidth:100;fpgas:2;licences:7")
    assert cluster.offers() == [("f2", "b", "bandwidth:100;cpus:1;fpgas:2;licences:7;mem:512")]
    cluster.role("role2", limits={"licences": 7, "bandwidth": 200})
    cluster.agent("c", "cpus:1;mem:512;licences:1")
    cluster.suppress("f1")
    assert cluster.offers() == [("f2", "c", "cpus:1;mem:512")]


def test_agents_take_as_many_slots_as_they_have_slices() -> None:
    cluster = Conversation()
    for number in range(3):
        cluster.agent(f"a{number}", "cpus:1;mem:512")
    assert len(cluster.core.state.agents.contents) == 3
    cluster.agent("reserved", "cpus:1;cpus(eng):1")
    assert len(cluster.core.state.agents.contents) == 5


def test_what_is_allocated_of_an_agent_that_is_gone_went_with_it() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    cluster.remove_agent("a")
    assert cluster.offers() == []
    cluster.take("f", "a", "cpus:1;mem:512")
    cluster.recover("f", "a", "cpus:1;mem:512", refuse=5.0)
    assert not cluster.core.pending
    assert cluster.core.wake_at() is None
