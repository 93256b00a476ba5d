"""Offer constraints: predicates over an agent's attributes that a framework states per role.

Regular expressions run in RE2, whose time is linear in the text, with a bound on the memory of each program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import re2  # type: ignore[import-untyped]

from mesos.v1.mesos_pb2 import AgentInfo, Value
from mesos.v1.scheduler.scheduler_pb2 import AttributeConstraint, OfferConstraints
from mezzo.errors import InvalidRequest

REGEX_MEMORY_BYTES_MAX = 4096
REGEX_PROGRAM_SIZE_MAX = 100

# The text of an attribute, None for a value that is no text; empty where there is no such attribute.
Values = list[str | None]
Test = Callable[[Values], bool]


class Constraints(Protocol):
    """What a framework wants of the agents that it is offered in one role."""

    def admit(self, agent: AgentInfo) -> bool:
        """Whether an agent may be offered."""
        ...


class NothingAdmitted:
    """Stands for constraints that could not be understood: better no offers than wrong ones."""

    def admit(self, agent: AgentInfo) -> bool:
        """No agent at all."""
        del agent
        return False


class StatedConstraints:
    """Constraints as a framework stated them."""

    def __init__(self, role_constraints: OfferConstraints.RoleConstraints, field: str) -> None:
        self._groups = [
            [
                _Predicate(constraint, f"{field}.groups[{g}].attribute_constraints[{c}]")
                for c, constraint in enumerate(group.attribute_constraints)
            ]
            for g, group in enumerate(role_constraints.groups)
        ]

    def admit(self, agent: AgentInfo) -> bool:
        """Whether all predicates of at least one group hold. No groups admit every agent."""
        return not self._groups or any(all(predicate.holds(agent) for predicate in group) for group in self._groups)


def constraints_by_role(constraints: OfferConstraints) -> dict[str, Constraints]:
    """Compiles constraints; raises InvalidRequest naming the field that is wrong."""
    return {
        role: StatedConstraints(of_role, f"offer_constraints.role_constraints[{role}]")
        for role, of_role in constraints.role_constraints.items()
    }


class _Predicate:
    """One predicate about one attribute or pseudo-attribute."""

    def __init__(self, constraint: AttributeConstraint, field: str) -> None:
        self._selector = constraint.selector
        if self._selector.WhichOneof("selector") is None:
            raise InvalidRequest(f"{field}.selector", "neither attribute_name nor pseudoattribute_type is set")
        if (
            self._selector.HasField("pseudoattribute_type")
            and self._selector.pseudoattribute_type == AttributeConstraint.Selector.UNKNOWN
        ):
            raise InvalidRequest(f"{field}.selector.pseudoattribute_type", "unknown")
        self._test = _test_of(constraint.predicate, f"{field}.predicate")

    def holds(self, agent: AgentInfo) -> bool:
        return self._test(self._values(agent))

    def _values(self, agent: AgentInfo) -> Values:
        selector = self._selector
        if selector.HasField("attribute_name"):
            named = (attribute for attribute in agent.attributes if attribute.name == selector.attribute_name)
            first = next(named, None)
            if first is None:
                return []
            return [first.text.value if first.type == Value.TEXT else None]
        kinds = AttributeConstraint.Selector
        if selector.pseudoattribute_type == kinds.HOSTNAME:
            return [agent.hostname]
        if not agent.HasField("domain") or not agent.domain.HasField("fault_domain"):
            return []
        fault_domain = agent.domain.fault_domain
        return [fault_domain.region.name if selector.pseudoattribute_type == kinds.REGION else fault_domain.zone.name]


def _test_of(predicate: AttributeConstraint.Predicate, field: str) -> Test:
    """The test of a predicate over an attribute: as in Mesos, over the first of several with the name.

    A test of text passes where the value is no text, and a negative one where there is no such attribute.
    """
    kind = predicate.WhichOneof("predicate")
    if kind is None:
        raise InvalidRequest(field, "no predicate is set")
    if kind == "exists":
        return bool
    if kind == "not_exists":
        return lambda values: not values
    if kind in ("text_equals", "text_not_equals"):
        wanted = predicate.text_equals.value if kind == "text_equals" else predicate.text_not_equals.value
        matches: Callable[[str], bool] = wanted.__eq__
    else:
        regex = predicate.text_matches.regex if kind == "text_matches" else predicate.text_not_matches.regex
        matches = _matcher(regex, f"{field}.{kind}.regex")
    if kind in ("text_equals", "text_matches"):
        return lambda values: any(value is None or matches(value) for value in values)
    return lambda values: all(value is None or not matches(value) for value in values)


def _matcher(regex: str, field: str) -> Callable[[str], bool]:
    options = re2.Options()
    options.max_mem = REGEX_MEMORY_BYTES_MAX
    options.log_errors = False
    try:
        program = re2.compile(regex, options)
    except re2.error as error:
        raise InvalidRequest(field, f"not accepted: {error}") from error
    if program.programsize > REGEX_PROGRAM_SIZE_MAX:
        raise InvalidRequest(field, f"too complex: {program.programsize} steps, {REGEX_PROGRAM_SIZE_MAX} at most")
    return lambda text: program.fullmatch(text) is not None
