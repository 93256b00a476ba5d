"""Each rule that turns an agent away: once it is removed the agent is offerable, and the next cycle offers it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesos.v1.mesos_pb2 import AgentInfo, DomainInfo
from mesos.v1.scheduler.scheduler_pb2 import OfferConstraints
from mezzo import attributes, jsonpb
from mezzo_allocator.core import eligibility, explain
from mezzo_allocator.core import events as ev
from mezzo_allocator.testing import CAPABILITY, Conversation, revocable

TOTAL = "cpus:1;mem:512"
Step = Callable[[Conversation], None]


def both(first: Step, second: Step) -> Step:
    def steps(cluster: Conversation) -> None:
        first(cluster)
        second(cluster)

    return steps


def role(name: str, **quota: dict[str, float]) -> Step:
    return lambda cluster: cluster.role(name, **quota)  # type: ignore[arg-type]


def domain(region: str) -> DomainInfo:
    return jsonpb.from_dict(DomainInfo, {"fault_domain": {"region": {"name": region}, "zone": {"name": "z"}}})


def constraints() -> OfferConstraints:
    wanted = {"selector": {"attribute_name": "disk"}, "predicate": {"text_equals": {"value": "ssd"}}}
    groups = [{"attribute_constraints": [wanted]}]
    return jsonpb.from_dict(OfferConstraints, {"role_constraints": {"eng": {"groups": groups}}})


def agent(**more: object) -> Step:
    described: dict[str, object] = {"resources": TOTAL, **more}
    return lambda cluster: cluster.agent("a", **described)  # type: ignore[arg-type]


def framework(**more: object) -> Step:
    return lambda cluster: cluster.framework("f", "eng", **more)  # type: ignore[arg-type]


def refuse(cluster: Conversation) -> None:
    agent()(cluster)
    (allocation,) = cluster.cycle()
    cluster.decline(allocation, seconds=3600.0)


def held_by_another(cluster: Conversation) -> None:
    cluster.framework("other", "ops", suppressed=["ops"])
    cluster.agent("a", TOTAL, holdings={("other", "ops"): TOTAL})


def far_away(cluster: Conversation) -> None:
    cluster.say(ev.SessionBegun("registry", domain("home")))
    cluster.say(ev.SnapshotEnded())
    framework()(cluster)
    agent(info=AgentInfo(hostname="a", domain=domain("elsewhere")))(cluster)


WITHOUT_MULTI_ROLE = [AgentInfo.Capability.HIERARCHICAL_ROLE]
WITH_MULTI_ROLE = [*WITHOUT_MULTI_ROLE, AgentInfo.Capability.MULTI_ROLE]

RULES: dict[str, tuple[Step, Step]] = {
    "inactive": (agent(active=False), agent(active=True)),
    "gpu": (agent(resources=f"{TOTAL};gpus:1"), framework(capabilities=[CAPABILITY.GPU_RESOURCES])),
    "region": (far_away, framework(capabilities=[CAPABILITY.REGION_AWARE])),
    "agent_capability": (
        agent(capabilities=WITHOUT_MULTI_ROLE),
        agent(capabilities=WITH_MULTI_ROLE),
    ),
    "constraint": (
        both(framework(constraints=constraints()), agent()),
        agent(info=AgentInfo(hostname="a", attributes=attributes.parse("disk:ssd"))),
    ),
    "nothing_free": (held_by_another, lambda cluster: cluster.recover("other", "a", TOTAL, role="ops")),
    "not_visible": (agent(resources=revocable(TOTAL)), framework(capabilities=[CAPABILITY.REVOCABLE_RESOURCES])),
    "below_minimum": (agent(resources="cpus:0.001;mem:1;disk:500"), framework(minimum=[{"disk": 100}])),
    "quota_limit": (
        both(role("eng", limits={"cpus": 0, "mem": 0}), agent()),
        role("eng", limits={"cpus": 1, "mem": 512}),
    ),
    "quota_headroom": (
        both(role("absent", guarantees={"cpus": 1, "mem": 512}), agent()),
        role("absent"),
    ),
    "refused": (refuse, lambda cluster: cluster.revive("f", "eng")),
}


@pytest.mark.parametrize("rule", RULES)
def test_without_the_rule_that_turned_it_away_an_agent_is_offered(rule: str) -> None:
    apply, remove = RULES[rule]
    cluster = Conversation()
    framework()(cluster)
    apply(cluster)
    assert cluster.full_pass() == []
    (explanation,) = cluster.core.explain("f", "eng")
    assert list(explanation.verdicts.values()) == [rule]
    remove(cluster)
    (explanation,) = cluster.core.explain("f", "eng")
    assert list(explanation.verdicts.values()) == ["offerable"]
    assert [(name, where) for name, where, _ in cluster.full_pass()] == [("f", "a")]


def test_every_rule_that_explanations_name_is_tried() -> None:
    constants = {**vars(eligibility), **vars(explain)}
    named = {value for name, value in constants.items() if name.isupper() and isinstance(value, str)}
    assert named - {"offerable"} == RULES.keys()
