"""Sandboxes on the disk and as users see them: through the gateway, and at the agent itself."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.scheduler import GrpcTransport
from mezzo_chassis.testing import attributes_missing
from tests.cluster import Cluster
from tests.framework import Framework, Job
from tests.polling import eventually

LOG_BYTES_MAX = 64 * 1024
LOG_FILES_MAX = 2
# Writes two files and a folder, then waits to be killed.
COMMAND = (
    "printf 'one\\ntwo\\n'; echo woe >&2; mkdir notes; printf '\\000\\377' > notes/binary; echo grüße > notes/text;"
    " echo > ready; exec sleep 1000"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    flags = {"max_stdout_size": f"{LOG_BYTES_MAX}B", "max_stdout_files": LOG_FILES_MAX, "attributes": "rack:r2"}
    with Cluster(tmp_path_factory.mktemp("cluster"), flags={"agent": flags}) as running:
        yield running


@dataclass(slots=True)
class View:
    """A framework, and what a browser would see of its tasks."""

    cluster: Cluster
    framework: Framework
    session: aiohttp.ClientSession

    def folder(self, job: Job) -> Path:
        return self.cluster.sandbox(self.framework.client.framework_id, job.task_id)

    async def running(self, command: str = COMMAND) -> Job:
        """A job whose command runs, and has written the file `ready`."""
        job = self.framework.add(command)
        await self.framework.job_is(job, mesos.TASK_RUNNING)
        ready = self.folder(job) / "ready"

        async def probe() -> bool:
            return ready.exists()

        await eventually(probe, f"the file ready of {job.name}")
        return job

    async def kill(self, job: Job) -> None:
        await self.framework.client.kill(job.task_id)
        await self.framework.job_is(job, mesos.TASK_KILLED)

    async def get(self, url: str, status: int = 200, **query: str | int) -> bytes:
        async with self.session.get(url, params=query) as response:
            body = await response.read()
            assert response.status == status, body
            return body

    async def json(self, url: str, **query: str | int) -> Any:
        async with self.session.get(url, params=query) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def call(self, url: str, type_: str, **members: Any) -> Any:
        """A call of the v1 operator API in JSON."""
        async with self.session.post(f"{url}/api/v1", json={"type": type_, **members}) as response:
            assert response.status == 200, await response.text()
            answer = await response.json()
            assert answer["type"] == type_
            return answer[type_.lower()]

    @property
    def agent_url(self) -> str:
        return f"http://{self.cluster.agent().http}"

    async def directory(self, job: Job) -> str:
        """What the agent says where the job runs; the way in which Mesos' clients find files."""
        state = await self.json(f"{self.agent_url}/slave(1)/state")
        (found,) = [
            executor["directory"]
            for framework in state["frameworks"] + state["completed_frameworks"]
            for executor in framework["executors"] + framework["completed_executors"]
            if executor["id"] == job.task_id
        ]
        return str(found)


@pytest.fixture
async def view(cluster: Cluster) -> AsyncIterator[View]:
    async with aiohttp.ClientSession() as session, Framework(GrpcTransport(cluster.registry().grpc)) as framework:
        yield View(cluster, framework, session)


async def test_a_sandbox_lies_where_mesos_has_it_and_latest_leads_to_it(view: View) -> None:
    job = await view.running()
    folder = view.folder(job)
    container = job.statuses[-1].container_status.container_id.value
    agent_id, framework_id = job.statuses[-1].agent_id.value, view.framework.client.framework_id
    below = f"slaves/{agent_id}/frameworks/{framework_id}/executors/{job.task_id}/runs/{container}"
    real = view.cluster.agent().work_dir / below
    assert folder.is_symlink()
    assert folder.resolve() == real.resolve()
    assert real.stat().st_mode & 0o777 == 0o750
    assert {path.name for path in real.iterdir()} == {"stdout", "stderr", "notes", "ready"}
    assert (await view.directory(job)) == str(real)


async def test_the_gateway_shows_the_files_of_a_running_task_and_of_one_that_has_ended(view: View) -> None:
    job = await view.running()
    directory, url = await view.directory(job), view.cluster.url
    for _ in ("running", "ended"):
        browsed = await view.json(f"{url}/files/browse", path=directory)
        assert [each["path"] for each in browsed] == [
            f"{directory}/{name}" for name in ("notes", "ready", "stderr", "stdout")
        ]
        assert browsed[0]["mode"].startswith("d")
        assert await view.json(f"{url}/files/read", path=f"{directory}/stdout", offset=4, length=2) == {
            "data": "tw",
            "offset": 4,
        }
        assert await view.json(f"{url}/files/read", path=f"{directory}/stdout", offset=-1) == {"data": "", "offset": 8}
        assert await view.get(f"{url}/files/download", path=f"{directory}/notes/binary") == b"\x00\xff"
        if job.end is None:
            await view.kill(job)


