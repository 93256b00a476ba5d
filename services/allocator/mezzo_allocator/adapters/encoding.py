"""Writes a cycle's allocations for the wire, from parts that were serialised before.

Building an Allocation message field by field costs fifty microseconds, and a cycle may have tens of thousands; most of
them carry resources that some other has carried already. The bytes are those of `mezzo.allocator.v1.SessionResponse`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.memo import Memo
from mezzo.resources import Resources
from mezzo_allocator.core.events import Allocation, InverseAllocation

ALLOCATIONS_PER_MESSAGE = 1000
FORMS_MAX = 65_536

_LENGTH_DELIMITED = 2


def _tag(message: type, field: str, wire_type: int) -> bytes:
    number: int = message.DESCRIPTOR.fields_by_name[field].number  # type: ignore[attr-defined]
    return varint(number << 3 | wire_type)


def varint(value: int) -> bytes:
    """A number of at least 0 as protobuf writes it."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_FRAMEWORK = _tag(wire.Allocation, "framework", 0)
_AGENT = _tag(wire.Allocation, "agent", 0)
_ROLE = _tag(wire.Allocation, "role", _LENGTH_DELIMITED)
_RESOURCES = _tag(wire.Allocation, "resources", _LENGTH_DELIMITED)
_ALLOCATIONS_ITEM = _tag(wire.Allocations, "allocations", _LENGTH_DELIMITED)
_ALLOCATIONS_INVERSE = _tag(wire.Allocations, "inverse_allocations", _LENGTH_DELIMITED)
_ALLOCATIONS_CYCLE = _tag(wire.Allocations, "cycle", _LENGTH_DELIMITED)
_MESSAGE_ALLOCATIONS = _tag(wire.AllocatorMessage, "allocations", _LENGTH_DELIMITED)
_MESSAGE_CAUSE = _tag(wire.AllocatorMessage, "cause", _LENGTH_DELIMITED)
_RESPONSE_MESSAGES = _tag(wire.SessionResponse, "messages", _LENGTH_DELIMITED)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content


class Encoder:
    """Remembers the bytes of what it wrote."""

    def __init__(self) -> None:
        self._resources: Memo[Resources, bytes] = Memo(FORMS_MAX)
        self._clients: Memo[tuple[int, str], tuple[bytes, bytes]] = Memo(FORMS_MAX)

    def cycle(
        self,
        allocations: Sequence[Allocation],
        cycle: wire.Cycle,
        inverse: Sequence[InverseAllocation] = (),
        cause: str = "",
    ) -> Iterator[bytes]:
        """Serialised `SessionResponse`s with the outcome of a cycle; the last one carries the cycle itself."""
        last = max(0, len(allocations) - 1) // ALLOCATIONS_PER_MESSAGE
        tail = _field(_MESSAGE_CAUSE, cause.encode()) if cause else b""
        for index in range(last + 1):
            begin = index * ALLOCATIONS_PER_MESSAGE
            items = [self._allocation(each) for each in allocations[begin : begin + ALLOCATIONS_PER_MESSAGE]]
            if index == last:
                items.extend(
                    _field(_ALLOCATIONS_INVERSE, wire.InverseAllocation(**each._asdict()).SerializeToString())
                    for each in inverse
                )
                items.append(_field(_ALLOCATIONS_CYCLE, cycle.SerializeToString()))
            yield _field(_RESPONSE_MESSAGES, _field(_MESSAGE_ALLOCATIONS, b"".join(items)) + tail)

    def _allocation(self, allocation: Allocation) -> bytes:
        head, role = self._client(allocation.framework, allocation.role)
        content = b"".join([head, varint(allocation.agent), role, *map(self._encoded, allocation.resources)])
        return _ALLOCATIONS_ITEM + varint(len(content)) + content

    def _client(self, framework: int, role: str) -> tuple[bytes, bytes]:
        parts = self._clients.find((framework, role))
        if parts is None:
            parts = (_FRAMEWORK + varint(framework) + _AGENT, _field(_ROLE, role.encode()))
            self._clients.keep((framework, role), parts)
        return parts

    def _encoded(self, resources: Resources) -> bytes:
        encoded = self._resources.find(resources)
        if encoded is None:
            encoded = b"".join(_field(_RESOURCES, message.SerializeToString()) for message in resources.messages())
            self._resources.keep(resources, encoded)
        return encoded
