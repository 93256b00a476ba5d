"""The files of tasks, through the gateway, from an agent that has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mesos.v1.agent.agent_pb2 import Call, Response
from mesos.v1.mesos_pb2 import TASK_FINISHED, TASK_RUNNING
from mezzo.errors import Forbidden, NotFound
from mezzo.operator.v1.operator_pb2 import TASK_LIST_COMPLETED
from mezzo_chassis.http.exchange import message_response, read_message
from mezzo_chassis.http.files import FilesApi, FileTree
from mezzo_chassis.http.routes import Routes
from mezzo_chassis.http.site import start_site
from mezzo_chassis.testing import raw_http
from mezzo_chassis.testing.ports import free_port
from mezzo_gateway.testing.changes import (
    AGENT_ID,
    FRAMEWORK_ID,
    agent_changed,
    framework_changed,
    snapshot,
    status,
    task_added,
    task_updated,
)
from mezzo_gateway.testing.client import PATIENCE_SECONDS, GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry

SANDBOX = f"/var/lib/mezzo/slaves/{AGENT_ID}/frameworks/{FRAMEWORK_ID}/executors/t1/runs/c1"
LOGS = f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t1/files"
OWN = f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t1/sandbox"
BINARY = bytes(range(256))


class FakeAgent:
    """An agent with one sandbox, which runs task t1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = FileTree()
        self.files = FilesApi(self.tree)
        self.dies_while_sending = False
        self.status_while_dying = 200
        # What rotation has thrown away of the log: how many bytes.
        self.thrown_away = 0
        self.log_was_read = asyncio.Event()
        self.tree.show(SANDBOX, folder)
        self.tree.show(f"/frameworks/{FRAMEWORK_ID}/executors/t1/runs/container-of-t1", folder)

    def routes(self) -> Routes:
        routes, files = Routes(r"slave\(\d+\)"), self.files
        routes.add("/files/browse", files.browse)
        routes.add("/files/read", files.read)
        routes.add("/files/download", self.download)
        routes.add("/mezzo/v1/logs", self.logs)
        routes.add("/api/v1", self.operator)
        return routes

    async def download(self, request: web.Request) -> web.StreamResponse:
        if not self.dies_while_sending:
            return await self.files.download(request)
        response = web.StreamResponse(status=self.status_while_dying, headers={"Content-Length": "100"})
        await response.prepare(request)
        if self.status_while_dying == HTTPStatus.OK:
            await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async def logs(self, request: web.Request) -> web.Response:
        position = max(int(request.query["position"]), self.thrown_away)
        try:
            data, size = self.tree.read(
                request.query["path"], position - self.thrown_away, int(request.query["length"])
            )
        except NotFound:
            return web.Response(status=404)
        self.log_was_read.set()
        told = {"Mezzo-Log-Position": str(position), "Mezzo-Log-End": str(self.thrown_away + size)}
        return web.Response(body=data, headers=told)

    async def operator(self, request: web.Request) -> web.Response:
        call = await read_message(request, Call)
        if call.type == Call.LIST_FILES:
            response = Response(type=Response.LIST_FILES)
            entries = self.tree.browse(call.list_files.path)
            response.list_files.file_infos.extend(entry.message() for entry in entries)
        else:
            response = Response(type=Response.READ_FILE)
            asked = call.read_file
            length = asked.length if asked.HasField("length") else None
            response.read_file.data, response.read_file.size = self.tree.read(asked.path, asked.offset, length)
        return message_response(request, response)


@pytest.fixture
async def agent(tmp_path: Path, registry: ScriptedRegistry) -> AsyncIterator[FakeAgent]:
    agent = FakeAgent(tmp_path)
    (tmp_path / "stdout").write_bytes(BINARY)
    (tmp_path / "stderr").write_bytes(b"")
    site = await start_site(agent.routes().application(), "127.0.0.1", 0)
    registry.snapshot = snapshot(
        agent_changed(address=f"127.0.0.1:{site.port}"),
        agent_changed("S-gone", address=f"127.0.0.1:{free_port()}"),
        framework_changed(),
        task_added(),
    )
    yield agent
    await site.stop()


