"""Messages as a careless or hostile client would write them: good ones in which some fields were changed."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

DEPTH_MAX = 7
NAMES = ("cpus", "mem", "ports", "disk", "gpus", "t0", "t1", "e1", "web", "web/a", "http://h/a")
TEXTS = (*NAMES, "", "a", "*", ".", "..", "/", "a/b", "a\\b", "a b", "\0", "a\0b", "\n", "a=b", "-x", "𝄞",
         "€" * 85, "€" * 200, "x" * 256)  # fmt: skip
DOUBLES = (0.0, -0.0, 0.001, 0.0004, 1.0, -1.0, 64.0, 1e12, 1e13, 1e308, float("inf"), float("-inf"), float("nan"))
BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def values(field: Any) -> st.SearchStrategy[Any]:
    """Values for a field that is no message."""
    kind = field.cpp_type
    if kind in BOUNDS:
        low, high = BOUNDS[kind]
        return st.sampled_from([low, 0, 1, 31000, high])
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return st.sampled_from(DOUBLES)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return st.sampled_from([value.number for value in field.enum_type.values])
    texts = st.sampled_from(TEXTS)
    return texts if field.type == FieldDescriptor.TYPE_STRING else texts.map(str.encode)


def spoil(data: st.DataObject, message: Message, depth: int = DEPTH_MAX) -> None:
    """Change one field of a message, or of one below it."""
    if not message.DESCRIPTOR.fields:
        return
    field = message.DESCRIPTOR.fields_by_name[data.draw(st.sampled_from([f.name for f in message.DESCRIPTOR.fields]))]
    value: Any = getattr(message, field.name)
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        key = data.draw(values(entry.fields_by_name["key"]))
        if entry.fields_by_name["value"].message_type is not None and depth:
            spoil(data, value[key], depth - 1)
    elif not depth or data.draw(st.integers(0, 9)) == 0:
        message.ClearField(field.name)
    elif entry is not None:
        _spoil_below(data, message, field, depth)
    elif field.is_repeated:
        value.extend(data.draw(st.lists(values(field), max_size=3)))
    else:
        setattr(message, field.name, data.draw(values(field)))


def _spoil_below(data: st.DataObject, message: Message, field: Any, depth: int) -> None:
    value: Any = getattr(message, field.name)
    if not field.is_repeated:
        value.SetInParent()
        spoil(data, value, depth - 1)
        return
    if not len(value) or data.draw(st.booleans()):
        made = value.add()
        if len(value) > 1 and data.draw(st.booleans()):
            made.CopyFrom(value[0])
    spoil(data, value[data.draw(st.integers(0, len(value) - 1))], depth - 1)
