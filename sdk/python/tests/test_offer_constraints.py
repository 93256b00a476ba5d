"""Offer constraints: what is refused, and which agents are admitted."""

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler.scheduler_pb2 import AttributeConstraint, OfferConstraints
from mezzo.errors import InvalidRequest
from mezzo.offer_constraints import PREDICATES_MAX, RegexLimits, compile_constraints

FIELD = "subscribe.offer_constraints"
WHERE = f"{FIELD}.role_constraints['web'].groups[0].attribute_constraints[0]"


def agent(hostname: str = "node1", region: str = "", **attributes: str | float) -> mesos.AgentInfo:
    info = mesos.AgentInfo(hostname=hostname)
    for name, value in attributes.items():
        attribute = info.attributes.add(name=name)
        if isinstance(value, str):
            attribute.type, attribute.text.value = mesos.Value.TEXT, value
        else:
            attribute.type, attribute.scalar.value = mesos.Value.SCALAR, value
    if region:
        info.domain.fault_domain.region.name = region
        info.domain.fault_domain.zone.name = f"{region}-1"
    return info


def one(kind: str, value: str = "", attribute: str = "rack", pseudo: str = "") -> OfferConstraints:
    """A single predicate, for the role web."""
    constraints = OfferConstraints()
    constraint = constraints.role_constraints["web"].groups.add().attribute_constraints.add()
    if pseudo:
        constraint.selector.pseudoattribute_type = AttributeConstraint.Selector.PseudoattributeType.Value(pseudo)
    else:
        constraint.selector.attribute_name = attribute
    predicate = getattr(constraint.predicate, kind)
    if "equals" in kind:
        predicate.value = value
    elif "matches" in kind:
        predicate.regex = value
    else:
        predicate.SetInParent()
    return constraints


def admits(constraints: OfferConstraints, info: mesos.AgentInfo) -> bool:
    return compile_constraints(constraints, ["web"], FIELD)["web"].admit(info)


@pytest.mark.parametrize(
    ("kind", "value", "without", "same", "other", "scalar"),
    [
        ("exists", "", False, True, True, True),
        ("not_exists", "", True, False, False, False),
        ("text_equals", "r1", False, True, False, True),
        ("text_not_equals", "r1", True, False, True, True),
        ("text_matches", "r[12]", False, True, False, True),
        ("text_not_matches", "r[12]", True, False, True, True),
    ],
)
def test_predicate_over_an_attribute(
    kind: str, value: str, *, without: bool, same: bool, other: bool, scalar: bool
) -> None:
    constraints = one(kind, value)
    admitted = [admits(constraints, info) for info in (agent(), agent(rack="r1"), agent(rack="r10"), agent(rack=1.0))]
    assert admitted == [without, same, other, scalar]


def test_pseudo_attributes_are_host_region_and_zone() -> None:
    assert admits(one("text_equals", "node1", pseudo="HOSTNAME"), agent())
    assert admits(one("text_equals", "eu", pseudo="REGION"), agent(region="eu"))
    assert admits(one("text_matches", "eu-.", pseudo="ZONE"), agent(region="eu"))
    assert not admits(one("exists", pseudo="REGION"), agent())


def test_one_group_suffices_and_all_its_predicates_must_hold() -> None:
    constraints = one("text_equals", "r1")
    more = constraints.role_constraints["web"].groups[0].attribute_constraints.add()
    more.selector.attribute_name = "ssd"
    more.predicate.exists.SetInParent()
    constraints.role_constraints["web"].groups.append(one("text_equals", "r9").role_constraints["web"].groups[0])
    assert not admits(constraints, agent(rack="r1"))
    assert admits(constraints, agent(rack="r1", ssd="yes"))
    assert admits(constraints, agent(rack="r9"))


def refusal(constraints: OfferConstraints, limits: RegexLimits | None = None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        compile_constraints(constraints, ["web"], FIELD, limits or RegexLimits())
    return refused.value


def test_malformed_constraints_are_refused_with_their_field() -> None:
    nothing = OfferConstraints()
    nothing.role_constraints["web"].SetInParent()
    assert refusal(nothing).field == f"{FIELD}.role_constraints['web'].groups"
    nothing.role_constraints["web"].groups.add()
    assert refusal(nothing).field == f"{FIELD}.role_constraints['web'].groups[0].attribute_constraints"
    nothing.role_constraints["web"].groups[0].attribute_constraints.add()
    assert refusal(nothing).field == f"{WHERE}.selector"
    nothing.role_constraints["web"].groups[0].attribute_constraints[0].selector.attribute_name = "rack"
    assert refusal(nothing).field == f"{WHERE}.predicate"
    assert refusal(one("exists", pseudo="UNKNOWN")).field == f"{WHERE}.selector.pseudoattribute_type"
    stranger = OfferConstraints()
    stranger.role_constraints["eng"].CopyFrom(one("exists").role_constraints["web"])
    assert refusal(stranger).field == f"{FIELD}.role_constraints['eng']"


def test_regular_expression_that_is_none_is_refused() -> None:
    error = refusal(one("text_matches", "("))
    assert error.field == f"{WHERE}.predicate.text_matches.regex"
    assert "missing )" in error.message
    assert "b'" not in error.message


def test_regular_expression_beyond_the_limits_is_refused() -> None:
    assert "too large" in refusal(one("text_matches", "a{1000}")).message
    assert "too complex" in refusal(one("text_not_matches", "[a-z]{100}")).message
    roomy = RegexLimits(re2_max_mem=1_000_000, re2_max_program_size=5000)
    assert compile_constraints(one("text_matches", "a{1000}"), ["web"], FIELD, roomy)


def test_more_predicates_than_anybody_needs_are_refused() -> None:
    constraints = one("exists")
    group = constraints.role_constraints["web"].groups[0]
    for _ in range(PREDICATES_MAX):
        group.attribute_constraints.append(group.attribute_constraints[0])
    assert refusal(constraints).field == FIELD