@pytest.fixture
def sandbox(agent: FakeAgent, gateway: GatewayClient) -> GatewayClient:
    """A gateway that knows the agent."""
    return gateway


# --------------------------------------------------------------------------------------------------------- browsing


async def test_a_sandbox_is_browsed_through_the_gateway(sandbox: GatewayClient) -> None:
    answer = await sandbox.get("/files/browse", params={"path": SANDBOX})
    assert (answer.status, answer.content_type) == (200, "application/json; charset=utf-8".partition(";")[0])
    assert [(entry["path"], entry["size"]) for entry in answer.json()] == [
        (f"{SANDBOX}/stderr", 0),
        (f"{SANDBOX}/stdout", 256),
    ]
    assert set(answer.json()[0]) == {"gid", "mode", "mtime", "nlink", "path", "size", "uid"}


async def test_a_file_is_read_in_parts_and_its_size_is_told(sandbox: GatewayClient) -> None:
    part = await sandbox.get("/files/read", params={"path": f"{SANDBOX}/stdout", "offset": "65", "length": "3"})
    assert part.json() == {"data": "ABC", "offset": 65}
    size = await sandbox.get("/files/read", params={"path": f"{SANDBOX}/stdout", "offset": "-1"})
    assert size.json() == {"data": "", "offset": 256}


async def test_a_file_is_downloaded_byte_by_byte(sandbox: GatewayClient) -> None:
    answer = await sandbox.get("/files/download", params={"path": f"{SANDBOX}/stdout"})
    assert (answer.status, answer.body) == (200, BINARY)
    assert "stdout" in answer.headers["Content-Disposition"]


@pytest.mark.parametrize("endpoint", ["browse", "read", "download"])
@pytest.mark.parametrize(
    "path", [f"{SANDBOX}/none", "/slaves/S-none/x", "/etc/passwd", f"{SANDBOX}/../../../../../../../../etc/passwd"]
)
async def test_what_is_not_there_is_404_without_a_word(endpoint: str, path: str, sandbox: GatewayClient) -> None:
    answer = await sandbox.get(f"/files/{endpoint}", params={"path": path})
    assert (answer.status, answer.content_type, answer.body) == (404, "text/plain; charset=utf-8", b"")


async def test_a_wrong_offset_is_a_bad_request(sandbox: GatewayClient) -> None:
    answer = await sandbox.get("/files/read", params={"path": f"{SANDBOX}/stdout", "offset": "x"})
    assert answer.status == 400
    assert "offset" in answer.text


async def test_an_agent_that_cannot_be_reached_is_named(sandbox: GatewayClient) -> None:
    answer = await sandbox.get("/files/browse", params={"path": "/slaves/S-gone/x"})
    assert answer.status == 503
    assert "127.0.0.1:" in answer.text


async def test_an_answer_that_the_agent_does_not_finish_is_seen_to_be_cut_off(
    sandbox: GatewayClient, agent: FakeAgent
) -> None:
    agent.dies_while_sending = True
    with pytest.raises(aiohttp.ClientError):
        await sandbox.get("/files/download", params={"path": f"{SANDBOX}/stdout"})
    assert (await sandbox.get("/health")).status == 200


async def test_files_are_listed_and_read_by_calls_of_the_operator_api(sandbox: GatewayClient) -> None:
    listed = (await sandbox.operator({"type": "LIST_FILES", "list_files": {"path": SANDBOX}})).json()
    assert [info["path"] for info in listed["list_files"]["file_infos"]] == [f"{SANDBOX}/stderr", f"{SANDBOX}/stdout"]
    call = {"type": "READ_FILE", "read_file": {"path": f"{SANDBOX}/stdout", "offset": 65, "length": 3}}
    read = (await sandbox.operator(call)).json()
    assert read == {"type": "READ_FILE", "read_file": {"size": 256, "data": "QUJD"}}


