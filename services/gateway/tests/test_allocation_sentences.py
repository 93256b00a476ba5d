"""Explanations in sentences: each says what is in the message, and what would have to change."""

from __future__ import annotations

import json
import math

import pytest

from mezzo.allocator.v1.allocator_pb2 import Explanation, InactiveReason
from mezzo_gateway.explanations import allocations
from mezzo_gateway.explanations.allocations import Surroundings, Unanswered, answer, document, summary, verdict

SPARK = Surroundings(names={"f": "spark"})


def explanation(**turned_away: int) -> Explanation:
    return Explanation(framework_id="f", role="eng", active=True, agents_turned_away=turned_away)


def test_the_rule_that_turns_most_agents_away_comes_first_and_is_the_verdict() -> None:
    told = explanation(nothing_free=7, refused=32, region=1)
    told.refusals, told.next_refusal_ends_seconds = 32, 4.2
    assert verdict(told, SPARK) == "spark in role eng is offered nothing: 32 of 40 agents are refused by the framework"
    capability = "the framework has to subscribe with the capability REGION_AWARE"
    assert summary(told)[:3] == [
        "32 of 40 agents are refused by the framework; the next refusal ends in 4 s, or when the framework revives",
        "7 of 40 agents have nothing free; tasks there have to end, or offers that are out to be answered",
        f"1 of 40 agents lies in another region than the registry; {capability}",
    ]


def test_of_rules_that_turn_as_many_away_the_first_is_the_verdict() -> None:
    assert verdict(explanation(refused=2, inactive=2)).endswith(
        "2 of 4 agents are disconnected, draining, deactivated or not on the whitelist"
    )


@pytest.mark.parametrize("rule", allocations.RULES)
def test_every_rule_is_told_of_one_agent_and_of_all(rule: str) -> None:
    (one, *_), (all_of_them, *_) = summary(explanation(**{rule: 1})), summary(explanation(**{rule: 5}))
    assert one.startswith("the agent ")
    assert all_of_them.startswith("all 5 agents ")
    assert "{" not in one
    assert "; " in one


def test_a_rule_that_is_newer_than_this_is_told_by_its_name() -> None:
    assert summary(explanation(phase_of_moon=2, refused=1))[0] == "2 of 3 agents fall under the rule phase_of_moon"


def test_what_is_free_stands_beside_what_is_asked_for() -> None:
    told = explanation(below_minimum=3)
    told.largest_free.update({"mem": 1024, "cpus": 2, "ports": 10, "disk": 0})
    told.minimum.add(amounts={"cpus": 4, "mem": 32})
    told.minimum.add(amounts={"gpus": 1})
    assert verdict(told).endswith(
        "all 3 agents have less free than the smallest offer it takes, cpus 4, mem 32 or gpus 1"
    )
    assert (
        "the most that one agent has free for it is cpus 2, mem 1024, ports 10; "
        "the smallest offer it takes is cpus 4, mem 32 or gpus 1"
    ) in summary(told)


def test_a_limit_is_told_with_who_uses_it() -> None:
    told = explanation(quota_limit=3)
    quota = told.binding_quotas.add(role="eng", resource="cpus", limit=40, consumed=40)
    assert "quota limit of role eng: cpus 40 of 40 used" in summary(told)
    quota.consumers.add(role="eng/backend", amount=25)
    quota.consumers.add(framework_id="f", amount=12.5)
    quota.consumers.add(framework_id="unknown", amount=2.5)
    sentence = "quota limit of role eng: cpus 40 of 40 used (by eng/backend 25, spark 12.5, unknown 2.5)"
    assert sentence in summary(told, SPARK)
    assert verdict(told, SPARK) == f"spark in role eng is offered nothing: {sentence}"


