"""Mesos' JSON dialect of protobuf, both ways.

It differs from protobuf's own: names stay in snake case, 64-bit integers are numbers, what is not set is left out. What
is read is taken generously, as Mesos' parser takes it: unknown keys are ignored, and a string will do where a number or a
boolean is expected. Bytes are base64; enums are their names.

`google.protobuf.json_format` needs hundreds of microseconds for a task. Here the fields of each message are compiled,
once, into a list of small functions; orjson does the rest.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import orjson
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from mezzo.errors import InvalidRequest

M = TypeVar("M", bound=Message)

_F = FieldDescriptor
_INT_RANGES = {
    _F.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    _F.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    _F.CPPTYPE_UINT32: (0, 2**32 - 1),
    _F.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class JsonError(InvalidRequest):
    """The JSON does not fit the message; `field` says where."""


# ------------------------------------------------------------------------------------------------------------ writing

Writer = Callable[[Any], Any]


def to_dict(message: Message) -> dict[str, Any]:
    """The message as plain dictionaries, lists and scalars, ready for `orjson`."""
    return _writer(message.DESCRIPTOR)(message)  # type: ignore[arg-type, no-any-return]


def dumps(message: Message) -> bytes:
    """JSON in UTF-8."""
    return orjson.dumps(to_dict(message))


def dumps_ascii(message: Message) -> bytes:
    r"""JSON on one line of pure ASCII, with `\u` escapes: there are clients that count characters for bytes."""
    return to_ascii(dumps(message))


def to_ascii(json: bytes) -> bytes:
    """The same JSON in ASCII alone."""
    if json.isascii():
        return json
    # Outside ASCII JSON has only the contents of strings, and there UTF-16 escapes are allowed everywhere.
    return b"".join(_escape(character) for character in json.decode())


def _escape(character: str) -> bytes:
    if character.isascii():
        return character.encode()
    units = character.encode("utf-16-be")
    return b"".join(b"\\u%02x%02x" % (units[index], units[index + 1]) for index in range(0, len(units), 2))


_writers: dict[Descriptor, Writer] = {}


def _writer(descriptor: Descriptor) -> Writer:
    writer = _writers.get(descriptor)
    if writer is None:
        values: dict[str, Writer] = {}

        def write(message: Any) -> dict[str, Any]:
            # ListFields gives the fields that are set, in the order of their numbers, in one call into the runtime.
            return {field.name: values[field.name](value) for field, value in message.ListFields()}

        # Known before its fields are: messages may contain themselves.
        writer = _writers[descriptor] = write
        values.update((field.name, _field_writer(field)) for field in descriptor.fields)
    return writer


def _field_writer(field: FieldDescriptor) -> Writer:
    if _is_map(field):
        assert field.message_type is not None
        write = _value_writer(field.message_type.fields_by_name["value"])
        return lambda value: {str(key): write(each) for key, each in value.items()}
    write = _value_writer(field)
    if field.is_repeated:
        if write is _itself:
            return list
        return lambda value: [write(each) for each in value]
    return write


def _itself(value: Any) -> Any:
    return value


def _value_writer(field: FieldDescriptor) -> Writer:
    if field.message_type is not None:
        return _writer(field.message_type)
    if field.enum_type is not None:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        return lambda number: names.get(number, number)
    if field.type == _F.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode()
    return _itself


# ------------------------------------------------------------------------------------------------------------ reading

# Sets a field of a message from a JSON value.
Reader = Callable[[Any, Any], None]
# Turns a JSON value into a scalar of a field.
Cast = Callable[[Any], Any]


def parse(message_class: type[M], data: bytes | str) -> M:
    """A message from JSON. Raises `JsonError`, which names the field, for JSON that does not fit."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise JsonError("", f"not JSON: {error}") from None
    return from_dict(message_class, value)


