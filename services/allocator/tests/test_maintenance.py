"""Planned maintenance: who is asked to leave an agent, and how often."""

from __future__ import annotations

from mezzo_allocator.core import events as ev
from mezzo_allocator.testing import Conversation

TOMORROW, LATER = 86_400, 90_000


def running(*frameworks: str, unavailable: int | None = TOMORROW) -> Conversation:
    """A cluster with one agent, of which each framework holds a CPU."""
    cluster = Conversation()
    for name in frameworks:
        cluster.framework(name)
    plan(cluster, unavailable, holders=frameworks)
    return cluster


def plan(cluster: Conversation, unavailable: int | None, holders: tuple[str, ...], *, active: bool = True) -> None:
    held = {(name, "*"): "cpus:1;mem:64" for name in holders}
    cluster.agent("a", "cpus:4;mem:1024", holdings=held, unavailable=unavailable, active=active)


def test_whoever_holds_something_of_an_agent_with_planned_maintenance_is_asked_to_leave_it() -> None:
    cluster = running("f1", "f2")
    cluster.framework("elsewhere", suppressed=["*"])
    cluster.agent("b", "cpus:1;mem:64", holdings={("elsewhere", "*"): "cpus:1;mem:64"})
    (outcome,) = cluster.say(ev.CycleStarted())
    assert isinstance(outcome, ev.Allocated)
    asked = {(each.framework, each.agent, each.unavailability.start.nanoseconds) for each in outcome.inverse}
    assert asked == {(1, 1, TOMORROW * 10**9), (2, 1, TOMORROW * 10**9)}


def test_whoever_has_declined_an_agent_is_not_asked_to_leave_it() -> None:
    cluster = Conversation()
    cluster.framework("f")
    for name in ("a", "b"):
        cluster.agent(name, "cpus:1;mem:64")
    _, declined = cluster.cycle()
    cluster.decline(declined, seconds=86_400.0)
    for name in ("a", "b"):
        cluster.agent(name, "cpus:1;mem:64", keeps_holdings=True, unavailable=TOMORROW)
    assert cluster.inverse_offers() == [("f", "a")]
    assert cluster.inverse_offers() == []


def test_an_agent_with_planned_maintenance_goes_on_being_offered() -> None:
    cluster = running("f1", "f2")
    assert [(agent, what) for _, agent, what in cluster.offers()] == [("a", "cpus:2;mem:896")]


def test_whoever_is_offered_an_agent_with_planned_maintenance_is_asked_in_the_same_cycle() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:64", unavailable=TOMORROW)
    assert cluster.inverse_offers() == [("f", "a")]


def test_one_inverse_offer_is_out_per_framework_and_agent() -> None:
    cluster = running("f1", "f2")
    assert cluster.inverse_offers() == [("f1", "a"), ("f2", "a")]
    cluster.say(ev.FullPassWanted())
    assert cluster.inverse_offers(after=3600.0) == []


def test_a_framework_in_two_roles_is_asked_once() -> None:
    cluster = Conversation()
    cluster.framework("f", "eng", "ops", suppressed=["eng", "ops"])
    held = {("f", "eng"): "cpus:1;mem:64", ("f", "ops"): "cpus:1;mem:64"}
    cluster.agent("a", "cpus:4;mem:1024", holdings=held, unavailable=TOMORROW)
    assert cluster.inverse_offers() == [("f", "a")]


def test_an_answered_inverse_offer_is_repeated_when_its_filter_ends_without_any_event() -> None:
    cluster = running("f1", "f2")
    cluster.inverse_offers()
    cluster.answer("f1", "a", refuse=30.0)
    assert cluster.inverse_offers(after=29.9) == []
    assert not cluster.core.pending
    assert cluster.core.wake_at() == cluster.now + 30.0 - 29.9
    assert cluster.inverse_offers(after=0.2) == [("f1", "a")]


def test_a_filter_of_no_time_still_lets_one_interval_pass() -> None:
    cluster = running("f")
    cluster.inverse_offers()
    cluster.answer("f", "a", refuse=0.0)
    assert cluster.inverse_offers(after=0.9) == []
    assert cluster.inverse_offers(after=0.2) == [("f", "a")]


