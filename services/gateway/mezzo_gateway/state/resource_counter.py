"""Sums of resources that can be taken apart again: what is used and offered, per agent, framework and role.

The algebra of `mezzo.resources` decides; this only counts. Adding and removing one task costs a few dictionary
look-ups, whatever the size of the sum, and what was added is removed exactly: ranges and set items are counted, not
merged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from mesos.v1.mesos_pb2 import Resource, Value
from mezzo import jsonv0
from mezzo.memo import Memo
from mezzo.resources import Form, ResourceError, Resources
from mezzo.resources.ranges import normalise

# Distinct resource lists whose portions are remembered. Tasks of one kind share theirs.
PORTIONS_REMEMBERED_MAX = 8192

THOUSANDTHS = 1000

T = TypeVar("T")


class Portion(NamedTuple):
    """One resource of a list, split into what it is (`kind`) and how much of it there is."""

    kind: bytes
    template: Resource
    thousandths: int
    ranges: tuple[tuple[int, int], ...]
    items: tuple[str, ...]


Holding = tuple[Portion, ...]


class Portions:
    """Splits resource lists, and remembers how it split those it has seen."""

    def __init__(self) -> None:
        self._seen: Memo[bytes, Holding] = Memo(PORTIONS_REMEMBERED_MAX)

    def split(self, resources: Iterable[Resource]) -> Holding:
        """The portions of `resources`, in their order."""
        resources = list(resources)
        key = b"".join(resource.SerializePartialToString(deterministic=True) for resource in resources)
        holding = self._seen.find(key)
        if holding is None:
            holding = self._seen.keep(key, tuple(map(_portion, shown(resources))))
        return holding


def _portion(resource: Resource) -> Portion:
    template = Resource()
    template.CopyFrom(resource)
    template.ClearField("scalar")
    template.ClearField("ranges")
    template.ClearField("set")
    return Portion(
        kind=template.SerializePartialToString(deterministic=True),
        template=template,
        thousandths=round(resource.scalar.value * THOUSANDTHS),
        ranges=tuple((span.begin, span.end) for span in resource.ranges.range),
        items=tuple(resource.set.item),
    )


class _Sum:
    """All portions of one kind."""

    __slots__ = ("items", "portions", "ranges", "shown_name", "template", "thousandths")

    def __init__(self, template: Resource) -> None:
        self.template = template
        self.shown_name = f"{template.name}_revocable" if template.HasField("revocable") else template.name
        self.portions = 0
        self.thousandths = 0
        self.ranges: Counter[tuple[int, int]] = Counter()
        self.items: Counter[str] = Counter()

    def scalar_thousandths(self) -> int:
        """Shared resources count once, however many hold them."""
        if self.template.HasField("shared") and self.portions:
            return self.thousandths // self.portions
        return self.thousandths


class ResourceCounter:
    """A sum of holdings.

    Removing what was never added is a mistake of the caller, and an error.
    """

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums: dict[bytes, _Sum] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(self, holding: Holding) -> None:
        """Count `holding` in."""
        sums = self._sums
        for portion in holding:
            found = sums.get(portion.kind)
            if found is None:
                found = sums[portion.kind] = _Sum(portion.template)
            found.portions += 1
            found.thousandths += portion.thousandths
            if portion.ranges:
                found.ranges.update(portion.ranges)
            if portion.items:
                found.items.update(portion.items)

    def remove(self, holding: Holding) -> None:
        """Count `holding` out again."""
        sums = self._sums
        for portion in holding:
            found = sums[portion.kind]
            found.portions -= 1
            if not found.portions:
                del sums[portion.kind]
                continue
            found.thousandths -= portion.thousandths
            _count_out(found.ranges, portion.ranges)
            _count_out(found.items, portion.items)

    def messages(self) -> list[Resource]:
        """The sum as messages, one of each kind."""
        return [_message(found) for found in self._sums.values()]

    def quantities(self) -> dict[str, int]:
        """Thousandths of each scalar by name, revocable or not."""
        totals: dict[str, int] = {}
        for found in self._sums.values():
            if found.template.type == Value.SCALAR:
                totals[found.template.name] = totals.get(found.template.name, 0) + found.scalar_thousandths()
        return totals

    def quantities_by_role(self, default_role: str, *, against_quota: bool = False) -> dict[str, dict[str, int]]:
        """Thousandths of each scalar by the role that it is allocated to.

        Against a quota counts what is neither revocable nor reserved: a reservation counts itself, used or not.
        """
        totals: dict[str, dict[str, int]] = {}
        for found in self._sums.values():
            template = found.template
            exempt = template.HasField("revocable") or reserved_to(template) is not None
            if template.type == Value.SCALAR and not (against_quota and exempt):
                role = template.allocation_info.role or default_role
                of_role = totals.setdefault(role, {})
                of_role[template.name] = of_role.get(template.name, 0) + found.scalar_thousandths()
        return totals

    def model(self) -> dict[str, object]:
        """The sum in the form of Mesos' legacy endpoints (as `mezzo.jsonv0.resources` gives it of messages)."""
        return model((self,))


