"""Every kind of field, and what each kind of JSON value makes of it.

As `protobuf::internal::Parser` in 3rdparty/stout/include/stout/protobuf.hpp of apache/mesos has it (its last state),
but for numbers that a field cannot hold: Mesos casts them to whatever comes out, and here they are refused.
"""

import json
import math
import tracemalloc
from typing import Any

import pytest
from google.protobuf.message import Message

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo import jsonpb
from mezzo.jsonpb.casts import SCALAR_CHARS_MAX
from mezzo.jsonpb.reading import NESTING_MAX, VALUES_MAX


class Refused(str):
    """What is complained about."""


UNSET = object()

# By field: a JSON value, and what is read.
STRING = {
    "null": UNSET,
    '"text"': "text",
    '""': "",
    '"5"': "5",
    "5": Refused("expected a string, found a number"),
    "2.5": Refused("expected a string, found a number"),
    "true": Refused("expected a string, found a boolean"),
    "{}": Refused("expected a string, found an object"),
    '["text"]': Refused("expected a string, found an array"),
}
BYTES = {
    "null": UNSET,
    '""': b"",
    '"aGk="': b"hi",
    '"aGk"': b"hi",  # padding is not asked for
    '" aG\\nk = "': b"hi",  # white space does not matter
    '"aGk=%"': b"hi",  # nor what follows the padding
    '"aGkA"': b"hi\0",
    '"aGkAa"': b"hi\0",  # less than a byte
    '"%"': Refused("is not base64"),
    '"aG-_"': Refused("is not base64"),
    '"aGé"': Refused("is not base64"),
    "5": Refused("expected a string of base64, found a number"),
    "true": Refused("expected a string of base64, found a boolean"),
    "{}": Refused("expected a string of base64, found an object"),
    "[]": Refused("expected a string of base64, found an array"),
}
BOOL = {
    "null": UNSET,
    "true": True,
    "false": False,
    '"true"': True,
    '"false"': False,
    '" true "': True,
    '"True"': Refused("expected true or false, found 'True'"),
    '""': Refused("expected true or false, found ''"),
    '"1"': Refused("expected true or false, found '1'"),
    "1": Refused("expected true or false, found a number"),
    "{}": Refused("expected true or false, found an object"),
    "[true]": Refused("expected true or false, found an array"),
}
DOUBLE = {
    "null": UNSET,
    "2.5": 2.5,
    "2": 2.0,
    "-1e3": -1000.0,
    '"2.5"': 2.5,
    '" 2 "': 2.0,
    '"Infinity"': math.inf,
    '"-Infinity"': -math.inf,
    '"infinity"': Refused("expected a number, found 'infinity'"),
    '" Infinity"': Refused("expected a number, found ' Infinity'"),
    '"NaN"': Refused("expected a number, found 'NaN'"),
    '"1e999"': Refused("expected a number, found '1e999'"),
    '"soon"': Refused("expected a number, found 'soon'"),
    '"true"': Refused("expected a number, found 'true'"),
    '""': Refused("expected a number, found ''"),
    "true": Refused("expected a number, found a boolean"),
    "{}": Refused("expected a number, found an object"),
    "[2.5]": Refused("expected a number, found an array"),
}
INT64 = {
    "null": UNSET,
    "5": 5,
    "5.9": 5,
    "-5.9": -5,
    '"5"': 5,
    '"5.0"': 5,
    "9223372036854775807": 2**63 - 1,
    "9223372036854775808": Refused("9223372036854775808 is not between -9223372036854775808 and"),
    "1e300": Refused("1e\\+300 is not between"),
    '"1e300"': Refused("'1e300' is not between"),
    '"1_000"': Refused("expected a number, found '1_000'"),
    '"Infinity"': Refused("expected a number, found 'Infinity'"),
    "true": Refused("expected a number, found a boolean"),
    "{}": Refused("expected a number, found an object"),
    "[5]": Refused("expected a number, found an array"),
}
UINT64 = {
    "18446744073709551615": 2**64 - 1,
    "18446744073709551616": Refused("is not between 0 and"),
    "-1": Refused("-1 is not between 0 and"),
    "-0.5": 0,
}
INT32 = {"2147483647": 2**31 - 1, "2147483648": Refused("is not between"), "-2147483648": -(2**31)}
ENUM = {
    "null": UNSET,
    '"SOURCE_AGENT"': mesos.TaskStatus.SOURCE_AGENT,
    '"SOURCE_OF_A_LATER_VERSION"': UNSET,
    '"source_agent"': UNSET,
    '""': UNSET,
    '"1"': UNSET,  # a name, and none of ours
    "1": Refused("expected the name of a value, found a number"),
    "true": Refused("expected the name of a value, found a boolean"),
    "{}": Refused("expected the name of a value, found an object"),
    '["SOURCE_AGENT"]': Refused("expected the name of a value, found an array"),
}
MESSAGE = {
    "null": UNSET,
    "{}": mesos.Labels(),
    '{"frob": [1]}': mesos.Labels(),
    '{"labels": null}': mesos.Labels(),
    '"text"': Refused("expected an object, found 'text'"),
    "5": Refused("expected an object, found a number"),
    "true": Refused("expected an object, found a boolean"),
    "[{}]": Refused("expected an object, found an array"),
}
A, B = mesos.OfferID(value="a"), mesos.OfferID(value="b")
MESSAGES = {
    "null": [],
    "[]": [],
    '{"value": "a"}': [A],  # one element
    '[{"value": "a"}, {"value": "b"}]': [A, B],
    '[{"value": "a"}, null]': [A],
    '[[{"value": "a"}], [[{"value": "b"}]]]': [A, B],
    '"a"': Refused("expected an object, found 'a'"),
    "5": Refused("expected an object, found a number"),
    "true": Refused("expected an object, found a boolean"),
    '[{"value": "a"}, 5]': Refused(r"\[1\]: expected an object, found a number"),
    '[[{"value": "a"}, [5]]]': Refused(r"\[0\]\[1\]\[0\]: expected an object, found a number"),
    '{"value": 5}': Refused(r"\.value: expected a string, found a number"),
}
STRINGS = {
    "null": [],
    "[]": [],
    '"a"': ["a"],
    '["a", "b"]': ["a", "b"],
    '["a", null, ["b"]]': ["a", "b"],
    "5": Refused("expected a string, found a number"),
    "{}": Refused("expected a string, found an object"),
    '["a", 1]': Refused(r"\[1\]: expected a string, found a number"),
}
ENUMS = {
    "null": [],
    '"CHOWN"': [mesos.CapabilityInfo.CHOWN],
    '["CHOWN", "OF_A_LATER_VERSION", "FSETID"]': [mesos.CapabilityInfo.CHOWN, mesos.CapabilityInfo.FSETID],
    '"OF_A_LATER_VERSION"': [],
    "[1]": Refused(r"\[0\]: expected the name of a value, found a number"),
}
MAP = {
    "null": {},
    "{}": {},
    '{"cpus": {"value": 2}}': {"cpus": 2.0},
    '{"cpus": {"value": "Infinity"}}': {"cpus": math.inf},
    '[{"cpus": {"value": 2}}, {"mem": {"value": 3}}, {"cpus": {"value": 1}}]': {"cpus": 1.0, "mem": 3.0},
    '{"cpus": null}': Refused(r"\[cpus\]\.value: is required"),
    '{"cpus": 2}': Refused(r"\[cpus\]: expected an object, found a number"),
    '{"cpus": {"value": true}}': Refused(r"\[cpus\]\.value: expected a number, found a boolean"),
    '"cpus"': Refused("expected an object, found 'cpus'"),
    "[5]": Refused(r"\[0\]: expected an object, found a number"),
}

