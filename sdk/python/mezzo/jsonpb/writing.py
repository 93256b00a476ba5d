"""From messages to JSON.

The function made for a `Label`, whose value is optional, is

    def write(message):
        document = {}
        has = message.HasField
        if has("key"):
            document["key"] = text if type(text := message.key) is str else repaired(text)
        if has("value"):
            document["value"] = text if type(text := message.value) is str else repaired(text)
        return document

A field whose default the proto states is written whether it is set or not.

It asks for each field by name because `ListFields` costs more than that: it makes an object for every field it lists.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mezzo.jsonpb import compiling

Writer = Callable[[Any], dict[str, Any]]

_FLOATING = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
_OUTSIDE_ASCII = re.compile(r"[^\x00-\x7f]+")


def to_dict(message: Message) -> dict[str, Any]:
    """The message as plain dictionaries, lists and scalars, ready for `orjson`."""
    return _writers[type(message)](message)


def dumps(message: Message) -> bytes:
    """JSON in UTF-8."""
    return orjson.dumps(_writers[type(message)](message))


def dumps_ascii(message: Message) -> bytes:
    r"""JSON on one line of pure ASCII, with `\u` escapes: there are clients that count characters for bytes."""
    return to_ascii(dumps(message))


def to_ascii(json: bytes) -> bytes:
    """The same JSON in ASCII alone."""
    if json.isascii():
        return json
    # Outside ASCII JSON has only the contents of strings, and there UTF-16 escapes are allowed everywhere.
    return _OUTSIDE_ASCII.sub(_escaped, json.decode()).encode()


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[index]:02x}{units[index + 1]:02x}" for index in range(0, len(units), 2))


class _Writers(dict[type[Message], Writer]):
    def __missing__(self, message_class: type[Message]) -> Writer:
        self[message_class] = writer = _compile(message_class)
        return writer


_writers = _Writers()


def _compile(message_class: type[Message]) -> Writer:
    descriptor: Any = message_class.DESCRIPTOR
    namespace: compiling.Namespace = {
        "repaired": _repaired,
        "text_of": _text_of,
        "base64": _base64,
        "isfinite": math.isfinite,
        "beyond_json": beyond_json,
    }
    lines = ["def write(message):", "    document = {}", "    has = message.HasField"]
    for field in sorted(descriptor.fields, key=lambda field: field.number):
        lines += _statements(field, namespace)
    lines.append("    return document")
    return compiling.function("write", lines, namespace, descriptor)


def _statements(field: FieldDescriptor, namespace: compiling.Namespace) -> list[str]:
    """Put one field in the document, if it is set."""
    name = field.name
    if compiling.is_map(field):
        assert field.message_type is not None
        each = _expression(field.message_type.fields_by_name["value"], "value", name, namespace)
        value = f"{{text_of(key): {each} for key, value in message.{name}.items()}}"
    elif field.is_repeated:
        value = f"[{_expression(field, 'value', name, namespace)} for value in message.{name}]"
    else:
        value = _expression(field, f"message.{name}", name, namespace)
    if field.has_default_value and not field.GetOptions().deprecated:
        # As Mesos does (`JSON::Protobuf` in 3rdparty/stout/include/stout/protobuf.hpp): what is unset is written, too.
        # There are clients for whom a `shell` or `extract` that is missing is false.
        return [f"    document[{name!r}] = {value}"]
    condition = f"has({name!r})" if field.has_presence else f"message.{name}"
    return [f"    if {condition}:", f"        document[{name!r}] = {value}"]


def _expression(field: FieldDescriptor, value: str, name: str, namespace: compiling.Namespace) -> str:
    """What turns the value of a field, itself an expression, into JSON's."""
    if field.message_type is not None:
        message_class = message_factory.GetMessageClass(field.message_type)
        compiling.later(namespace, f"write_{name}", lambda: _writers[message_class])
        return f"write_{name}({value})"
    if field.enum_type is not None:
        namespace[f"names_of_{name}"] = {number: each.name for number, each in field.enum_type.values_by_number.items()}
        return f"names_of_{name}.get(number := {value}, number)"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return f"base64({value})"
    if field.cpp_type in _FLOATING:
        return f"number if isfinite(number := {value}) else beyond_json(number)"
    if field.type == FieldDescriptor.TYPE_STRING:
        return f"text if type(text := {value}) is str else repaired(text)"
    return value


def beyond_json(number: float) -> str | None:
    """What stands for a number that JSON has none for: the texts that Mesos reads; null, which is unset, for NaN."""
    return None if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()


def _repaired(text: bytes) -> str:
    """A string that is not UTF-8: the wire takes such a string in proto2, and it is read as bytes."""
    return text.decode(errors="replace")


def _text_of(key: Any) -> str:
    return _repaired(key) if type(key) is bytes else str(key)
