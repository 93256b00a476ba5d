"""Sandboxes that nobody uses any more go by themselves."""

from __future__ import annotations

from pathlib import Path

from mesos.v1 import mesos_pb2 as mesos
from mezzo.scheduler import GrpcTransport
from tests.cluster import Cluster
from tests.framework import Framework
from tests.polling import eventually

FLAGS = {"agent": {"gc_delay": "1secs", "disk_watch_interval": "100ms"}}


async def test_a_sandbox_is_removed_when_its_task_has_ended_long_enough_and_that_of_a_running_one_stays(
    tmp_path: Path,
) -> None:
    with Cluster(tmp_path, flags=FLAGS) as cluster:
        async with Framework(GrpcTransport(cluster.registry().grpc)) as framework:
            running = framework.add("echo here; exec sleep 1000")
            await framework.job_is(running, mesos.TASK_RUNNING)
            ended = framework.add("echo gone")
            await framework.job_is(ended, mesos.TASK_FINISHED)
            kept = cluster.sandbox(framework.client.framework_id, running.task_id)
            executors = kept.parents[2]

            async def alone() -> bool:
                return [path.name for path in executors.iterdir()] == [running.task_id]

            await eventually(alone, "the sandbox of the task that ended is gone, with all that led to it")
            assert (kept / "stdout").exists()

        async def nothing_is_left() -> bool:
            return not executors.parent.exists()

        await eventually(nothing_is_left, "the sandboxes of a framework that is gone are gone")