# The message and its field that stand for each kind.
TABLE: list[tuple[type[Message], str, dict[str, Any]]] = [
    (mesos.Label, "value", STRING),
    (mesos.TaskStatus, "data", BYTES),
    (mesos.CommandInfo, "shell", BOOL),
    (mesos.Filters, "refuse_seconds", DOUBLE),
    (mesos.DurationInfo, "nanoseconds", INT64),
    (mesos.RLimitInfo.RLimit, "soft", UINT64),
    (mesos.Address, "port", INT32),
    (mesos.TaskStatus, "source", ENUM),
    (mesos.TaskStatus, "labels", MESSAGE),
    (scheduler.Call.Accept, "offer_ids", MESSAGES),
    (scheduler.Call.Revive, "roles", STRINGS),
    (mesos.CapabilityInfo, "capabilities", ENUMS),
    (mesos.TaskInfo, "limits", MAP),
]
# What else those messages must have.
REQUIRED: dict[type[Message], dict[str, Any]] = {
    mesos.Label: {"key": "k"},
    mesos.TaskStatus: {"task_id": {"value": "t"}, "state": "TASK_RUNNING"},
    mesos.DurationInfo: {"nanoseconds": 1},
    mesos.RLimitInfo.RLimit: {"type": "RLMT_AS"},
    mesos.Address: {"port": 1},
    mesos.TaskInfo: {"name": "n", "task_id": {"value": "t"}, "agent_id": {"value": "a"}},
}
CASES = [(message, field, text, expected) for message, field, values in TABLE for text, expected in values.items()]


