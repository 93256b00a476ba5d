"""What `test_hung_leaders` runs in a network of its own, where packets can be dropped; found by its name alone."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.scheduler import HttpTransport
from mezzo_chassis.testing import ZooKeeperServer
from tests.cluster import Cluster
from tests.framework import Framework

INSIDE = "MEZZO_TEST_IN_OWN_NETWORK"
# Firewalls tell processes by their users: each registry has one of its own, and may read what root may.
FIRST_UID = 60_000
pytestmark = pytest.mark.skipif(INSIDE not in os.environ, reason="test_hung_leaders runs it in a network of its own")


def own_user(number: int) -> list[str]:
    """What a command begins with, to run it as a user of its own."""
    capabilities = "+dac_override,+dac_read_search"
    ids = ["--reuid", str(FIRST_UID + number), f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]
    return ["setpriv", *ids]


def drop_packets_of(number: int, *, dropped: bool) -> None:
    """Have the firewall drop everything that a registry sends, acknowledgements too; or no longer."""
    rule = ["OUTPUT", "-m", "owner", "--uid-owner", str(FIRST_UID + number), "-j", "DROP"]
    subprocess.run(["iptables", "-A" if dropped else "-D", *rule], check=True)


async def test_tasks_are_launched_while_the_packets_of_the_leader_are_dropped(
    zookeeper: ZooKeeperServer, tmp_path: Path
) -> None:
    commands = {f"registry-{number}": own_user(number) for number in range(2)}
    with Cluster(tmp_path / "c", registries=2, zookeeper=zookeeper, command_prefixes=commands) as cluster:
        async with Framework(HttpTransport(cluster.url)) as framework:
            await framework.job_is(framework.add("true"), mesos.TASK_FINISHED)
            former = await asyncio.to_thread(cluster.leading, "registry")
            number = 0 if former is cluster.registry(0) else 1
            drop_packets_of(number, dropped=True)
            leader = await cluster.another_leads("registry", than=former)
            await framework.job_is(framework.add("true"), mesos.TASK_FINISHED)
            assert "another registry leads" in cluster.agent().process.log.read_text()
            drop_packets_of(number, dropped=False)
            # The former leader finds ZooKeeper again, and with it that its session has ended.
            await asyncio.to_thread(former.process.wait_healthy)
            assert await asyncio.to_thread(cluster.leading, "registry") is leader
            await framework.job_is(framework.add("true"), mesos.TASK_FINISHED)
