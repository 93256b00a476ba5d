"""While the agent recovers, its ports answer that it does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mezzo.executor.v1 import executor_pb2 as messages
from mezzo.executor.v1 import executor_pb2_grpc as service
from mezzo_agent import __version__
from mezzo_agent.config import Config
from mezzo_agent.metrics import AgentMetrics
from mezzo_agent.servers import Servers
from mezzo_chassis.rpc import open_channel


@pytest.fixture
async def recovering(config: Config) -> AsyncIterator[Config]:
    servers = Servers(config, AgentMetrics(__version__))
    await servers.bind()
    yield config
    await servers.close()


@pytest.mark.parametrize("path", ["/state", "/health", "/containers", "/metrics/snapshot"])
async def test_reads_wait(recovering: Config, http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(f"http://127.0.0.1:{recovering.port}{path}") as answer:
        assert (answer.status, await answer.text()) == (503, "the agent is recovering")


async def test_executors_are_told_to_come_back(recovering: Config, http: aiohttp.ClientSession) -> None:
    call = {"type": "SUBSCRIBE", "framework_id": {"value": "F"}, "executor_id": {"value": "E"}, "subscribe": {}}
    async with http.post(f"http://127.0.0.1:{recovering.port}/api/v1/executor", json=call) as answer:
        assert answer.status == 503


async def test_flags_and_version_do_not_wait(recovering: Config, http: aiohttp.ClientSession) -> None:
    for path in ("/flags", "/version"):
        async with http.get(f"http://127.0.0.1:{recovering.port}{path}") as answer:
            assert answer.status == 200


async def test_health_says_that_it_does_not_serve_yet(recovering: Config) -> None:
    async with open_channel(f"127.0.0.1:{recovering.grpc_port}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.ExecutorStub(channel).Call(messages.CallRequest())
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
