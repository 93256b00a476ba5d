"""How much a message may hold: every list and every text in it, by what they are.

Whoever receives a message checks it here before anything is done with it, also before it is known to be whole, so that
the work on one message, and what is kept of it, stay within bounds. Most messages are so small that no list in them can
be too long: that is seen by their size, and costs about a microsecond.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import InvalidRequest

LIST_ITEMS_MAX: Final = 10_000
"""Items of a list, or entries of a map, for which nothing else is said here: resources, labels, variables, roles, …"""

RANGES_MAX: Final = 32_768
"""Ranges of one resource or attribute: as many as 65,536 ports make when every other one is taken."""

RANGES_PER_CALL_MAX: Final = 100_000
"""Ranges, and items of sets, of all resources in one call."""

URIS_MAX: Final = 1_000
"""Files that one command has fetched."""

TASKS_PER_CALL_MAX: Final = 10_000
"""Tasks of one ACCEPT."""

RECONCILED_PER_CALL_MAX: Final = 100_000
"""Tasks or operations asked about in one RECONCILE: Mesos' guide has a framework ask about all that it has, at once."""

OFFERS_PER_CALL_MAX: Final = 100_000
"""Offers, or inverse offers, of one ACCEPT or DECLINE."""

ROLES_PER_CALL_MAX: Final = LIST_ITEMS_MAX
"""Weights or quotas in one call."""

HELD_PER_AGENT_MAX: Final = 1_000_000
"""Tasks, executors or frameworks that an agent registers with, and the statuses of one of its tasks."""

NAME_BYTES_MAX: Final = 4_096
"""Names, users, principals, hosts and ids. What may be the id of something new is stricter: `mezzo.validation`."""

TEXT_BYTES_MAX: Final = 256 * 1024
"""Any other text: command lines and arguments, values of variables and labels, URIs, paths, headers, messages."""

DATA_BYTES_MAX: Final = 16 * 1024 * 1024
"""Data that only frameworks and executors understand."""

_LISTS: Final = {
    "mesos.v1.CommandInfo.uris": URIS_MAX,
    "mesos.v1.Offer.Operation.Launch.task_infos": TASKS_PER_CALL_MAX,
    "mesos.v1.Task.statuses": HELD_PER_AGENT_MAX,
    "mesos.v1.TaskGroupInfo.tasks": TASKS_PER_CALL_MAX,
    "mesos.v1.Value.Ranges.range": RANGES_MAX,
    "mesos.v1.master.Call.UpdateQuota.quota_configs": ROLES_PER_CALL_MAX,
    "mesos.v1.master.Call.UpdateWeights.weight_infos": ROLES_PER_CALL_MAX,
    "mesos.v1.scheduler.Call.Accept.offer_ids": OFFERS_PER_CALL_MAX,
    "mesos.v1.scheduler.Call.AcceptInverseOffers.inverse_offer_ids": OFFERS_PER_CALL_MAX,
    "mesos.v1.scheduler.Call.Decline.offer_ids": OFFERS_PER_CALL_MAX,
    "mesos.v1.scheduler.Call.DeclineInverseOffers.inverse_offer_ids": OFFERS_PER_CALL_MAX,
    "mesos.v1.scheduler.Call.Reconcile.tasks": RECONCILED_PER_CALL_MAX,
    "mesos.v1.scheduler.Call.ReconcileOperations.operations": RECONCILED_PER_CALL_MAX,
    "mezzo.agent.v1.Register.executors": HELD_PER_AGENT_MAX,
    "mezzo.agent.v1.Register.frameworks": HELD_PER_AGENT_MAX,
    "mezzo.agent.v1.Register.tasks": HELD_PER_AGENT_MAX,
}
"""Full name of a repeated field → its items, where it is not `LIST_ITEMS_MAX`."""

_NAMES: Final = frozenset(
    ("hostname", "id", "ip", "key", "name", "pid", "principal", "role", "roles", "source", "user")
)
"""Fields that hold a name, besides those of messages that are ids."""

_LAUNCHED: Final = frozenset(each.DESCRIPTOR.full_name for each in (mesos.TaskInfo, mesos.ExecutorInfo))


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    items_max: int
    """0 for a field that is not repeated."""
    bytes_max: int
    """0 for a field that is no text or data."""
    is_map: bool
    below: Descriptor | None
    """The type of message that it holds."""
    harmless_bytes_max: int
    """The size up to which nothing in such a message can be over a limit."""


def check(message: Message, field: str = "") -> None:
    """Refuse a message with a list or a text that is too long; `field` is where it is.

    Raises:
        InvalidRequest: with the path of the first one.
    """
    try:
        _check(message, _size(message, launched=True), launched=True)
    except InvalidRequest as error:
        raise (error.below(field) if field else error) from None


def check_call(call: Message) -> None:
    """The same of a call, but for the tasks and executors that it launches.

    Each of them is to be checked when its turn comes, so that one which is too large is an error of its own.

    Raises:
        InvalidRequest: with the path of the first list or text that is too long.
    """
    _check(call, _size(call, launched=False), launched=False)


def check_pieces(lists: Iterable[Iterable[mesos.Resource]], field: str) -> None:
    """Refuse lists of resources that have too many ranges, and items of sets, together.

    Raises:
        InvalidRequest: they have more than `RANGES_PER_CALL_MAX`.
    """
    pieces = 0
    for resources in lists:
        for resource in resources:
            if resource.type == mesos.Value.RANGES:
                pieces += len(resource.ranges.range)
            elif resource.type == mesos.Value.SET:
                pieces += len(resource.set.item)
    if pieces > RANGES_PER_CALL_MAX:
        raise InvalidRequest(
            field, f"has {pieces} ranges and items of sets in all; at most {RANGES_PER_CALL_MAX} are allowed"
        )


