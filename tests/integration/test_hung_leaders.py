"""Leaders that hang, or are cut off, with every connection open: nobody waits for them once another is elected."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler.scheduler_pb2 import Event
from mezzo.errors import MezzoError
from mezzo.scheduler import DetectingTransport, GrpcTransport, HttpTransport, SchedulerClient, ZooKeeperDetector
from mezzo_chassis.testing import ZooKeeperServer
from tests.cluster import Cluster, Node
from tests.framework import Framework
from tests.integration.cut_off import INSIDE

pytestmark = pytest.mark.slow("waits for the sessions of leaders that hang to end")

AGENTS = 2


@asynccontextmanager
async def hung(node: Node) -> AsyncIterator[None]:
    """The process is stopped meanwhile; its sockets stay open, and the kernel takes what is sent to them."""
    node.process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        node.process.send(signal.SIGCONT)


def moves(agent: Node) -> list[str]:
    """To which registries an agent went, because it was told that they lead while it had a session with another."""
    lines = map(json.loads, agent.process.log.read_text().splitlines())
    return [line["leader"] for line in lines if line["event"] == "another registry leads"]


async def test_tasks_are_launched_while_the_registry_that_led_hangs_and_it_has_no_say_afterwards(
    zookeeper: ZooKeeperServer, tmp_path: Path
) -> None:
    with Cluster(tmp_path / "c", registries=2, agents=AGENTS, zookeeper=zookeeper) as cluster:
        former = await asyncio.to_thread(cluster.leading, "registry")
        info = mesos.FrameworkInfo(user="", name="direct", failover_timeout=600)
        followed_info = mesos.FrameworkInfo(user="", name="followed", failover_timeout=600)
        async with (
            ZooKeeperDetector(zookeeper.url()) as detector,
            SchedulerClient(DetectingTransport(detector, GrpcTransport), followed_info) as followed,
            Framework(HttpTransport(cluster.url)) as framework,
            SchedulerClient(GrpcTransport(former.grpc), info) as direct,
        ):
            await framework.job_is(framework.add("true"), mesos.TASK_FINISHED)
            await anext(direct.events())
            assert (await anext(followed.events())).type == Event.SUBSCRIBED
            await followed.suppress()
            async with hung(former):
                waiting = asyncio.create_task(direct.revive())
                await cluster.another_leads("registry", than=former)
                await framework.job_is(framework.add("true"), mesos.TASK_FINISHED)
                for number in range(AGENTS):
                    assert moves(cluster.agent(number))
                assert not waiting.done()
                async for event in followed.events():
                    if event.type == Event.SUBSCRIBED:
                        break
            # It lies in the socket of the former leader, which reads it before it can have heard of the election.
            with pytest.raises(MezzoError):
                await waiting
            await framework.job_is(framework.add("true"), mesos.TASK_FINISHED)
            for number in range(AGENTS):
                assert former.grpc not in moves(cluster.agent(number))
            assert former.process.running


async def test_tasks_are_launched_while_the_allocator_that_led_hangs_and_after_it(
    zookeeper: ZooKeeperServer, tmp_path: Path
) -> None:
    with Cluster(tmp_path / "c", allocators=2, zookeeper=zookeeper) as cluster:
        former = await asyncio.to_thread(cluster.leading, "allocator")
        async with Framework(HttpTransport(cluster.url)) as framework:
            await framework.job_is(framework.add("true"), mesos.TASK_FINISHED)
            async with hung(former):
                await cluster.another_leads("allocator", than=former)
                await framework.job_is(framework.add("true"), mesos.TASK_FINISHED)
            await framework.job_is(framework.add("true"), mesos.TASK_FINISHED)
            assert former.process.running


def test_tasks_are_launched_while_the_packets_of_the_registry_that_led_are_dropped() -> None:
    missing = [program for program in ("unshare", "setpriv", "ip", "iptables") if shutil.which(program) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"a network of its own needs root, and {', '.join(missing) or 'is not allowed here'}")
    # A process of its own: gRPC's threads belong to the network in which they were started.
    inside = [sys.executable, "-m", "pytest", "-q", "-x", str(Path(__file__).parent / "cut_off.py")]
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *inside],
        env={**os.environ, INSIDE: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