def parse_list(message_class: type[M], data: bytes | str) -> list[M]:
    """Messages from a JSON array of objects. Raises `JsonError`."""
    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise JsonError("", f"not JSON: {error}") from None
    if not isinstance(values, list):
        raise _expected("an array", values)
    messages = []
    for index, value in enumerate(values):
        try:
            messages.append(from_dict(message_class, value))
        except JsonError as error:
            raise error.below(f"[{index}]") from None
    return messages


def from_dict(message_class: type[M], value: Any) -> M:
    """A message from what `orjson.loads` returns. Raises `JsonError`; a required field that is missing is one."""
    message = message_class()
    _reader(message.DESCRIPTOR)(message, value)  # type: ignore[arg-type]
    check_initialized(message)
    return message


def check_initialized(message: Message) -> None:
    """Raise a `JsonError` naming the first required field, if any, that is missing anywhere in the message."""
    if not message.IsInitialized():
        missing = message.FindInitializationErrors()  # type: ignore[attr-defined]
        raise JsonError(missing[0] if missing else "", "is required")


_readers: dict[Descriptor, Reader] = {}


def _reader(descriptor: Descriptor) -> Reader:
    reader = _readers.get(descriptor)
    if reader is None:
        fields: dict[str, Reader] = {}

        def read(message: Any, value: Any) -> None:
            if type(value) is not dict:
                raise _expected("an object", value)
            for name, each in value.items():
                set_field = fields.get(name)
                if set_field is None or each is None:
                    continue  # unknown keys are ignored; null is absent
                try:
                    set_field(message, each)
                except InvalidRequest as error:
                    raise error.below(name) from None

        reader = _readers[descriptor] = read
        fields.update((field.name, _field_reader(field)) for field in descriptor.fields)
    return reader


def _field_reader(field: FieldDescriptor) -> Reader:
    if _is_map(field):
        return _map_reader(field)
    name = field.name
    if field.message_type is not None:
        read = _reader(field.message_type)
        if field.is_repeated:
            return _each(lambda message, value: read(getattr(message, name).add(), value))

        def set_message(message: Any, value: Any) -> None:
            child = getattr(message, name)
            child.SetInParent()  # an empty object is there, too
            read(child, value)

        return set_message
    cast = _cast(field)
    if field.is_repeated:
        return _each(lambda message, value: getattr(message, name).append(cast(value)))
    return lambda message, value: setattr(message, name, cast(value))


def _each(read: Reader) -> Reader:
    def read_all(message: Any, values: Any) -> None:
        if type(values) is not list:
            raise _expected("an array", values)
        for index, value in enumerate(values):
            try:
                read(message, value)
            except InvalidRequest as error:
                raise error.below(f"[{index}]") from None

    return read_all


def _map_reader(field: FieldDescriptor) -> Reader:
    assert field.message_type is not None
    name = field.name
    key_cast = _cast(field.message_type.fields_by_name["key"])
    value_field = field.message_type.fields_by_name["value"]
    value_cast = None if value_field.message_type else _cast(value_field)
    value_read = _reader(value_field.message_type) if value_field.message_type else None

    def read(message: Any, value: Any) -> None:
        if type(value) is not dict:
            raise _expected("an object", value)
        entries = getattr(message, name)
        for key, each in value.items():
            try:
                if value_read is not None:
                    value_read(entries[key_cast(key)], each)
                elif value_cast is not None:
                    entries[key_cast(key)] = value_cast(each)
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
    if type(value) in (float, int):
        return float(value)
    if type(value) is str:
        try:
            return float(value)
        except ValueError:
            pass
    raise _expected("a number", value)


def _to_int(value: Any, low: int, high: int) -> int:
    number = value
    if type(value) is str:
        try:
            number = int(value)
        except ValueError:
            number = _to_float(value)
    if type(number) is float and math.isfinite(number):
        # Mesos cuts what is behind the point; most JSON libraries write whole doubles for integers.
        number = int(number)
    if type(number) is not int:
        raise _expected("a number", value)
    if not low <= number <= high:
        raise JsonError("", f"{number} is not between {low} and {high}")
    return number


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


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)
