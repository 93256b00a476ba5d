"""Which agents a run may use, as `--constraint` says it: `rack=a`, `rack!=a`, `kernel~5.*`, `unique:hostname`.

What Mesos' offer constraints can say is said to the cluster, which then offers nothing else, and can explain why. All
of it is looked at again here: offer constraints hold for any attribute that is no text, and know nothing of `unique`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import typer

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler.scheduler_pb2 import AttributeConstraint, OfferConstraints

UNIQUE = "unique:"
_TEST = re.compile(r"([^=!~\s]+)(!=|!~|==|=|~)(.*)", re.DOTALL)
_SELECTORS = {
    "hostname": AttributeConstraint.Selector.HOSTNAME,
    "@hostname": AttributeConstraint.Selector.HOSTNAME,
    "@region": AttributeConstraint.Selector.REGION,
    "@zone": AttributeConstraint.Selector.ZONE,
}
EXPECTED = "expected ATTRIBUTE=VALUE, !=VALUE, ~REGEX, !~REGEX, or unique:ATTRIBUTE"


class Placed(Protocol):
    """What says where something would run: an offer, or an agent."""

    @property
    def hostname(self) -> str: ...
    @property
    def attributes(self) -> Sequence[mesos.Attribute]: ...
    @property
    def domain(self) -> mesos.DomainInfo: ...


@dataclass(frozen=True, slots=True)
class Constraint:
    """One of them. An operator of `unique` has no value."""

    attribute: str
    operator: str
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Raises `typer.BadParameter`."""
        if text.startswith(UNIQUE) and len(text) > len(UNIQUE):
            return cls(text.removeprefix(UNIQUE), "unique")
        found = _TEST.fullmatch(text)
        if found is None:
            raise typer.BadParameter(f"{text!r}: {EXPECTED}", param_hint="--constraint")
        attribute, operator, value = found.groups()
        if "~" in operator:
            try:
                re.compile(value)
            except re.error as error:
                raise typer.BadParameter(
                    f"{text!r}: not a regular expression: {error}", param_hint="--constraint"
                ) from None
        return cls(attribute, "=" if operator == "==" else operator, value)

    def refusal(self, place: Placed, taken: Collection[str]) -> str:
        """Why it does not hold there, or nothing. `taken`: the attribute's values where other tasks of the run are."""
        values = values_of(place, self.attribute)
        has = f"has {self.attribute} {', '.join(values)}" if values else f"has no {self.attribute}"
        if self.operator == "unique":
            if not values:
                return has
            used = next((value for value in values if value in taken), None)
            return f"{has}, as another task of the run" if used is not None else ""
        holds = any(map(self._matches, values))
        if self.operator.startswith("!"):
            return has if holds else ""
        return "" if holds else has

    def _matches(self, value: str) -> bool:
        return re.fullmatch(self.value, value) is not None if "~" in self.operator else value == self.value


def values_of(place: Placed, attribute: str) -> list[str]:
    """The values of an attribute, as they are written; of several with one name the first counts, as in Mesos."""
    if attribute in _SELECTORS:
        return [value] if (value := _pseudo(place, _SELECTORS[attribute])) else []
    return next(([_text(each)] for each in place.attributes if each.name == attribute), [])


def _pseudo(place: Placed, selector: int) -> str:
    if selector == AttributeConstraint.Selector.HOSTNAME:
        return place.hostname
    domain = place.domain.fault_domain
    return domain.region.name if selector == AttributeConstraint.Selector.REGION else domain.zone.name


def _text(attribute: mesos.Attribute) -> str:
    if attribute.type == mesos.Value.TEXT:
        return attribute.text.value
    if attribute.type == mesos.Value.SCALAR:
        return f"{attribute.scalar.value:g}"
    return f"[{','.join(f'{each.begin}-{each.end}' for each in attribute.ranges.range)}]"


def for_cluster(constraints: Sequence[Constraint], role: str) -> OfferConstraints | None:
    """What of them the cluster is told with the subscription, if anything."""
    told = OfferConstraints()
    for constraint in constraints:
        if constraint.operator == "unique":
            continue
        groups = told.role_constraints[role].groups
        one = (groups[0] if groups else groups.add()).attribute_constraints.add()
        selector = _SELECTORS.get(constraint.attribute)
        if selector is None:
            one.selector.attribute_name = constraint.attribute
        else:
            one.selector.pseudoattribute_type = selector
        _set_predicate(one.predicate, constraint)
    return told if told.role_constraints else None


def _set_predicate(predicate: AttributeConstraint.Predicate, constraint: Constraint) -> None:
    if constraint.operator == "=":
        predicate.text_equals.value = constraint.value
    elif constraint.operator == "!=":
        predicate.text_not_equals.value = constraint.value
    elif constraint.operator == "~":
        predicate.text_matches.regex = constraint.value
    else:
        predicate.text_not_matches.regex = constraint.value
