"""Mezzo's own API at the gateway: however a request fails, the error is JSON of one form."""

from __future__ import annotations

import pytest

from mezzo.errors import Conflict, MezzoError, NotFound
from mezzo_gateway.testing.changes import FRAMEWORK_ID
from mezzo_gateway.testing.client import Answer, GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry

TASK = f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t1"


def error_of(answer: Answer) -> dict[str, str]:
    assert answer.content_type == "application/json; charset=utf-8"
    document = answer.json()
    assert document.keys() == {"error"}
    assert document["error"].keys() == {"field", "message"}
    return dict(document["error"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/mezzo/v1", 404),
        ("GET", "/mezzo/v1/frobs", 404),
        ("GET", f"{TASK}/files/secrets", 404),
        ("GET", TASK, 404),
        ("POST", TASK, 405),
        ("GET", f"{TASK}/kill", 405),
        ("DELETE", f"{TASK}/files/stdout", 405),
        ("GET", f"{TASK}/files/stdout?offset=first", 400),
        ("GET", f"{TASK}/files/stdout?length=-1", 400),
        ("GET", f"{TASK}/files/stdout?follow=perhaps", 400),
    ],
)
async def test_a_request_that_is_wrong_is_told_so_in_json(
    gateway: GatewayClient, method: str, path: str, status: int
) -> None:
    for prefix in ("", "/master"):
        answer = await gateway.request(method, prefix + path)
        assert answer.status == status
        assert error_of(answer)["message"]


async def test_the_field_that_is_wrong_is_named(gateway: GatewayClient) -> None:
    assert error_of(await gateway.get(f"{TASK}/files/stdout?length=-1")) == {
        "field": "length",
        "message": "-1 is negative",
    }


async def test_a_page_of_another_origin_is_refused_in_json(gateway: GatewayClient) -> None:
    answer = await gateway.post(f"{TASK}/kill", headers={"Origin": "http://evil.example"})
    assert answer.status == 403
    assert "another origin" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("error", "status"), [(NotFound("task t1 not found"), 404), (Conflict("the task has ended"), 409)]
)
async def test_what_the_registry_says_against_a_kill_is_told_in_json(
    gateway: GatewayClient, registry: ScriptedRegistry, error: MezzoError, status: int
) -> None:
    registry.on_kill = lambda _: error
    answer = await gateway.post(f"{TASK}/kill")
    assert (answer.status, error_of(answer)["message"]) == (status, str(error))


async def test_that_nobody_leads_is_told_in_json(lone_gateway: GatewayClient) -> None:
    for answer in (await lone_gateway.get(TASK), await lone_gateway.post(f"{TASK}/kill")):
        assert answer.status == 503
        assert error_of(answer)["message"] == "no leading registry can be reached"
    plain = await lone_gateway.get("/state")
    assert (plain.status, plain.text) == (503, "no leading registry can be reached")
