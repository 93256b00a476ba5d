"""Mesos' JSON dialect, both ways, over every message of its API."""

import importlib
import json
from typing import Any

import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.agent import agent_pb2
from mesos.v1.executor import executor_pb2
from mesos.v1.master import master_pb2
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo import jsonpb
from mezzo.jsonpb import JsonError
from mezzo.jsonpb.reading import NESTING_MAX

DEPTH_MAX = 3
ROOTS = [
    scheduler.Call,
    scheduler.Event,
    executor_pb2.Call,
    executor_pb2.Event,
    master_pb2.Call,
    master_pb2.Response,
    master_pb2.Event,
    agent_pb2.Call,
    agent_pb2.Response,
    mesos.TaskInfo,
    mesos.ResourceStatistics,
]

INTS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}


def descriptor_of(message_class: type[Message]) -> Any:
    # Typed as a union of two descriptors, of which only one has types.
    return message_class.DESCRIPTOR


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=20)
    if field.cpp_type in INTS:
        return INTS[field.cpp_type]
    return {
        FieldDescriptor.CPPTYPE_STRING: st.text(max_size=20),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
        FieldDescriptor.CPPTYPE_FLOAT: st.floats(allow_nan=False, allow_infinity=False, width=32),
    }[field.cpp_type]


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = 0) -> Message:
    """A message with all required fields and some of the others."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        nested = field.message_type
        wanted = 0.6 if depth == 0 else 0.25
        if not field.is_required and (depth >= DEPTH_MAX or draw(st.floats(0, 1)) > wanted):
            continue
        if nested is not None and nested.GetOptions().map_entry:
            value = nested.fields_by_name["value"]
            entries = getattr(message, field.name)
            for key in draw(st.lists(st.text(max_size=5), max_size=2)):
                if value.message_type is not None:
                    entries[key].CopyFrom(draw(messages(value.message_type, depth + 1)))
                else:
                    entries[key] = draw(scalars(value))
        elif nested is not None:
            for _ in range(draw(st.integers(0, 2)) if field.is_repeated else 1):
                target = getattr(message, field.name)
                child = target.add() if field.is_repeated else target
                child.SetInParent()
                child.CopyFrom(draw(messages(nested, depth + 1)))
                child.SetInParent()
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(scalars(field), max_size=3)))
        else:
            setattr(message, field.name, draw(scalars(field)))
    return message


def with_defaults(message: Message) -> Message:
    """The same message with the defaults that its protos state, wherever it leaves them out."""
    for field in message.DESCRIPTOR.fields:
        if field.has_default_value and not field.GetOptions().deprecated:
            setattr(message, field.name, getattr(message, field.name))
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            children = value.values() if field.message_type.fields_by_name["value"].message_type is not None else ()
        else:
            children = value if field.is_repeated else [value]
        for child in children:
            with_defaults(child)
    return message


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.DESCRIPTOR.full_name)
def test_every_message_survives_the_way_through_json(root: type[Message]) -> None:
    @settings(max_examples=30, deadline=None)
    @given(messages(descriptor_of(root)))
    def survives(message: Message) -> None:
        read = jsonpb.parse(root, jsonpb.dumps(message))
        assert jsonpb.parse(root, jsonpb.dumps_ascii(message)) == read
        assert read == with_defaults(message)

    survives()


@settings(max_examples=100, deadline=None)
@given(messages(descriptor_of(mesos.TaskInfo)))
def test_it_is_protobufs_own_json_but_for_64_bit_integers(message: Message) -> None:
    def unquoted(value: Any, like: Any) -> Any:
        if isinstance(value, dict):
            return {key: unquoted(each, like[key]) for key, each in value.items()}
        if isinstance(value, list):
            return [unquoted(each, other) for each, other in zip(value, like, strict=True)]
        return int(value) if isinstance(like, int) and isinstance(value, str) else value

    ours = json.loads(jsonpb.dumps(message))
    theirs = json_format.MessageToDict(with_defaults(message), preserving_proto_field_name=True)
    assert ours == unquoted(theirs, ours)


def test_every_module_of_the_api_can_be_compiled() -> None:
    for name in (
        "allocator.allocator",
        "maintenance.maintenance",
        "quota.quota",
        "resource_provider.resource_provider",
    ):
        module = importlib.import_module(f"mesos.v1.{name}_pb2")
        for descriptor in module.DESCRIPTOR.message_types_by_name.values():
            assert jsonpb.to_dict(message_factory.GetMessageClass(descriptor)()) == {}


def test_a_record_is_one_line_of_ascii_that_reads_back_the_same() -> None:
    label = mesos.Label(key="é", value="a\nb 😀")
    record = jsonpb.dumps_ascii(label)
    assert record == b'{"key":"\\u00e9","value":"a\\nb \\ud83d\\ude00"}'
    assert jsonpb.parse(mesos.Label, record) == label


def test_what_is_not_ascii_is_escaped_however_much_of_it_there_is() -> None:
    text = "é\U0001f600" * 3 + " and " + "日本" * 3
    record = jsonpb.to_ascii(jsonpb.dumps(mesos.Label(key=text)))
    assert record.isascii()
    assert json.loads(record) == {"key": text}


def test_a_string_that_is_not_utf_8_does_not_spoil_the_document_that_it_is_in() -> None:
    # Nothing checks the strings of proto2 messages when they are parsed.
    labels = mesos.Labels.FromString(b"\n\x04\n\x02a\xff")
    assert json.loads(jsonpb.dumps(labels)) == {"labels": [{"key": "a\ufffd"}]}
    command = mesos.CommandInfo.FromString(b"\x3a\x02a\xff")
    assert json.loads(jsonpb.dumps(command)) == {"shell": True, "arguments": ["a\ufffd"]}


def test_an_unset_required_field_is_left_out_of_what_is_written() -> None:
    assert jsonpb.to_dict(mesos.TaskInfo(agent_id=mesos.AgentID())) == {"agent_id": {}}


def test_a_default_that_the_proto_states_is_written_as_mesos_writes_it() -> None:
    """Or else a client for whom what is missing is false runs a command for the shell without one."""
    command = mesos.CommandInfo(value="echo", uris=[mesos.CommandInfo.URI(value="u")])
    written = {"value": "echo", "uris": [{"value": "u", "extract": True}], "shell": True}
    assert jsonpb.to_dict(command) == written
    info = jsonpb.to_dict(mesos.FrameworkInfo(user="u", name="n"))
    # But for `role`, which is deprecated.
    assert info == {"user": "u", "name": "n", "failover_timeout": 0.0, "checkpoint": False}
    assert jsonpb.to_dict(mesos.DiscoveryInfo()) == {}


def test_whole_doubles_keep_their_point_and_64_bit_integers_are_numbers() -> None:
    resource = mesos.Resource(name="cpus", type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=2))
    assert jsonpb.dumps(resource) == b'{"name":"cpus","type":"SCALAR","scalar":{"value":2.0}}'
    assert jsonpb.dumps(mesos.TimeInfo(nanoseconds=2**60)) == b'{"nanoseconds":1152921504606846976}'


def test_what_mesos_takes_is_taken() -> None:
    command = jsonpb.parse(mesos.CommandInfo, '{"shell": "false", "value": null, "frob": {"a": [1]}}')
    assert not command.shell
    assert not command.HasField("value")
    scalar = jsonpb.parse(mesos.Value.Scalar, '{"value": "2.5"}')
    assert scalar.value == 2.5
    assert jsonpb.parse(mesos.TimeInfo, '{"nanoseconds": 5.0}').nanoseconds == 5
    assert jsonpb.parse(mesos.TimeInfo, '{"nanoseconds": "9223372036854775807"}').nanoseconds == 2**63 - 1
    assert not jsonpb.parse(scheduler.Call, '{"type": "FROBNICATE"}').HasField("type")
    assert jsonpb.parse(scheduler.Call, '{"type": "REVIVE", "revive": {}}').HasField("revive")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"type":', "not JSON"),
        ("[]", "expected an object, found an array"),
        ('"x"', "expected an object, found 'x'"),
        (
            '{"subscribe": {"framework_info": {"user": "root", "name": 5}}}',
            "subscribe.framework_info.name: expected a string, found a number",
        ),
        ('{"subscribe": {"framework_info": {"name": "x"}}}', "subscribe.framework_info.user: is required"),
        (
            '{"accept": {"offer_ids": [{"value": "a"}, 5]}}',
            r"accept.offer_ids\[1\]: expected an object, found a number",
        ),
        ('{"acknowledge": {"uuid": "%"}}', "acknowledge.uuid: is not base64"),
        ('{"accept": {"filters": {"refuse_seconds": "soon"}}}', "accept.filters.refuse_seconds: expected a number"),
        ('{"accept": {"filters": {"refuse_seconds": true}}}', "found a boolean"),
        ('{"accept": {"filters": {"refuse_seconds": "nan"}}}', "expected a number, found 'nan'"),
        ('{"accept": {"filters": {"refuse_seconds": "1e999"}}}', "expected a number"),
        ('{"accept": {"filters": {"refuse_seconds": "true"}}}', "expected a number, found 'true'"),
        ('{"kill": {"kill_policy": {"grace_period": {"nanoseconds": "1_000"}}}}', "expected a number, found '1_000'"),
        ('{"accept": {"offer_ids": "abc"}}', "accept.offer_ids: expected an object, found 'abc'"),
        ('{"revive": {"roles": ["a", 1]}}', r"revive.roles\[1\]: expected a string, found a number"),
        ('{"type": 1}', "type: expected the name of a value, found a number"),
        ('{"kill": {"kill_policy": {"grace_period": {"nanoseconds": 9223372036854775808}}}}', "is not between"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_name_of_the_field(text: str, complaint: str) -> None:
    with pytest.raises(JsonError, match=complaint):
        jsonpb.parse(scheduler.Call, text)


def test_the_elements_of_lists_and_maps_are_named_in_a_refusal() -> None:
    with pytest.raises(JsonError, match=r"^\[1\]\.name: expected a string, found a boolean$"):
        jsonpb.parse_list(mesos.Resource, '[{"name": "a", "type": "SCALAR"}, {"name": true}]')
    with pytest.raises(JsonError, match=r"^limits\[cpus\]\.value: expected a number"):
        jsonpb.parse(mesos.TaskInfo, '{"limits": {"cpus": {"value": {}}}}')
    with pytest.raises(JsonError, match=r"^expected an array, found an object$"):
        jsonpb.parse_list(mesos.Resource, "{}")


def nested(levels: int) -> str:
    return '{"value": "a", "parent": ' * levels + '{"value": "b"}' + "}" * levels


@pytest.mark.parametrize("levels", [NESTING_MAX + 1, 100, 400])
def test_what_protobuf_could_not_read_again_is_refused(levels: int) -> None:
    status = f'{{"container_status": {{"container_id": {nested(levels)}}}}}'
    with pytest.raises(JsonError, match=r"container_id\.parent: is nested more than 64 levels deep$"):
        jsonpb.parse(mesos.TaskStatus, status)


def test_what_is_nested_as_deep_as_it_may_be_goes_both_ways() -> None:
    container_id = jsonpb.parse(mesos.ContainerID, nested(NESTING_MAX))
    assert mesos.ContainerID.FromString(container_id.SerializeToString()) == container_id
    assert jsonpb.parse(mesos.ContainerID, jsonpb.dumps(container_id)) == container_id


def test_json_nested_deeper_than_any_message_is_refused() -> None:
    with pytest.raises(JsonError, match="not JSON"):
        jsonpb.parse(mesos.ContainerID, nested(2000))


def test_messages_contain_their_own_type_directly_or_not_at_all() -> None:
    """Or else measuring fields of a message's own type would not be enough."""

    def within(descriptor: Descriptor, above: tuple[Descriptor, ...]) -> None:
        for field in descriptor.fields:
            if field.message_type is not None and field.message_type is not descriptor:
                assert field.message_type not in above, f"{field.full_name} leads back"
                within(field.message_type, (*above, descriptor))

    for root in ROOTS:
        within(descriptor_of(root), ())


def test_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(JsonError, match="port: 4294967296 is not between"):
        jsonpb.parse(mesos.Address, '{"port": 4294967296}')
