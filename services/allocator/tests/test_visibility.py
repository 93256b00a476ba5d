"""What a framework may see: reservations, capabilities, minimal offers and constraints."""

from __future__ import annotations

import pytest

from mesos.v1.mesos_pb2 import AgentInfo, DomainInfo, Resource, Value
from mesos.v1.scheduler.scheduler_pb2 import AttributeConstraint, OfferConstraints
from mezzo.errors import InvalidRequest
from mezzo.resources import Resources, parse
from mezzo_allocator.config import minimum
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.policy import Policy
from mezzo_allocator.testing import CAPABILITY, Conversation, shared_volume


def test_reserved_resources_are_for_their_role_and_those_below_it() -> None:
    cluster = Conversation()
    cluster.framework("other", "ops")
    cluster.framework("child", "eng/backend")
    cluster.agent("a", "cpus(eng):1;mem(eng):512")
    assert cluster.offers() == [("child", "a", "cpus(eng):1;mem(eng):512")]
    cluster.agent("b", "cpus(eng/frontend):1;mem(eng/frontend):512")
    assert cluster.offers() == []
    cluster.framework("parent", "eng")
    assert cluster.offers() == []
    cluster.agent("c", "cpus(eng):1;mem(eng):512")
    assert cluster.offers() == [("parent", "c", "cpus(eng):1;mem(eng):512")]


def test_what_is_unreserved_comes_with_what_is_reserved_for_the_role() -> None:
    cluster = Conversation()
    cluster.framework("f", "eng")
    cluster.framework("other", "ops")
    cluster.agent("a", "cpus(eng):1;mem(eng):512;cpus(ops):2;mem(ops):512;cpus:1")
    assert cluster.offers() == [
        ("f", "a", "cpus(eng):1;cpus:1;mem(eng):512"),
        ("other", "a", "cpus(ops):2;mem(ops):512"),
    ]


def test_reserved_resources_count_in_shares() -> None:
    cluster = Conversation()
    cluster.framework("f1", "role1")
    cluster.framework("f2", "role2")
    cluster.agent("a", "cpus(role1):2;mem(role1):512")
    assert [framework for framework, _, _ in cluster.offers()] == ["f1"]
    cluster.agent("b", "cpus:1;mem:256")
    cluster.agent("c", "cpus:1;mem:256")
    assert [framework for framework, _, _ in cluster.offers()] == ["f2", "f2"]


def test_refined_reservations_are_for_frameworks_that_understand_them() -> None:
    (resource,) = parse("cpus:1").messages()
    for role in ("eng", "eng/backend"):
        resource.reservations.add(type=Resource.ReservationInfo.DYNAMIC, role=role)
    total = Resources.of([resource])
    cluster = Conversation()
    cluster.framework("old", "eng/backend")
    cluster.agent("a", total)
    assert cluster.offers() == []
    cluster.framework("new", "eng/backend", capabilities=[CAPABILITY.RESERVATION_REFINEMENT])
    assert cluster.offers() == [("new", "a", "cpus(eng/backend):1")]


def test_revocable_resources_are_for_frameworks_that_ask_for_them() -> None:
    (resource,) = parse("cpus:4").messages()
    resource.revocable.SetInParent()
    total = parse("cpus:1;mem:512") + Resources.of([resource])
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", total)
    assert cluster.offers() == [("f", "a", "cpus:1;mem:512")]
    cluster.framework("brave", capabilities=[CAPABILITY.REVOCABLE_RESOURCES])
    assert [(name, agent) for name, agent, _ in cluster.offers()] == [("brave", "a")]


def test_agents_with_gpus_are_kept_for_frameworks_that_use_them() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512;gpus:1")
    assert cluster.offers() == []
    cluster.framework("g", capabilities=[CAPABILITY.GPU_RESOURCES])
    assert cluster.offers() == [("g", "a", "cpus:1;gpus:1;mem:512")]


def test_agents_with_gpus_may_be_for_everybody() -> None:
    cluster = Conversation(Policy(filter_gpus=False))
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512;gpus:1")
    assert len(cluster.offers()) == 1


def test_shared_volumes_come_with_every_offer_to_those_who_can_share() -> None:
    volume = shared_volume("v")
    cluster = Conversation()
    cluster.framework("f1", "eng", capabilities=[CAPABILITY.SHARED_RESOURCES])
    cluster.framework("f2", "eng", capabilities=[CAPABILITY.SHARED_RESOURCES])
    cluster.framework("f3", "eng")
    cluster.agent("a", parse("cpus:3;mem:1536") + volume)
    seen = {}
    for _ in range(3):
        (allocation,) = cluster.cycle()
        seen[cluster.framework_of(allocation)] = Resources.sum(allocation.resources)
        rest = seen[cluster.framework_of(allocation)] - parse("cpus:1;mem:512")
        back = rest.nonshared().allocated_to("eng")
        if back:
            cluster.say(ev.ResourcesRecovered(allocation.framework, allocation.agent, back, 60.0))
    assert seen["f1"].contains(volume)
    assert seen["f2"].contains(volume)
    assert not seen["f3"].shared()


