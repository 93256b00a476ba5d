"""The JSON of the older endpoints, held against what Mesos answers for the same things on both of its APIs."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo import attributes, jsonpb, jsonv0
from mezzo.resources import Reservation, Resources, parse

RECORDED = json.loads((Path(__file__).parent / "data" / "older_endpoints.json").read_text())
AGENT = RECORDED["agent"]


def recorded_resources(name: str) -> Resources:
    return Resources.of(jsonpb.from_dict(mesos.Resource, each) for each in AGENT["v1"][name])


@pytest.mark.parametrize("recorded", RECORDED["tasks"], ids=lambda each: each["older"]["id"])
def test_a_task_is_told_as_mesos_tells_it(recorded: dict[str, Any]) -> None:
    told = jsonv0.task(jsonpb.from_dict(mesos.Task, recorded["v1"]))
    assert told == recorded["older"]
    assert list(told) == list(recorded["older"])


@pytest.mark.parametrize(
    ("name", "resources"), [("resources", "total_resources"), ("used_resources", "allocated_resources")]
)
def test_resources_are_summed_as_mesos_sums_them(name: str, resources: str) -> None:
    told = jsonv0.resources(recorded_resources(resources))
    assert told == AGENT["older"][name]
    assert list(told) == list(AGENT["older"][name])
    assert {key: type(value) for key, value in told.items()} == {
        key: type(value) for key, value in AGENT["older"][name].items()
    }


def test_resources_are_told_in_full_as_mesos_tells_them() -> None:
    total, used = recorded_resources("total_resources"), recorded_resources("allocated_resources")
    assert jsonv0.resources_full(total.unreserved()) == AGENT["older"]["unreserved_resources_full"]
    assert jsonv0.resources_full(used) == AGENT["older"]["used_resources_full"]
    assert jsonv0.reserved_resources(total) == AGENT["older"]["reserved_resources"] == {}
    assert jsonv0.reserved_resources_full(total) == AGENT["older"]["reserved_resources_full"] == {}


def test_the_common_scalars_are_there_even_of_nothing() -> None:
    assert jsonv0.resources(Resources.EMPTY) == {"disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 0.0}


def test_revocable_resources_stand_by_themselves() -> None:
    (spare,) = parse("cpus:2").messages()
    spare.revocable.SetInParent()
    told = jsonv0.resources(parse("cpus:0.1;cpus(ads):0.2") + Resources.of([spare]))
    assert told["cpus"] == 0.3
    assert told["cpus_revocable"] == 2.0


def test_ranges_and_sets_of_several_roles_are_one_text() -> None:
    told = jsonv0.resources(parse("ports:[1-5];ports(ads):[6-9,20-20];disks:{b};disks(ads):{a}"))
    assert told["ports"] == "[1-9, 20-20]"
    assert told["disks"] == "{a, b}"


def test_reserved_resources_are_told_by_role_in_both_ways_of_saying_it() -> None:
    dynamic = parse("mem:64").push_reservation(Reservation("eng", dynamic=True, principal="ops"))
    value = parse("cpus:1;cpus(ads):2") + dynamic
    assert jsonv0.reserved_resources(value) == {
        "ads": {"disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 2.0},
        "eng": {"disk": 0.0, "mem": 64.0, "gpus": 0.0, "cpus": 0.0},
    }
    assert jsonv0.reserved_resources_full(value) == {
        "ads": [
            {
                "name": "cpus",
                "type": "SCALAR",
                "scalar": {"value": 2.0},
                "role": "ads",
                "reservations": [{"type": "STATIC", "role": "ads"}],
            }
        ],
        "eng": [
            {
                "name": "mem",
                "type": "SCALAR",
                "scalar": {"value": 64.0},
                "role": "eng",
                "reservation": {"principal": "ops"},
                "reservations": [{"type": "DYNAMIC", "role": "eng", "principal": "ops"}],
            }
        ],
    }


def test_attributes_are_numbers_or_text() -> None:
    told = jsonv0.attributes(attributes.parse("rack:abc;level:10.5;keys:[2000-2001,1000-1500,1501-1502]"))
    assert told == {"rack": "abc", "level": 10.5, "keys": "[1000-1502, 2000-2001]"}


def test_everything_else_that_is_known_of_a_task_is_told() -> None:
    message = jsonpb.parse(
        mesos.Task,
        """{
          "name": "web", "task_id": {"value": "t"}, "framework_id": {"value": "f"}, "agent_id": {"value": "a"},
          "executor_id": {"value": "e"}, "state": "TASK_RUNNING", "user": "www",
          "resources": [
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}, "allocation_info": {"role": "ads"}}
          ],
          "limits": {"cpus": {"value": 2.5}},
          "labels": {"labels": [{"key": "k", "value": "v"}, {"key": "bare"}]},
          "discovery": {"visibility": "EXTERNAL", "ports": {"ports": [{"number": 80, "name": "http"}]}},
          "container": {"type": "MESOS", "volumes": []},
          "health_check": {"type": "TCP", "tcp": {"port": 80}},
          "kill_policy": {"grace_period": {"nanoseconds": 5000000000}},
          "statuses": [
            {"task_id": {"value": "t"}, "state": "TASK_RUNNING", "timestamp": 1.5, "healthy": false,
             "reason": "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED", "message": "unwell",
             "labels": {"labels": [{"key": "k", "value": "v"}]}}
          ]
        }""",
    )
    told = jsonv0.task(message)
    assert told["executor_id"] == "e"
    assert told["role"] == "ads"
    assert told["user"] == "www"
    assert told["limits"] == {"cpus": 2.5}
    assert told["labels"] == [{"key": "k", "value": "v"}, {"key": "bare"}]
    assert told["discovery"] == {"visibility": "EXTERNAL", "ports": {"ports": [{"number": 80, "name": "http"}]}}
    assert told["container"]["type"] == "MESOS"
    assert told["health_check"]["tcp"]["port"] == 80
    assert told["statuses"] == [
        {"state": "TASK_RUNNING", "timestamp": 1.5, "labels": [{"key": "k", "value": "v"}], "healthy": False}
    ]


def test_no_limit_at_all_survives_json() -> None:
    message = mesos.Task(name="t")
    message.limits["mem"].value = float("inf")
    assert json.loads(orjson.dumps(jsonv0.task(message)))["limits"] == {"mem": "Infinity"}


def test_an_executor_is_told_with_its_command_but_without_its_secrets() -> None:
    message = jsonpb.parse(
        mesos.ExecutorInfo,
        """{
          "executor_id": {"value": "e"}, "framework_id": {"value": "f"}, "name": "n", "source": "s", "type": "CUSTOM",
          "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}, "allocation_info": {"role": "ads"}}
          ],
          "command": {
            "value": "./run", "shell": false, "arguments": ["run", "-v"], "user": "www",
            "uris": [{"value": "http://h/x.tgz", "output_file": "x"}, {"value": "file:///y", "extract": false}],
            "environment": {"variables": [
              {"name": "A", "value": "1"},
              {"name": "B", "type": "SECRET", "secret": {"type": "VALUE", "value": {"data": "aHVzaA=="}}}
            ]}
          }
        }""",
    )
    told = jsonv0.executor_info(message)
    assert b"aHVzaA" not in orjson.dumps(told)
    assert {key: told[key] for key in ("executor_id", "framework_id", "name", "source", "type", "role")} == {
        "executor_id": "e",
        "framework_id": "f",
        "name": "n",
        "source": "s",
        "type": "CUSTOM",
        "role": "ads",
    }
    assert told["resources"]["cpus"] == 1.0
    assert told["command"]["argv"] == ["run", "-v"]
    assert told["command"]["shell"] is False
    assert told["command"]["uris"] == [
        {"value": "http://h/x.tgz", "executable": False, "extract": True, "cache": False, "output_file": "x"},
        {"value": "file:///y", "executable": False, "extract": False, "cache": False},
    ]
    assert [each["name"] for each in told["command"]["environment"]["variables"]] == ["A"]
