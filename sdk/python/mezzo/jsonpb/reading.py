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

import base64
import binascii
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import orjson
from google.protobuf import message_factory
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from mezzo.errors import InvalidRequest
from mezzo.jsonpb import compiling

M = TypeVar("M", bound=Message)
# Fills a message, or a repeated field or a map, from a JSON value.
Reader = Callable[[Any, Any], None]
# Turns a JSON value into a scalar of a field.
Cast = Callable[[Any], Any]

_F = FieldDescriptor
_INT_RANGES = {
    _F.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    _F.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    _F.CPPTYPE_UINT32: (0, 2**32 - 1),
    _F.CPPTYPE_UINT64: (0, 2**64 - 1),
}


# How often a message may contain its own type. Protobuf's parser gives up at 100 levels of messages of any type, and
# what is read here travels on in the messages of others.
NESTING_MAX = 64


class JsonError(InvalidRequest):
    """The JSON does not fit the message; `field` says where."""


def parse(message_class: type[M], data: bytes | str) -> M:
    """A message from JSON. Raises `JsonError`, which names the field, for JSON that does not fit."""
    return from_dict(message_class, _loads(data))


def parse_list(message_class: type[M], data: bytes | str) -> list[M]:
    """Messages from a JSON array of objects. Raises `JsonError`."""
    values = _loads(data)
    if type(values) is not list:
        raise _expected("an array", values)
    messages = []
    for index, value in enumerate(values):
        try:
            messages.append(from_dict(message_class, value))
        except JsonError as error:
            raise error.below(f"[{index}]") from None
    return messages