def test_too_little_is_not_offered() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.framework("holder", active=False)
    cluster.agent("a", "cpus:0.009;mem:31;disk:1000")
    assert cluster.offers() == []
    cluster.agent("a", "cpus:0.01;mem:31")
    assert len(cluster.offers()) == 1


@pytest.mark.parametrize(
    ("resources", "offered"),
    [
        ("cpus:1;mem:100", True),
        ("cpus:1;mem:99;disk:1024", False),
        ("cpus:0.9;mem:100;disk:1024", False),
        ("disk:1025", True),
        ("cpus:0.5;mem:32;ports:[31000-31009]", False),
        ("cpus:1;mem:32;gpus:2", True),
        ("cpus:0.9;mem:32;gpus:2", False),
    ],
)
def test_any_of_several_minimal_amounts_is_enough_each_as_a_whole(resources: str, offered: bool) -> None:
    cluster = Conversation(Policy(minimum=minimum("cpus:1;mem:100|disk:1025|cpus:1;gpus:2"), filter_gpus=False))
    cluster.framework("f")
    cluster.agent("a", resources)
    assert bool(cluster.offers()) is offered


def test_a_framework_may_ask_for_more_than_the_minimum_and_for_none() -> None:
    cluster = Conversation()
    cluster.framework("large", "role1", minimum=[{"cpus": 2.0, "mem": 1024.0}, {"disk": 50.0}])
    cluster.agent("a", "cpus:1;mem:2048")
    assert cluster.offers() == []
    cluster.agent("b", "cpus:2;mem:1024")
    cluster.agent("c", "cpus:0.1;disk:50")
    assert sorted(agent for _, agent, _ in cluster.offers()) == ["b", "c"]
    cluster.framework("frugal", "role2", minimum=[])
    cluster.agent("d", "disk:1")
    assert sorted(cluster.offers()) == [("frugal", "a", "cpus:1;mem:2048"), ("frugal", "d", "disk:1")]


def in_region(name: str, region: str) -> AgentInfo:
    info = AgentInfo(hostname=name)
    info.domain.fault_domain.region.name = region
    info.domain.fault_domain.zone.name = f"{region}-1"
    return info


def test_agents_of_other_regions_are_for_frameworks_that_know_regions() -> None:
    cluster = Conversation()
    home = DomainInfo()
    home.fault_domain.region.name = "here"
    cluster.say(ev.SessionBegun("registry", home))
    cluster.say(ev.SnapshotEnded())
    cluster.framework("f")
    cluster.agent("near", "cpus:1;mem:512", info=in_region("near", "here"))
    cluster.agent("far", "cpus:1;mem:512", info=in_region("far", "there"))
    assert [agent for _, agent, _ in cluster.offers()] == ["near"]
    cluster.framework("g", capabilities=[CAPABILITY.REGION_AWARE])
    assert [agent for _, agent, _ in cluster.offers()] == ["far"]


def test_an_agent_from_before_multiple_roles_is_not_for_frameworks_with_them() -> None:
    cluster = Conversation()
    cluster.framework("f", "role1", "role2")
    capability = AgentInfo.Capability
    cluster.agent("old", "cpus:1;mem:512", capabilities=[capability.HIERARCHICAL_ROLE])
    cluster.agent("new", "cpus:1;mem:512", capabilities=[capability.HIERARCHICAL_ROLE, capability.MULTI_ROLE])
    assert [agent for _, agent, _ in cluster.offers()] == ["new"]


# -- constraints -------------------------------------------------------------------------------------------------------


def with_attributes(name: str, **attributes: str | float) -> AgentInfo:
    info = AgentInfo(hostname=name)
    for key, value in attributes.items():
        attribute = info.attributes.add(name=key)
        if isinstance(value, str):
            attribute.type = Value.TEXT
            attribute.text.value = value
        else:
            attribute.type = Value.SCALAR
            attribute.scalar.value = value
    return info