def _size(message: Message, *, launched: bool) -> int:
    """Its size. Of what holds tasks that are left out it is not asked: they would all be serialised for it."""
    if not launched and _holds_launched(message.DESCRIPTOR):
        return sys.maxsize
    # Not ByteSize(), which raises where a required field is missing.
    return len(message.SerializePartialToString())


def _check(message: Message, size: int, *, launched: bool) -> None:
    """Check a message; what is launched as well, or all but that."""
    fields, harmless_bytes_max = _plan(message.DESCRIPTOR)
    if size <= harmless_bytes_max:
        return
    for descriptor, value in message.ListFields():
        field = fields[descriptor.number]
        if field.items_max and len(value) > field.items_max:
            raise InvalidRequest(field.name, f"has {len(value)} items; at most {field.items_max} are allowed")
        if field.bytes_max:
            _check_texts(field, value)
        elif field.is_map and field.below is None:
            _check_entries(field.name, value)
        elif field.below is None or size <= field.harmless_bytes_max:
            continue
        elif launched or field.below.full_name not in _LAUNCHED:
            _check_below(field, value, launched=launched)


def _check_entries(name: str, value: Any) -> None:
    for key, one in value.items():
        for text in (key, one):
            if isinstance(text, str | bytes):
                _check_text(name, text, TEXT_BYTES_MAX)


def _check_texts(field: _Field, value: Any) -> None:
    if not field.items_max:
        _check_text(field.name, value, field.bytes_max)
        return
    for index, one in enumerate(value):
        _check_text(f"{field.name}[{index}]", one, field.bytes_max)


def _check_text(name: str, value: str | bytes, bytes_max: int) -> None:
    # A character has four bytes at most.
    if len(value) * 4 <= bytes_max:
        return
    size = len(value) if isinstance(value, bytes) else len(value.encode(errors="replace"))
    if size > bytes_max:
        raise InvalidRequest(name, f"has {size} bytes; at most {bytes_max} are allowed")


def _check_below(field: _Field, value: Any, *, launched: bool) -> None:
    for index, one in _members(field, value):
        try:
            _check(one, _size(one, launched=launched), launched=launched)
        except InvalidRequest as error:
            raise error.below(f"{field.name}{index}") from None


def _members(field: _Field, value: Any) -> Iterator[tuple[str, Message]]:
    """The messages that a field holds, each with what follows the field's name in its path."""
    if field.is_map:
        for key in value:
            _check_text(f"{field.name}[{key[:32]!r}]", key, NAME_BYTES_MAX)
            yield f"['{key}']", value[key]
    elif field.items_max:
        for index, one in enumerate(value):
            yield f"[{index}]", one
    else:
        yield "", value


@cache
def _plan(descriptor: Descriptor) -> tuple[dict[int, _Field], int]:
    """The fields of a kind of message by number, and the size up to which nothing in it can be over a limit."""
    fields = {each.number: _field(each) for each in descriptor.fields}
    return fields, _harmless(descriptor)


def _field(field: FieldDescriptor) -> _Field:
    below = field.message_type
    is_map = below is not None and below.GetOptions().map_entry
    if is_map and below is not None:
        below = below.fields_by_name["value"].message_type
    # The keys of maps are names.
    harmless = min(
        _harmless(below) if below is not None else DATA_BYTES_MAX, NAME_BYTES_MAX if is_map else DATA_BYTES_MAX
    )
    return _Field(field.name, _items_max(field), _bytes_max(field), is_map, below, harmless)


def _items_max(field: FieldDescriptor) -> int:
    return _LISTS.get(field.full_name, LIST_ITEMS_MAX) if field.is_repeated else 0


def _bytes_max(field: FieldDescriptor) -> int:
    if field.type == field.TYPE_BYTES:
        return DATA_BYTES_MAX
    if field.type != field.TYPE_STRING:
        return 0
    is_id = field.name == "value" and field.full_name.endswith("ID.value")
    return NAME_BYTES_MAX if is_id or field.name in _NAMES else TEXT_BYTES_MAX


@cache
def _holds_launched(descriptor: Descriptor) -> bool:
    """Whether there can be tasks or executors in such a message that are launched."""
    return any(each.full_name in _LAUNCHED for each in _held(descriptor))


def _held(descriptor: Descriptor) -> list[Descriptor]:
    """All kinds of messages that a kind of message can hold, and itself."""
    held, seen = [descriptor], {descriptor.full_name}
    for each in held:  # grows meanwhile
        for field in each.fields:
            below = field.message_type
            if below is not None and below.full_name not in seen:
                seen.add(below.full_name)
                held.append(below)
    return held


@cache
def _harmless(descriptor: Descriptor) -> int:
    """As many bytes as the smallest limit of a kind of message takes, and of all that it can hold."""
    smallest = DATA_BYTES_MAX
    for field in (field for each in _held(descriptor) for field in each.fields):
        if field.is_repeated:
            # An item has a tag and a byte at least; only numbers can be packed without tags.
            smallest = min(smallest, _items_max(field) * (1 if field.is_packed else 2))
        smallest = min(smallest, _bytes_max(field) or smallest)
    return smallest
