"""Streams to clients and proxies of HTTP/1.0, which nginx speaks to its upstreams unless it is told otherwise."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mezzo_chassis.testing import raw_http
from mezzo_gateway.testing.client import PATIENCE_SECONDS, GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry

SUBSCRIBE = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root", "name": "f"}}}


def post(path: str, call: Any) -> bytes:
    body = json.dumps(call).encode()
    head = f"POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_a_framework_subscribes_and_its_stream_ends_with_the_connection(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    answering = asyncio.create_task(raw_http.exchange(gateway.port, post("/api/v1/scheduler", SUBSCRIBE)))
    stream = await asyncio.wait_for(registry.streams.get(), PATIENCE_SECONDS)
    stream.end()
    answer = await answering
    assert raw_http.status_of(answer) == 200
    assert answer.endswith(b'20\n{"type":"HEARTBEAT"}')
    assert b"chunked" not in answer


async def test_an_operator_subscribes(gateway: GatewayClient) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(post("/api/v1", {"type": "SUBSCRIBE"}))
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert b" 200 " in await reader.readline()
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" not in head
        length = int(await reader.readline())
        assert json.loads(await reader.readexactly(length))["type"] == "SUBSCRIBED"
    await raw_http.close(writer)
