"""When two messages mean the same: the cases of type_utils_tests.cpp of Mesos, and what frameworks were seen to do."""

from typing import Any

import pytest
from google.protobuf.message import Message

from mesos.v1 import mesos_pb2 as mesos
from mezzo import jsonpb
from mezzo.equality import same
from mezzo.resources import ResourceError, parse

RESOURCES = parse("cpus:1;mem:64").messages()


def made(kind: type[Any], **fields: Any) -> Any:
    return jsonpb.from_dict(kind, fields)


EQUAL: list[tuple[type[Message], dict[str, Any], dict[str, Any]]] = [
    (mesos.CommandInfo, {"value": "a"}, {"value": "a", "shell": True}),
    (
        mesos.CommandInfo,
        {"uris": [{"value": "a"}, {"value": "b", "executable": True}]},
        {"uris": [{"value": "b", "executable": True, "cache": True}, {"value": "a", "extract": True}]},
    ),
    (
        mesos.CommandInfo,
        {"environment": {"variables": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]}},
        {"environment": {"variables": [{"name": "b", "value": "2"}, {"name": "a", "value": "1", "type": "VALUE"}]}},
    ),
    (mesos.CommandInfo.URI, {"value": "a"}, {"value": "a", "extract": True, "executable": False, "cache": True}),
    (mesos.Environment, {}, {"variables": []}),
    (mesos.Environment.Variable, {"name": "a"}, {"name": "a", "value": ""}),
    (mesos.Label, {"key": "a"}, {"key": "a", "value": ""}),
    (mesos.Labels, {"labels": [{"key": "a"}, {"key": "b"}]}, {"labels": [{"key": "b"}, {"key": "a"}]}),
    (mesos.Parameter, {"key": "a", "value": "b"}, {"key": "a", "value": "b"}),
    (
        mesos.Volume,
        {"container_path": "/a", "mode": "RW"},
        {"container_path": "/a", "mode": "RW", "host_path": ""},
    ),
    (
        mesos.ContainerInfo,
        {"type": "MESOS", "volumes": [{"container_path": p, "mode": "RW"} for p in ("/a", "/b")]},
        {"type": "MESOS", "volumes": [{"container_path": p, "mode": "RW"} for p in ("/b", "/a")]},
    ),
    (
        mesos.ContainerInfo.DockerInfo,
        {"image": "x", "parameters": [{"key": k, "value": ""} for k in "ab"]},
        {"image": "x", "parameters": [{"key": k, "value": ""} for k in "ba"], "privileged": False},
    ),
    (
        mesos.ContainerInfo.DockerInfo,
        {"image": "x", "port_mappings": [{"host_port": n, "container_port": 1} for n in (1, 2)]},
        {"image": "x", "port_mappings": [{"host_port": n, "container_port": 1} for n in (2, 1)]},
    ),
    (
        mesos.DiscoveryInfo,
        {"visibility": "CLUSTER", "ports": {"ports": [{"number": 1}, {"number": 2}]}},
        {"visibility": "CLUSTER", "ports": {"ports": [{"number": 2}, {"number": 1}]}, "labels": {}},
    ),
    (mesos.Attribute, {"name": "a", "type": "SCALAR", "scalar": {"value": 0.3}},
     {"name": "a", "type": "SCALAR", "scalar": {"value": 0.1 + 0.2}}),
    (
        mesos.Attribute,
        {"name": "a", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 2}, {"begin": 3, "end": 4}]}},
        {"name": "a", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 4}]}},
    ),
    (mesos.Attribute, {"name": "a", "type": "SET", "set": {"item": ["x", "y"]}},
     {"name": "a", "type": "SET", "set": {"item": ["y", "x"]}}),
    (
        mesos.ExecutorInfo,
        {"executor_id": {"value": "e"}, "command": {"value": "x"}},
        {"executor_id": {"value": "e"}, "type": "CUSTOM", "command": {"value": "x"}, "container": {"type": "DOCKER"},
         "labels": {"labels": [{"key": "a"}]}, "shutdown_grace_period": {"nanoseconds": 1}, "name": ""},
    ),
    (
        mesos.AgentInfo,
        {"hostname": "h", "attributes": [{"name": n, "type": "TEXT", "text": {"value": n}} for n in "ab"]},
        {"hostname": "h", "port": 5051,
         "attributes": [{"name": n, "type": "TEXT", "text": {"value": n}} for n in "ba"]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "left", "right"), EQUAL)
