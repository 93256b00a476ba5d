"""The gateway as a service: its ports, its health, its metrics, and how it refuses to start."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from mezzo_chassis.config import load
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.lifecycle import Lifecycle
from mezzo_chassis.rpc import open_channel
from mezzo_chassis.testing.ports import free_ports
from mezzo_gateway.app import main, serve
from mezzo_gateway.config import Config
from mezzo_gateway.testing.changes import master, snapshot
from mezzo_gateway.testing.client import PATIENCE_SECONDS
from mezzo_gateway.testing.registry import ScriptedRegistry


async def becomes_healthy(grpc_port: int) -> None:
    async with open_channel(f"127.0.0.1:{grpc_port}") as channel:
        health = HealthStub(channel)
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = None
            while answer is None or answer.status != HealthCheckResponse.SERVING:
                answer = await health.Check(HealthCheckRequest(), wait_for_ready=True)


async def test_a_gateway_is_healthy_once_it_knows_the_cluster_and_counts_what_it_answers(
    registry: ScriptedRegistry,
) -> None:
    http, rpc, metrics = free_ports(3)
    config = Config(ip="127.0.0.1", port=http, grpc_port=rpc, metrics_port=metrics, master=("127.0.0.1", registry.port))
    lifecycle = Lifecycle()
    service = asyncio.create_task(serve(config, lifecycle))
    await becomes_healthy(rpc)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{http}/state") as answer:
            assert answer.status == 200
        async with session.get(f"http://127.0.0.1:{metrics}/metrics") as answer:
            exported = await answer.text()
    assert 'mezzo_gateway_http_requests_total{endpoint="state",method="GET",status="200"} 1.0' in exported
    assert "mezzo_gateway_registry_connected 1.0" in exported
    lifecycle.stop()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await service
    await lifecycle.close()


async def test_a_gateway_answers_to_the_names_that_clients_are_told_and_to_no_others(
    registry: ScriptedRegistry,
) -> None:
    http, rpc, metrics = free_ports(3)
    told = master()
    told.hostname = "gateways.example.com"
    registry.snapshot = snapshot(master_info=told)
    config = Config(
        ip="127.0.0.1",
        port=http,
        grpc_port=rpc,
        metrics_port=metrics,
        master=("127.0.0.1", registry.port),
        allowed_hosts=("mezzo.example",),
        hostname="gw1.example.org",
    )
    lifecycle = Lifecycle()
    service = asyncio.create_task(serve(config, lifecycle))
    await becomes_healthy(rpc)
    answers = {}
    async with aiohttp.ClientSession() as session:
        for host in ("mezzo.example", "gw1.example.org", "gateways.example.com", "127.0.0.1", "evil.example"):
            async with session.get(f"http://127.0.0.1:{http}/state", headers={"Host": f"{host}:5050"}) as answer:
                answers[host] = answer.status
    assert answers == {**dict.fromkeys(answers, 200), "evil.example": 421}
    lifecycle.stop()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await service
    await lifecycle.close()


async def test_a_gateway_is_not_healthy_before_it_knows_the_cluster() -> None:
    http, rpc, metrics, nobody = free_ports(4)
    config = Config(ip="127.0.0.1", port=http, grpc_port=rpc, metrics_port=metrics, master=("127.0.0.1", nobody))
    lifecycle = Lifecycle()
    service = asyncio.create_task(serve(config, lifecycle))
    async with open_channel(f"127.0.0.1:{rpc}") as channel:
        answer = await HealthStub(channel).Check(HealthCheckRequest(), wait_for_ready=True)
        assert answer.status == HealthCheckResponse.NOT_SERVING
    lifecycle.stop()
    await service
    await lifecycle.close()


async def test_with_a_certificate_a_gateway_speaks_https(registry: ScriptedRegistry, tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    file = tmp_path / "both.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(file))
    http, rpc, metrics = free_ports(3)
    config = Config(
        ip="127.0.0.1",
        port=http,
        grpc_port=rpc,
        metrics_port=metrics,
        master=("127.0.0.1", registry.port),
        ssl_cert_file=file,
        ssl_key_file=file,
    )
    lifecycle = Lifecycle()
    service = asyncio.create_task(serve(config, lifecycle))
    await becomes_healthy(rpc)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"https://127.0.0.1:{http}/state", ssl=trusting) as answer:
            assert answer.status == 200
        async with session.get(f"http://127.0.0.1:{metrics}/metrics") as answer:
            assert answer.status == 200
    lifecycle.stop()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await service
    await lifecycle.close()


@pytest.mark.parametrize("flag", ["ssl_cert_file", "ssl_key_file"])
async def test_a_certificate_without_its_key_is_bad_configuration(flag: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {flag: tmp_path}
    config = replace(Config(ip="127.0.0.1", port=0), **given)
    with pytest.raises(StartupError, match="--ssl_cert_file and --ssl_key_file must be set together") as raised:
        await serve(config, Lifecycle())
    assert raised.value.code == Exit.BAD_CONFIGURATION


async def test_a_port_in_use_is_named(registry: ScriptedRegistry) -> None:
    config = Config(ip="127.0.0.1", port=registry.port)
    with pytest.raises(StartupError, match=f"127.0.0.1:{registry.port}") as raised:
        await serve(config, Lifecycle())
    assert raised.value.code == Exit.PORT_IN_USE


@pytest.mark.parametrize("master", ["nonsense", "zk://", "127.0.0.1:x"])
def test_a_wrong_master_is_bad_configuration(master: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--master={master}", "--ip=127.0.0.1", "--port=0"])
    assert ended.value.code == Exit.BAD_CONFIGURATION
    assert "--master" in capsys.readouterr().err


def test_flags_are_read_in_the_forms_that_mesos_has() -> None:
    config = load(Config, ["--port=0", "--master=10.0.0.1:5060", "--heartbeat_interval=1mins"], service="gateway")
    assert (config.port, config.master, config.heartbeat_interval) == (0, ("10.0.0.1", 5060), 60.0)