@pytest.mark.parametrize("call", ["LIST_FILES", "READ_FILE"])
async def test_calls_about_files_that_are_not_there_are_404(call: str, sandbox: GatewayClient) -> None:
    body: dict[str, Any] = {"path": f"{SANDBOX}/none"} | ({"offset": 0} if call == "READ_FILE" else {})
    answer = await sandbox.operator({"type": call, call.lower(): body})
    assert (answer.status, answer.body) == (404, b"")


# ------------------------------------------------------------------------------------------------------------- logs


async def test_the_output_of_a_task_is_read_wherever_it_runs(sandbox: GatewayClient) -> None:
    answer = await sandbox.get(f"{LOGS}/stdout")
    assert (answer.status, answer.body, answer.headers["Mezzo-File-Size"]) == (200, BINARY, "256")
    assert (await sandbox.get(f"{LOGS}/stderr")).body == b""


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("offset=250", BINARY[250:]),
        ("offset=-6", BINARY[250:]),
        ("offset=-1000", BINARY),
        ("offset=10&length=5", BINARY[10:15]),
        ("offset=1000", b""),
        ("length=0", b""),
    ],
)
async def test_a_part_of_the_output_is_asked_for_by_offset_and_length(
    query: str, expected: bytes, sandbox: GatewayClient
) -> None:
    assert (await sandbox.get(f"{LOGS}/stdout?{query}")).body == expected


async def test_the_output_of_a_pods_task_is_read_from_its_own_sandbox(
    sandbox: GatewayClient, agent: FakeAgent, registry: ScriptedRegistry
) -> None:
    inside = status(TASK_RUNNING)
    inside.container_status.container_id.parent.value = "pod"
    registry.publish(task_updated(inside))
    await sandbox.applied()
    runs = f"/frameworks/{FRAMEWORK_ID}/executors/t1/runs"
    agent.tree.hide(f"{runs}/container-of-t1")
    agent.tree.show(f"{runs}/pod/containers/container-of-t1", agent.folder)
    assert (await sandbox.get(f"{LOGS}/stdout")).body == BINARY


