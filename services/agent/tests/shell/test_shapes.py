"""The answers have the status, the content type, the keys and the types of values that Apache Mesos' agent gives.

`data/answers.json` holds what was recorded of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo_agent import __version__
from mezzo_chassis.build import MESOS_VERSION
from services.agent.tests.conftest import Tasks
from services.agent.tests.shell.conftest import PretendedContainers, RunningAgent, ScriptedRegistry

RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "answers.json").read_text())

# Recorded and not answered: `git_sha` where nobody knows the commit; `log_dir`, since logs go to standard error and not
# to a directory. In both cases Mesos leaves them out, too.
MISSING = {"git_sha", "log_dir"}
# A command has no executor process: no command line of one, and nothing that it uses.
MISSING_OF_EXECUTORS = {"command", "resources"}
# Answered and not recorded: our own version; the git tag stands in its place in GET_VERSION.
ADDED = {"mezzo_version", "git_tag"}
# The recorded agent had no attributes.
ADDED |= {"attributes"}
# Keys of a map whose members are data.
MAPS = {"flags", "attributes"}
# Whoever writes `/monitor/statistics.json` means `/monitor/statistics`.
ELSEWHERE = {"/monitor/statistics.json"}


def differences(recorded: Any, answered: Any, path: str = "") -> list[str]:
    """Where an answer has not the recorded shape. What was recorded empty says nothing, nor does an empty list."""
    if isinstance(recorded, dict):
        if not isinstance(answered, dict):
            return [f"{path} is {answered!r}, and should be an object"]
        if path.rpartition(".")[2] in MAPS or not recorded:
            return []
        missing = MISSING | (MISSING_OF_EXECUTORS if path.endswith(".executor_info") else set())
        found = [f"{path}.{key} is missing" for key in recorded.keys() - answered.keys() - missing]
        found += [f"{path}.{key} is not Mesos'" for key in answered.keys() - recorded.keys() - ADDED]
        for key in recorded.keys() & answered.keys():
            found += differences(recorded[key], answered[key], f"{path}.{key}")
        return found
    if isinstance(recorded, list):
        if not isinstance(answered, list):
            return [f"{path} is {answered!r}, and should be a list"]
        return differences(recorded[0], merged(answered), f"{path}[]") if recorded and answered else []
    types: dict[str, Any] = {"string": str, "boolean": bool, "number": (int, float)}
    right = isinstance(answered, types[recorded]) and (recorded == "boolean" or not isinstance(answered, bool))
    return [] if right else [f"{path} is {answered!r}, and should be a {recorded}"]


def merged(values: list[Any]) -> Any:
    """One value with everything that any of them has."""
    if not all(isinstance(each, dict) for each in values):
        return values[0]
    keys = dict.fromkeys(key for each in values for key in each)
    return {key: merged_lists([each[key] for each in values if key in each]) for key in keys}


def merged_lists(values: list[Any]) -> Any:
    if all(isinstance(each, list) for each in values):
        return [item for each in values for item in each]
    return merged(values)


@pytest.fixture
async def busy(
    agent: RunningAgent, registry: ScriptedRegistry, containers: PretendedContainers, tasks: type[Tasks]
) -> RunningAgent:
    """As the recorded agent: a framework whose task runs, and two that have nothing running any more."""
    single = [mesos.FrameworkInfo.Capability(type=mesos.FrameworkInfo.Capability.PARTITION_AWARE)]
    multi = [mesos.FrameworkInfo.Capability(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)]
    usual = {"failover_timeout": 0.0, "checkpoint": False}
    registry.add_framework("F1", role="*", capabilities=single, **usual)
    registry.add_framework("F2", roles=["*"], capabilities=multi, **usual)
    registry.add_framework("F3", role="*", capabilities=single, **usual)
    registry.run(tasks.command("long"))
    registry.run(tasks.command("short"), "F2")
    registry.run(tasks.command("brief"), "F3")
    for task_id in ("long", "short", "brief"):
        await registry.until_state(task_id, "TASK_RUNNING")
    for task_id in ("short", "brief"):
        containers.finish(containers.of_task(task_id))
        await registry.until_state(task_id, "TASK_FINISHED")
    return agent


@pytest.mark.parametrize(
    "recorded", RECORDED, ids=lambda each: f"{each['path']} {(each['body'] or {}).get('type', '')}"
)
async def test_answer_has_the_recorded_shape(
    busy: RunningAgent, http: aiohttp.ClientSession, recorded: dict[str, Any]
) -> None:
    path = recorded["path"]
    request = http.request(recorded["method"], busy.url + path, json=recorded["body"])
    async with request as response:
        if path in ELSEWHERE:
            assert response.status == 200
            return
        assert response.status == recorded["status"]
        if recorded["content_type"] is not None:
            assert response.headers["Content-Type"] == recorded["content_type"]
        if "answer" in recorded:
            assert differences(recorded["answer"], await response.json()) == []


async def test_command_task_is_told_as_mesos_tells_it(busy: RunningAgent, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{busy.url}/state") as response:
        state = await response.json()
    (framework,) = state["frameworks"]
    (executor,) = framework["executors"]
    assert (executor["id"], executor["source"]) == ("long", "long")
    assert executor["name"] == "Command Executor (Task: long) (Command: sh -c 'sleep 1000')"
    assert executor["directory"].endswith(f"/executors/long/runs/{executor['container']}")
    (task,) = executor["tasks"]
    assert (task["executor_id"], task["state"]) == ("", "TASK_RUNNING")
    assert [status["state"] for status in task["statuses"]] == ["TASK_STARTING", "TASK_RUNNING"]
    assert state["unreserved_resources_allocated"] == {"cpus": 1.0, "mem": 64.0, "disk": 0.0, "gpus": 0.0}
    assert state["attributes"] == {"rack": "r1", "level": 3.0}
    assert state["master_hostname"] == "master-host"
    (ended,) = [each for each in state["completed_frameworks"] if each["id"] == "F2"]
    assert ended["completed_executors"][0]["completed_tasks"][0]["state"] == "TASK_FINISHED"


async def test_version_is_one_and_the_same_wherever_the_agent_is_asked(
    busy: RunningAgent, registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    async def get(path: str, key: str, body: Any = None) -> Any:
        async with http.request("POST" if body else "GET", busy.url + path, json=body) as response:
            return (await response.json())[key]

    info = (await get("/api/v1", "get_version", {"type": "GET_VERSION"}))["version_info"]
    versions = [await get("/version", "version"), await get("/state", "version"), info["version"]]
    assert {*versions, registry.registrations()[-1].mesos_version} == {MESOS_VERSION}
    ours = [await get("/version", "mezzo_version"), await get("/state", "mezzo_version")]
    assert {*ours, registry.registrations()[-1].version, info["git_tag"].removeprefix("mezzo-")} == {__version__}
    async with http.get(f"http://127.0.0.1:{busy.config.metrics_port}/metrics") as response:
        assert f'mezzo_agent_build_info{{version="{__version__}"}} 1.0' in await response.text()


async def test_snapshot_has_the_metrics_that_dashboards_read(busy: RunningAgent, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{busy.url}/metrics/snapshot?timeout=5secs") as response:
        metrics = await response.json()
    recorded = next(each for each in RECORDED if each["path"] == "/metrics/snapshot")["answer"]
    assert recorded.keys() <= metrics.keys()
    assert metrics["slave/registered"] == 1.0
    assert metrics["slave/tasks_running"] == 1.0
    assert metrics["slave/tasks_finished"] == 2.0
    assert metrics["slave/cpus_used"] == 1.0
    assert metrics["slave/cpus_percent"] == 0.25


async def test_prometheus_finds_the_same_numbers(busy: RunningAgent, http: aiohttp.ClientSession) -> None:
    async with http.get(f"http://127.0.0.1:{busy.config.metrics_port}/metrics") as response:
        text = await response.text()
    assert 'mezzo_agent_tasks{state="running"} 1.0' in text
    assert 'mezzo_agent_tasks_ended_total{state="finished"} 2.0' in text
    assert "mezzo_agent_registered 1.0" in text
    assert 'mezzo_agent_container_launch_seconds_count{outcome="started"} 3.0' in text
    assert 'mezzo_agent_resource_capacity{resource="mem"} 1.073741824e+09' in text
