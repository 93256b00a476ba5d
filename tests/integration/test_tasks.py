"""Tasks on a whole cluster of real processes, from offer to finish."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.http import JSON, PROTOBUF
from mezzo.scheduler import GrpcTransport, HttpTransport, Transport
from tests.cluster import Cluster
from tests.framework import Framework

TRANSPORTS: dict[str, Callable[[Cluster], Transport]] = {
    "grpc": lambda cluster: GrpcTransport(cluster.registry().grpc),
    "json": lambda cluster: HttpTransport(cluster.url, JSON),
    "protobuf": lambda cluster: HttpTransport(cluster.url, PROTOBUF),
}


def get(cluster: Cluster, path: str) -> Any:
    with urllib.request.urlopen(f"{cluster.url}{path}", timeout=30) as response:
        return json.load(response)


def sandbox(cluster: Cluster, framework: Framework, task_id: str) -> Path:
    runs = f"slaves/*/frameworks/{framework.client.framework_id}/executors/{task_id}/runs/latest"
    found = list(cluster.agent().work_dir.glob(runs))
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_commands_run_to_their_ends_over(transport: str, cluster: Cluster) -> None:
    async with Framework(TRANSPORTS[transport](cluster)) as framework:
        well = framework.add("echo hello; echo woe >&2")
        badly = framework.add("exit 3")
        await framework.finish()
        states = [mesos.TaskState.Name(status.state) for status in well.statuses]
        assert states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
        assert all(status.agent_id.value and status.uuid for status in well.statuses)
        assert well.statuses[-1].message == "Command exited with status 0"
        assert badly.end is not None
        assert (badly.end.state, badly.end.message) == (mesos.TASK_FAILED, "Command exited with status 3")
        folder = sandbox(cluster, framework, well.task_id)
        assert (folder / "stdout").read_text() == "hello\n"
        assert (folder / "stderr").read_text() == "woe\n"
        assert {name: len(ends) for name, ends in framework.ends.items()} == {"job-0": 1, "job-1": 1}


async def test_a_task_is_killed_with_its_grace_period(cluster: Cluster) -> None:
    async with Framework(HttpTransport(cluster.url)) as framework:
        job = framework.add("trap 'echo bye; exit 0' TERM; while true; do sleep 0.05; done")
        await framework.job_is(job, mesos.TASK_RUNNING)
        await framework.client.kill(job.task_id)
        end = await framework.job_is(job, mesos.TASK_KILLED)
        assert end.state == mesos.TASK_KILLED


async def test_a_task_larger_than_its_offer_is_an_error_that_says_so(cluster: Cluster) -> None:
    def grow(task: mesos.TaskInfo) -> None:
        task.resources[0].scalar.value = 10_000

    async with Framework(HttpTransport(cluster.url)) as framework:
        job = framework.add("true", shape=grow)
        end = await framework.job_is(job, mesos.TASK_ERROR)
        assert end.reason == mesos.TaskStatus.REASON_TASK_INVALID
        assert "10000" in end.message


async def test_a_thousand_short_tasks_end_exactly_once_each(cluster: Cluster) -> None:
    async with Framework(GrpcTransport(cluster.registry().grpc)) as framework:
        for _ in range(1000):
            framework.add("true", "cpus:0.01;mem:1")
        await framework.finish(180)
        assert [job.end.state for job in framework.jobs.values() if job.end] == [mesos.TASK_FINISHED] * 1000
        assert {len(ends) for ends in framework.ends.values()} == {1}


async def test_the_state_tells_of_the_task_while_it_runs_and_after(cluster: Cluster) -> None:
    async with Framework(HttpTransport(cluster.url)) as framework:
        job = framework.add("sleep 600")
        await framework.job_is(job, mesos.TASK_RUNNING)
        await framework.until(lambda: bool(tasks_of(cluster, job.task_id)))
        task = tasks_of(cluster, job.task_id)[0]
        assert task["state"] == "TASK_RUNNING"
        assert task["resources"]["cpus"] == 0.1
        agents = get(cluster, "/slaves")["slaves"]
        assert agents[0]["used_resources"]["cpus"] >= 0.1
        await framework.client.kill(job.task_id)
        await framework.finish()


def tasks_of(cluster: Cluster, task_id: str) -> list[dict[str, Any]]:
    return [task for task in get(cluster, "/tasks?limit=-1")["tasks"] if task["id"] == task_id]
