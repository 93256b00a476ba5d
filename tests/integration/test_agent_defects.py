"""An agent with a defect in its core, in a cluster: frameworks see one task end, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.scheduler import GrpcTransport
from mezzo_chassis.errors import Exit
from mezzo_chassis.testing import ServiceProcess
from tests.cluster import Cluster
from tests.framework import Framework

SECONDS_MAX = 60


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Its agent ends on a defect whenever it is told to run the task `bad`."""
    with Cluster(tmp_path) as running:
        agent = running.agent().process
        agent.stop()
        agent.module = "services.agent.tests.shell.defective_agent"
        agent.environment["MEZZO_TEST_DEFECT"] = "run_task bad"
        agent.start()
        yield running
        agent.log.write_text("")  # nowhere else is a defect expected


async def ends_on_a_defect_and_is_started_again(agent: ServiceProcess) -> None:
    assert await asyncio.to_thread(agent.wait, SECONDS_MAX) == Exit.DEFECT
    agent.start()


def called_bad(task: mesos.TaskInfo) -> None:
    task.task_id.value = "bad"


async def test_task_that_leads_to_a_defect_ends_in_error_and_others_run_on(cluster: Cluster) -> None:
    agent = cluster.agent().process
    for partition_aware in (True, False):
        transport = GrpcTransport(cluster.registry().grpc)
        async with Framework(transport, partition_aware=partition_aware) as framework:
            other = framework.add("sleep 1000")
            await framework.job_is(other, mesos.TASK_RUNNING)
            bad = framework.add("true", shape=called_bad)
            await ends_on_a_defect_and_is_started_again(agent)
            end = await framework.job_is(bad, mesos.TASK_ERROR)
            assert end.reason == mesos.TaskStatus.REASON_TASK_INVALID
            assert end.message == (
                "the agent met a defect while handling run_task: ZeroDivisionError: a mistake of ours"
            )
            good = framework.add("true")
            await framework.job_is(good, mesos.TASK_FINISHED)
            assert other.end is None
            assert agent.running