def read(message_class: type[Message], field: str, text: str) -> Message:
    others = {name: value for name, value in REQUIRED.get(message_class, {}).items() if name != field}
    return jsonpb.parse(message_class, json.dumps(others)[:-1] + f'{", " if others else ""}"{field}": {text}}}')


def found_in(message: Any, field: str) -> Any:
    value = getattr(message, field)
    if message.DESCRIPTOR.fields_by_name[field].is_repeated:
        return {key: each.value for key, each in value.items()} if field == "limits" else list(value)
    return value if message.HasField(field) else UNSET


@pytest.mark.parametrize(
    ("message_class", "field", "text", "expected"), CASES, ids=[f"{field}={text}" for _, field, text, _ in CASES]
)
def test_each_kind_of_field_takes_what_mesos_takes(
    message_class: type[Message], field: str, text: str, expected: Any
) -> None:
    if expected is UNSET and message_class.DESCRIPTOR.fields_by_name[field].is_required:
        expected = Refused("is required")
    if isinstance(expected, Refused):
        with pytest.raises(jsonpb.JsonError, match=rf"^{field}.*{expected}"):
            read(message_class, field, text)
    else:
        assert found_in(read(message_class, field, text), field) == expected


def test_a_name_that_a_required_enum_does_not_have_is_refused() -> None:
    with pytest.raises(jsonpb.JsonError, match=r"^state: 'TASK_LATER' is not one of TASK_STAGING"):
        jsonpb.parse(mesos.TaskStatus, '{"task_id": {"value": "t"}, "state": "TASK_LATER"}')


def test_the_last_of_a_field_that_is_given_twice_counts() -> None:
    assert jsonpb.parse(mesos.Label, '{"key": "a", "key": "b"}').key == "b"


def test_infinite_numbers_are_written_as_mesos_reads_them() -> None:
    filters = mesos.Filters(refuse_seconds=math.inf)
    assert jsonpb.dumps(filters) == b'{"refuse_seconds":"Infinity"}'
    assert jsonpb.parse(mesos.Filters, jsonpb.dumps(filters)) == filters
    assert jsonpb.to_dict(mesos.Filters(refuse_seconds=-math.inf)) == {"refuse_seconds": "-Infinity"}
    task = mesos.TaskInfo(limits={"mem": mesos.Value.Scalar(value=math.inf)})
    assert jsonpb.to_dict(task)["limits"] == {"mem": {"value": "Infinity"}}


