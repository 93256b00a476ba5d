"""The answers of reads have the status, the content type, the keys and the types of values that Apache Mesos gives.

`data/answers.json` holds what was recorded of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mesos.v1.master.master_pb2 import Call, Response
from mesos.v1.mesos_pb2 import TASK_FINISHED, TASK_RUNNING, TASK_STARTING
from mezzo.errors import MezzoError, Unimplemented
from mezzo.operator.v1.operator_pb2 import TASK_LIST_COMPLETED, StateChange
from mezzo_gateway.testing.changes import (
    REGISTRY_ID,
    agent_changed,
    framework_changed,
    role_changed,
    scalar,
    snapshot,
    status,
    task_added,
    task_updated,
)
from mezzo_gateway.testing.client import GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "answers.json").read_text())

# What is recorded and not answered: `git_sha` where nobody knows the commit, `log_dir` since logs go to standard error
# and not to a directory (Mesos leaves both out in these cases, too); v1 messages have no `checkpoint` of agents.
MISSING = {"git_sha", "log_dir", "checkpoint"}
# What is answered and was not recorded: our own version; the git tag stands in its place in GET_VERSION.
ADDED = {"mezzo_version", "git_tag"}
# Where Mezzo answers otherwise: clients still ask for `/state.json`, a path of Mesos' older versions; nothing shows the
# registry's store.
ELSEWHERE = {"GET /master/state.json", "GET /registrar(1)/registry"}
# Keys of a map whose members are data.
MAPS = {"flags", "consumed", "allocated", "offered", "reserved", "limit", "guarantee", "limits", "guarantees"}

COMPLETED_ID, MULTI_ROLE_ID = f"{REGISTRY_ID}-0001", f"{REGISTRY_ID}-0002"


@pytest.fixture
def registry(registry: ScriptedRegistry) -> ScriptedRegistry:
    """A cluster like the one that was recorded: a task that runs, some that have ended, quota and a weight."""
    registry.snapshot = snapshot(
        agent_changed(),
        framework_changed(),
        framework_changed(COMPLETED_ID, completed=True),
        framework_changed(MULTI_ROLE_ID, completed=True, roles=["*"]),
        task_added(state=TASK_STARTING),
        task_updated(status(TASK_RUNNING)),
        task_added(
            "t2",
            framework_id=COMPLETED_ID,
            state=TASK_FINISHED,
            task_list=TASK_LIST_COMPLETED,
            message="Command exited with status 0",
            resources=[scalar("cpus", 1.0, allocated_to="*")],
        ),
        role_changed("anchor-w", 2.5),
        role_changed("anchor-q", guarantees={"cpus": 1.0}, limits={"cpus": 1.0}),
    )
    registry.on_operator_call = answer
    return registry


def answer(call: Call) -> Response | MezzoError:
    """What a registry with quota says."""
    response = Response(type=Response.Type.Value(Call.Type.Name(call.type)))
    if call.type == Call.GET_METRICS:
        response.get_metrics.metrics.add(name="master/elected", value=1.0)
    elif call.type == Call.GET_WEIGHTS:
        response.get_weights.weight_infos.add(role="anchor-w", weight=2.5)
    elif call.type == Call.GET_QUOTA:
        status = response.get_quota.status
        info = status.infos.add(role="anchor-q")
        info.guarantee.append(scalar("cpus", 1.0))
        config = status.configs.add(role="anchor-q")
        config.guarantees["cpus"].value = config.limits["cpus"].value = 1.0
    else:
        return Unimplemented(Call.Type.Name(call.type))
    return response


def differences(recorded: Any, answered: Any, path: str = "") -> list[str]:
    """Where an answer has not the recorded shape. What was recorded empty says nothing, nor does an empty list."""
    if isinstance(recorded, dict):
        if not isinstance(answered, dict):
            return [f"{path} is {answered!r}, and should be an object"]
        if path.rpartition(".")[2] in MAPS or not recorded:
            return []
        found = [f"{path}.{key} is missing" for key in recorded.keys() - answered.keys() - MISSING]
        found += [f"{path}.{key} is not Mesos'" for key in answered.keys() - recorded.keys() - ADDED]
        for key in recorded.keys() & answered.keys():
            found += differences(recorded[key], answered[key], f"{path}.{key}")
        return found
    if isinstance(recorded, list):
        if not isinstance(answered, list):
            return [f"{path} is {answered!r}, and should be a list"]
        if not recorded or not answered:
            return []
        return differences(recorded[0], merged(answered), f"{path}[]")
    types: dict[str, Any] = {"string": str, "boolean": bool, "number": (int, float)}
    right = isinstance(answered, types[recorded]) and (recorded == "boolean" or not isinstance(answered, bool))
    return [] if right else [f"{path} is {answered!r}, and should be a {recorded}"]


def merged(values: list[Any]) -> Any:
    """One value with everything that any element of a list has."""
    result: Any = None
    for value in values:
        if isinstance(value, dict):
            known = result or {}
            both = {key: merged([known[key], each]) if key in known else each for key, each in value.items()}
            result = {**known, **both}
        elif isinstance(value, list):
            result = [*(result or []), *value]
        else:
            result = value
    return result


def test_the_comparison_finds_what_is_missing_added_or_of_another_type() -> None:
    recorded = {"a": "string", "b": [{"c": "number"}], "d": "boolean", "e": "number"}
    assert not differences(recorded, {"a": "x", "b": [{"c": 1}], "d": True, "e": 0.5})
    assert len(differences(recorded, {"b": [{"c": "1"}], "d": 1, "e": True, "f": 0})) == 5


@pytest.mark.parametrize("name", sorted(RECORDED.keys() - ELSEWHERE))
async def test_reads_are_answered_in_the_recorded_shape(name: str, gateway: GatewayClient) -> None:
    recorded = RECORDED[name]
    if "call" in recorded:
        answered = await gateway.operator(recorded["call"])
    else:
        method, _, path = name.partition(" ")
        answered = await gateway.request(method, path)
    assert answered.status == recorded["status"], answered.text
    if "content_type" in recorded:
        assert (answered.content_type or "").partition("; charset")[0] == recorded["content_type"].partition(";")[0]
    if "allow" in recorded:
        assert answered.headers["Allow"] == recorded["allow"]
    if "shape" in recorded:
        assert differences(recorded["shape"], answered.json()) == []


@pytest.mark.parametrize("path", ["/state", "/state/", "/state.json", "/master/state", "/master/state.json"])
async def test_a_path_is_one_thing_however_it_is_written(path: str, gateway: GatewayClient) -> None:
    assert (await gateway.get(path)).json() == (await gateway.get("/state")).json()


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/", "/api/v1/operator", "/master/api/v1"])
async def test_the_operator_api_is_found_by_prefix(path: str, gateway: GatewayClient) -> None:
    assert (await gateway.post(path, {"type": "GET_HEALTH"})).json()["get_health"] == {"healthy": True}


async def test_reads_may_be_posted_with_an_empty_body(gateway: GatewayClient) -> None:
    answered = await gateway.post("/master/state", b"", {})
    assert answered.status == 200
    assert answered.json() == (await gateway.get("/state")).json()


async def test_a_head_is_an_answer_without_its_body(gateway: GatewayClient) -> None:
    answered = await gateway.request("HEAD", "/state")
    assert (answered.status, answered.content_type, answered.body) == (200, "application/json", b"")


async def test_the_version_is_dotted_integers_and_ours_is_another_key(gateway: GatewayClient) -> None:
    version = (await gateway.get("/version")).json()
    assert all(part.isdigit() for part in version["version"].split("."))
    assert version["mezzo_version"]


async def test_flags_are_the_registrys_the_allocators_and_those_of_the_gateway_that_are_the_masters_in_mesos(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    changed = StateChange()
    changed.flags_changed.flags.update({"role_sorter": "drf", "port": "not the registry's"})
    registry.publish(changed)
    await gateway.applied()
    expected = {"role_sorter": "drf", "port": "0", "max_operator_event_stream_subscribers": "1000"}
    assert (await gateway.get("/flags")).json() == {"flags": expected}
    assert (await gateway.get("/state")).json()["flags"] == expected
    listed = (await gateway.operator("GET_FLAGS")).json()["get_flags"]["flags"]
    assert {flag["name"]: flag["value"] for flag in listed} == expected


async def test_an_agents_version_is_that_of_mesos_everywhere_and_ours_is_another_key(gateway: GatewayClient) -> None:
    version = (await gateway.get("/version")).json()["version"]
    for path in ("/slaves", "/state", "/state-summary"):
        (agent,) = (await gateway.get(path)).json()["slaves"]
        assert (agent["version"], agent["mezzo_version"]) == (version, "0.1.0"), path
    (agent,) = (await gateway.operator("GET_AGENTS")).json()["get_agents"]["agents"]
    assert agent["version"] == version


async def test_json_is_wrapped_for_pages_that_load_it_as_a_script(gateway: GatewayClient) -> None:
    answered = await gateway.get("/state?jsonp=cb")
    assert answered.content_type == "text/javascript"
    assert answered.text.startswith("cb({")


@pytest.mark.parametrize(
    "call", ["GET_STATE", "GET_TASKS", "GET_AGENTS", "GET_FRAMEWORKS", "GET_EXECUTORS", "GET_ROLES", "GET_MASTER"]
)
async def test_an_answer_in_protobuf_says_what_the_one_in_json_says(call: str, gateway: GatewayClient) -> None:
    from mezzo import jsonpb

    headers = {"Content-Type": "application/json", "Accept": "application/x-protobuf"}
    binary = await gateway.post("/api/v1", {"type": call}, headers)
    assert binary.content_type == "application/x-protobuf"
    in_json = jsonpb.from_dict(Response, (await gateway.operator(call)).json())
    # Both by way of JSON, which states defaults.
    assert jsonpb.parse(Response, jsonpb.dumps(Response.FromString(binary.body))) == in_json