def test_messages_that_are_written_otherwise_mean_the_same(
    kind: type[Message], left: dict[str, Any], right: dict[str, Any]
) -> None:
    assert same(made(kind, **left), made(kind, **right))
    assert same(made(kind, **right), made(kind, **left))


DIFFERENT: list[tuple[type[Message], dict[str, Any], dict[str, Any]]] = [
    (mesos.CommandInfo, {"arguments": ["a", "b"]}, {"arguments": ["b", "a"]}),
    (mesos.CommandInfo, {"value": "a"}, {"value": "a", "shell": False}),
    (mesos.CommandInfo, {"value": "a"}, {"value": "a", "user": "root"}),
    (mesos.CommandInfo, {"uris": [{"value": "a"}]}, {"uris": [{"value": "a"}, {"value": "a"}]}),
    (mesos.CommandInfo.URI, {"value": "a"}, {"value": "a", "output_file": "b"}),
    (mesos.Labels, {"labels": [{"key": "a", "value": "1"}]}, {"labels": [{"key": "a", "value": "2"}]}),
    (mesos.Labels, {"labels": [{"key": k} for k in "aab"]}, {"labels": [{"key": k} for k in "abc"]}),
    (mesos.Volume, {"container_path": "/a", "mode": "RW"}, {"container_path": "/a", "mode": "RO"}),
    (mesos.ContainerInfo, {"type": "MESOS"}, {"type": "DOCKER"}),
    (mesos.Port, {"number": 1}, {"number": 1, "protocol": "udp"}),
    (mesos.Attribute, {"name": "a", "type": "TEXT", "text": {"value": "1"}},
     {"name": "a", "type": "SCALAR", "scalar": {"value": 1}}),
    (mesos.ExecutorInfo, {"executor_id": {"value": "e"}}, {"executor_id": {"value": "f"}}),
    (mesos.ExecutorInfo, {"executor_id": {"value": "e"}}, {"executor_id": {"value": "e"}, "type": "DEFAULT"}),
    (mesos.ExecutorInfo, {"executor_id": {"value": "e"}}, {"executor_id": {"value": "e"}, "data": "YQ=="}),
    (mesos.ExecutorInfo, {"executor_id": {"value": "e"}}, {"executor_id": {"value": "e"}, "source": "s"}),
    (mesos.AgentInfo, {"hostname": "h"}, {"hostname": "h", "port": 5052}),
    (mesos.AgentInfo, {"hostname": "h"},
     {"hostname": "h", "domain": {"fault_domain": {"region": {"name": "r"}, "zone": {"name": "z"}}}}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "left", "right"), DIFFERENT)
def test_messages_that_mean_something_else_are_told_apart(
    kind: type[Message], left: dict[str, Any], right: dict[str, Any]
) -> None:
    assert not same(made(kind, **left), made(kind, **right))
    assert not same(made(kind, **right), made(kind, **left))


@pytest.mark.parametrize("kind", [mesos.ExecutorInfo, mesos.AgentInfo])
def test_resources_are_compared_by_what_there_is_of_them(kind: type[Any]) -> None:
    left, right = kind(resources=RESOURCES), kind(resources=reversed(RESOURCES))
    assert same(left, right)
    right.resources[1].scalar.value = 0.5
    assert not same(left, right)
    right.resources.extend(parse("cpus:0.5").messages())
    right.resources[1].role = "*"
    assert same(left, right)
    right.resources[1].allocation_info.role = "web"
    assert not same(left, right)


def test_what_cannot_be_compared_says_so() -> None:
    wrong = mesos.ExecutorInfo(resources=[mesos.Resource(name="a", type=mesos.Value.TEXT)])
    with pytest.raises(ResourceError, match="type"):
        same(wrong, wrong)
    with pytest.raises(KeyError):
        same(mesos.TaskInfo(), mesos.TaskInfo())
