"""Agents that answer what no agent should: nothing of it reaches a browser, or leads the gateway elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from mezzo_chassis.http import download
from mezzo_chassis.http.site import start_site
from mezzo_chassis.testing import raw_http
from mezzo_gateway.adapters import agents
from mezzo_gateway.testing.changes import AGENT_ID, FRAMEWORK_ID, agent_changed, framework_changed, snapshot, task_added
from mezzo_gateway.testing.client import PATIENCE_SECONDS, GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry

SANDBOX = f"/slaves/{AGENT_ID}/frameworks/{FRAMEWORK_ID}/executors/t1/runs/c1"
PAGE = b"<script>alert(1)</script>"
LOG = f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t1/files/stdout"


class RogueAgent:
    """Answers everything with what a test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200
        self.body = PAGE
        self.headers: dict[str, str] = {}
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@pytest.fixture
async def agent() -> AsyncIterator[RogueAgent]:
    rogue = RogueAgent()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", rogue.answer)
    site = await start_site(application, "127.0.0.1", 0)
    rogue.port = site.port
    yield rogue
    await site.stop()


@pytest.fixture
def registry(registry: ScriptedRegistry, agent: RogueAgent) -> ScriptedRegistry:
    hostile = f"slave(1)@127.0.0.1:{agent.port}/admin/shutdown?x="
    registry.snapshot = snapshot(
        agent_changed(address=f"127.0.0.1:{agent.port}"),
        agent_changed("S-path", pid=hostile),
        agent_changed("S-user", pid=f"slave(1)@user@127.0.0.1:{agent.port}"),
        agent_changed("S-fragment", pid=f"slave(1)@127.0.0.1:{agent.port}#"),
        framework_changed(),
        task_added(),
    )
    return registry


@pytest.mark.parametrize("endpoint", ["browse", "read", "download"])
@pytest.mark.parametrize("agent_id", ["S-path", "S-user", "S-fragment"])
async def test_an_address_with_more_than_a_host_and_a_port_is_not_asked(
    gateway: GatewayClient, agent: RogueAgent, endpoint: str, agent_id: str
) -> None:
    answer = await gateway.get(f"/files/{endpoint}", params={"path": f"/slaves/{agent_id}/x"})
    assert answer.status == 503
    assert "is not the address of an agent" in answer.text
    assert agent.asked == []


@pytest.mark.parametrize("status", [200, 206, 400, 404, 416, 500, 204])
@pytest.mark.parametrize("endpoint", ["browse", "read", "download"])
async def test_no_page_of_an_agent_becomes_one_of_the_gateway(
    gateway: GatewayClient, agent: RogueAgent, endpoint: str, status: int
) -> None:
    agent.status = status
    agent.headers = {
        "Content-Type": "text/html",
        "Content-Disposition": "inline",
        "Set-Cookie": "a=b",
        "Content-Range": "<b>",
        "Access-Control-Allow-Origin": "*",
        "X-Content-Type-Options": "sniff",
    }
    answer = await gateway.get(f"/files/{endpoint}", params={"path": f"{SANDBOX}/stdout"})
    content_type = (answer.content_type or "").partition(";")[0]
    assert content_type in ("application/json", "text/plain", "application/octet-stream")
    assert answer.headers.getall("X-Content-Type-Options") == ["nosniff"]
    assert not {"Set-Cookie", "Content-Range", "Access-Control-Allow-Origin"} & set(answer.headers)
    if endpoint == "download" and status in (200, 206):
        assert answer.headers["Content-Disposition"].startswith("attachment;")


async def test_a_page_that_a_task_wrote_is_saved_and_not_shown(gateway: GatewayClient) -> None:
    answer = await gateway.get("/files/download", params={"path": f"{SANDBOX}/index.html"})
    assert (answer.status, answer.body) == (200, PAGE)
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=index.html;")


async def test_what_is_no_json_becomes_no_script(gateway: GatewayClient, agent: RogueAgent) -> None:
    query = {"path": SANDBOX, "jsonp": "show"}
    assert (await gateway.get("/files/browse", params=query)).status == 503
    agent.body = b'[{"path":"x"}]'
    answer = await gateway.get("/files/browse", params=query)
    assert (answer.content_type, answer.text) == ("text/javascript", 'show([{"path":"x"}]);')


@pytest.mark.parametrize("path", ["/files/browse", "/files/read", "/files/download", LOG])
async def test_an_agent_does_not_send_the_gateway_elsewhere(
    gateway: GatewayClient, agent: RogueAgent, path: str
) -> None:
    agent.status, agent.headers = 302, {"Location": "/internal"}
    assert (await gateway.get(path, params={"path": SANDBOX})).status == 503
    assert len(agent.asked) == 1


@pytest.mark.parametrize("number", ["", "x", "-1", "²", "9" * 5000])
async def test_numbers_of_an_agent_are_numbers(gateway: GatewayClient, agent: RogueAgent, number: str) -> None:
    agent.headers = {"Mezzo-Log-Position": number, "Mezzo-Log-End": number}
    assert (await gateway.get(LOG)).status == 503


@pytest.mark.parametrize("call", ["LIST_FILES", "READ_FILE"])
async def test_an_answer_that_is_no_protobuf_is_the_agents_fault(
    gateway: GatewayClient, agent: RogueAgent, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent.body = b"\xff"
    answer = await gateway.operator({"type": call, call.lower(): {"path": SANDBOX, "offset": 0}})
    assert answer.status == 503
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_an_answer_that_is_read_as_a_whole_has_a_limit(
    gateway: GatewayClient, agent: RogueAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "ANSWER_BYTES_MAX", 1000)
    agent.body = bytes(1_000_000)
    for path in ("/files/browse", "/files/read", LOG):
        agent.headers = {"Mezzo-Log-Position": "0", "Mezzo-Log-End": "1"}
        answer = await gateway.get(path, params={"path": SANDBOX})
        assert answer.status == 503
        assert "answered with more than" in answer.text
    agent.status = 400
    assert len((await gateway.get("/files/download", params={"path": SANDBOX})).body) <= 4000


async def test_a_download_that_its_client_does_not_read_gives_the_agent_back(
    gateway: GatewayClient, agent: RogueAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS_MAX", 0.2)
    agent.body = bytes(30_000_000)
    stalled = []
    for _ in range(agents.CONNECTIONS_PER_AGENT_MAX):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
        writer.write(f"GET /files/download?path={SANDBOX}/x HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        stalled.append(writer)
    agent_is_asked = asyncio.create_task(gateway.get("/files/download", params={"path": f"{SANDBOX}/small"}))
    answer = await asyncio.wait_for(agent_is_asked, PATIENCE_SECONDS)
    assert len(answer.body) == len(agent.body)
    for writer in stalled:
        await raw_http.close(writer)
