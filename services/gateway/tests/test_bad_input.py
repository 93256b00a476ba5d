"""Requests that are wrong in one way each get the status and the kind of answer that Apache Mesos gives.

Where the refusal is the registry's, its row says what that says.
"""

from __future__ import annotations

from typing import Any

import pytest

from mesos.v1.master.master_pb2 import Call as OperatorCall
from mesos.v1.master.master_pb2 import Response
from mesos.v1.quota.quota_pb2 import QuotaStatus
from mezzo.errors import Conflict, InvalidRequest, MezzoError, NotFound
from mezzo_gateway.testing.changes import agent_changed, framework_changed, snapshot, task_added
from mezzo_gateway.testing.client import GatewayClient
from mezzo_gateway.testing.recorded import check_kind, headers_of, rows
from mezzo_gateway.testing.registry import ScriptedRegistry, refuse

REFUSALS: dict[str, MezzoError] = {
    "InvalidRequest": InvalidRequest("some.field", "is wrong"),
    "Conflict": Conflict("another's stream"),
    "NotFound": NotFound("nothing of that name"),
}


@pytest.fixture
def registry(registry: ScriptedRegistry) -> ScriptedRegistry:
    registry.snapshot = snapshot(agent_changed(), framework_changed(), task_added())
    return registry


def follow(script: str | None, registry: ScriptedRegistry) -> None:
    """Have the registry say what a row says of it. Without a script it takes nothing that it is asked."""

    def operator(call: OperatorCall) -> Response | MezzoError | None:
        if call.type in (OperatorCall.GET_QUOTA, OperatorCall.GET_METRICS):
            return Response(type=Response.Type.Value(OperatorCall.Type.Name(call.type)), **MEMBERS[call.type])
        return None if script == "Done" else REFUSALS.get(script or "")

    def subscribe(stream: Any) -> None:
        if script in REFUSALS:
            raise REFUSALS[script]
        refuse("framework_info.roles: is wrong")(stream)

    if script is not None:
        registry.on_call = lambda _: REFUSALS[script]
    if script in (*REFUSALS, "ErrorEvent"):
        registry.on_subscribe = subscribe
    registry.on_operator_call = operator


MEMBERS: dict[int, Any] = {
    OperatorCall.GET_QUOTA: {"get_quota": Response.GetQuota(status=QuotaStatus())},
    OperatorCall.GET_METRICS: {"get_metrics": Response.GetMetrics()},
}


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row["case"]))
async def test_a_wrong_request_is_answered_as_mesos_answers_it(
    row: dict[str, Any], gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    follow(row.get("registry"), registry)
    method, path, *_ = row["request"].split()
    options: dict[str, Any] = {"headers": headers_of(row), "skip_auto_headers": ("Content-Type", "Accept")}
    async with gateway.session.request(method, gateway.url + path, data=row["body"].encode(), **options) as response:
        is_stream = "Mesos-Stream-Id" in response.headers
        body = await (response.content.readany() if is_stream else response.read())
    assert response.status == row["status"], body
    if body or row["answer_content_type"]:
        assert response.headers["Content-Type"] == row["answer_content_type"]
    check_kind(row, body, is_stream=is_stream)
    if row["status"] != 200:
        # Nobody else was disturbed.
        assert (await gateway.get("/health")).status == 200


async def test_the_refusal_of_a_call_without_a_required_field_names_the_field(gateway: GatewayClient) -> None:
    body = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root"}}}
    answer = await gateway.post("/api/v1/scheduler", body)
    assert answer.status == 400
    assert "subscribe.framework_info.name" in answer.text


async def test_a_call_that_the_registry_does_not_implement_is_501_and_named(gateway: GatewayClient) -> None:
    body = {"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": [{"role": "a", "weight": 2}]}}
    answer = await gateway.operator(body)
    assert answer.status == 501
    assert "UPDATE_WEIGHTS" in answer.text