async def test_what_is_not_there_or_not_shown_is_not_found(view: View) -> None:
    job = await view.running()
    directory, url = await view.directory(job), view.cluster.url
    (view.folder(job) / "out").symlink_to("/etc")
    for path in (f"{directory}/nothing", f"{directory}/out/passwd", f"{directory}/../../../../../../../../etc/passwd"):
        await view.get(f"{url}/files/download", 404, path=path)
        await view.get(f"{view.agent_url}/files/download", 404, path=path)
    await view.get(f"{url}/files/read", 400)


async def test_the_operator_api_lists_and_reads_files_through_the_gateway_and_at_the_agent(view: View) -> None:
    job = await view.running()
    directory = await view.directory(job)
    for url in (view.cluster.url, view.agent_url):
        listed = await view.call(url, "LIST_FILES", list_files={"path": f"{directory}/notes"})
        assert [(each["path"], each["size"]) for each in listed["file_infos"]] == [
            (f"{directory}/notes/binary", 2),
            (f"{directory}/notes/text", len("grüße\n".encode())),
        ]
        read = await view.call(url, "READ_FILE", read_file={"path": f"{directory}/notes/text", "offset": 2})
        assert read["size"] == len("grüße\n".encode())
        assert base64.b64decode(read["data"]) == "üße\n".encode()
        short = await view.call(
            url, "READ_FILE", read_file={"path": f"{directory}/notes/text", "offset": 0, "length": 2}
        )
        assert base64.b64decode(short["data"]) == b"gr"


async def test_logs_are_read_by_the_tasks_name_alone(view: View) -> None:
    job = await view.running()
    files = f"{view.cluster.url}/mezzo/v1/tasks/{view.framework.client.framework_id}/{job.task_id}/files"
    assert await view.get(f"{files}/stdout") == b"one\ntwo\n"
    assert await view.get(f"{files}/stderr") == b"woe\n"
    assert await view.get(f"{files}/stdout", offset=1, length=4) == b"ne\nt"
    assert await view.get(f"{files}/stdout", offset=-4) == b"two\n"
    await view.get(f"{files}/core", 404)
    await view.kill(job)
    assert await view.get(f"{files}/stdout") == b"one\ntwo\n"