def model(counters: Iterable[ResourceCounter]) -> dict[str, object]:
    """The sum of several counters in the form of Mesos' legacy endpoints: `{"cpus": 0.5, …, "ports": "[31000-32000]"}`.

    Scalars are numbers, ranges and sets text; revocable resources stand under `<name>_revocable`; cpus, mem, disk and
    gpus are always there.
    """
    scalars = dict.fromkeys(jsonv0.ALWAYS, 0)
    spans: dict[str, set[tuple[int, int]]] = {}
    items: dict[str, set[str]] = {}
    for counter in counters:
        for found in counter._sums.values():  # noqa: SLF001  counters know one another
            template = found.template
            name = found.shown_name
            if template.type == Value.SCALAR:
                scalars[name] = scalars.get(name, 0) + found.scalar_thousandths()
            elif template.type == Value.RANGES:
                spans.setdefault(name, set()).update(found.ranges)
            else:
                items.setdefault(name, set()).update(found.items)
    return jsonv0.sums(scalars, spans, items)


def shown(resources: Iterable[Resource]) -> list[Resource]:
    """Resources in the form in which operators see them; as they are messages, where they make no sense."""
    messages = list(resources)
    try:
        return Resources.of(messages).messages(Form.ENDPOINT)
    except ResourceError:
        return messages


def count_resources(resources: Iterable[Resource]) -> ResourceCounter:
    """The sum of one list."""
    counter = ResourceCounter()
    counter.add(Portions().split(resources))
    return counter


def reserved_to(resource: Resource) -> str | None:
    """The role that `resource` is reserved to, if any."""
    role = resource.reservations[-1].role if resource.reservations else resource.role
    return None if role == "*" else role


def by_reservation(resources: Iterable[Resource]) -> tuple[list[Resource], dict[str, list[Resource]]]:
    """Unreserved resources, and reserved ones by the role that they are reserved to."""
    unreserved: list[Resource] = []
    reserved: dict[str, list[Resource]] = {}
    for resource in resources:
        role = reserved_to(resource)
        (unreserved if role is None else reserved.setdefault(role, [])).append(resource)
    return unreserved, reserved


def _message(found: _Sum) -> Resource:
    resource = Resource()
    resource.CopyFrom(found.template)
    if resource.type == Value.SCALAR:
        resource.scalar.value = found.scalar_thousandths() / THOUSANDTHS
    elif resource.type == Value.RANGES:
        for begin, end in normalise(found.ranges):
            resource.ranges.range.add(begin=begin, end=end)
    else:
        resource.set.item.extend(sorted(found.items))
    return resource


def _count_out(counted: Counter[T], values: Iterable[T]) -> None:
    for value in values:
        counted[value] -= 1
        if not counted[value]:
            del counted[value]