def test_what_is_laid_away_is_told_with_whom_it_is_for() -> None:
    told = explanation(quota_headroom=3)
    told.headroom.needed["cpus"], told.headroom.free["cpus"] = 6, 4
    assert "cpus 6 must stay free for guarantees, and cpus 4 is" in summary(told)
    told.headroom.unmet_guarantees.add(role="ads", resource="cpus", guarantee=8, consumed=2)
    sentence = "cpus 6 must stay free for guarantees, and cpus 4 is (ads uses cpus 2 of the 8 it is guaranteed)"
    assert sentence in summary(told)


def test_what_was_asked_for_is_told_with_how_many_agents_have_it() -> None:
    told = explanation(refused=1)
    told.agents_offerable = 2
    told.requested.add(amounts={"cpus": 8})
    told.requested.add(amounts={"gpus": 1})
    assert verdict(told).endswith("can be offered 2 of 3 agents, and nothing as large as it asked for")
    told.agents_large_enough = 1
    assert verdict(told).endswith("can be offered 2 of 3 agents when its turn comes")
    assert "it asked for cpus 8 or gpus 1; 1 agent could be offered with so much" in summary(told)


@pytest.mark.parametrize(("why", "remedy"), allocations.REMEDIES.items())
def test_who_takes_no_part_is_told_why_and_how_to(why: InactiveReason.ValueType, remedy: str) -> None:
    told = explanation(nothing_free=2)
    told.active, told.inactive_because, told.inactive_reason = False, "the framework is elsewhere", why
    assert verdict(told, SPARK) == "spark in role eng is inactive: the framework is elsewhere"
    assert summary(told)[0] == f"the framework is elsewhere; {remedy}"


def test_who_can_be_offered_something_is_told_so() -> None:
    told = explanation(refused=1)
    told.agents_offerable = 3
    assert verdict(told) == "f in role eng can be offered 3 of 4 agents when its turn comes"
    assert summary(told)[0] == "3 of 4 agents are free to be offered"


def test_without_agents_that_is_the_reason() -> None:
    assert verdict(explanation()) == "f in role eng is offered nothing: there is no agent"
    assert summary(explanation()) == ["there is no agent", "it has never been offered anything"]


def test_places_are_told_where_there_are_others() -> None:
    told = explanation(nothing_free=2)
    told.places.add(name="*", share=1, place=1, of=1)
    told.places.add(name="eng", share=0.5, place=2, of=3)
    told.places.add(name=".", share=0.5, place=1, of=4)
    told.places.add(name="f", share=0.25, place=1, of=2)
    told.places.add(name="f", share=0.25, place=1, of=4, drawn_by_lot=True)
    told.places.add(name="out", share=0.25, place=0, of=2)
    told.last_offered_seconds = 300
    places = (
        "eng is number 2 of 3 (share 0.5); the frameworks of eng itself are number 1 of 4 (share 0.5); "
        "spark is number 1 of 2 (share 0.25); spark is one of 4, drawn by lot (share 0.25)"
    )
    assert summary(told, SPARK)[-2:] == [
        f"in the order in which turns are given {places}",
        "it was last offered something 5 min ago",
    ]


def test_the_document_has_every_field_that_cannot_be_left_unset() -> None:
    told = explanation(refused=1)
    told.places.add(name="f")
    made = document(told, SPARK)
    assert set(made) >= {
        "framework_id", "framework_name", "role", "active", "inactive_because", "agents_turned_away",
        "agents_offerable", "largest_free", "minimum", "binding_quotas", "refusals", "places", "verdict", "summary",
    }  # fmt: skip
    assert made["places"] == [
        {"name": "f", "share": 0.0, "place": 0, "of": 0, "allocations": 0, "drawn_by_lot": False, "kind": "FRAMEWORK"}
    ]
    told.next_refusal_ends_seconds = told.last_offered_seconds = 0
    assert document(told).keys() - made.keys() == {"next_refusal_ends_seconds", "last_offered_seconds"}


