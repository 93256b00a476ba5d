"""Explanations, and whether they are true."""

from __future__ import annotations

from mezzo_allocator.core.explain import Explanation
from mezzo_allocator.testing import CAPABILITY, Conversation


def why(cluster: Conversation, framework: str, role: str = "") -> Explanation:
    (told,) = cluster.core.explain(framework, role)
    return told


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
    told = why(cluster, "f")
    # The agent with GPUs is kept from it, but what is free there is not for another's sake.
    assert told.largest_free["mem"] == 512_000
    assert told.largest_free["disk"] == 500_000
    assert told.minimum == [{"cpus": 10}, {"mem": 32_000}]
    assert told.refusals == 1
    assert told.next_refusal_ends is not None
    assert 30.0 <= told.next_refusal_ends - cluster.now < 30.1


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
    assert why(cluster, "f", "role1").inactive_because == "the framework suppressed offers in the role"
    assert why(cluster, "f", "role2").inactive_because is None
    assert why(cluster, "gone").inactive_because == "the framework is not connected"


def test_one_agent_can_be_asked_about() -> None:
    cluster = Conversation()
    cluster.framework("f", capabilities=[CAPABILITY.GPU_RESOURCES])
    cluster.agent("a", "cpus:1;mem:512")
    cluster.agent("b", "cpus:1;mem:512")
    (told,) = cluster.core.explain("f", agent_id=cluster.agent_id("b"))
    assert {cluster.agent_named(number) for number in told.verdicts} == {"b"}
