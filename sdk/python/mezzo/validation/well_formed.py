"""Well-formedness: a message has its required fields, and its strings are UTF-8.

Protobuf parses proto2 messages without their required fields, and with strings that are no UTF-8; such a string is then
not a `str` but `bytes`, and would raise wherever it is used. So every message of a peer is checked here first. Text is
checked by parsing the message once more, as a type that differs in nothing but that its strings are verified: about a
microsecond, where a walk over the fields would take ten.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message import DecodeError, Message

from mezzo import jsonpb
from mezzo.errors import InvalidRequest

_pool = descriptor_pool.DescriptorPool()
_added: set[str] = set()


def is_well_formed(message: Message) -> bool:
    """Whether the message has all required fields, and its strings are UTF-8."""
    if not message.IsInitialized():
        return False
    try:
        _verifying(message.DESCRIPTOR).FromString(message.SerializeToString())
    except DecodeError:
        return False
    return True


def check_well_formed(message: Message, prefix: str = "") -> None:
    """Refuse a message that is malformed.

    Raises:
        InvalidRequest: with the path of the first field that is missing, or that is no text.
    """
    if is_well_formed(message):
        return
    try:
        jsonpb.check_initialized(message)
    except InvalidRequest as error:
        raise InvalidRequest(prefix + error.field, "is required") from None
    raise InvalidRequest(prefix + (_no_text(message) or "message"), "is not UTF-8")


def _no_text(message: Message) -> str | None:
    """The path of the first string that is not UTF-8."""
    for field, value in message.ListFields():
        for path, one, is_text in _values(field, value):
            if isinstance(one, Message):
                below = _no_text(one)
                if below is not None:
                    return f"{path}.{below}"
            elif is_text and isinstance(one, bytes):
                return path
    return None


def _values(field: FieldDescriptor, value: Any) -> Iterator[tuple[str, Any, bool]]:
    """What a field has: the path of each, the value, and whether it should be text. Keys of maps, too."""
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        is_text = entry.fields_by_name["value"].type == field.TYPE_STRING
        for key in value:
            if isinstance(key, bytes):  # under which nothing can be looked up
                yield f"{field.name}[{key.decode(errors='replace')!r}]", key, True
            else:
                yield f"{field.name}[{key!r}]", value[key], is_text
    elif field.is_repeated:
        for index, one in enumerate(value):
            yield f"{field.name}[{index}]", one, field.type == field.TYPE_STRING
    else:
        yield field.name, value, field.type == field.TYPE_STRING


@cache
def _verifying(descriptor: Descriptor) -> type[Message]:
    """The type with the same fields whose strings are verified when it is parsed."""
    _add(descriptor.file)
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(descriptor.full_name))


def _add(file: FileDescriptor) -> None:
    if file.name in _added:
        return
    _added.add(file.name)
    for dependency in file.dependencies:
        _add(dependency)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    if proto.syntax in ("", "proto2"):
        proto.syntax = "editions"
        proto.edition = descriptor_pb2.EDITION_2023
        features = proto.options.features
        features.enum_type = features.CLOSED
        features.repeated_field_encoding = features.EXPANDED
        features.json_format = features.LEGACY_BEST_EFFORT
        features.utf8_validation = features.VERIFY
        for message in proto.message_type:
            _require_nothing(message)
    _pool.Add(proto)


def _require_nothing(message: descriptor_pb2.DescriptorProto) -> None:
    """Editions have no required fields; those are checked on the message itself."""
    for field in message.field:
        if field.label == field.LABEL_REQUIRED:
            field.label = field.LABEL_OPTIONAL
    for nested in message.nested_type:
        _require_nothing(nested)
