"""Whatever bytes a client sends: the gateway answers, logs no traceback, and is there for the next one."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, given, settings

from mezzo_chassis.testing import hostile_http, raw_http
from mezzo_gateway.testing.changes import AGENT_ID, FRAMEWORK_ID, agent_changed, framework_changed, snapshot, task_added
from mezzo_gateway.testing.client import GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry

PATHS = (
    "/",
    "/api/v1",
    "/api/v1/explain",
    "/api/v1/scheduler",
    "/create-volumes",
    "/files/browse",
    "/files/download",
    "/files/read",
    "/frameworks",
    "/logging/toggle",
    "/machine/down",
    "/maintenance/schedule",
    "/master/state.json",
    "/metrics/snapshot",
    f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t1",
    f"/mezzo/v1/tasks/{FRAMEWORK_ID}/%FF%00/files/stdout",
    f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t1/kill",
    "/quota",
    "/quota/%FF",
    "/redirect",
    "/reserve",
    f"/slaves/{AGENT_ID}",
    "/slaves",
    "/state",
    "/tasks",
    "/teardown",
    "/version",
    "/weights",
)


@pytest.fixture
def registry(registry: ScriptedRegistry) -> ScriptedRegistry:
    registry.snapshot = snapshot(agent_changed(), framework_changed(), task_added())
    registry.on_operator_call = lambda _: None
    return registry


@given(request=hostile_http.requests(PATHS))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_request_is_a_defect(request: bytes, gateway: GatewayClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    answer = await raw_http.exchange(gateway.port, request)
    assert raw_http.status_of(answer) in hostile_http.EXPECTED_STATUSES, answer[:500]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert (await gateway.get("/health")).status == 200
