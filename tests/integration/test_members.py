"""Who the members of a cluster are, with several of each service and an election."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mezzo_chassis.testing import ZooKeeperServer
from tests.cluster import Cluster
from tests.polling import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def cluster(zookeeper: ZooKeeperServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    with Cluster(tmp_path, registries=2, allocators=2, gateways=2, agents=0, zookeeper=zookeeper) as running:
        yield running


async def members(cluster: Cluster) -> dict[str, str]:
    """How each member stands, by its service and address."""
    async with aiohttp.ClientSession() as session, session.get(f"{cluster.url}/mezzo/v1/members") as response:
        answer: dict[str, Any] = await response.json()
    return {f"{one['service']} {one['address']}": one["standing"] for one in answer.get("members", ())}


async def test_each_registry_allocator_and_gateway_is_a_member_and_the_next_leads(cluster: Cluster) -> None:
    leader, next_one = sorted(
        (cluster.registry(number) for number in range(2)), key=lambda node: node is not cluster.leading("registry")
    )
    deciding = cluster.leading("allocator")
    (waiting,) = [cluster.allocator(number) for number in range(2) if cluster.allocator(number) is not deciding]
    wanted = {
        f"registry {leader.grpc}": "LEADING",
        f"registry {next_one.grpc}": "STANDBY",
        f"allocator {deciding.grpc}": "LEADING",
        f"allocator {waiting.grpc}": "STANDBY",
        **{f"gateway {cluster.gateway(number).http}": "CONNECTED" for number in range(2)},
    }

    async def are_all_there() -> bool:
        return await members(cluster) == wanted

    await eventually(are_all_there, "all are members")
    leader.process.kill()
    del wanted[f"registry {leader.grpc}"]
    wanted[f"registry {next_one.grpc}"] = "LEADING"
    await eventually(are_all_there, "the next registry leads")
