"""`kill -9` of each process in turn: every task ends exactly once, and none is lost."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.scheduler import HttpTransport
from mezzo_chassis.testing import ZooKeeperServer
from tests.cluster import Cluster
from tests.framework import Framework


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose processes the tests of this module kill, and start again."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def exactly_once(framework: Framework) -> None:
    assert [name for name, job in framework.jobs.items() if not job.end] == []
    assert {name: len(ends) for name, ends in framework.ends.items() if len(ends) != 1} == {}


@pytest.mark.parametrize("victim", ["agent-0", "registry-0", "allocator-0", "gateway-0"])
async def test_short_tasks_all_end_exactly_once_when_this_is_killed(victim: str, mortal: Cluster) -> None:
    async with Framework(HttpTransport(mortal.url)) as framework:
        for _ in range(40):
            framework.add("sleep 0.05", "cpus:0.05;mem:8")
        await framework.until(lambda: sum(bool(job.end) for job in framework.jobs.values()) > 10)
        process = mortal.nodes[victim].process
        await asyncio.to_thread(process.kill)
        await asyncio.to_thread(process.start)
        await framework.finish(120)
        exactly_once(framework)


async def test_a_task_outlives_its_agent_and_its_exit_status_is_not_lost(mortal: Cluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with Framework(HttpTransport(mortal.url)) as framework:
        during = framework.add(f"while [ ! -e {gate} ]; do sleep 0.02; done; exit 7")
        after = framework.add(f"while [ ! -e {gate}.2 ]; do sleep 0.02; done; exit 8")
        await framework.job_is(during, mesos.TASK_RUNNING)
        await framework.job_is(after, mesos.TASK_RUNNING)
        agent = mortal.agent().process
        await asyncio.to_thread(agent.kill)
        gate.touch()
        await asyncio.to_thread(agent.start)
        end = await framework.job_is(during, mesos.TASK_FAILED)
        assert end.message == "Command exited with status 7"
        gate.with_name("gate.2").touch()
        end = await framework.job_is(after, mesos.TASK_FAILED)
        assert end.message == "Command exited with status 8"
        exactly_once(framework)


async def test_an_agent_that_is_told_to_leave_ends_its_tasks(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        async with Framework(HttpTransport(cluster.url)) as framework:
            job = framework.add("sleep 600")
            await framework.job_is(job, mesos.TASK_RUNNING)
            code = await asyncio.to_thread(cluster.agent().process.stop, signal.SIGUSR1)
            assert code == 0
            await framework.finish()


async def test_tasks_of_an_agent_that_was_cut_off_are_unreachable_and_run_on_when_it_is_back(tmp_path: Path) -> None:
    flags = {"registry": {"agent_ping_timeout": "500ms", "max_agent_ping_timeouts": 3}}
    with Cluster(tmp_path, flags=flags) as cluster:
        async with Framework(HttpTransport(cluster.url)) as framework:
            gate = tmp_path / "gate"
            job = framework.add(f"while [ ! -e {gate} ]; do sleep 0.02; done; exit 7")
            await framework.job_is(job, mesos.TASK_RUNNING)
            agent = cluster.agent().process
            agent.send(signal.SIGSTOP)
            unreachable = await framework.job_is(job, mesos.TASK_UNREACHABLE)
            assert unreachable.reason == mesos.TaskStatus.REASON_AGENT_REMOVED
            assert unreachable.HasField("unreachable_time")
            agent.send(signal.SIGCONT)
            await framework.until(lambda: job.statuses[-1].state == mesos.TASK_RUNNING)
            assert job.statuses[-1].reason == mesos.TaskStatus.REASON_AGENT_REREGISTERED
            gate.touch()
            end = await framework.job_is(job, mesos.TASK_FAILED)
            assert end.message == "Command exited with status 7"
            exactly_once(framework)


async def test_the_next_registry_takes_over_and_nothing_is_lost(zookeeper: ZooKeeperServer, tmp_path: Path) -> None:
    with Cluster(tmp_path / "c", registries=3, allocators=2, agents=2, zookeeper=zookeeper) as cluster:
        async with Framework(HttpTransport(cluster.url)) as framework:
            for _ in range(60):
                framework.add("sleep 0.1", "cpus:0.1;mem:8")
            await framework.until(lambda: sum(bool(job.end) for job in framework.jobs.values()) > 30)
            for service in ("registry", "allocator"):
                leader = await asyncio.to_thread(cluster.leading, service)
                await asyncio.to_thread(leader.process.kill)
            for _ in range(20):
                framework.add("sleep 0.1", "cpus:0.1;mem:8")
            await framework.finish(120)
            exactly_once(framework)
            assert framework.subscriptions >= 2


async def test_a_pause_of_zookeeper_is_survived_by_every_process(zookeeper: ZooKeeperServer, tmp_path: Path) -> None:
    with Cluster(tmp_path / "c", registries=2, zookeeper=zookeeper) as cluster:
        async with Framework(HttpTransport(cluster.url)) as framework:
            first = framework.add("true")
            await framework.job_is(first, mesos.TASK_FINISHED)
            running = framework.add("sleep 3")
            await framework.job_is(running, mesos.TASK_RUNNING)
            zookeeper.pause()
            # Its end is told while ZooKeeper is away, or once somebody leads again.
            await asyncio.sleep(1)
            zookeeper.resume()
            await framework.job_is(running, mesos.TASK_FINISHED)
            later = framework.add("true")
            await framework.job_is(later, mesos.TASK_FINISHED)
            exactly_once(framework)
            assert all(node.process.running for node in cluster.nodes.values())
