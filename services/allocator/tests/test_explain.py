"""Explanations, and whether they are true."""

from __future__ import annotations

import pytest

from mezzo.errors import NotFound
from mezzo.resources import parse
from mezzo_allocator.core.explain import Explanation, Inactivity
from mezzo_allocator.core.policy import Policy, Sorter
from mezzo_allocator.testing import CAPABILITY, Conversation, shared_volume


def why(cluster: Conversation, framework: str, role: str = "") -> Explanation:
    (explanation,) = cluster.core.explain(framework, role)
    return explanation


def verdicts(cluster: Conversation, framework: str, role: str = "") -> dict[str, str]:
    """By the names of agents."""
    numbers = why(cluster, framework, role).verdicts
    return {cluster.agent_named(number): verdict for number, verdict in numbers.items()}


def test_each_rule_is_told() -> None:
    cluster = Conversation()
    cluster.framework("holder", "ops", suppressed=["ops"])
    cluster.framework("f", "eng")
    cluster.agent("refused", "cpus:1;mem:512")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=30.0)
    cluster.agent("off", "cpus:1;mem:512", active=False)
    cluster.agent("gpu", "cpus:1;mem:512;gpus:1")
    cluster.agent("full", "cpus:1;mem:512", holdings={("holder", "ops"): "cpus:1;mem:512"})
    cluster.agent("kept", "cpus(ops):1;mem(ops):512")
    cluster.agent("tiny", "cpus:0.001;mem:1;disk:500")
    cluster.agent("free", "cpus:2;mem:256")
    assert verdicts(cluster, "f") == {
        "refused": "refused",
        "off": "inactive",
        "gpu": "gpu",
        "full": "nothing_free",
        "kept": "not_visible",
        "tiny": "below_minimum",
        "free": "offerable",
    }
    explanation = why(cluster, "f")
    # The agent with GPUs is kept from it, but what is free there is not for another's sake.
    assert explanation.largest_free["mem"] == 512_000
    assert explanation.largest_free["disk"] == 500_000
    assert explanation.minimum == [{"cpus": 10}, {"mem": 32_000}]
    assert explanation.refusals == 1
    assert explanation.next_refusal_ends is not None
    assert 30.0 <= explanation.next_refusal_ends - cluster.now < 30.1


def test_limits_and_headroom_are_told_apart() -> None:
    cluster = Conversation()
    cluster.framework("limited", "eng")
    cluster.framework("fair", "ops")
    cluster.role("eng", limits={"cpus": 0, "mem": 0})
    cluster.role("absent", guarantees={"cpus": 4, "mem": 4096})
    cluster.agent("a", "cpus:1;mem:512")
    assert cluster.offers() == []
    assert verdicts(cluster, "limited") == {"a": "quota_limit"}
    assert verdicts(cluster, "fair") == {"a": "quota_headroom"}
    binding = why(cluster, "limited").binding_quotas
    assert [(each.role, each.resource, each.limit, each.consumed) for each in binding] == [
        ("eng", "cpus", 0, 0),
        ("eng", "mem", 0, 0),
    ]


def test_places_go_from_the_top_of_the_tree_down_to_the_framework() -> None:
    cluster = Conversation()
    cluster.framework("f1", "eng/backend")
    cluster.framework("f2", "eng/backend")
    cluster.framework("g", "ops")
    cluster.agent("a", "cpus:1;mem:512")
    assert cluster.offers()[0][0] == "f1"
    places = [(place.name, place.place, place.of, place.share) for place in why(cluster, "f1").places]
    assert places == [("eng", 2, 2, 1.0), ("eng/backend", 1, 1, 1.0), (".", 1, 1, 1.0), ("f1", 2, 2, 1.0)]
    assert [place.place for place in why(cluster, "f2").places] == [2, 1, 1, 1]
    assert why(cluster, "f1").last_offered == cluster.now
    assert why(cluster, "f2").last_offered is None


def test_why_a_framework_takes_no_part() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1", "role2", suppressed=["role1"])
    cluster.framework("gone", active=False)
    assert why(cluster, "f", "role1").inactive_because is Inactivity.SUPPRESSED
    assert why(cluster, "f", "role2").inactive_because is None
    assert why(cluster, "gone").inactive_because is Inactivity.DISCONNECTED


def test_one_agent_can_be_asked_about() -> None:
    cluster = Conversation()
    cluster.framework("f", capabilities=[CAPABILITY.GPU_RESOURCES])
    cluster.agent("a", "cpus:1;mem:512")
    cluster.agent("b", "cpus:1;mem:512")
    (explanation,) = cluster.core.explain("f", agent_id=cluster.agent_id("b"))
    assert {cluster.agent_named(number) for number in explanation.verdicts} == {"b"}


