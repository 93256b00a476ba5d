"""Both text syntaxes of `--resources` (docs/attributes-resources.md of apache/mesos).

cpus:8;mem(ads):4096;ports:[31000-32000];disks:{sda1,sdb1}
[{"name": "cpus", "type": "SCALAR", "scalar": {"value": 8}, "role": "ads"}, …]
"""

from __future__ import annotations

import re

from mesos.v1 import mesos_pb2 as mesos
from mezzo import jsonpb
from mezzo.resources.quantities import Limits, Quantities
from mezzo.resources.ranges import normalise
from mezzo.resources.scalar import ResourceError, to_thousandths
from mezzo.resources.validation import validate
from mezzo.resources.value import Resources

_NAME = re.compile(r"\s*(?P<name>[^():;\s][^():;]*?)\s*(?:\(\s*(?P<role>[^()]*?)\s*\))?\s*\Z")
_RANGE = re.compile(r"\s*([0-9]+)\s*-\s*([0-9]+)\s*\Z")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z|[+-]?(nan|inf)\Z")
_RANGE_MAX = 2**64 - 1
_BRACKETS = frozenset("{}[]")


def parse(text: str, default_role: str = "*") -> Resources:
    """Resources in either syntax; what names no role is reserved for `default_role`.

    Raises:
        ResourceError: the text makes no sense, or states what only operations make: persistent volumes, dynamic
            reservations, revocable resources.
    """
    _check_unicode(text)
    stripped = text.strip()
    messages = _from_json(stripped) if stripped.startswith("[") else _from_list(stripped)
    for message in messages:
        if not message.reservations and not message.HasField("role"):
            message.role = default_role
    validate(messages)
    value = Resources.of(messages)
    _check_types(value)
    _check_may_be_stated(value)
    return value


def _check_types(value: Resources) -> None:
    types: dict[str, int] = {}
    for kind in value:
        if types.setdefault(kind.name, kind.value_type) != kind.value_type:
            raise ResourceError(kind.name, "has more than one type")


def _check_may_be_stated(value: Resources) -> None:
    """Nobody states in a flag what frameworks and operators make with operations, or what others lend."""
    for kind in value:
        if kind.persistent_volume:
            raise ResourceError(str(kind), "a persistent volume is created by CREATE, not by a flag")
        if any(reservation.dynamic for reservation in kind.reservations):
            raise ResourceError(str(kind), "a dynamic reservation is made by RESERVE, not by a flag")
        if kind.revocable:
            raise ResourceError(str(kind), "revocable resources are estimated, not set by a flag")


def parse_quantities(text: str) -> Quantities:
    """Scalars by name, as in `cpus:0.01;mem:32`; what is named twice adds up. Raises `ResourceError`."""
    totals: dict[str, int] = {}
    for name, value in pairs(text):
        totals[name] = totals.get(name, 0) + to_thousandths(_number(value, name), name)
    return Quantities(totals)


def parse_limits(text: str) -> Limits:
    """Bounds by name, as in `cpus:16;mem:0`; none may be named twice. Raises `ResourceError`."""
    limits: dict[str, int] = {}
    for name, value in pairs(text):
        if name in limits:
            raise ResourceError(name, "has two limits")
        limits[name] = to_thousandths(_number(value, name), name)
    return Limits(limits)


def _from_json(text: str) -> list[mesos.Resource]:
    try:
        return jsonpb.parse_list(mesos.Resource, text)
    except jsonpb.JsonError as error:
        raise ResourceError(error.field, error.message) from None


def pairs(text: str) -> list[tuple[str, str]]:
    """The `name:value` parts of a list separated by semicolons."""
    _check_unicode(text)
    found = []
    for part in filter(str.strip, text.split(";")):
        name, colon, value = part.partition(":")
        if not name.strip() or not colon or not value.strip():
            raise ResourceError(part.strip(), "expected name:value")
        found.append((name.strip(), value.strip()))
    return found


def _check_unicode(text: str) -> None:
    """Python hands on bytes of a command line that are no UTF-8 as lone surrogates, which no message can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ResourceError("", f"{text!r} is not Unicode text") from None


def _from_list(text: str) -> list[mesos.Resource]:
    messages = []
    for left, value in pairs(text):
        matched = _NAME.match(left)
        if not matched:
            raise ResourceError(left, "expected a name, or a name and a role in parentheses")
        message = mesos.Resource(name=matched["name"])
        fill_value(message, value, matched["name"])
        if matched["role"] is not None:
            message.role = matched["role"]
        messages.append(message)
    return messages


def fill_value(message: mesos.Resource | mesos.Attribute, text: str, field: str) -> None:
    """Set the type and the value of a message from text: a number, `[ranges]`, `{a set}`, or anything else as text."""
    if text.startswith("["):
        message.type = mesos.Value.RANGES
        for begin, end in normalise(_ranges(text, field)):
            message.ranges.range.add(begin=begin, end=end)
    elif text.startswith("{"):
        message.type = mesos.Value.SET
        message.set.item.extend(_items(text, field))
    elif (number := _as_number(text)) is not None:
        message.type = mesos.Value.SCALAR
        message.scalar.value = number
    elif isinstance(message, mesos.Attribute):
        message.type = mesos.Value.TEXT
        message.text.value = text
    else:
        raise ResourceError(field, f"{text!r} is neither a number, nor [ranges], nor {{a set}}")


def _items(text: str, field: str) -> list[str]:
    if not text.endswith("}"):
        raise ResourceError(field, f"{text!r} has no closing brace")
    if _BRACKETS.intersection(text[1:-1]):
        raise ResourceError(field, f"{text!r} has braces or brackets among its items")
    return [item.strip() for item in text[1:-1].split(",") if item.strip()]


def _ranges(text: str, field: str) -> list[tuple[int, int]]:
    if not text.endswith("]"):
        raise ResourceError(field, f"{text!r} has no closing bracket")
    pairs = []
    for part in filter(str.strip, text[1:-1].split(",")):
        matched = _RANGE.match(part)
        if not matched:
            raise ResourceError(field, f"{part.strip()!r} is not a range like 31000-32000")
        begin, end = int(matched[1]), int(matched[2])
        if max(begin, end) > _RANGE_MAX:
            raise ResourceError(field, f"{part.strip()!r} goes beyond {_RANGE_MAX}")
        if begin > end:
            raise ResourceError(field, f"{part.strip()!r} ends before it begins")
        pairs.append((begin, end))
    return pairs


def _as_number(text: str) -> float | None:
    return float(text) if _NUMBER.match(text) else None


def _number(text: str, field: str) -> float:
    number = _as_number(text)
    if number is None:
        raise ResourceError(field, f"{text!r} is not a number")
    return number
