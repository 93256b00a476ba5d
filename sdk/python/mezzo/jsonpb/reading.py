"""From JSON to messages.

The function made for a `Label` is

    def read(message, document):
        if type(document) is not dict:
            raise expected("an object", document)
        get = document.get
        at = ""
        try:
            if (value := get("key")) is not None:
                at = "key"
                message.key = value if type(value) is str else to_key(value)
            if (value := get("value")) is not None:
                at = "value"
                message.value = value if type(value) is str else to_value(value)
        except InvalidRequest as error:
            raise error.below(at) from None

It passes over the keys that it does not know, and takes null for absent. A field of a message's own type is measured
before it is read, because what is deeper than protobuf's parser goes could be written, but never be read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import orjson
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mezzo.errors import InvalidRequest
from mezzo.jsonpb import compiling
from mezzo.jsonpb.casts import EXACT, Cast, JsonError, cast_of, expected

M = TypeVar("M", bound=Message)
# Fills a message, or a repeated field or a map, from a JSON value.
Reader = Callable[[Any, Any], None]

# How often a message may contain its own type, and how deep the lists of a repeated field may lie in each other.
# Protobuf's parser gives up at 100 levels of messages of any type, and what is read here travels on in the messages of
# others.
NESTING_MAX = 64
KEY_CHARS_MAX = 100
"""How much of a map's key the name of a field tells in an error."""
VALUES_MAX = 1_000_000
"""How many values a document of a client may hold: each takes 50 to 200 bytes of memory, for as little as 2 of text."""


def parse(message_class: type[M], data: bytes | str, values_max: int | None = VALUES_MAX) -> M:
    """A message from JSON. Raises `JsonError`, which names the field, for JSON that does not fit.

    `values_max` bounds the memory that the JSON may take: no more commas and opening brackets are read than that. None
    is for the answers of a server that is trusted.
    """
    return from_dict(message_class, _loads(data, values_max))


def parse_list(message_class: type[M], data: bytes | str, values_max: int | None = VALUES_MAX) -> list[M]:
    """Messages from a JSON array of objects. Raises `JsonError`."""
    values = _loads(data, values_max)
    if type(values) is not list:
        raise expected("an array", values)
    messages = []
    for index, value in enumerate(values):
        try:
            messages.append(from_dict(message_class, value))
        except JsonError as error:
            raise error.below(f"[{index}]") from None
    return messages


def _loads(data: bytes | str, values_max: int | None) -> Any:
    if values_max is not None and len(data) > values_max:
        _check_values(data if isinstance(data, bytes) else data.encode(), values_max)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise JsonError("", f"not JSON: {error}") from None


def _check_values(data: bytes, values_max: int) -> None:
    """Refuse what would be too many objects before any is made. Strings are counted too, as that is cheap."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") >= values_max:
        raise JsonError("", f"has too many values: more than {values_max} commas and opening brackets")


def from_dict(message_class: type[M], value: Any) -> M:
    """A message from what `orjson.loads` returns. Raises `JsonError`; a required field that is missing is one."""
    message = message_class()
    _readers[message_class](message, value)
    check_initialized(message)
    return message


def check_initialized(message: Message) -> None:
    """Raise a `JsonError` naming the first required field, if any, that is missing anywhere in the message."""
    if not message.IsInitialized():
        raise JsonError(_first_missing(message), "is required")


def _first_missing(message: Message) -> str:
    """The path of a required field that is not set. Protobuf's own would list them all, however many there are."""
    for field in message.DESCRIPTOR.fields:
        if field.is_required and not message.HasField(field.name):
            return field.name
    for field, value in message.ListFields():
        for place, child in _children(field, value):
            if not child.IsInitialized():
                return f"{field.name}{place}.{_first_missing(child)}"
    raise AssertionError(f"nothing that {message.DESCRIPTOR.full_name} requires is missing")


def _children(field: FieldDescriptor, value: Any) -> Iterable[tuple[str, Message]]:
    if field.message_type is None:
        return ()
    if compiling.is_map(field):
        if field.message_type.fields_by_name["value"].message_type is None:
            return ()
        return ((f"[{_shortened(str(key))}]", child) for key, child in value.items())
    if field.is_repeated:
        return ((f"[{index}]", child) for index, child in enumerate(value))
    return (("", value),)


class _Readers(dict[type[Message], Reader]):
    def __missing__(self, message_class: type[Message]) -> Reader:
        self[message_class] = reader = _compile(message_class)
        return reader


_readers = _Readers()


