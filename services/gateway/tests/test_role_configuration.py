"""Weights and quotas: as the registry has them, and while none can be reached as they were."""

from __future__ import annotations

from typing import Any

import pytest

from mesos.v1.master.master_pb2 import Call, Response
from mezzo.errors import Conflict, InvalidRequest, MezzoError, Unavailable
from mezzo_gateway.testing.changes import role_changed, snapshot
from mezzo_gateway.testing.client import GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry

QUOTA = {"role": "ads", "guarantees": {"cpus": {"value": 1.0}}, "limits": {"cpus": {"value": 2.0}}}
INFO = {"role": "ads", "guarantee": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}]}
CALLS: list[tuple[dict[str, Any], int]] = [
    (
        {"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": [{"role": "ads", "weight": 2}]}},
        Call.UPDATE_WEIGHTS,
    ),
    ({"type": "UPDATE_QUOTA", "update_quota": {"quota_configs": [QUOTA]}}, Call.UPDATE_QUOTA),
    ({"type": "SET_QUOTA", "set_quota": {"quota_request": INFO}}, Call.SET_QUOTA),
    ({"type": "REMOVE_QUOTA", "remove_quota": {"role": "ads"}}, Call.REMOVE_QUOTA),
]


@pytest.fixture
def registry(registry: ScriptedRegistry) -> ScriptedRegistry:
    registry.snapshot = snapshot(role_changed("ads", 2.0, guarantees={"cpus": 1.0}, limits={"cpus": 2.0}))
    registry.on_operator_call = answer
    return registry


def answer(call: Call) -> Response | MezzoError:
    """What a registry says that is ahead of the copy."""
    response = Response(type=Response.Type.Value(Call.Type.Name(call.type)))
    if call.type == Call.GET_WEIGHTS:
        response.get_weights.weight_infos.add(role="ads", weight=3.0)
    else:
        response.get_quota.status.configs.add(role="web")
        response.get_quota.status.infos.add(role="web")
    return response


async def test_what_was_just_configured_is_read(gateway: GatewayClient) -> None:
    assert (await gateway.get("/weights")).json() == [{"role": "ads", "weight": 3.0}]
    weights = (await gateway.operator("GET_WEIGHTS")).json()["get_weights"]
    assert weights == {"weight_infos": [{"role": "ads", "weight": 3.0}]}
    status = {"configs": [{"role": "web"}], "infos": [{"role": "web"}]}
    assert (await gateway.get("/quota")).json() == status
    assert (await gateway.operator("GET_QUOTA")).json()["get_quota"] == {"status": status}


async def test_while_no_registry_can_be_reached_what_was_configured_is_read(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.on_operator_call = lambda _: Unavailable("leaving")
    assert (await gateway.get("/master/weights")).json() == [{"role": "ads", "weight": 2.0}]
    assert (await gateway.get("/quota")).json() == {"configs": [QUOTA], "infos": [INFO]}
    assert (await gateway.operator("GET_QUOTA")).json()["get_quota"]["status"]["configs"] == [QUOTA]
    await registry.stop()
    await gateway.gateway.registry.wait_until(lambda found: not found.connected)
    stale = await gateway.get("/weights")
    assert (stale.status, "Mezzo-Stale" in stale.headers) == (200, True)


async def test_a_gateway_that_knows_nothing_says_so(lone_gateway: GatewayClient) -> None:
    assert [(await lone_gateway.get(path)).status for path in ("/weights", "/quota")] == [503, 503]


@pytest.mark.parametrize(("call", "heard"), CALLS)
async def test_changes_are_the_registrys_to_make(
    call: dict[str, Any], heard: int, gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.on_operator_call = lambda _: Response()
    done = await gateway.operator(call)
    assert (done.status, done.body) == (200, b"")
    assert [one.type for one in registry.operator_calls] == [heard]


async def test_a_lone_value_stands_for_a_list_of_one(gateway: GatewayClient, registry: ScriptedRegistry) -> None:
    registry.on_operator_call = lambda _: Response()
    weight = {"role": "ads", "weight": "2"}
    assert (
        await gateway.operator({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": weight}})
    ).status == 200
    assert (await gateway.post("/quota", {"role": "ads", "guarantee": INFO["guarantee"][0]})).status == 200
    update, quota = registry.operator_calls
    assert [(info.role, info.weight) for info in update.update_weights.weight_infos] == [("ads", 2.0)]
    assert [each.name for each in quota.set_quota.quota_request.guarantee] == ["cpus"]


@pytest.mark.parametrize(
    ("error", "status"), [(InvalidRequest("role", "is odd"), 400), (Conflict("the cluster is too small"), 409)]
)
async def test_what_cannot_be_configured_is_refused_as_mesos_refuses_it(
    error: MezzoError, status: int, gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.on_operator_call = lambda _: error
    posted = await gateway.post("/quota", {"role": "ads", "guarantee": INFO["guarantee"], "force": False})
    assert (posted.status, posted.text) == (status, str(error))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/weights", b'{"role":"ads"}'),
        ("PUT", "/weights", b'[{"role":"ads","weight":"much"}]'),
        ("POST", "/quota", b'{"guarantee":"cpus:1"}'),
        ("POST", "/quota", b"cpus:1"),
        ("DELETE", "/quota/", b""),
    ],
)
async def test_what_makes_no_sense_goes_no_further(
    method: str, path: str, body: bytes, gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    refused = await gateway.request(method, path, data=body)
    assert refused.status in (400, 405)
    assert not registry.operator_calls


async def test_roles_show_weight_quota_and_who_is_in_them(gateway: GatewayClient) -> None:
    (ads,) = (await gateway.get("/roles")).json()["roles"]
    assert (ads["name"], ads["weight"], ads["frameworks"]) == ("ads", 2.0, [])
    assert ads["quota"] == {"role": "ads", "guarantee": {"cpus": 1.0}, "limit": {"cpus": 2.0}, "consumed": {}}
    (role,) = (await gateway.operator("GET_ROLES")).json()["get_roles"]["roles"]
    assert role == {"name": "ads", "weight": 2.0}
