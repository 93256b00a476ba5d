"""Why nothing is offered: who is meant, and what is answered."""

from __future__ import annotations

import pytest

from mezzo.errors import NotFound
from mezzo.operator.v1.operator_pb2 import ExplainRequest, ExplainResponse
from mezzo_gateway.testing.changes import (
    agent_changed,
    agent_gone,
    framework_changed,
    offer_added,
    role_changed,
    snapshot,
)
from mezzo_gateway.testing.client import GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry


@pytest.fixture
def registry(registry: ScriptedRegistry) -> ScriptedRegistry:
    registry.snapshot = snapshot(
        agent_changed("S0"),
        agent_changed("S1"),
        agent_changed("S2", address="alone:5051"),
        agent_gone("S3", unreachable=True),
        framework_changed("F0", roles=["eng/backend", "eng/web"], name="spark"),
        framework_changed("F1", roles=["eng/web"], name="twin"),
        framework_changed("F2", name="twin"),
        framework_changed("F3", name="gone", completed=True),
        role_changed("idle", 2.0),
    )
    registry.on_explain = explain
    return registry


def explain(request: ExplainRequest) -> ExplainResponse:
    """One explanation of whatever is asked for."""
    response = ExplainResponse()
    one = response.explanations.add(framework_id=request.framework_id or "F0", role=request.role, active=True)
    one.agents_turned_away["quota_limit"] = 3
    quota = one.binding_quotas.add(role="eng", resource="cpus", limit=1.5, consumed=1.5)
    quota.consumers.add(role="eng/backend", amount=1.0)
    quota.consumers.add(framework_id="F2", amount=0.5)
    return response


async def test_an_explanation_is_told_in_full_and_in_sentences(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    answer = await gateway.get("/api/v1/explain?framework=spark&role=eng/backend")
    assert (answer.status, answer.content_type) == (200, "application/json")
    (told,) = answer.json()["explanations"]
    assert (told["framework_id"], told["framework_name"], told["role"]) == ("F0", "spark", "eng/backend")
    assert (told["active"], told["agents_offerable"], told["refusals"]) == (True, 0, 0)
    assert told["agents_turned_away"] == {"quota_limit": 3}
    assert (told["minimum"], told["places"]) == ([], [])
    assert "last_offered_seconds" not in told
    assert told["verdict"] == (
        "spark in role eng/backend is offered nothing: "
        "quota limit of role eng: cpus 1.5 of 1.5 used (by eng/backend 1, twin 0.5)"
    )
    assert "quota limit of role eng: cpus 1.5 of 1.5 used (by eng/backend 1, twin 0.5)" in told["summary"]
    assert [(asked.framework_id, asked.role) for asked in registry.asked_to_explain] == [("F0", "eng/backend")]


async def test_offers_that_wait_for_an_answer_are_told(gateway: GatewayClient, registry: ScriptedRegistry) -> None:
    registry.publish(offer_added(framework_id="F2", agent_id="S2", made_at=0))
    registry.publish(offer_added("O1", framework_id="F2", agent_id="S2"))
    registry.publish(offer_added("O2", framework_id="F0", agent_id="S1"))
    await gateway.applied()
    answer = (await gateway.get("/api/v1/explain?framework=F2&role=*")).json()
    (told,) = answer["explanations"]
    assert told["summary"][0] == "it has 2 offers that it has neither used nor declined"
    assert told["verdict"] == "twin in role * has 2 offers to answer, and nothing more can be offered to it"
    first, second = answer["unanswered_offers"]
    assert first.pop("oldest_seconds") > 1e9  # since the epoch, as the registry says
    assert first == {"framework_id": "F2", "framework_name": "twin", "role": "*", "offers": 2}
    assert second == {"framework_id": "F0", "framework_name": "spark", "role": "*", "offers": 1}
    answer = (await gateway.get("/api/v1/explain?framework=F2&role=*&agent=S1")).json()
    assert answer["unanswered_offers"] == [second]


async def test_what_is_told_of_a_copy_that_nobody_keeps_up_to_date_is_marked(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    assert "Mezzo-Stale" not in (await gateway.get("/api/v1/explain?role=idle")).headers
    await registry.stop()
    await gateway.gateway.registry.wait_until(lambda found: not found.connected)
    # Nobody is subscribed in that role: no registry has to be asked.
    answer = await gateway.get("/api/v1/explain?role=idle")
    assert (answer.json(), "Mezzo-Stale" in answer.headers) == ({"explanations": [], "unanswered_offers": []}, True)


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", [("", "", "")]),
        ("framework=F2", [("F2", "", "")]),
        ("agent=alone", [("", "", "S2")]),
        ("agent=S1&role=eng/web", [("", "eng/web", "S1")]),
        ("role=eng", [("", "eng/backend", ""), ("", "eng/web", "")]),
        ("role=eng&framework=F1", [("F1", "eng/web", "")]),
        ("role=idle", []),
    ],
)
async def test_the_query_says_who_is_meant(
    query: str, asked: list[tuple[str, str, str]], gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    answer = await gateway.get(f"/master/api/v1/explain?{query}")
    assert answer.status == 200, answer.text
    assert len(answer.json()["explanations"]) == len(asked)
    assert [(one.framework_id, one.role, one.agent_id) for one in registry.asked_to_explain] == asked


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("framework=nobody", 404, "framework nobody not found"),
        ("framework=F3", 404, "framework F3 has ended"),
        ("framework=twin", 409, "2 frameworks are called twin; use an id: F1, F2"),
        ("role=nothing", 404, "role nothing not found"),
        ("framework=spark&role=ads", 404, "framework F0 is not subscribed in role ads"),
        ("agent=nowhere", 404, "agent nowhere not found"),
        ("agent=S3", 404, "agent S3 is unreachable"),
        ("agent=127.0.0.1", 409, "2 agents are called 127.0.0.1; use an id: S0, S1"),
    ],
)
async def test_who_is_not_there_or_is_there_twice_is_named(
    query: str, status: int, said: str, gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    answer = await gateway.get(f"/api/v1/explain?{query}")
    assert (answer.status, answer.text) == (status, said)
    assert not registry.asked_to_explain


async def test_without_an_allocator_the_reason_is_told(gateway: GatewayClient, registry: ScriptedRegistry) -> None:
    registry.on_explain = ScriptedRegistry().on_explain
    answer = await gateway.get("/api/v1/explain?framework=F0")
    assert (answer.status, answer.text) == (503, "no allocator is connected")


async def test_what_the_allocator_does_not_know_is_not_there(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.on_explain = lambda request: NotFound(f"no agent {request.agent_id}")
    answer = await gateway.get("/api/v1/explain?agent=S1")
    assert (answer.status, answer.text) == (404, "no agent S1")


async def test_explanations_are_read_and_calls_are_made_beside_them(gateway: GatewayClient) -> None:
    refused = await gateway.post("/api/v1/explain", {"type": "GET_HEALTH"})
    assert (refused.status, refused.headers["Allow"]) == (405, "GET,HEAD")
    assert (await gateway.operator("GET_HEALTH")).status == 200


async def test_before_the_first_snapshot_nothing_is_explained(lone_gateway: GatewayClient) -> None:
    assert (await lone_gateway.get("/api/v1/explain")).status == 503


async def test_a_word_that_is_no_parameter_is_refused_rather_than_passed_over(gateway: GatewayClient) -> None:
    answer = await gateway.get("/api/v1/explain?frmework=f")
    assert (answer.status, answer.text) == (400, "frmework: unknown parameter; must be framework, role or agent")
