"""Messages of protobuf from clients, within a limit of how many messages may be in them.

Two bytes on the wire can become a message of a hundred in memory: 14 MB of empty tasks take 1.2 GiB. So what is large
is first read as a type that differs in nothing but that the messages in it are left as bytes, level by level, and their
number is known before the first of them is made.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from mezzo.errors import InvalidRequest

MESSAGES_MAX: Final = 1_000_000
"""How many messages may be in one, on all levels together. They take 100 to 200 MiB."""

MESSAGE_BYTES_MIN: Final = 2
"""What a message within another takes on the wire at least: in what is small enough there cannot be too many."""

DEPTH_MAX: Final = 100
"""How deep protobuf itself reads messages within messages."""

M = TypeVar("M", bound=Message)

_pool = descriptor_pool.DescriptorPool()


def parse(message_class: type[M], data: bytes, messages_max: int = MESSAGES_MAX) -> M:
    """A message from its wire form. It may lack required fields.

    Raises:
        InvalidRequest: it is no such message, or there are more messages in it than `messages_max`.
    """
    try:
        if len(data) > messages_max * MESSAGE_BYTES_MIN:
            _count(message_class.DESCRIPTOR, data, messages_max)
        message = message_class()
        message.MergeFromString(data)
    except DecodeError:
        raise InvalidRequest("", f"the body is not a {message_class.DESCRIPTOR.name} in protobuf") from None
    return message


def _count(descriptor: Any, data: bytes, messages_max: int) -> None:
    """Count the messages in one. Raises `InvalidRequest` for too many, `DecodeError` for what is none.

    A level is released once the next one is there: messages within messages repeat the same bytes on each level, and
    all levels together would be a hundred times what was sent.
    """
    left = messages_max
    level: list[tuple[Any, bytes]] = [(descriptor, data)]
    for _ in range(DEPTH_MAX + 1):
        below: list[tuple[Any, bytes]] = []
        while level:
            kind, part = level.pop()
            opened, held = _opened(kind)
            for field, values in opened.FromString(part).ListFields():
                left -= len(values)
                if left < 0:
                    raise InvalidRequest("", "the body has too many messages within messages")
                held_kind = held[field.number]
                if held_kind is not None:
                    below.extend((held_kind, one) for one in values if len(one) >= MESSAGE_BYTES_MIN)
        if sum(len(part) for _, part in below) <= left * MESSAGE_BYTES_MIN:
            return
        level = below
    raise DecodeError("too deep")


@cache
def _opened(descriptor: Descriptor) -> tuple[type[Message], dict[int, Descriptor | None]]:
    """The type in which the messages of another are bytes; and what those are, None for those without messages in them.

    All are repeated: where a message is there twice, the second is merged into the first.
    """
    name = descriptor.full_name.replace(".", "_")
    file = descriptor_pb2.FileDescriptorProto(name=f"opened/{name}.proto", syntax="proto3")
    made = file.message_type.add(name=name)
    below: dict[int, Descriptor | None] = {}
    for field in descriptor.fields:
        held: Any = field.message_type
        if held is None:
            continue
        part = made.field.add(name=f"f{field.number}", number=field.number)
        part.type, part.label = part.TYPE_BYTES, part.LABEL_REPEATED
        below[field.number] = held if any(each.message_type is not None for each in held.fields) else None
    _pool.Add(file)
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(name)), below