def test_a_rescinded_inverse_offer_may_be_followed_by_another_at_once() -> None:
    cluster = running("f")
    cluster.inverse_offers()
    cluster.answer("f", "a")
    assert cluster.core.pending
    assert cluster.inverse_offers() == [("f", "a")]


def test_an_answer_to_what_is_not_out_is_passed_over() -> None:
    cluster = running("f")
    cluster.answer("f", "a", refuse=3600.0)
    assert cluster.inverse_offers() == [("f", "a")]


def test_nobody_is_asked_who_holds_nothing_any_more() -> None:
    cluster = running("f")
    cluster.suppress("f")
    cluster.inverse_offers()
    cluster.answer("f", "a", refuse=5.0)
    cluster.recover("f", "a", "cpus:1;mem:64")
    assert cluster.inverse_offers(after=6.0) == []


def test_nothing_is_asked_once_the_maintenance_is_called_off() -> None:
    cluster = running("f1", "f2")
    cluster.inverse_offers()
    cluster.answer("f1", "a", refuse=5.0)
    plan(cluster, None, holders=("f1", "f2"))
    assert cluster.inverse_offers(after=10.0) == []
    assert cluster.core.wake_at() is None


def test_another_time_of_the_maintenance_asks_everybody_anew() -> None:
    cluster = running("f1", "f2")
    cluster.inverse_offers()
    cluster.answer("f1", "a", refuse=3600.0)
    plan(cluster, LATER, holders=("f1", "f2"))
    assert cluster.inverse_offers() == [("f1", "a"), ("f2", "a")]


def test_an_update_of_the_agent_with_the_same_plan_asks_nobody_anew() -> None:
    cluster = running("f")
    cluster.inverse_offers()
    plan(cluster, TOMORROW, holders=("f",))
    assert cluster.inverse_offers() == []


def test_a_disconnected_framework_is_asked_when_it_is_back() -> None:
    cluster = running("f")
    cluster.inverse_offers()
    cluster.framework("f", active=False)
    assert cluster.inverse_offers(after=10.0) == []
    cluster.framework("f")
    assert cluster.inverse_offers() == [("f", "a")]


def test_revive_forgets_the_filters_of_answers() -> None:
    cluster = running("f")
    cluster.inverse_offers()
    cluster.answer("f", "a", refuse=3600.0)
    cluster.revive("f")
    assert cluster.inverse_offers() == [("f", "a")]


def test_holders_of_a_draining_agent_are_asked_too() -> None:
    cluster = Conversation()
    cluster.framework("f")
    plan(cluster, TOMORROW, holders=("f",), active=False)
    assert cluster.inverse_offers() == [("f", "a")]


def test_a_suppressed_framework_is_asked_too() -> None:
    cluster = running("f")
    cluster.suppress("f")
    assert cluster.inverse_offers() == [("f", "a")]


def test_a_removed_agent_takes_its_plan_along() -> None:
    cluster = running("f")
    cluster.inverse_offers()
    cluster.answer("f", "a", refuse=5.0)
    cluster.remove_agent("a")
    cluster.agent("b", "cpus:1;mem:64", holdings={("f", "*"): "cpus:1;mem:64"})
    assert cluster.inverse_offers(after=10.0) == []


def test_a_removed_framework_is_not_asked() -> None:
    cluster = running("f1", "f2")
    cluster.inverse_offers()
    cluster.remove_framework("f1")
    cluster.say(ev.FullPassWanted())
    assert cluster.inverse_offers() == []


def test_inverse_offers_come_with_the_snapshot() -> None:
    cluster = Conversation()
    cluster.say(ev.SessionBegun("registry"))
    cluster.framework("f")
    plan(cluster, TOMORROW, holders=("f",))
    assert cluster.say(ev.CycleStarted()) == []
    cluster.say(ev.SnapshotEnded())
    assert cluster.inverse_offers() == [("f", "a")]


def test_whoever_is_offered_an_agent_because_its_refusal_has_ended_is_asked_in_the_same_cycle() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:64", unavailable=TOMORROW)
    (allocation,) = cluster.cycle()
    cluster.answer("f", "a")
    cluster.decline(allocation, seconds=30.0)
    assert cluster.inverse_offers() == []
    assert not cluster.core.pending
    assert cluster.inverse_offers(after=30.1) == [("f", "a")]