def test_a_binding_quota_names_who_uses_most_of_it() -> None:
    cluster = Conversation()
    cluster.framework("waits", "eng")
    for name, role in (("own", "eng"), ("small", "eng/a"), ("large", "eng/b")):
        cluster.framework(name, role, suppressed=[role])
    held = {("own", "eng"): "cpus:2;mem:64", ("small", "eng/a"): "cpus:1;mem:64", ("large", "eng/b"): "cpus:5;mem:64"}
    cluster.agent("a", "cpus:20;mem:1024", holdings=held)
    cluster.role("eng", limits={"cpus": 8})
    (binding,) = why(cluster, "waits", "eng").binding_quotas
    assert (binding.role, binding.resource, binding.limit, binding.consumed) == ("eng", "cpus", 8_000, 8_000)
    consumers = [(each.name, each.is_role, each.amount) for each in binding.consumers]
    assert consumers == [("eng/b", True, 5_000), ("own", False, 2_000), ("eng/a", True, 1_000)]


def test_of_many_who_use_a_quota_the_largest_are_named() -> None:
    cluster = Conversation()
    cluster.framework("waits", "eng")
    for number in range(1, 10):
        name = f"f{number}"
        cluster.framework(name, "eng", suppressed=["eng"])
        cluster.agent(name, "cpus:9;mem:64", holdings={(name, "eng"): f"cpus:{number}"})
    cluster.role("eng", limits={"cpus": 45})
    (binding,) = why(cluster, "waits", "eng").binding_quotas
    assert [each.name for each in binding.consumers] == ["f9", "f8", "f7", "f6", "f5"]


def test_headroom_is_told_with_those_it_is_kept_for() -> None:
    cluster = Conversation()
    cluster.framework("waits", "ops")
    cluster.framework("half", "eng", suppressed=["eng"])
    cluster.role("eng", guarantees={"cpus": 4, "mem": 1024})
    cluster.role("absent", guarantees={"cpus": 2})
    cluster.agent("a", "cpus:6;mem:512", holdings={("half", "eng"): "cpus:3;mem:512"})
    cluster.full_pass()
    headroom = why(cluster, "waits").headroom
    assert headroom is not None
    assert headroom.needed == {"cpus": 3_000, "mem": 512_000}
    assert headroom.free == {"cpus": 3_000}
    unmet = [(each.role, each.resource, each.guarantee, each.consumed) for each in headroom.unmet]
    assert unmet == [
        ("absent", "cpus", 2_000, 0),
        ("eng", "mem", 1_024_000, 512_000),
        ("eng", "cpus", 4_000, 3_000),
    ]


def test_headroom_is_not_told_where_it_keeps_nobody_from_anything() -> None:
    cluster = Conversation()
    cluster.framework("f", "ops")
    cluster.role("absent", guarantees={"cpus": 2})
    cluster.agent("a", "cpus:6;mem:512")
    cluster.agent("b", "cpus:2;mem:512")
    assert why(cluster, "f").headroom is None


def test_headroom_that_cuts_an_offer_is_told_with_what_is_left() -> None:
    cluster = Conversation()
    cluster.framework("f", "ops")
    cluster.role("absent", guarantees={"cpus": 5.5, "mem": 500})
    cluster.agent("a", "cpus:6;mem:512")
    explanation = why(cluster, "f")
    assert explanation.headroom is not None
    assert explanation.largest_free == {"cpus": 500, "mem": 12_000}
    assert cluster.offers() == [("f", "a", "cpus:0.5;mem:12")]


def test_a_limit_that_cuts_an_offer_is_told_with_what_is_left() -> None:
    cluster = Conversation()
    cluster.framework("f", "ops")
    cluster.role("ops", limits={"cpus": 0.5})
    cluster.agent("busy", "cpus:0.4;mem:512", holdings={("f", "ops"): "cpus:0.4;mem:512"})
    cluster.agent("a", "cpus:2;mem:512")
    explanation = why(cluster, "f")
    ((role, resource, limit, consumed),) = [
        (q.role, q.resource, q.limit, q.consumed) for q in explanation.binding_quotas
    ]
    assert (role, resource, limit, consumed) == ("ops", "cpus", 500, 400)
    assert explanation.largest_free == {"cpus": 100, "mem": 512_000}
    assert cluster.offers() == [("f", "a", "cpus:0.1;mem:512")]


