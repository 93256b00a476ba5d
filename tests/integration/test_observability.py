"""What operators see of a running cluster: metrics, health, reflection, and logs in which a request is followed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from mezzo import recordio
from mezzo.http import JSON
from mezzo.scheduler import HttpTransport
from mezzo_chassis.rpc import open_channel
from tests.cluster import Cluster
from tests.framework import Framework
from tests.polling import eventually

pytestmark = pytest.mark.timeout(120)

SERVICES = ("registry", "allocator", "gateway", "agent")
GRPC_SERVICES = {
    "registry": ("mezzo.agent.v1.AgentSession", "mezzo.operator.v1.Operator", "mezzo.scheduler.v1.Scheduler"),
    "allocator": ("mezzo.allocator.v1.Allocator",),
    "gateway": (),
    "agent": ("mezzo.executor.v1.Executor",),
}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-")
every_service = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    flags = {service: {"log_format": "json", "log_level": "debug"} for service in SERVICES}
    with Cluster(tmp_path_factory.mktemp("cluster"), flags=flags) as running:
        yield running


@pytest.fixture(scope="module")
def worked(cluster: Cluster) -> None:
    """The cluster has run a task that finished and one that failed."""

    async def work() -> None:
        async with Framework(HttpTransport(cluster.url, JSON)) as framework:
            framework.add("true")
            framework.add("false")
            await framework.finish()

    asyncio.run(work())


async def scrape(cluster: Cluster, service: str) -> dict[str, Metric]:
    async with aiohttp.ClientSession() as http, http.get(cluster.nodes[f"{service}-0"].metrics) as response:
        assert response.status == 200
        families = list(text_string_to_metric_families(await response.text()))
    return {family.name: family for family in families}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    return sum(
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


# ---------------------------------------------------------------------------------------------------------- metrics


@every_service
async def test_metrics_keep_to_the_rules_of_prometheus(service: str, cluster: Cluster, worked: None) -> None:
    async def measured() -> dict[str, Metric]:
        # A process that has just begun measures its event loop for the first time half a second later.
        families = await scrape(cluster, service)
        return families if value(families, f"mezzo_{service}_event_loop_lag_seconds_count") else {}

    families = await eventually(measured, "the lag of the event loop")
    assert value(families, f"mezzo_{service}_build_info") == 1
    assert value(families, "process_resident_memory_bytes") > 0
    for family in families.values():
        assert family.documentation, family.name
        assert family.name.startswith((f"mezzo_{service}_", "process_", "python_")), family.name
        assert not family.name.endswith(("_ms", "_milliseconds", "_mb", "_minutes")), family.name
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith(("_total", "_created")), sample.name
            for label in sample.labels.values():
                assert not UUID.search(label), sample


async def test_metrics_tell_what_the_cluster_did(cluster: Cluster, worked: None) -> None:
    registry = await scrape(cluster, "registry")
    assert value(registry, "mezzo_registry_leading") == 1
    assert value(registry, "mezzo_registry_agents", state="connected") == 1
    assert value(registry, "mezzo_registry_tasks_ended_total", state="finished") == 1
    assert value(registry, "mezzo_registry_tasks_ended_total", state="failed") == 1
    assert value(registry, "mezzo_registry_offers_ended_total", outcome="accepted") >= 1
    assert value(registry, "mezzo_registry_resource_capacity", resource="mem") == 4096 * 1024 * 1024
    assert value(registry, "mezzo_registry_rpc_handled_total", method="Call") >= 0
    allocator = await scrape(cluster, "allocator")
    assert value(allocator, "mezzo_allocator_leading") == 1
    assert value(allocator, "mezzo_allocator_cycle_duration_seconds_count") > 0
    assert value(allocator, "mezzo_allocator_agents") == 1
    gateway = await scrape(cluster, "gateway")
    assert value(gateway, "mezzo_gateway_registry_connected") == 1
    assert value(gateway, "mezzo_gateway_http_requests_total", endpoint="scheduler") > 0
    agent = await scrape(cluster, "agent")
    assert value(agent, "mezzo_agent_registered") == 1
    assert value(agent, "mezzo_agent_tasks_ended_total", state="finished") == 1
    assert value(agent, "mezzo_agent_container_launch_seconds_count", outcome="started") == 2


async def test_mesos_names_tell_the_same(cluster: Cluster, worked: None) -> None:
    async with aiohttp.ClientSession() as http:

        async def told(address: str, prefix: str, *names: str) -> bool:
            async with http.get(f"http://{address}/metrics/snapshot") as response:
                answer = await response.json()
            return [answer[f"{prefix}/{name}"] for name in names] == [1, 1, 1]

        # The gateway and the agent hear of a task's end when the framework does, not before.
        await eventually(
            lambda: told(cluster.gateway().http, "master", "tasks_finished", "tasks_failed", "elected"), "the gateway's"
        )
        await eventually(
            lambda: told(cluster.agent().http, "slave", "tasks_finished", "tasks_failed", "registered"), "the agent's"
        )


# --------------------------------------------------------------------------------------------- health and reflection


@every_service
async def test_health_is_told_of_the_whole_and_of_each_service(service: str, cluster: Cluster) -> None:
    async with open_channel(cluster.nodes[f"{service}-0"].grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", *GRPC_SERVICES[service]):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING, name
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


@every_service
async def test_services_are_found_by_reflection(service: str, cluster: Cluster) -> None:
    async with open_channel(cluster.nodes[f"{service}-0"].grpc) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = [answer async for answer in stub.ServerReflectionInfo(iter([asked]))]
    found = {each.name for each in answer.list_services_response.service}
    assert {*GRPC_SERVICES[service], "grpc.health.v1.Health"} <= found


async def test_http_health_is_200_at_gateway_and_agent(cluster: Cluster) -> None:
    async with aiohttp.ClientSession() as http:
        for address in (cluster.gateway().http, cluster.agent().http):
            async with http.get(f"http://{address}/health") as response:
                assert response.status == 200


# ------------------------------------------------------------------------------------------------------------- logs


def lines(cluster: Cluster, service: str) -> list[dict[str, object]]:
    """What a service has logged: each line is one JSON object, or this fails."""
    whole = (cluster.folder / f"{service}-0.log").read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


@every_service
def test_every_line_of_a_log_is_one_event(service: str, cluster: Cluster, worked: None) -> None:
    logged = lines(cluster, service)
    assert logged
    for line in logged:
        assert line["service"] == service
        assert line["level"] in ("debug", "info", "warning", "error")
        assert line["event"]
        assert str(line["timestamp"]).endswith("Z")


async def test_a_request_is_followed_by_its_id_from_the_gateway_to_the_registry(cluster: Cluster) -> None:
    subscribe = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "", "name": "followed"}}}
    headers = {"Accept": "application/json", "X-Correlation-Id": "followed-1"}
    async with (
        asyncio.timeout(60),
        aiohttp.ClientSession(cluster.url) as http,
        http.post("/api/v1/scheduler", json=subscribe, headers=headers) as stream,
    ):
        assert stream.headers["X-Correlation-Id"] == "followed-1"
        # Offers may come in the same piece as the answer to SUBSCRIBE, and that in several pieces.
        decoder = recordio.Decoder()
        records: list[bytes] = []
        while not records:
            records = decoder.feed(await stream.content.readany())
        framework_id = json.loads(records[0])["subscribed"]["framework_id"]["value"]
        shutdown = {
            "type": "SHUTDOWN",
            "framework_id": {"value": framework_id},
            "shutdown": {"executor_id": {"value": "nobody"}, "agent_id": {"value": "nowhere"}},
        }
        ids = {"Mesos-Stream-Id": stream.headers["Mesos-Stream-Id"], "X-Correlation-Id": "followed-2"}
        async with http.post("/api/v1/scheduler", json=shutdown, headers=ids) as response:
            assert response.status == 202
            assert response.headers["X-Correlation-Id"] == "followed-2"

    async def told() -> bool:
        events = {line.get("correlation_id"): line["event"] for line in lines(cluster, "registry")}
        return (events.get("followed-1"), events.get("followed-2")) == (
            "framework subscribed",
            "SHUTDOWN names an unknown executor",
        )

    await eventually(told, "the registry's lines carry the ids")


@pytest.mark.parametrize(
    ("asked", "reached"), [("gateway", ("gateway", "registry", "allocator")), ("agent", ("agent",))]
)
async def test_an_operator_sets_how_much_is_logged(asked: str, reached: tuple[str, ...], cluster: Cluster) -> None:
    def set_to(service: str) -> list[object]:
        return [line["level_now"] for line in lines(cluster, service) if line["event"] == "log level changed"]

    async def all_set_to(levels: list[int]) -> bool:
        return all(set_to(service) == levels for service in reached)

    async with aiohttp.ClientSession(f"http://{cluster.nodes[f'{asked}-0'].http}") as http:
        call = {"level": 3, "duration": {"nanoseconds": 3600 * 10**9}}
        async with http.post("/api/v1", json={"type": "SET_LOGGING_LEVEL", "set_logging_level": call}) as response:
            assert (response.status, await response.text()) == (200, "")
        await eventually(lambda: all_set_to([3]), "more is logged")
        async with http.post("/api/v1", json={"type": "GET_LOGGING_LEVEL"}) as response:
            assert (await response.json())["get_logging_level"] == {"level": 3}
        async with http.get("/logging/toggle", params={"level": "0", "duration": "1secs"}) as response:
            assert (response.status, await response.text()) == (200, "")
        await eventually(lambda: all_set_to([3, 0]), "as much as usual is logged")


async def test_an_id_that_could_break_a_log_is_replaced(cluster: Cluster) -> None:
    async with aiohttp.ClientSession() as http:
        headers = {"X-Correlation-Id": "x" * 500}
        async with http.get(f"{cluster.url}/version", headers=headers) as response:
            assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Correlation-Id"])
