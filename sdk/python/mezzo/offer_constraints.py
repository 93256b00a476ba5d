"""Offer constraints: which agents a framework wants offers from, by role, as predicates over the agents' attributes.

The semantics are Mesos' (docs/scheduler-http-api.md, docs/attributes-resources.md of apache/mesos). Regular expressions
run in RE2, whose time is linear in the text, and each within limits of memory and size: they come from strangers. They
match whole values.

Of several attributes with one name the first counts. A predicate about text holds for a value that is no text; a
negative one also where there is no such attribute.

Needs the package google-re2, which the services bring along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler.scheduler_pb2 import AttributeConstraint, OfferConstraints
from mezzo.errors import InvalidRequest

PREDICATES_MAX = 10_000
"""Most predicates in the constraints of one framework."""

Selector = AttributeConstraint.Selector
Values = list[str | None]
"""What a selector finds: nothing, or one value; None for a value that is no text."""


@dataclass(frozen=True, slots=True)
class RegexLimits:
    """What one regular expression may cost; the names and defaults of Mesos' flags."""

    re2_max_mem: int = 4096
    """Bytes for the compiled expression and its cache."""
    re2_max_program_size: int = 100
    """Instructions of the compiled expression, about what it takes to match one character."""


DEFAULT_LIMITS = RegexLimits()


class RoleConstraints:
    """The constraints of one role, compiled."""

    def __init__(
        self, stated: OfferConstraints.RoleConstraints, field: str, limits: RegexLimits = DEFAULT_LIMITS
    ) -> None:
        """Compile them.

        Raises:
            InvalidRequest: something of `field` is not set, not known, or no acceptable regular expression.
        """
        if not stated.groups:
            raise InvalidRequest(f"{field}.groups", "must have at least one group")
        self._groups: list[list[_Predicate]] = []
        for number, group in enumerate(stated.groups):
            where = f"{field}.groups[{number}]"
            if not group.attribute_constraints:
                raise InvalidRequest(f"{where}.attribute_constraints", "must have at least one constraint")
            self._groups.append(
                [
                    _Predicate(constraint, f"{where}.attribute_constraints[{index}]", limits)
                    for index, constraint in enumerate(group.attribute_constraints)
                ]
            )

    def admit(self, agent: mesos.AgentInfo) -> bool:
        """Whether an agent may be offered: all predicates of at least one group hold."""
        return any(all(predicate.holds(agent) for predicate in group) for group in self._groups)


def compile_constraints(
    constraints: OfferConstraints, roles: Iterable[str], field: str, limits: RegexLimits = DEFAULT_LIMITS
) -> Mapping[str, RoleConstraints]:
    """A framework's constraints by role; a role that is not named wants offers from all agents.

    Raises:
        InvalidRequest: a role is none of `roles`, there are too many predicates, or one makes no sense; the error names
            what of `field`.
    """
    known = frozenset(roles)
    predicates = sum(
        len(group.attribute_constraints)
        for of_role in constraints.role_constraints.values()
        for group in of_role.groups
    )
    if predicates > PREDICATES_MAX:
        raise InvalidRequest(field, f"has {predicates} predicates; at most {PREDICATES_MAX} are allowed")
    compiled: dict[str, RoleConstraints] = {}
    for role, stated in constraints.role_constraints.items():
        where = f"{field}.role_constraints['{role}']"
        if role not in known:
            raise InvalidRequest(where, "the framework does not have this role")
        compiled[role] = RoleConstraints(stated, where, limits)
    return compiled


class _Predicate:
    """One predicate about one attribute or pseudo-attribute."""

    def __init__(self, constraint: AttributeConstraint, field: str, limits: RegexLimits) -> None:
        selector = self._selector = constraint.selector
        which = selector.WhichOneof("selector")
        if which is None:
            raise InvalidRequest(f"{field}.selector", "must name an attribute or a pseudo-attribute")
        if which == "pseudoattribute_type" and selector.pseudoattribute_type == Selector.UNKNOWN:
            raise InvalidRequest(f"{field}.selector.pseudoattribute_type", "is not known")
        self._test = _test_of(constraint.predicate, f"{field}.predicate", limits)

    def holds(self, agent: mesos.AgentInfo) -> bool:
        return self._test(self._values(agent))

    def _values(self, agent: mesos.AgentInfo) -> Values:
        selector = self._selector
        if selector.HasField("attribute_name"):
            for attribute in agent.attributes:
                if attribute.name == selector.attribute_name:
                    return [attribute.text.value if attribute.type == mesos.Value.TEXT else None]
            return []
        if selector.pseudoattribute_type == Selector.HOSTNAME:
            return [agent.hostname]
        if not agent.domain.HasField("fault_domain"):
            return []
        fault_domain = agent.domain.fault_domain
        of_region = selector.pseudoattribute_type == Selector.REGION
        return [fault_domain.region.name if of_region else fault_domain.zone.name]


def _test_of(predicate: AttributeConstraint.Predicate, field: str, limits: RegexLimits) -> Callable[[Values], bool]:
    kind = predicate.WhichOneof("predicate")
    if kind is None:
        raise InvalidRequest(field, "missing or unknown")
    if kind == "exists":
        return bool
    if kind == "not_exists":
        return lambda values: not values
    if kind in ("text_equals", "text_not_equals"):
        wanted = predicate.text_equals.value if kind == "text_equals" else predicate.text_not_equals.value
        matches: Callable[[str], bool] = wanted.__eq__
    else:
        regex = predicate.text_matches.regex if kind == "text_matches" else predicate.text_not_matches.regex
        matches = _matcher(regex, f"{field}.{kind}.regex", limits)
    if kind in ("text_equals", "text_matches"):
        return lambda values: any(value is None or matches(value) for value in values)
    return lambda values: all(value is None or not matches(value) for value in values)


def _matcher(regex: str, field: str, limits: RegexLimits) -> Callable[[str], bool]:
    try:
        program = _compile(regex, limits.re2_max_mem)
    except re2.error as error:
        said = error.args[0] if error.args else error
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise InvalidRequest(field, f"is not accepted: {text}") from error
    if program.programsize > limits.re2_max_program_size:
        raise InvalidRequest(
            field, f"is too complex: it has {program.programsize} instructions, {limits.re2_max_program_size} at most"
        )
    return lambda text: program.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _compile(regex: str, memory_bytes: int) -> Any:
    options = re2.Options()
    options.max_mem = memory_bytes
    options.log_errors = False
    return re2.compile(regex, options)