def test_a_refusal_is_told_where_it_holds_against_what_quota_leaves() -> None:
    cluster = Conversation()
    cluster.framework("f", "ops")
    cluster.role("ops", limits={"cpus": 1})
    cluster.agent("a", "cpus:2;mem:512")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=60.0)
    assert verdicts(cluster, "f") == {"a": "refused"}
    assert cluster.full_pass() == []
    assert verdicts(cluster, "f") == {"a": "refused"}


def test_a_refusal_is_not_told_once_quota_leaves_more_than_was_refused() -> None:
    cluster = Conversation()
    cluster.framework("f", "ops")
    cluster.role("ops", limits={"cpus": 2})
    cluster.agent("busy", "cpus:1;mem:512", holdings={("f", "ops"): "cpus:1;mem:512"})
    cluster.agent("a", "cpus:4;mem:512")
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=60.0)
    assert cluster.full_pass() == []
    cluster.remove_agent("busy")
    assert verdicts(cluster, "f") == {"a": "offerable"}
    assert cluster.full_pass() == [("f", "a", "cpus:2;mem:512")]


def test_a_refusal_of_all_that_is_free_is_told_also_where_shared_volumes_would_be_offered_with_it() -> None:
    cluster = Conversation()
    cluster.framework("f", "ops", capabilities=[CAPABILITY.SHARED_RESOURCES])
    cluster.framework("g", "eng", suppressed=["eng"])
    cluster.role("eng", limits={"cpus": 1})
    cluster.agent("a", parse("cpus:2;mem:512") + shared_volume("v", role="ops"))
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=60.0)
    assert verdicts(cluster, "f") == {"a": "refused"}
    assert cluster.full_pass() == []


def test_a_limit_that_keeps_a_role_from_what_its_parent_reserved_is_told() -> None:
    cluster = Conversation()
    cluster.framework("f", "eng/a")
    cluster.framework("g", "eng", suppressed=["eng"])
    cluster.role("eng/a", limits={"cpus": 1})
    cluster.agent("a", "cpus(eng):2;mem(eng):512")
    assert verdicts(cluster, "f") == {"a": "quota_limit"}
    assert verdicts(cluster, "g") == {"a": "offerable"}
    assert cluster.full_pass() == []


def test_what_a_framework_asked_for_is_compared_with_what_is_free() -> None:
    cluster = Conversation()
    cluster.framework("f", "eng")
    for number, cpus in enumerate((1, 2, 4)):
        cluster.agent(f"a{number}", f"cpus:{cpus};mem:512")
    assert why(cluster, "f").agents_large_enough == 3
    cluster.request("f", {"cpus": 3.0}, {"gpus": 1.0})
    explanation = why(cluster, "f")
    assert explanation.requested == ({"cpus": 3_000}, {"gpus": 1_000})
    assert explanation.agents_large_enough == 1
    cluster.request("f", {"fpgas": 1.0})
    assert why(cluster, "f").agents_large_enough == 0
    assert {agent for _, agent, _ in cluster.offers()} == {"a0", "a1", "a2"}


def test_levels_where_turns_are_drawn_by_lot_say_so() -> None:
    cluster = Conversation(Policy(framework_sorter=Sorter.RANDOM))
    cluster.framework("f", "eng")
    assert [place.drawn_by_lot for place in why(cluster, "f").places] == [False, False, True]
    cluster = Conversation(Policy(role_sorter=Sorter.RANDOM))
    cluster.framework("f", "eng")
    assert [place.drawn_by_lot for place in why(cluster, "f").places] == [True, True, False]


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"framework_id": "nobody"}, "framework nobody not found"),
        ({"framework_id": "nobody", "role": "eng"}, "framework nobody not found"),
        ({"framework_id": "f", "role": "ops"}, "framework f is not in role ops"),
        ({"framework_id": "f", "role": "nothing"}, "role nothing not found"),
        ({"role": "nothing"}, "role nothing not found"),
        ({"agent_id": "nowhere"}, "agent nowhere not found"),
        ({"framework_id": "f", "agent_id": "nowhere"}, "agent nowhere not found"),
    ],
)
def test_nobody_of_that_name_is_said_to_be_unknown(asked: dict[str, str], complaint: str) -> None:
    cluster = Conversation()
    cluster.framework("f", "eng")
    cluster.framework("g", "ops")
    cluster.agent("a", "cpus:1;mem:512")
    with pytest.raises(NotFound, match=complaint):
        cluster.core.explain(**asked)


def test_a_role_without_frameworks_that_somebody_configured_has_no_explanations() -> None:
    cluster = Conversation()
    cluster.role("eng", limits={"cpus": 1})
    assert list(cluster.core.explain(role="eng")) == []
