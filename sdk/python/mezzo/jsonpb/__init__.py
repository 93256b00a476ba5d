"""Mesos' JSON dialect of protobuf, both ways.

It differs from protobuf's own: names stay in snake case, 64-bit integers are numbers, what is not set is left out
unless the proto states its default. Bytes are base64; enums are their names; infinite numbers are "Infinity" and
"-Infinity".

What is read is taken generously, as Mesos' parser takes it: unknown keys are ignored; null is unset; a string will do
where a number or a boolean is expected; a value that is no array is one element of a repeated field; a name that an
enum does not have is left out, but for a required field.

`google.protobuf.json_format` walks a message's descriptors, which takes hundreds of microseconds for a task. Here each
message is compiled, when it is first met, to a function that names its fields; orjson does the rest.
"""

from mezzo.jsonpb.casts import JsonError
from mezzo.jsonpb.reading import check_initialized, from_dict, parse, parse_list
from mezzo.jsonpb.writing import beyond_json, dumps, dumps_ascii, to_ascii, to_dict

__all__ = [
    "JsonError",
    "beyond_json",
    "check_initialized",
    "dumps",
    "dumps_ascii",
    "from_dict",
    "parse",
    "parse_list",
    "to_ascii",
    "to_dict",
]