def _loads(data: bytes | str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise JsonError("", f"not JSON: {error}") from None


def from_dict(message_class: type[M], value: Any) -> M:
    """A message from what `orjson.loads` returns. Raises `JsonError`; a required field that is missing is one."""
    message = message_class()
    _readers[message_class](message, value)
    check_initialized(message)
    return message


def check_initialized(message: Message) -> None:
    """Raise a `JsonError` naming the first required field, if any, that is missing anywhere in the message."""
    if not message.IsInitialized():
        missing = message.FindInitializationErrors()  # type: ignore[attr-defined]
        raise JsonError(missing[0] if missing else "", "is required")


class _Readers(dict[type[Message], Reader]):
    def __missing__(self, message_class: type[Message]) -> Reader:
        self[message_class] = reader = _compile(message_class)
        return reader


_readers = _Readers()


def _compile(message_class: type[Message]) -> Reader:
    descriptor: Any = message_class.DESCRIPTOR
    namespace: compiling.Namespace = {"expected": _expected, "InvalidRequest": InvalidRequest}
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
    namespace[f"to_{name}"] = cast = _cast(field)
    if field.is_repeated:
        namespace[f"read_{name}"] = _scalars_reader(cast)
        return [f"read_{name}(message.{name}, value)"]
    exact = _EXACT.get(cast)
    if exact is None:
        return [f"message.{name} = to_{name}(value)"]
    return [f"message.{name} = value if type(value) is {exact.__name__} else to_{name}(value)"]


def _check_nesting(value: Any, name: str) -> None:
    """Refuse an object that has too many others inside it, each as the field of that name of the one around it."""
    for _ in range(NESTING_MAX):
        if type(value) is not dict or (value := value.get(name)) is None:
            return
    raise JsonError("", f"is nested more than {NESTING_MAX} levels deep")


def _messages_reader(read: Reader) -> Reader:
    def read_all(messages: Any, values: Any) -> None:
        if type(values) is not list:
            raise _expected("an array", values)
        add = messages.add
        for index, value in enumerate(values):
            try:
                read(add(), value)
            except InvalidRequest as error:
                raise error.below(f"[{index}]") from None

    return read_all


def _scalars_reader(cast: Cast) -> Reader:
    def read_all(scalars: Any, values: Any) -> None:
        if type(values) is not list:
            raise _expected("an array", values)
        for index, value in enumerate(values):
            try:
                scalars.append(cast(value))
            except InvalidRequest as error:
                raise error.below(f"[{index}]") from None

    return read_all


def _map_reader(field: FieldDescriptor) -> Reader:
    assert field.message_type is not None
    key_cast = _cast(field.message_type.fields_by_name["key"])
    value_field = field.message_type.fields_by_name["value"]
    if value_field.message_type is not None:
        value_read = _readers[message_factory.GetMessageClass(value_field.message_type)]

        def put(entries: Any, key: str, value: Any) -> None:
            value_read(entries[key_cast(key)], value)
    else:
        value_cast = _cast(value_field)

        def put(entries: Any, key: str, value: Any) -> None:
            entries[key_cast(key)] = value_cast(value)

    def read(entries: Any, value: Any) -> None:
        if type(value) is not dict:
            raise _expected("an object", value)
        for key, each in value.items():
            try:
                put(entries, key, each)
            except InvalidRequest as error:
                raise error.below(f"[{key}]") from None

    return read


def _cast(field: FieldDescriptor) -> Cast:
    if field.enum_type is not None:
        return _enum_cast(field.enum_type)
    if field.type == _F.TYPE_BYTES:
        return _to_bytes
    if field.cpp_type in _INT_RANGES:
        low, high = _INT_RANGES[field.cpp_type]
        return lambda value: _to_int(value, low, high)
    return {
        _F.CPPTYPE_STRING: _to_str,
        _F.CPPTYPE_BOOL: _to_bool,
        _F.CPPTYPE_DOUBLE: _to_float,
        _F.CPPTYPE_FLOAT: _to_float,
    }[field.cpp_type]


def _enum_cast(enum: EnumDescriptor) -> Cast:
    numbers = {value.name: value.number for value in enum.values}
    # A name of a later version stands for UNKNOWN where the enum has that, as the wire format has it.
    zero = enum.values_by_number.get(0)
    fallback = 0 if zero is not None and zero.name == "UNKNOWN" else None

    def cast(value: Any) -> int:
        if type(value) is not str:
            raise _expected("the name of a value", value)
        number = numbers.get(value, fallback)
        if number is None:
            raise JsonError("", f"{value!r} is not one of {', '.join(numbers)}")
        return number

    return cast


def _to_str(value: Any) -> str:
    if type(value) is not str:
        raise _expected("a string", value)
    return value


def _to_bytes(value: Any) -> bytes:
    if type(value) is not str:
        raise _expected("a string of base64", value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise JsonError("", "is not base64") from None


def _to_bool(value: Any) -> bool:
    if type(value) is bool:
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise _expected("true or false", value)


def _to_float(value: Any) -> float:
    number = _number_in(value) if type(value) is str else value
    if type(number) not in (float, int):
        raise _expected("a number", value)
    return float(number)


def _to_int(value: Any, low: int, high: int) -> int:
    number = _number_in(value) if type(value) is str else value
    if type(number) is float and math.isfinite(number):
        # Mesos cuts what is behind the point; most JSON libraries write whole doubles for integers.
        number = int(number)
    if type(number) is not int:
        raise _expected("a number", value)
    if not low <= number <= high:
        raise JsonError("", f"{number} is not between {low} and {high}")
    return number


def _number_in(text: str) -> Any:
    """What a string holds, if it is a number of JSON: Python's own would take `nan` and `1_000`, too."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


# What needs no cast: a value of exactly this type is what the cast would return.
_EXACT: dict[Cast, type] = {_to_str: str, _to_bool: bool, _to_float: float}


def _expected(what: str, value: Any) -> JsonError:
    return JsonError("", f"expected {what}, found {_name_of(value)}")


def _name_of(value: Any) -> str:
    if value is None:
        return "null"
    names: Iterable[tuple[type | tuple[type, ...], str]] = (
        (bool, "a boolean"),
        ((int, float), "a number"),
        (str, f"{str(value)[:40]!r}"),
        (list, "an array"),
    )
    return next((name for types, name in names if isinstance(value, types)), "an object")
