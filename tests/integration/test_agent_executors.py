"""Custom executors that are written with the SDK, over each way to reach the agent."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import parse
from mezzo.scheduler import GrpcTransport
from tests.cluster import Cluster
from tests.framework import PATIENCE_SECONDS, Framework, Job
from tests.polling import eventually

ROOT = Path(__file__).parents[2]
# Each way by its name: what the program is told, and whether it is to find the agent's socket.
WAYS = {"json": ("json", False), "protobuf": ("protobuf", False), "socket": ("protobuf", True), "grpc": ("grpc", False)}

every_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # The path of a socket is short, which pytest's folders are not.
    with tempfile.TemporaryDirectory(prefix="mezzo-") as folder:
        flags = {
            "domain_socket": f"{folder}/agent.sock",
            "authenticate_http_executors": "true",
            "executor_reregistration_timeout": "15secs",
            "executor_shutdown_grace_period": "30secs",
        }
        with Cluster(tmp_path_factory.mktemp("cluster"), flags={"agent": flags}) as running:
            yield running


@dataclass(slots=True)
class Scene:
    """A framework, and its executors on the one agent."""

    cluster: Cluster
    framework: Framework

    def launch(self, way: str, name: str = "", data: bytes = b"") -> Job:
        """A task for an executor of this way, which is started with its first task."""
        transport, by_socket = WAYS[way]

        def shape(task: mesos.TaskInfo) -> None:
            task.ClearField("command")
            task.data = data
            executor = task.executor
            executor.executor_id.value = f"executor-{name or way}"
            executor.type = mesos.ExecutorInfo.CUSTOM
            executor.resources.extend(parse("cpus:0.1;mem:32").messages())
            unset = "" if by_socket else "unset MESOS_DOMAIN_SOCKET; "
            program = f"{sys.executable} -m tests.programs.executor {transport}"
            executor.command.value = f"{unset}cd {ROOT} && exec {program}"

        return self.framework.add("", "cpus:0.2;mem:64", shape)

    async def running(self, way: str, name: str = "", data: bytes = b"") -> Job:
        job = self.launch(way, name, data)
        await self.framework.job_is(job, mesos.TASK_RUNNING)
        return job

    async def tell(self, job: Job, text: str) -> None:
        status = job.statuses[0]
        await self.framework.client.message(status.executor_id.value, status.agent_id.value, text.encode())

    async def end_of(self, job: Job) -> mesos.TaskStatus:
        await self.framework.until(lambda: job.end is not None)
        assert job.end is not None
        return job.end

    async def noted(self, job: Job, line: str, times: int = 1) -> list[str]:
        """What the job's executor has noted, once it has noted this line so often."""
        folder = self.cluster.sandbox(self.framework.client.framework_id, job.statuses[0].executor_id.value)

        async def probe() -> list[str]:
            lines = (folder / "stdout").read_text().splitlines()
            return lines if lines.count(line) >= times else []

        return await eventually(probe, f"{line} of {job.name}")

    def process(self, job: Job) -> psutil.Process:
        """The process of the job's executor."""
        folder = self.cluster.sandbox(self.framework.client.framework_id, job.statuses[0].executor_id.value)
        return next(each for each in psutil.process_iter() if sandbox_of(each) == str(folder.resolve()))

    async def answers(self, job: Job, text: str) -> None:
        """Ask until the executor answers: what was said while it was not subscribed is lost, as Mesos has it."""
        expected = (job.statuses[0].executor_id.value, text.encode())

        async def probe() -> bool:
            await self.tell(job, f"echo {text}")
            return expected in self.framework.messages

        await eventually(probe, f"an answer of {expected[0]}")


def sandbox_of(process: psutil.Process) -> str | None:
    try:
        # Its own, and not that of the shell which becomes it.
        return process.environ().get("MESOS_SANDBOX") if process.name().startswith("python") else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


@pytest.fixture
async def scene(cluster: Cluster) -> AsyncIterator[Scene]:
    async with Framework(GrpcTransport(cluster.registry().grpc)) as framework:
        yield Scene(cluster, framework)