def _compile(message_class: type[Message]) -> Reader:
    descriptor: Any = message_class.DESCRIPTOR
    namespace: compiling.Namespace = {"expected": expected, "InvalidRequest": InvalidRequest}
    lines = [
        "def read(message, document):",
        "    if type(document) is not dict:",
        "        raise expected('an object', document)",
        "    get = document.get",
        "    at = ''",
        "    try:",
        "        pass",
    ]
    for field in sorted(descriptor.fields, key=lambda field: field.number):
        lines += [f"        if (value := get({field.name!r})) is not None:", f"            at = {field.name!r}"]
        lines += [f"            {statement}" for statement in _statements(field, namespace)]
    lines += ["    except InvalidRequest as error:", "        raise error.below(at) from None"]
    return compiling.function("read", lines, namespace, descriptor)


def _statements(field: FieldDescriptor, namespace: compiling.Namespace) -> list[str]:
    """Set one field to `value`."""
    name = field.name
    if compiling.is_map(field):
        compiling.later(namespace, f"read_{name}", lambda: _map_reader(field))
        return [f"read_{name}(message.{name}, value)"]
    if field.message_type is not None:
        message_class = message_factory.GetMessageClass(field.message_type)
        if field.is_repeated:
            compiling.later(namespace, f"read_{name}", lambda: _messages_reader(_readers[message_class]))
            return [f"read_{name}(message.{name}, value)"]
        compiling.later(namespace, f"read_{name}", lambda: _readers[message_class])
        # An empty object is there, too.
        namespace[f"mark_{name}"] = message_class.SetInParent
        statements = [f"child = message.{name}", f"mark_{name}(child)", f"read_{name}(child, value)"]
        if field.message_type is not field.containing_type:
            return statements
        namespace["check_nesting"] = _check_nesting
        return [f"check_nesting(value, {name!r})", *statements]
    namespace[f"to_{name}"] = cast = cast_of(field)
    if field.is_repeated:
        namespace[f"read_{name}"] = _scalars_reader(cast)
        return [f"read_{name}(message.{name}, value)"]
    exact = EXACT.get(cast)
    if field.enum_type is not None:
        return [f"if (number := to_{name}(value)) is not None:", f"    message.{name} = number"]
    if exact is None:
        return [f"message.{name} = to_{name}(value)"]
    return [f"message.{name} = value if type(value) is {exact.__name__} else to_{name}(value)"]


def _check_nesting(value: Any, name: str) -> None:
    """Refuse an object that has too many others inside it, each as the field of that name of the one around it."""
    for _ in range(NESTING_MAX):
        if type(value) is not dict or (value := value.get(name)) is None:
            return
    raise JsonError("", f"is nested more than {NESTING_MAX} levels deep")


def _repeated_reader(put: Reader) -> Reader:
    """What adds a value to a repeated field, or all of a list; `put` adds one.

    As in Mesos, a value that is no list is one element, null is none, and lists within lists are one list.
    """

    def read_all(elements: Any, values: Any, depth: int = 1) -> None:
        if type(values) is not list:
            put(elements, values)
            return
        if depth > NESTING_MAX:
            raise JsonError("", f"is nested more than {NESTING_MAX} levels deep")
        for index, value in enumerate(values):
            try:
                if type(value) is list:
                    read_all(elements, value, depth + 1)
                elif value is not None:
                    put(elements, value)
            except InvalidRequest as error:
                raise error.below(f"[{index}]") from None

    return read_all


def _messages_reader(read: Reader) -> Reader:
    def add(messages: Any, value: Any) -> None:
        read(messages.add(), value)

    return _repeated_reader(add)


def _scalars_reader(cast: Cast) -> Reader:
    def append(scalars: Any, value: Any) -> None:
        scalar = cast(value)
        if scalar is not None:
            scalars.append(scalar)

    return _repeated_reader(append)


def _map_reader(field: FieldDescriptor) -> Reader:
    """A list of objects is one map, as the wire has it; of a key that comes again the last value stays."""
    assert field.message_type is not None
    key_cast = cast_of(field.message_type.fields_by_name["key"])
    put = _entry_reader(field.message_type.fields_by_name["value"])

    def read(entries: Any, document: Any) -> None:
        if type(document) is not dict:
            raise expected("an object", document)
        for key, value in document.items():
            try:
                put(entries, key_cast(key), value)
            except InvalidRequest as error:
                raise error.below(f"[{_shortened(key)}]") from None

    return _repeated_reader(read)


def _entry_reader(field: FieldDescriptor) -> Callable[[Any, Any, Any], None]:
    """What sets the value of a map's key. Null is a value that is not set; the key is there."""
    if field.message_type is not None:
        read = _readers[message_factory.GetMessageClass(field.message_type)]

        def read_entry(entries: Any, key: Any, value: Any) -> None:
            entry = entries[key]
            entry.Clear()
            if value is not None:
                read(entry, value)

        return read_entry
    cast = cast_of(field)

    def set_entry(entries: Any, key: Any, value: Any) -> None:
        scalar = None if value is None else cast(value)
        entries[key] = field.default_value if scalar is None else scalar

    return set_entry


def _shortened(key: str) -> str:
    return key if len(key) <= KEY_CHARS_MAX else f"{key[:KEY_CHARS_MAX]}…"
