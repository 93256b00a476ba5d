"""The operator API and the files of sandboxes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from mesos.v1.agent import agent_pb2 as api
from mezzo_chassis.testing import attributes_missing
from services.agent.tests.conftest import Tasks
from services.agent.tests.shell.conftest import PretendedContainers, RunningAgent, ScriptedRegistry

Call = Callable[..., Coroutine[Any, Any, tuple[int, Any]]]
PROTOBUF = "application/x-protobuf"


@pytest.fixture
async def busy(agent: RunningAgent, registry: ScriptedRegistry, tasks: type[Tasks]) -> RunningAgent:
    registry.add_framework()
    registry.run(tasks.command())
    await registry.until_state("t1", "TASK_RUNNING")
    return agent


@pytest.fixture
def call(busy: RunningAgent, http: aiohttp.ClientSession) -> Call:
    """Makes a call in JSON; returns the status and the answer."""

    async def make(type_: str, **member: Any) -> tuple[int, Any]:
        body = {"type": type_, **{type_.lower(): value for value in member.values()}}
        async with http.post(f"{busy.url}/api/v1", json=body) as answer:
            known = answer.headers.get("Content-Type") == "application/json"
            return answer.status, (await answer.json())[type_.lower()] if known else await answer.text()

    return make


async def test_protobuf_is_answered_in_protobuf(busy: RunningAgent, http: aiohttp.ClientSession) -> None:
    headers = {"Content-Type": PROTOBUF, "Accept": PROTOBUF}
    body = api.Call(type=api.Call.GET_TASKS).SerializeToString()
    async with http.post(f"{busy.url}/api/v1/", data=body, headers=headers) as answer:
        assert answer.headers["Content-Type"] == PROTOBUF
        tasks = api.Response.FromString(await answer.read()).get_tasks
    assert [task.task_id.value for task in tasks.launched_tasks] == ["t1"]


async def test_sandbox_is_found_by_both_of_its_names(call: Call, containers: PretendedContainers) -> None:
    sandbox = containers.configs[containers.of_task("t1")].sandbox
    (sandbox.parent / "latest").symlink_to(sandbox.name)
    for folder in (str(sandbox), f"file://{sandbox}", "/frameworks/F1/executors/t1/runs/latest"):
        status, listed = await call("LIST_FILES", of={"path": folder})
        assert status == 200
        assert [each["path"].rpartition("/")[2] for each in listed["file_infos"]] == ["stdout"]
        status, read = await call("READ_FILE", of={"path": f"{folder}/stdout", "offset": 6, "length": 4})
        assert (status, read) == (200, {"size": 14, "data": "ZnJvbQ=="})


@pytest.mark.parametrize("path", ["/etc/passwd", "/", "/frameworks/../../../etc", "/frameworks/F9", ""])
async def test_nothing_but_sandboxes_is_shown(call: Call, path: str) -> None:
    assert await call("LIST_FILES", of={"path": path}) == (404, "")


async def test_link_out_of_the_sandboxes_leads_nowhere(call: Call, containers: PretendedContainers) -> None:
    sandbox = containers.configs[containers.of_task("t1")].sandbox
    (sandbox / "escape").symlink_to("/etc/passwd")
    assert await call("READ_FILE", of={"path": f"{sandbox}/escape", "offset": 0}) == (404, "")


async def test_a_log_is_read_by_its_position_in_all_that_was_written(
    busy: RunningAgent, http: aiohttp.ClientSession, containers: PretendedContainers
) -> None:
    sandbox = containers.configs[containers.of_task("t1")].sandbox
    if missing := attributes_missing(sandbox):
        pytest.skip(missing)
    (sandbox / "stdout.1").write_bytes(b"older, ")
    os.setxattr(sandbox / "stdout", "user.mezzo.cut", b"100")
    for position, begins, data in ((0, 93, b"older, "), (95, 95, b"der, "), (106, 106, b"from t1\n"), (200, 200, b"")):
        query: dict[str, Any] = {"path": f"{sandbox}/stdout", "position": position}
        async with http.get(f"{busy.url}/mezzo/v1/logs", params=query) as answer:
            assert await answer.read() == data
            assert (answer.headers["Mezzo-Log-Position"], answer.headers["Mezzo-Log-End"]) == (str(begins), "114")
    queries: list[tuple[dict[str, Any], int]] = [
        ({}, 400),
        ({"path": f"{sandbox}/stdout", "position": -1}, 400),
        ({"path": f"{sandbox}/stdout", "length": "x"}, 400),
        ({"path": f"{sandbox}/nothing"}, 404),
        ({"path": "/etc/passwd"}, 404),
    ]
    for query, status in queries:
        async with http.get(f"{busy.url}/mezzo/v1/logs", params=query) as answer:
            assert answer.status == status


async def test_older_file_endpoints_show_the_same(
    busy: RunningAgent, http: aiohttp.ClientSession, containers: PretendedContainers
) -> None:
    sandbox = containers.configs[containers.of_task("t1")].sandbox
    async with http.get(f"{busy.url}/files/browse", params={"path": str(sandbox)}) as answer:
        assert [each["path"] for each in await answer.json()] == [f"{sandbox}/stdout"]
    async with http.get(f"{busy.url}/files/read", params={"path": f"{sandbox}/stdout", "offset": 0}) as answer:
        assert await answer.json() == {"data": "hello from t1\n", "offset": 0}
    async with http.get(f"{busy.url}/files/download", params={"path": f"{sandbox}/stdout"}) as answer:
        assert await answer.read() == b"hello from t1\n"
    async with http.get(f"{busy.url}/files/browse") as answer:
        assert answer.status == 400


async def test_logging_level_is_raised_for_a_while(call: Call) -> None:
    usual = logging.getLogger().level
    assert await call("SET_LOGGING_LEVEL", of={"level": 2, "duration": {"nanoseconds": 50_000_000}}) == (200, "")
    assert logging.getLogger().level == logging.DEBUG
    assert await call("GET_LOGGING_LEVEL") == (200, {"level": 2})
    async with asyncio.timeout(20):
        while (await call("GET_LOGGING_LEVEL"))[1]["level"]:  # noqa: ASYNC110  a server gives no other sign
            await asyncio.sleep(0.01)
    assert logging.getLogger().level == logging.INFO
    logging.getLogger().setLevel(usual)


async def test_the_older_endpoint_raises_the_logging_level_too(
    agent: RunningAgent, http: aiohttp.ClientSession
) -> None:
    usual = logging.getLogger().level

    async def toggle(query: str) -> tuple[int, str]:
        async with http.get(f"{agent.url}/logging/toggle{query}") as answer:
            return answer.status, (await answer.text()).strip()

    assert await toggle("") == (200, "0")
    assert await toggle("?level=9&duration=1hrs") == (200, "")
    assert await toggle("") == (200, "3")
    assert await toggle("?level=0&duration=0secs") == (200, "")
    assert await toggle("") == (200, "0")
    assert await toggle("?level=1") == (400, "Expecting 'duration=value' in query.")
    logging.getLogger().setLevel(usual)


async def test_containers_of_a_pod_are_told_when_asked_for(
    call: Call,
    busy: RunningAgent,
    http: aiohttp.ClientSession,
    containers: PretendedContainers,
    registry: ScriptedRegistry,
    tasks: type[Tasks],
) -> None:
    from mesos.v1 import mesos_pb2 as mesos
    from mezzo.agent.v1 import agent_session_pb2 as session

    executor = mesos.ExecutorInfo(type=mesos.ExecutorInfo.DEFAULT, executor_id=mesos.ExecutorID(value="P1"))
    group = mesos.TaskGroupInfo(tasks=[tasks.command("a"), tasks.command("b")])
    run = session.RunTaskGroup(framework_id=mesos.FrameworkID(value="F1"), executor=executor, task_group=group)
    registry.send(run_task_group=run)
    await registry.until_state("b", "TASK_RUNNING")
    _, plain = await call("GET_CONTAINERS")
    _, nested = await call("GET_CONTAINERS", of={"show_nested": True})
    assert [each["executor_id"]["value"] for each in plain["containers"]] == ["t1", "P1"]
    assert len(nested["containers"]) == 4
    parents = {each["container_id"].get("parent", {}).get("value") for each in nested["containers"]}
    assert len(parents) == 2
    # The older endpoints show no nested ones: monitoring takes an executor that is told twice for an error.
    pod = plain["containers"][1]["container_id"]["value"]
    for path, executors in (
        ("/containers", ["t1", "P1"]),
        (f"/containers?container_id={pod}", ["P1"]),
        ("/containers?container_id=none", []),
        ("/monitor/statistics", ["t1", "P1"]),
    ):
        async with http.get(busy.url + path) as answer:
            documents = await answer.json()
        assert [each["executor_id"] for each in documents] == executors, path
    one = await containers.usage(containers.of_task("a"))
    assert documents[1]["statistics"]["cpus_user_time_secs"] == 2 * one.cpus_user_time_secs
    assert documents[1]["statistics"]["mem_rss_bytes"] == 2 * one.mem_rss_bytes


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({}, 400, "type"),
        ({"type": "FROBNICATE"}, 400, "type"),
        ({"type": "GET_METRICS"}, 400, "get_metrics"),
        ({"type": "LIST_FILES"}, 400, "list_files"),
        ({"type": "READ_FILE", "read_file": {"path": "/x"}}, 400, "read_file.offset"),
        ({"type": "SET_LOGGING_LEVEL", "set_logging_level": {"level": 1}}, 400, "set_logging_level.duration"),
        ({"type": "LAUNCH_CONTAINER"}, 501, "LAUNCH_CONTAINER"),
        ({"type": "GET_HEALTH", "frob": 1}, 200, "healthy"),
    ],
)
async def test_calls_that_make_no_sense_are_refused_by_name(
    agent: RunningAgent, http: aiohttp.ClientSession, body: Any, status: int, named: str
) -> None:
    async with http.post(f"{agent.url}/api/v1", json=body) as answer:
        text = await answer.text()
        assert (answer.status, named in text) == (status, True), text


@pytest.mark.parametrize("type_", ["LAUNCH_NESTED_CONTAINER_SESSION", "ATTACH_CONTAINER_OUTPUT"])
async def test_a_call_that_asks_for_records_gets_its_own_answer(
    agent: RunningAgent, http: aiohttp.ClientSession, type_: str
) -> None:
    headers = {"Accept": "application/recordio", "Message-Accept": "application/json"}
    container = {"container_id": {"value": "c"}}
    body = {"type": type_, type_.lower(): container | ({"command": {"value": "sh"}} if "LAUNCH" in type_ else {})}
    async with http.post(f"{agent.url}/api/v1", json=body, headers=headers) as answer:
        assert (answer.status, type_ in await answer.text()) == (501, True)
    async with http.post(f"{agent.url}/api/v1", json={"type": "GET_HEALTH"}, headers=headers) as answer:
        assert answer.status == 406


@pytest.mark.parametrize(
    ("message_type", "body", "status", "named"),
    [
        ("application/json", b'{"type":"ATTACH_CONTAINER_INPUT"}', 501, "ATTACH_CONTAINER_INPUT"),
        (PROTOBUF, api.Call(type=api.Call.ATTACH_CONTAINER_INPUT).SerializeToString(), 501, "ATTACH_CONTAINER_INPUT"),
        ("application/json", b'{"type":"GET_HEALTH"}', 415, "GET_HEALTH"),
        ("application/json", b'{"type":"FROBNICATE"}', 400, "type"),
        (None, b"{}", 400, "Message-Content-Type"),
        ("text/plain", b"{}", 415, "Message-Content-Type"),
    ],
)
async def test_a_call_that_is_a_stream_of_records_is_answered_at_its_first(
    agent: RunningAgent, http: aiohttp.ClientSession, message_type: str, body: Any, status: int, named: str
) -> None:
    headers = {"Content-Type": "application/recordio"} | (
        {"Message-Content-Type": message_type} if message_type else {}
    )
    answered = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield b"%d\n" % len(body)
        yield body
        await answered.wait()  # as somebody who has yet to type something

    async with http.post(f"{agent.url}/api/v1", data=stream(), headers=headers) as answer:
        answered.set()
        assert (answer.status, named in await answer.text()) == (status, True)


@pytest.mark.parametrize("body", [b"", b"x", b"5\n{}", b"99999999\n{"])
async def test_a_first_record_that_is_none_is_refused(
    agent: RunningAgent, http: aiohttp.ClientSession, body: Any
) -> None:
    headers = {"Content-Type": "application/recordio", "Message-Content-Type": "application/json"}
    async with http.post(f"{agent.url}/api/v1", data=body, headers=headers) as answer:
        assert (answer.status, "record" in await answer.text()) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1", 405),
        ("DELETE", "/state", 405),
        ("POST", "/state", 200),
        ("GET", "/nonexistent", 404),
        ("GET", "/metrics/snapshot?timeout=abc", 400),
        ("GET", "/health/", 200),
        ("GET", "/slave(1)/version.json", 200),
    ],
)
async def test_paths_and_methods(
    agent: RunningAgent, http: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with http.request(method, agent.url + path) as answer:
        assert answer.status == status


async def test_pages_of_other_origins_change_nothing(agent: RunningAgent, http: aiohttp.ClientSession) -> None:
    toggle = f"{agent.url}/logging/toggle?level=3&duration=10mins"
    for method, url in (("POST", f"{agent.url}/api/v1"), ("POST", f"{agent.url}/slave(1)/state"), ("GET", toggle)):
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
            async with http.request(method, url, json={"type": "GET_HEALTH"}, headers=headers) as response:
                assert response.status == 403
    async with http.get(f"{agent.url}/state", headers={"Host": "evil.example"}) as response:
        assert response.status == 421
    async with http.get(f"{agent.url}/state", headers={"Host": "localhost:5051"}) as response:
        assert response.status == 200
