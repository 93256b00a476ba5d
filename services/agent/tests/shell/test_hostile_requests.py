"""Whatever bytes a client sends: the agent answers, logs no traceback, and is there for the next one."""

import logging

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings

from mezzo_chassis.testing import hostile_http, raw_http

from .conftest import RunningAgent

PATHS = (
    "/",
    "/api/v1",
    "/api/v1/executor",
    "/containers",
    "/files/browse",
    "/files/download",
    "/files/read",
    "/flags",
    "/health",
    "/logging/toggle",
    "/metrics/snapshot",
    "/mezzo/v1/logs",
    "/monitor/statistics",
    "/slave(1)/state.json",
    "/state",
    "/system/stats.json",
    "/version",
)


@given(request=hostile_http.requests(PATHS))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_request_is_a_defect(
    request: bytes, agent: RunningAgent, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    answer = await raw_http.exchange(agent.config.port, request)
    assert raw_http.status_of(answer) in hostile_http.EXPECTED_STATUSES, answer[:500]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    async with http.get(f"{agent.url}/health") as response:
        assert response.status == 200
