"""Offer constraints at their edges; `test_visibility.py` has each predicate."""

from __future__ import annotations

import pytest

from mesos.v1.mesos_pb2 import AgentInfo, FrameworkInfo
from mesos.v1.scheduler.scheduler_pb2 import OfferConstraints
from mezzo import attributes, jsonpb
from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.errors import InvalidRequest
from mezzo.offer_constraints import compile_constraints
from mezzo_allocator.adapters.translation import Translator
from mezzo_allocator.core.constraints import constraints_by_role
from mezzo_allocator.testing import Conversation


def constraints(predicate: dict[str, object], role: str = "*") -> OfferConstraints:
    """One predicate about the attribute `bar`."""
    stated = {"selector": {"attribute_name": "bar"}, "predicate": predicate}
    groups = {"groups": [{"attribute_constraints": [stated]}]}
    return jsonpb.from_dict(OfferConstraints, {"role_constraints": {role: groups}})


def admits(stated: OfferConstraints, text: str, role: str = "*") -> bool:
    agent = AgentInfo(hostname="a", attributes=attributes.parse(text))
    return constraints_by_role(stated)[role].admit(agent)


@pytest.mark.parametrize(
    ("predicate", "admitted", "excluded"),
    [
        ({"exists": {}}, ["bar:123", "foo:123;bar:456"], ["foo:123", ""]),
        ({"not_exists": {}}, ["foo:123", ""], ["bar:123", "foo:123;bar:456"]),
        ({"text_equals": {"value": "baz"}}, ["bar:baz", "bar:123", "bar:[1-17]"], ["bar:zab", "foo:baz"]),
        ({"text_not_equals": {"value": "baz"}}, ["bar:zab", "bar:123", "bar:[1-17]", "foo:baz"], ["bar:baz"]),
        ({"text_matches": {"regex": "[a-d]+"}}, ["bar:abcd", "bar:123", "bar:[1-17]"], ["bar:bcde", "foo:abcd"]),
        ({"text_not_matches": {"regex": "[a-d]+"}}, ["bar:bcde", "bar:123", "bar:[1-17]", "foo:abcd"], ["bar:abcd"]),
    ],
)
def test_a_predicate_of_text_passes_what_is_no_text(
    predicate: dict[str, object], admitted: list[str], excluded: list[str]
) -> None:
    assert [admits(constraints(predicate), text) for text in admitted] == [True] * len(admitted)
    assert [admits(constraints(predicate), text) for text in excluded] == [False] * len(excluded)


def test_of_several_attributes_with_one_name_the_first_counts() -> None:
    agents = ["bar:baz;bar:foo", "bar:123;bar:foo", "bar:foo;bar:baz", "bar:foo;bar:123"]
    positive = constraints({"text_equals": {"value": "baz"}})
    assert [admits(positive, agent) for agent in agents] == [True, True, False, False]
    negative = constraints({"text_not_equals": {"value": "baz"}})
    assert [admits(negative, agent) for agent in agents] == [False, True, True, True]


@pytest.mark.parametrize("kind", ["text_matches", "text_not_matches"])
def test_a_regular_expression_may_be_as_complex_as_it_takes_little_memory(kind: str) -> None:
    assert admits(constraints({kind: {"regex": "(a+){10}"}}), "bar:aaaaaaaaaa") is (kind == "text_matches")
    # The registry refuses what is too complex by its flags; the allocator takes what that let through.
    complex_one = constraints({kind: {"regex": "(a+){50}"}})
    with pytest.raises(InvalidRequest, match="too complex"):
        compile_constraints(complex_one, "*", "offer_constraints")
    assert admits(complex_one, f"bar:{'a' * 50}") is (kind == "text_matches")
    with pytest.raises(InvalidRequest, match="not accepted"):
        constraints_by_role(constraints({kind: {"regex": "[a-d"}}))


def test_a_role_without_constraints_is_offered_every_agent() -> None:
    for stated in (OfferConstraints(), constraints({"exists": {}}, role="other")):
        cluster = Conversation()
        cluster.framework("f", constraints=stated)
        cluster.agent("a", "cpus:1;mem:64")
        assert len(cluster.offers()) == 1


def test_constraints_with_no_groups_are_wrong() -> None:
    stated = OfferConstraints()
    stated.role_constraints["*"].SetInParent()
    with pytest.raises(InvalidRequest, match="at least one group"):
        constraints_by_role(stated)


def test_constraints_that_cannot_be_understood_admit_no_agent() -> None:
    info = FrameworkInfo(user="nobody", name="f", role="*")
    info.id.value = "f"
    wrong = wire.FrameworkUpdate(framework=1, framework_info=info, active=True)
    wrong.offer_constraints.CopyFrom(constraints({"text_matches": {"regex": "("}}))
    event = Translator().event(wire.RegistryMessage(framework_update=wrong))
    assert event is not None
    cluster = Conversation()
    cluster.say(event)
    cluster.agent("a", "cpus:1;mem:64")
    assert cluster.offers() == []
    (explanation,) = cluster.core.explain("f")
    assert list(explanation.verdicts.values()) == ["constraint"]