def test_what_is_no_number_is_written_as_unset() -> None:
    assert jsonpb.dumps(mesos.Filters(refuse_seconds=math.nan)) == b'{"refuse_seconds":null}'
    assert not jsonpb.parse(mesos.Filters, '{"refuse_seconds":null}').HasField("refuse_seconds")


def test_lists_within_lists_are_read_to_a_depth() -> None:
    roles = "[" * NESTING_MAX + '"a"' + "]" * NESTING_MAX
    assert jsonpb.parse(scheduler.Call.Revive, f'{{"roles": {roles}}}').roles == ["a"]
    with pytest.raises(jsonpb.JsonError, match=rf"^roles(\[0\])+: is nested more than {NESTING_MAX} levels deep$"):
        jsonpb.parse(scheduler.Call.Revive, f'{{"roles": [{roles}]}}')


@pytest.mark.parametrize("filler", ["[],", "{},", '"",', "0,"])
def test_a_document_of_too_many_values_is_refused_before_it_is_read(filler: str) -> None:
    """It does not have to be JSON, and so nothing can have read it."""
    with pytest.raises(jsonpb.JsonError, match=f"too many values: more than {VALUES_MAX} commas"):
        jsonpb.parse(mesos.Labels, '{"labels": [' + filler * VALUES_MAX)
    with pytest.raises(jsonpb.JsonError, match="too many values"):
        jsonpb.parse_list(mesos.Label, "[" + filler * VALUES_MAX)


def test_as_many_values_as_are_allowed_are_read_and_more_from_a_server_that_is_trusted() -> None:
    document = '{"frob": [' + "1," * VALUES_MAX + "1]}"
    assert jsonpb.parse(mesos.Labels, document, values_max=VALUES_MAX + 3) == mesos.Labels()
    assert jsonpb.parse(mesos.Labels, document, values_max=None) == mesos.Labels()


def test_a_string_that_stands_for_a_number_is_not_read_as_a_document() -> None:
    with pytest.raises(jsonpb.JsonError, match=r"^refuse_seconds: expected a number, found '\[\[\[\["):
        jsonpb.parse(mesos.Filters, json.dumps({"refuse_seconds": "[" * (SCALAR_CHARS_MAX + 1)}))


def test_errors_do_not_repeat_what_was_sent() -> None:
    long = "x" * 100_000
    for message_class, document in (
        (mesos.Filters, {"refuse_seconds": long}),
        (mesos.TaskStatus, {"state": long}),
        (mesos.TaskInfo, {"limits": {long: 5}}),
        (mesos.CommandInfo, {"shell": [[long]]}),
        (mesos.DurationInfo, {"nanoseconds": " " * 900 + "1e300"}),
    ):
        with pytest.raises(jsonpb.JsonError) as raised:
            jsonpb.parse(message_class, json.dumps(document))
        assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (mesos.Label(), "key"),
        (scheduler.Call(accept=scheduler.Call.Accept(offer_ids=[A, mesos.OfferID()])), "accept.offer_ids[1].value"),
        (mesos.TaskStatus(task_id=mesos.TaskID(), state=mesos.TASK_RUNNING), "task_id.value"),
        (mesos.Labels(labels=[mesos.Label(key="a"), mesos.Label(value="b")]), "labels[1].key"),
    ],
)
def test_a_required_field_that_is_missing_is_named(message: Message, path: str) -> None:
    with pytest.raises(jsonpb.JsonError) as raised:
        jsonpb.check_initialized(message)
    assert str(raised.value) == f"{path}: is required"


def test_of_many_required_fields_that_are_missing_one_is_looked_for() -> None:
    """It takes 2 bytes of protobuf to miss one, and 100 of memory to tell each."""
    accept = scheduler.Call.Accept.FromString(b"\x0a\x00" * 100_000)
    tracemalloc.start()
    try:
        with pytest.raises(jsonpb.JsonError, match=r"^offer_ids\[0\]\.value: is required$"):
            jsonpb.check_initialized(accept)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