def constraint(selector: str, predicate: str, value: str = "") -> AttributeConstraint:
    made = AttributeConstraint()
    if selector.isupper():
        made.selector.pseudoattribute_type = AttributeConstraint.Selector.PseudoattributeType.Value(selector)
    else:
        made.selector.attribute_name = selector
    chosen = getattr(made.predicate, predicate)
    chosen.SetInParent()
    if predicate.startswith(("text_equals", "text_not_equals")):
        chosen.value = value
    elif predicate.startswith("text_"):
        chosen.regex = value
    return made


def constraints(*groups: list[AttributeConstraint], role: str = "*") -> OfferConstraints:
    made = OfferConstraints()
    made.role_constraints[role].SetInParent()
    for group in groups:
        made.role_constraints[role].groups.add().attribute_constraints.extend(group)
    return made


AGENTS = {
    "a1": with_attributes("a1", rack="r1", os="linux"),
    "a2": with_attributes("a2", rack="r2", os="linux"),
    "a3": with_attributes("a3", rack=3.0),
    "a4": with_attributes("a4"),
}


@pytest.mark.parametrize(
    ("groups", "admitted"),
    [
        ([[constraint("rack", "exists")]], "a1 a2 a3"),
        ([[constraint("rack", "not_exists")]], "a4"),
        ([[constraint("rack", "text_equals", "r1")]], "a1 a3"),
        ([[constraint("rack", "text_not_equals", "r1")]], "a2 a3 a4"),
        ([[constraint("rack", "text_matches", "r[12]")]], "a1 a2 a3"),
        ([[constraint("rack", "text_matches", "r")]], "a3"),
        ([[constraint("rack", "text_not_matches", "r[1-9]")]], "a3 a4"),
        ([[constraint("rack", "exists"), constraint("os", "exists")]], "a1 a2"),
        ([[constraint("rack", "text_equals", "r2")], [constraint("rack", "not_exists")]], "a2 a3 a4"),
        ([[constraint("HOSTNAME", "text_matches", "a[14]")]], "a1 a4"),
        ([[constraint("REGION", "exists")]], ""),
    ],
)
def test_offer_constraints(groups: list[list[AttributeConstraint]], admitted: str) -> None:
    cluster = Conversation()
    cluster.framework("f", constraints=constraints(*groups))
    for name, info in AGENTS.items():
        cluster.agent(name, "cpus:1;mem:512", info=info)
    assert " ".join(sorted(agent for _, agent, _ in cluster.offers())) == admitted


def test_constraints_are_per_role_and_may_change() -> None:
    cluster = Conversation()
    only_rack_one = [constraint("rack", "text_equals", "r1")]
    cluster.framework("f", "role1", "role2", constraints=constraints(only_rack_one, role="role1"), suppressed=["role2"])
    for name in ("a1", "a2"):
        cluster.agent(name, "cpus:1;mem:512", info=AGENTS[name])
    assert [agent for _, agent, _ in cluster.offers()] == ["a1"]
    cluster.revive("f", "role2")
    assert [(each.role, cluster.agent_of(each)) for each in cluster.cycle()] == [("role2", "a2")]
    cluster.recover("f", "a2", "cpus:1;mem:512", role="role2")
    cluster.framework("f", "role1")
    assert [(each.role, cluster.agent_of(each)) for each in cluster.cycle()] == [("role1", "a2")]


def test_a_role_that_a_framework_takes_on_is_offered_at_once_unless_it_is_suppressed() -> None:
    cluster = Conversation()
    cluster.framework("f", "idle", suppressed=["idle"])
    cluster.agent("a", "cpus:1;mem:512")
    assert cluster.cycle() == []
    cluster.framework("f", "idle", "new", suppressed=["idle", "new"])
    assert cluster.cycle() == []
    cluster.framework("f", "new")
    assert [each.role for each in cluster.cycle()] == ["new"]


def test_a_role_that_was_suppressed_and_is_taken_away_is_offered_nothing() -> None:
    cluster = Conversation()
    cluster.framework("f", "role", suppressed=["role"])
    cluster.framework("f", "other", suppressed=["other"])
    cluster.agent("a", "cpus:1;mem:512")
    assert cluster.cycle() == []


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (constraint("rack", "text_matches", "("), "predicate.text_matches.regex"),
        (constraint("rack", "text_not_matches", "(a{100}){100}"), "predicate.text_not_matches.regex"),
        (AttributeConstraint(predicate=constraint("rack", "exists").predicate), "selector"),
        (AttributeConstraint(selector=constraint("rack", "exists").selector), "predicate"),
    ],
)
def test_wrong_constraints_are_named(wrong: AttributeConstraint, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        Conversation().framework("f", constraints=constraints([wrong]))
    assert raised.value.field == f"offer_constraints.role_constraints['*'].groups[0].attribute_constraints[0].{field}"
