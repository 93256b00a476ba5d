"""What breaks in a real cluster is what the alerts speak of."""

from __future__ import annotations

from pathlib import Path

import pytest

from mezzo_chassis.testing import ZooKeeperServer
from tests.cluster import Cluster
from tests.observability.prometheus import Prometheus, prometheus_missing
from tests.polling import eventually

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(prometheus_missing() is not None, reason=prometheus_missing() or ""),
]


async def raised(prometheus: Prometheus) -> set[tuple[str, str]]:
    """Alerts whose condition holds, be it long enough to fire or not; each with its job, if it has one."""
    alerts = (await prometheus.get("alerts"))["alerts"]
    return {(alert["labels"]["alertname"], alert["labels"].get("job", "")) for alert in alerts}


async def wait_until_raised(prometheus: Prometheus, *wanted: tuple[str, str]) -> set[tuple[str, str]]:
    there: set[tuple[str, str]] = set()

    async def all_are() -> bool:
        nonlocal there
        there = await raised(prometheus)
        return there >= set(wanted)

    try:
        await eventually(all_are, f"{wanted}")
    except AssertionError as error:
        error.add_note(f"raised at last: {sorted(there)}")
        raise
    return there


async def wait_for_nothing_but(prometheus: Prometheus, *wanted: tuple[str, str]) -> None:
    async def nothing_else() -> bool:
        return await raised(prometheus) == set(wanted)

    await eventually(nothing_else, f"nothing but {wanted}")


async def test_whatever_is_killed_is_named_by_an_alert(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, Prometheus(tmp_path / "prometheus", cluster) as prometheus:
        await prometheus.ready()

        cluster.allocator().process.kill()
        there = await wait_until_raised(prometheus, ("MezzoAllocatorAway", ""), ("MezzoTargetDown", "mezzo-allocator"))
        assert ("MezzoNoLeader", "") not in there

        cluster.agent().process.kill()
        await wait_until_raised(prometheus, ("MezzoAgentsLost", ""), ("MezzoTargetDown", "mezzo-agent"))

        cluster.registry().process.kill()
        # Without a leader nobody is to blame for not following it; what was scraped before may say so for a moment.
        wanted = {("MezzoNoLeader", ""), ("MezzoTargetDown", "mezzo-registry")}
        unwanted = {"MezzoGatewayDisconnected", "MezzoAllocatorAway"}

        async def only_the_leader_is_missed() -> bool:
            there = await raised(prometheus)
            return there >= wanted and unwanted.isdisjoint(name for name, _ in there)

        await eventually(only_the_leader_is_missed, f"{wanted} without {unwanted}")


async def test_a_zookeeper_that_stands_still_is_named_by_an_alert(zookeeper: ZooKeeperServer, tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    with (
        Cluster(folder, registries=2, zookeeper=zookeeper) as cluster,
        Prometheus(folder / "prometheus", cluster) as prometheus,
    ):
        await prometheus.ready()
        # There are two registries, and one allocator.
        await wait_for_nothing_but(prometheus, ("MezzoNoStandby", "mezzo-allocator"))

        zookeeper.pause()
        broken = {("MezzoZooKeeperSessionBroken", job) for job in ("mezzo-registry", "mezzo-allocator")}
        await wait_until_raised(prometheus, *broken)
        zookeeper.resume()
        await wait_for_nothing_but(prometheus, ("MezzoNoStandby", "mezzo-allocator"))