async def test_logs_are_followed_until_the_task_ends(view: View, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = await view.running(f"echo first; echo > ready; while [ ! -e {gate} ]; do sleep 0.02; done; echo last")
    url = f"{view.cluster.url}/mezzo/v1/tasks/{view.framework.client.framework_id}/{job.task_id}/files/stdout"
    async with view.session.get(url, params={"follow": "true"}) as response:
        assert await response.content.readline() == b"first\n"
        gate.touch()
        assert await response.content.read() == b"last\n"


async def test_a_log_that_grows_is_rotated_and_loses_nothing_that_is_kept(view: View, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    # Four times what one file may hold; then no more until there is a gate.
    job = await view.running(
        f"i=0; while [ $i -lt {4 * LOG_BYTES_MAX // 16} ]; do i=$((i+1)); printf '%015d\\n' $i; done; echo few >&2;"
        f" echo > ready; while [ ! -e {gate} ]; do sleep 0.02; done; echo the end"
    )
    folder = view.folder(job)

    async def rotated() -> bool:
        return (folder / "stdout").stat().st_size < LOG_BYTES_MAX and (folder / "stdout.2").exists()

    await eventually(rotated, "rotated files")
    gate.touch()
    await view.framework.job_is(job, mesos.TASK_FINISHED)
    names = {path.name for path in folder.iterdir()}
    assert names == {"stdout", "stdout.1", "stdout.2", "stderr", "ready"}
    kept = [folder / name for name in ("stdout.2", "stdout.1", "stdout")]
    assert all(0 < path.stat().st_size <= LOG_BYTES_MAX for path in kept)
    *lines, last = b"".join(path.read_bytes() for path in kept).decode().splitlines()
    assert last == "the end"
    numbers = [int(line) for line in lines]
    assert numbers == list(range(4 * LOG_BYTES_MAX // 16 - len(numbers) + 1, 4 * LOG_BYTES_MAX // 16 + 1))
    assert (folder / "stderr").read_text() == "few\n"
    # What was rotated is shown like everything else.
    older = await view.get(f"{view.cluster.url}/files/download", path=f"{await view.directory(job)}/stdout.1")
    assert older == (folder / "stdout.1").read_bytes()


async def test_whoever_follows_a_log_misses_nothing_when_it_is_rotated(view: View, tmp_path: Path) -> None:
    if missing := attributes_missing(view.cluster.folder):
        pytest.skip(missing)
    gate = tmp_path / "gate"
    lines = LOG_BYTES_MAX // 2 // 16
    # Halves of what one file may hold, each when the one before it has been read: the file is rotated in between.
    job = await view.running(
        f"echo > ready; for half in 0 1 2 3 4 5; do while [ ! -e {gate}.$half ]; do sleep 0.02; done;"
        f" seq -f %015.0f $((half * {lines} + 1)) $((half * {lines} + {lines})); done"
    )
    folder = view.folder(job)

    async def rotated() -> bool:
        return (folder / "stdout").stat().st_size < LOG_BYTES_MAX

    url = f"{view.cluster.url}/mezzo/v1/tasks/{view.framework.client.framework_id}/{job.task_id}/files/stdout"
    async with view.session.get(url, params={"follow": "true"}) as response:
        for half in range(6):
            await eventually(rotated, "a file below its limit")
            gate.with_name(f"gate.{half}").touch()
            read = (await response.content.readexactly(lines * 16)).decode().splitlines()
            assert [int(line) for line in read] == list(range(half * lines + 1, (half + 1) * lines + 1))
        assert await response.content.read() == b""
    assert (folder / "stdout.1").exists()


async def test_the_agents_older_endpoints_tell_of_a_running_task(view: View) -> None:
    job = await view.running()
    url = view.agent_url
    for spelling in ("/state", "/state.json", "/slave(1)/state"):
        state = await view.json(f"{url}{spelling}")
        assert state["attributes"] == {"rack": "r2"}
        (framework,) = [each for each in state["frameworks"] if each["id"] == view.framework.client.framework_id]
        (executor,) = framework["executors"]
        assert (executor["id"], executor["resources"]["cpus"]) == (job.task_id, 0.1)
        assert [task["state"] for task in executor["tasks"]] == ["TASK_RUNNING"]
    container = job.statuses[-1].container_status.container_id.value
    for spelling, key in (("/containers", "container_id"), ("/monitor/statistics", "statistics")):
        (mine,) = [each for each in await view.json(f"{url}{spelling}") if each["executor_id"] == job.task_id]
        assert mine["framework_id"] == view.framework.client.framework_id
        assert key in mine
        statistics = mine["statistics"]
        assert (statistics["cpus_soft_limit"], statistics["mem_limit_bytes"]) == (0.1, 32 << 20)
        assert statistics["mem_rss_bytes"] > 0
        assert mine.get("container_id", container) == container
    metrics = await view.json(f"{url}/metrics/snapshot")
    assert metrics["slave/tasks_running"] >= 1
    assert metrics["slave/registered"] == 1
    assert (await view.json(f"{url}/flags"))["flags"]["max_stdout_size"] == "64KB"
    assert "mezzo_version" in await view.json(f"{url}/version")
    assert (await view.json(f"{url}/system/stats.json"))["cpus_total"] >= 1
    assert await view.get(f"{url}/health") == b""


async def test_the_agents_operator_api_tells_of_a_running_task_and_of_its_end(view: View) -> None:
    job = await view.running()
    url = view.agent_url
    containers = (await view.call(url, "GET_CONTAINERS"))["containers"]
    (mine,) = [each for each in containers if each["executor_id"]["value"] == job.task_id]
    assert mine["container_id"] == {"value": job.statuses[-1].container_status.container_id.value}
    assert mine["container_status"]["executor_pid"] > 0
    launched = (await view.call(url, "GET_TASKS"))["launched_tasks"]
    assert [each["state"] for each in launched if each["task_id"]["value"] == job.task_id] == ["TASK_RUNNING"]
    await view.kill(job)

    async def completed() -> bool:
        tasks = await view.call(url, "GET_TASKS")
        return job.task_id in [each["task_id"]["value"] for each in tasks.get("completed_tasks", [])]

    await eventually(completed, "the task among the completed ones")
    containers = (await view.call(url, "GET_CONTAINERS")).get("containers", [])
    assert job.task_id not in [each["executor_id"]["value"] for each in containers]