async def test_the_output_of_a_task_that_has_ended_is_still_there(
    sandbox: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.publish(task_updated(status(TASK_FINISHED), task_list=TASK_LIST_COMPLETED))
    await sandbox.applied()
    assert (await sandbox.get(f"{LOGS}/stdout")).body == BINARY


async def test_output_is_followed_until_the_task_has_ended(
    sandbox: GatewayClient, agent: FakeAgent, registry: ScriptedRegistry
) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with sandbox.session.get(f"{sandbox.url}{LOGS}/stdout?follow=true&offset=256") as response:
            with (agent.folder / "stdout").open("ab", buffering=0) as output:
                output.write(b"more")
                assert await response.content.readexactly(4) == b"more"
                output.write(b"the end")
                registry.publish(task_updated(status(TASK_FINISHED)))
                assert await response.content.read() == b"the end"


async def test_output_is_followed_while_a_new_leader_does_not_know_the_task_yet(
    sandbox: GatewayClient, agent: FakeAgent, registry: ScriptedRegistry
) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with sandbox.session.get(f"{sandbox.url}{LOGS}/stdout?follow=true") as response:
            assert await response.content.readexactly(256) == BINARY
            registry.publish(*snapshot(agent_changed(recovered=True)))
            await sandbox.applied()
            agent.log_was_read.clear()
            await agent.log_was_read.wait()
            with (agent.folder / "stdout").open("ab", buffering=0) as output:
                output.write(b"on")
                assert await response.content.readexactly(2) == b"on"
                output.write(b" and on")
            registry.publish(agent_changed(), framework_changed(), task_added(), task_updated(status(TASK_FINISHED)))
            assert await response.content.read() == b" and on"


@pytest.mark.parametrize("path", [f"{LOGS}/stdout", f"/files/download?path={SANDBOX}/stdout"])
async def test_clients_of_http_1_0_get_the_whole_of_a_file(sandbox: GatewayClient, path: str) -> None:
    answer = await raw_http.exchange(sandbox.port, f"GET {path} HTTP/1.0\r\n\r\n".encode())
    assert raw_http.status_of(answer) == 200
    assert answer.endswith(b"\r\n\r\n" + BINARY)


async def test_output_is_followed_across_what_rotation_throws_away(
    sandbox: GatewayClient, agent: FakeAgent, registry: ScriptedRegistry
) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with sandbox.session.get(f"{sandbox.url}{LOGS}/stdout?follow=true") as response:
            assert await response.content.readexactly(256) == BINARY
            (agent.folder / "stdout").write_bytes(b"later")
            agent.thrown_away = 300
            assert await response.content.readexactly(5) == b"later"
            # An agent that has forgotten how much that was: what comes now is what is left to follow.
            agent.thrown_away = 0
            agent.log_was_read.clear()
            await agent.log_was_read.wait()
            with (agent.folder / "stdout").open("ab", buffering=0) as output:
                output.write(b"!")
            registry.publish(task_updated(status(TASK_FINISHED)))
            assert await response.content.read() == b"!"


async def test_a_part_of_the_output_is_that_part_and_not_what_is_kept_instead_of_it(
    sandbox: GatewayClient, agent: FakeAgent
) -> None:
    agent.thrown_away = 1000
    for offset, part in ((0, b""), (990, b""), (995, BINARY[:5]), (1000, BINARY[:10]), (1250, BINARY[250:])):
        assert (await sandbox.get(f"{LOGS}/stdout?offset={offset}&length=10")).body == part


@pytest.mark.parametrize(
    ("path", "http_status", "field"),
    [
        ("/mezzo/v1/tasks/nope/t1/files/stdout", 404, ""),
        (f"/mezzo/v1/tasks/{FRAMEWORK_ID}/nope/files/stdout", 404, ""),
        (f"{LOGS}/secrets", 404, ""),
        (f"{LOGS}/stdout?offset=x", 400, "offset"),
        (f"{LOGS}/stdout?length=-1", 400, "length"),
        (f"{LOGS}/stdout?follow=perhaps", 400, "follow"),
    ],
)
async def test_errors_are_told_in_json(path: str, http_status: int, field: str, sandbox: GatewayClient) -> None:
    answer = await sandbox.get(path)
    assert answer.status == http_status
    assert answer.json()["error"]["field"] == field
    assert answer.json()["error"]["message"]


async def test_a_task_is_killed_whatever_is_in_its_id(sandbox: GatewayClient, registry: ScriptedRegistry) -> None:
    answer = await sandbox.request("POST", "/mezzo/v1/tasks/F%3A1/a%20task%2F%3F/kill")
    assert answer.status == 202
    (killed,) = registry.killed
    assert (killed.framework_id.value, killed.task_id.value) == ("F:1", "a task/?")


@pytest.mark.parametrize(
    ("query", "nanoseconds"), [("", None), ("?grace_period=1500ms", 1_500_000_000), ("?grace_period=0secs", 0)]
)
async def test_the_grace_period_of_a_kill_is_the_tasks_unless_another_is_asked_for(
    query: str, nanoseconds: int | None, sandbox: GatewayClient, registry: ScriptedRegistry
) -> None:
    assert (await sandbox.request("POST", f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t1/kill{query}")).status == 202
    (killed,) = registry.killed
    assert killed.HasField("kill_policy") == (nanoseconds is not None)
    assert killed.kill_policy.grace_period.nanoseconds == (nanoseconds or 0)


@pytest.mark.parametrize("text", ["soon", "-1secs", "nan", "1e3secs", "99999999weeks", "9" * 400])
async def test_a_grace_period_that_is_none_is_refused(
    text: str, sandbox: GatewayClient, registry: ScriptedRegistry
) -> None:
    answer = await sandbox.request("POST", f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t1/kill?grace_period={text}")
    assert (answer.status, answer.json()["error"]["field"]) == (400, "grace_period")
    assert registry.killed == []


# ------------------------------------------------------------------------------------------------ the task's sandbox


async def test_the_sandbox_of_a_task_is_browsed_by_paths_that_begin_in_it(
    sandbox: GatewayClient, agent: FakeAgent
) -> None:
    (agent.folder / "data").mkdir()
    (agent.folder / "data" / "x y&z").write_text("12345")
    (agent.folder / "link").symlink_to("data")
    entries = {entry["path"]: entry["mode"][0] for entry in (await sandbox.get(OWN)).json()}
    assert entries == {"data": "d", "link": "l", "stderr": "-", "stdout": "-"}
    for path in ("data", "/data/"):
        (file,) = (await sandbox.get(OWN, params={"path": path})).json()
        assert (file["path"], file["size"]) == ("data/x y&z", 5)
    (same,) = (await sandbox.get(OWN, params={"path": "data/x y&z"})).json()
    assert same == file
    downloaded = await sandbox.get(f"{OWN}/download", params={"path": "data/x y&z"})
    assert downloaded.body == b"12345"


@pytest.mark.parametrize(
    ("path", "http_status", "said"),
    [
        (f"{OWN}?path=nope", 404, "file nope not found in the sandbox"),
        (f"{OWN}?path=..", 404, "file .. not found in the sandbox"),
        (f"{OWN}/download?path=nope", 404, "file nope not found in the sandbox"),
        (f"{OWN}/download?path=../stdout", 404, "file ../stdout not found in the sandbox"),
        (f"{OWN}/download", 400, "is required"),
        (f"{OWN}/download?path=/", 400, "is required"),
        (f"{OWN}/download?path=.", 400, ". is a directory"),
        (f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t9/sandbox", 404, "has no task t9"),
    ],
)
async def test_what_is_not_in_a_sandbox_is_told_in_json(
    path: str, http_status: int, said: str, sandbox: GatewayClient
) -> None:
    answer = await sandbox.get(path)
    assert answer.status == http_status
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", [f"{OWN}?path=stdout", f"{OWN}/download?path=stdout", f"/files/download?path={SANDBOX}/stdout"]
)
async def test_what_the_agent_may_not_read_is_forbidden_and_the_agent_not_called_unavailable(
    path: str, sandbox: GatewayClient, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(virtual: str) -> Path:
        raise Forbidden(f"{virtual} may not be read")

    monkeypatch.setattr(agent.tree, "resolve", resolve)
    answer = await sandbox.get(path)
    assert (answer.status, b"may not" in answer.body) == (403, True)


@pytest.mark.parametrize("path", [f"{OWN}/download?path=stdout", f"/files/download?path={SANDBOX}/stdout"])
async def test_an_agent_that_dies_while_it_refuses_a_file_is_unavailable(
    path: str, sandbox: GatewayClient, agent: FakeAgent
) -> None:
    agent.dies_while_sending, agent.status_while_dying = True, 404
    answer = await sandbox.get(path)
    assert answer.status == 503


async def test_an_agent_that_dies_while_it_sends_a_file_of_a_sandbox_cuts_the_answer_off(
    sandbox: GatewayClient, agent: FakeAgent
) -> None:
    agent.dies_while_sending = True
    with pytest.raises(aiohttp.ClientError):
        await sandbox.get(f"{OWN}/download?path=stdout")


@pytest.mark.parametrize("path", [OWN, f"{OWN}/download?path=stdout", f"{LOGS}/stdout"])
async def test_that_the_agent_of_a_task_is_away_is_told_with_its_id(
    path: str, sandbox: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.publish(*snapshot(agent_changed(recovered=True), framework_changed(), task_added()))
    await sandbox.applied()
    answer = await sandbox.get(path)
    assert answer.status == 404
    assert answer.json()["error"]["message"] == (
        f"agent {AGENT_ID}, which has the sandbox of the task, is not connected"
    )