@every_way
async def test_an_executor_runs_tasks_hears_its_framework_and_kills_over(way: str, scene: Scene) -> None:
    first = await scene.running(way, data=b"\x00binary\xff")
    status = first.statuses[-1]
    assert status.data == b"\x00binary\xff"
    assert status.executor_id.value == f"executor-{way}"
    assert status.source == mesos.TaskStatus.SOURCE_EXECUTOR
    second = await scene.running(way)
    await scene.tell(first, "echo are you there?")
    expected = (f"executor-{way}", b"are you there?")
    await scene.framework.until(lambda: expected in scene.framework.messages)
    await scene.framework.client.kill(first.task_id)
    end = await scene.end_of(first)
    assert (end.state, end.message) == (mesos.TASK_KILLED, "as told")
    assert second.end is None
    lines = await scene.noted(second, "KILL")
    assert lines.count("SUBSCRIBED") == 1
    assert lines.count("LAUNCH") == 2


@every_way
async def test_an_executor_is_shut_down_politely_over(way: str, scene: Scene) -> None:
    job = await scene.running(way)
    status, process = job.statuses[-1], scene.process(job)
    await scene.framework.client.shutdown(status.executor_id.value, status.agent_id.value)
    end = await scene.end_of(job)
    assert (end.state, end.message) == (mesos.TASK_KILLED, "shutting down")
    await scene.noted(job, "SHUTDOWN")
    await asyncio.to_thread(process.wait, PATIENCE_SECONDS)


async def test_each_way_leads_where_it_should(scene: Scene) -> None:
    agent = scene.cluster.agent()
    ports = {"json": {agent.http_port}, "protobuf": {agent.http_port}, "grpc": {agent.grpc_port}, "socket": set()}
    jobs = {way: await scene.running(way) for way in WAYS}
    connected = {}
    for way, job in jobs.items():
        connections = scene.process(job).net_connections("tcp")
        connected[way] = {connection.raddr.port for connection in connections if connection.raddr}
    assert connected == ports


async def test_an_executor_that_dies_takes_its_tasks_along(scene: Scene) -> None:
    jobs = [await scene.running("json") for _ in range(2)]
    await scene.tell(jobs[0], "exit 3")
    for job in jobs:
        end = await scene.end_of(job)
        assert (end.state, end.message) == (mesos.TASK_FAILED, "Executor exited with status 3")
        assert end.reason == mesos.TaskStatus.REASON_EXECUTOR_TERMINATED
        assert end.source == mesos.TaskStatus.SOURCE_AGENT


async def test_an_executor_that_does_not_leave_in_time_is_ended(scene: Scene, tmp_path: Path) -> None:
    job = scene.launch("json", "deaf")
    job.task.executor.shutdown_grace_period.nanoseconds = 200_000_000
    await scene.framework.job_is(job, mesos.TASK_RUNNING)
    # It waits for a file that never comes, and hears nothing meanwhile.
    await scene.tell(job, f"finish {job.task_id} {tmp_path / 'never'}")
    await scene.noted(job, "waiting")
    status, process = job.statuses[-1], scene.process(job)
    await scene.framework.client.shutdown(status.executor_id.value, status.agent_id.value)
    end = await scene.end_of(job)
    assert end.reason == mesos.TaskStatus.REASON_EXECUTOR_TERMINATED
    assert end.message == "Executor terminated with signal Killed"
    await asyncio.to_thread(process.wait, PATIENCE_SECONDS)


async def test_executors_outlive_their_agent_and_come_back_to_the_next(scene: Scene) -> None:
    jobs = {way: await scene.running(way) for way in WAYS}
    agent = scene.cluster.agent().process
    await asyncio.to_thread(agent.kill)
    await asyncio.to_thread(agent.start)
    for way, job in jobs.items():
        await scene.noted(job, "SUBSCRIBED", times=2)
        await scene.answers(job, f"{way} is back")
    for job in jobs.values():
        await scene.framework.client.kill(job.task_id)
    for job in jobs.values():
        end = await scene.end_of(job)
        assert (end.state, end.message) == (mesos.TASK_KILLED, "as told")


async def test_an_update_is_not_lost_that_an_executor_makes_before_it_knows_of_its_agents_restart(
    scene: Scene, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    jobs = {way: await scene.running(way) for way in WAYS}
    for job in jobs.values():
        await scene.tell(job, f"finish {job.task_id} {gate}")
    for job in jobs.values():
        await scene.noted(job, "waiting")
    agent = scene.cluster.agent().process
    await asyncio.to_thread(agent.kill)
    await asyncio.to_thread(agent.start)
    await asyncio.to_thread(agent.wait_healthy)
    gate.touch()
    for job in jobs.values():
        end = await scene.end_of(job)
        assert (end.state, end.message) == (mesos.TASK_FINISHED, "after all")