def test_a_reason_to_take_no_part_is_told_by_its_name_and_none_is_left_out() -> None:
    for reason, name in ((value.number, value.name) for value in InactiveReason.DESCRIPTOR.values):
        told = Explanation(framework_id="f", active=not reason, inactive_reason=InactiveReason.ValueType(reason))
        assert document(told).get("inactive_reason") == (name if reason else None)
    # A newer allocator may know of more: its words say which.
    newer = Explanation(inactive_because="the moon is full", inactive_reason=InactiveReason.ValueType(77))
    made = document(newer)
    assert "inactive_reason" not in made
    assert made["verdict"].endswith("is inactive: the moon is full")


def test_the_document_is_json_whatever_the_numbers_are() -> None:
    told = explanation(quota_limit=1)
    told.next_refusal_ends_seconds = told.last_offered_seconds = math.nan
    told.largest_free["cpus"] = math.inf
    told.minimum.add(amounts={"mem": -math.inf})
    told.requested.add(amounts={"mem": math.nan})
    told.binding_quotas.add(resource="cpus", limit=math.inf, consumed=math.nan).consumers.add(role="a", amount=math.inf)
    told.headroom.needed["cpus"] = math.nan
    told.headroom.unmet_guarantees.add(role="b", guarantee=math.inf)
    told.places.add(name="eng", share=math.nan, place=1, of=2)
    whole = answer([told], Surroundings(unanswered=[Unanswered("f", "eng", 1, math.inf)]))
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    (made,) = whole["explanations"]
    assert (made["largest_free"], made["places"][0]["share"]) == ({"cpus": None}, None)
    assert (made["binding_quotas"][0]["limit"], whole["unanswered_offers"][0]["oldest_seconds"]) == (None, None)


def test_what_a_place_is_in_the_order_of_turns_is_told() -> None:
    told = explanation(refused=1)
    for name in ("eng", ".", "f"):
        told.places.add(name=name)
    assert [place["kind"] for place in document(told)["places"]] == ["ROLE", "OWN_FRAMEWORKS", "FRAMEWORK"]


HOLDERS = [
    Unanswered("g", "web", 2, 300.0),
    Unanswered("f", "eng", 1, 20.0),
    Unanswered("f", "web", 1, 0.4),
    Unanswered("h", "web", 1),
    Unanswered("i", "web", 4),
    Unanswered("j", "web", 3),
]


def test_who_holds_unanswered_offers_is_told_and_since_when() -> None:
    told, around = explanation(nothing_free=3), Surroundings({"g": "web", "f": "spark"}, HOLDERS)
    others = (
        "web has 2 offers unanswered for 5 min, spark has 1 offer unanswered for 0.4 s, h has 1 offer unanswered, "
        "2 others have 7"
    )
    assert f"offers that are out keep what is in them: {others}" in summary(told, around)
    assert "it has 1 offer that it has neither used nor declined" in summary(told, around)
    assert verdict(told, around) == "spark in role eng has 1 offer to answer, and nothing more can be offered to it"
    elsewhere = explanation(nothing_free=3)
    elsewhere.role = "ads"
    assert verdict(elsewhere, Surroundings({"g": "web"}, HOLDERS[:1])) == (
        "f in role ads is offered nothing: all 3 agents have nothing free, and web has 2 offers unanswered for 5 min"
    )
    assert answer([told], around)["unanswered_offers"][:2] == [
        {"framework_id": "g", "framework_name": "web", "role": "web", "offers": 2, "oldest_seconds": 300.0},
        {"framework_id": "f", "framework_name": "spark", "role": "eng", "offers": 1, "oldest_seconds": 20.0},
    ]
    assert "oldest_seconds" not in answer([told], around)["unanswered_offers"][3]


def test_no_more_holders_are_listed_than_can_be_read() -> None:
    many = [Unanswered(f"f{number}", "eng", 1) for number in range(allocations.HOLDERS_MAX + 1)]
    assert len(answer([], Surroundings(unanswered=many))["unanswered_offers"]) == allocations.HOLDERS_MAX
