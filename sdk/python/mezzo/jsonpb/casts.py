"""From values of JSON to scalars of protobuf, as generously as Mesos takes them.

Source: `protobuf::internal::Parser` in 3rdparty/stout/include/stout/protobuf.hpp of apache/mesos, and base64.hpp beside
it. A string stands for the number or boolean that it holds. Numbers are cut to integers at the point; one that the
field cannot hold is refused, where Mesos' cast is undefined.
"""

from __future__ import annotations

import base64
import binascii
import math
import string
from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor

from mezzo.errors import InvalidRequest

SCALAR_CHARS_MAX = 1024
"""The longest string that may stand for a number or a boolean."""

QUOTED_CHARS_MAX = 40

# Turns a JSON value into a scalar of a field; None, from an enum alone, leaves the field unset.
Cast = Callable[[Any], Any]

_F = FieldDescriptor
_INT_RANGES = {
    _F.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    _F.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    _F.CPPTYPE_UINT32: (0, 2**32 - 1),
    _F.CPPTYPE_UINT64: (0, 2**64 - 1),
}
# What JSON has no numbers for. Mesos reads these two, and no "NaN".
_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}
_NAMES = {bool: "a boolean", int: "a number", float: "a number", list: "an array"}
_BASE64_ALPHABET = (string.ascii_letters + string.digits + "+/").encode()


class JsonError(InvalidRequest):
    """The JSON does not fit the message; `field` says where."""


def expected(what: str, value: Any) -> JsonError:
    return JsonError("", f"expected {what}, found {_name_of(value)}")


def cast_of(field: FieldDescriptor) -> Cast:
    """What fills the field, or an element of it where it is repeated. It raises `JsonError` without a field's name."""
    if field.enum_type is not None:
        return _enum_cast(field)
    if field.type == _F.TYPE_BYTES:
        return to_bytes
    if field.cpp_type in _INT_RANGES:
        low, high = _INT_RANGES[field.cpp_type]
        return lambda value: _to_int(value, low, high)
    return {
        _F.CPPTYPE_STRING: to_str,
        _F.CPPTYPE_BOOL: to_bool,
        _F.CPPTYPE_DOUBLE: to_float,
        _F.CPPTYPE_FLOAT: to_float,
    }[field.cpp_type]


def _enum_cast(field: FieldDescriptor) -> Cast:
    """A name that the enum does not have, such as one of a later version, is an error in a required field alone."""
    assert field.enum_type is not None
    numbers = {value.name: value.number for value in field.enum_type.values}

    def cast(value: Any) -> int | None:
        if type(value) is not str:
            raise expected("the name of a value", value)
        number = numbers.get(value)
        if number is None and field.is_required:
            raise JsonError("", f"{_quoted(value)} is not one of {', '.join(numbers)}")
        return number

    return cast


def to_str(value: Any) -> str:
    if type(value) is not str:
        raise expected("a string", value)
    return value


def to_bytes(value: Any) -> bytes:
    """Bytes from base64, in which white space and missing padding do not matter, and `=` ends the text."""
    if type(value) is not str:
        raise expected("a string of base64", value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return _lenient_base64(value)


def _lenient_base64(value: str) -> bytes:
    text = b"".join(value.partition("=")[0].encode().split())
    if text.strip(_BASE64_ALPHABET):
        raise JsonError("", "is not base64")
    # One character alone holds less than a byte.
    whole = text[:-1] if len(text) % 4 == 1 else text
    return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))


def to_bool(value: Any) -> bool:
    found = _value_in(value) if type(value) is str else value
    if type(found) is not bool:
        raise expected("true or false", value)
    return found


def to_float(value: Any) -> float:
    if type(value) is str:
        number = _INFINITIES.get(value)
        if number is None:
            number = _value_in(value)
    else:
        number = value
    if type(number) not in (float, int):
        raise expected("a number", value)
    return float(number)


def _to_int(value: Any, low: int, high: int) -> int:
    number = _value_in(value) if type(value) is str else value
    if type(number) is float:
        # Mesos cuts what is behind the point; most JSON libraries write whole doubles for integers.
        number = int(number)
    if type(number) is not int:
        raise expected("a number", value)
    if not low <= number <= high:
        shown = _quoted(value) if type(value) is str else value
        raise JsonError("", f"{shown} is not between {low} and {high}")
    return number


def _value_in(text: str) -> Any:
    """The number or boolean that a string holds, or None: Python's own parsers would take `nan` and `1_000`, too."""
    if len(text) > SCALAR_CHARS_MAX:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _name_of(value: Any) -> str:
    if value is None:
        return "null"
    if type(value) is str:
        return _quoted(value)
    return _NAMES.get(type(value), "an object")


def _quoted(text: str) -> str:
    """The beginning of a text that somebody sent, for an error."""
    return repr(text[:QUOTED_CHARS_MAX])


# What needs no cast: a value of exactly this type is what the cast would return.
EXACT: dict[Cast, type] = {to_str: str, to_bool: bool, to_float: float}
