"""What the URIs of a command bring into its sandbox, and what becomes of the task when they cannot."""

import asyncio
import gzip
import io
import tarfile
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from mesos.v1 import mesos_pb2 as mesos
from mezzo.scheduler import GrpcTransport
from tests.cluster import Cluster
from tests.framework import Framework

URI = mesos.CommandInfo.URI


@dataclass(slots=True)
class Shelf:
    """Files of this machine, served over HTTP as well."""

    folder: Path
    url: str
    gets: Counter[str] = field(default_factory=Counter)
    # While this is not set, requests wait, and say so here.
    open: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    served = Shelf(tmp_path / "shelf", "")
    served.folder.mkdir()
    served.open.set()

    async def answer(request: web.Request) -> web.StreamResponse:
        served.gets[f"{request.method} {request.path}"] += 1
        if not served.open.is_set():
            served.waiting.set()
            await served.open.wait()
        path = served.folder / request.match_info["name"]
        return web.FileResponse(path) if path.exists() else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        served.url = "http://{}:{}".format(*runner.addresses[0])
        yield served
    finally:
        await runner.cleanup()


@pytest.fixture
async def framework(cluster: Cluster) -> AsyncIterator[Framework]:
    async with Framework(GrpcTransport(cluster.registry().grpc)) as running:
        yield running


def fetching(*uris: URI) -> Callable[[mesos.TaskInfo], None]:
    return lambda task: task.command.uris.extend(uris)


async def output(cluster: Cluster, framework: Framework, command: str, *uris: URI) -> str:
    """What a command writes that has fetched these; it has to finish."""
    job = framework.add(command, shape=fetching(*uris))
    await framework.finish()
    assert job.end is not None
    assert job.end.state == mesos.TASK_FINISHED, job.end.message
    return (cluster.sandbox(framework.client.framework_id, job.task_id) / "stdout").read_text()


async def failure(framework: Framework, tmp_path: Path, uri: URI) -> mesos.TaskStatus:
    """How a task ended whose URI cannot be fetched; its command must not have run."""
    ran = tmp_path / "the command ran"
    job = framework.add(f"touch '{ran}'", shape=fetching(uri))
    await framework.finish()
    assert job.end is not None
    assert [status.state for status in job.statuses] == [mesos.TASK_STARTING, mesos.TASK_FAILED]
    assert job.end.reason == mesos.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED
    assert not ran.exists()
    return job.end


@pytest.mark.parametrize("kind", ["http", "file", "path"])
async def test_a_file_comes_by(kind: str, shelf: Shelf, cluster: Cluster, framework: Framework) -> None:
    path = shelf.put("greeting.txt", b"good morning\n")
    uri = {"http": f"{shelf.url}/greeting.txt", "file": f"file://{path}", "path": str(path)}[kind]
    assert await output(cluster, framework, "cat greeting.txt", URI(value=uri)) == "good morning\n"


async def test_a_file_comes_as_it_is_from_a_server_that_would_rather_compress_it(
    shelf: Shelf, cluster: Cluster, framework: Framework
) -> None:
    shelf.put("page.txt", b"as it is\n")
    # The server answers with this one, where the client takes an encoding.
    shelf.put("page.txt.gz", gzip.compress(b"compressed\n"))
    uri = URI(value=f"{shelf.url}/page.txt")
    assert await output(cluster, framework, "cat page.txt", uri) == "as it is\n"


async def test_a_program_is_executable_where_that_is_asked_for_and_not_otherwise(
    shelf: Shelf, cluster: Cluster, framework: Framework
) -> None:
    shelf.put("tool", b"#!/bin/sh\necho at work\n")
    uri = URI(value=f"{shelf.url}/tool", executable=True)
    assert await output(cluster, framework, "./tool", uri) == "at work\n"
    uri.executable = False
    assert await output(cluster, framework, "test -x tool || echo plain", uri) == "plain\n"


def tarred(mode: str, name: str, link: str = "") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        if link:
            member = tarfile.TarInfo("way")
            member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)
        member = tarfile.TarInfo(name)
        member.size = len(b"unpacked\n")
        archive.addfile(member, io.BytesIO(b"unpacked\n"))
    return packed.getvalue()


def zipped(name: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, "unpacked\n")
    return packed.getvalue()


ARCHIVES = {
    "a.tar": lambda name: tarred("w", name),
    "a.tar.gz": lambda name: tarred("w:gz", name),
    "a.tgz": lambda name: tarred("w:gz", name),
    "a.tar.bz2": lambda name: tarred("w:bz2", name),
    "a.tar.xz": lambda name: tarred("w:xz", name),
    "a.zip": zipped,
}


async def test_archives_of_each_kind_are_unpacked_or_left_as_they_are(
    shelf: Shelf, cluster: Cluster, framework: Framework
) -> None:
    for number, (name, pack) in enumerate(ARCHIVES.items()):
        shelf.put(name, pack(f"in-{number}/note.txt"))
    uris = [URI(value=f"{shelf.url}/{name}") for name in ARCHIVES]
    listed = await output(cluster, framework, "grep -l unpacked in-*/note.txt", *uris)
    assert listed.split() == [f"in-{number}/note.txt" for number in range(len(ARCHIVES))]
    whole = [URI(value=uri.value, extract=False) for uri in uris]
    listed = await output(cluster, framework, "ls -d a.* in-* 2>&1 | grep -v 'No such'", *whole)
    assert listed.split() == sorted(ARCHIVES)


HOSTILE = {
    "climbs.tar.gz": tarred("w:gz", "../../../../escaped"),
    "climbs.zip": zipped("../../../../escaped"),
    "through-a-link.tar": tarred("w", "way/escaped", link="../../.."),
    "damaged.tar.xz": tarred("w:xz", "note.txt")[:60],
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_archive_that_would_leave_the_sandbox_fails_the_task(
    name: str, shelf: Shelf, cluster: Cluster, framework: Framework, tmp_path: Path
) -> None:
    shelf.put(name, HOSTILE[name])
    end = await failure(framework, tmp_path, URI(value=f"{shelf.url}/{name}"))
    assert f"{shelf.url}/{name}" in end.message
    assert not [path for path in cluster.agent().work_dir.rglob("escaped") if "runs" not in path.parts]


async def test_an_absolute_name_in_an_archive_means_one_below_the_sandbox(
    shelf: Shelf, cluster: Cluster, framework: Framework, tmp_path: Path
) -> None:
    absolute = tmp_path / "escaped"
    path = shelf.put("a.tar", tarred("w", str(absolute)))
    assert await output(cluster, framework, f"cat .{absolute}", URI(value=str(path))) == "unpacked\n"
    assert not absolute.exists()


async def test_a_file_is_called_what_the_framework_wants(shelf: Shelf, cluster: Cluster, framework: Framework) -> None:
    shelf.put("download", b"named\n")
    uri = URI(value=f"{shelf.url}/download?version=3", output_file="conf/app.txt")
    assert await output(cluster, framework, "cat conf/app.txt; test ! -e download", uri) == "named\n"


async def test_no_output_file_lies_outside_the_sandbox(
    shelf: Shelf, cluster: Cluster, framework: Framework, tmp_path: Path
) -> None:
    shelf.put("download", b"named\n")
    absolute = tmp_path / "outside.txt"
    for output_file in ("../outside.txt", str(absolute)):
        await failure(framework, tmp_path, URI(value=f"{shelf.url}/download", output_file=output_file))
    assert not list(cluster.agent().work_dir.rglob("outside.txt"))
    assert not absolute.exists()


def unfetchable(shelf: Shelf) -> Iterator[tuple[str, str]]:
    yield f"{shelf.url}/nothing-here.bin", "404"
    yield str(shelf.folder / "nothing-here.bin"), "No such file"
    yield "relative/path.bin", "frameworks_home"
    yield "gopher://127.0.0.1/x", "scheme"


async def test_what_cannot_be_fetched_fails_the_task_and_is_named_with_the_reason(
    shelf: Shelf, cluster: Cluster, framework: Framework, tmp_path: Path
) -> None:
    for uri, why in unfetchable(shelf):
        end = await failure(framework, tmp_path, URI(value=uri))
        assert uri in end.message
        assert why in end.message
    # Its owner finds it in the sandbox, too.
    folder = cluster.sandbox(framework.client.framework_id, framework.jobs["job-0"].task_id)
    assert "nothing-here.bin" in (folder / "stderr").read_text()


async def test_a_cached_file_is_downloaded_once_for_all_tasks(
    shelf: Shelf, cluster: Cluster, framework: Framework
) -> None:
    shelf.put("large.bin", b"x" * 100_000)
    uri = URI(value=f"{shelf.url}/large.bin", cache=True)
    for _ in range(3):
        assert await output(cluster, framework, "wc -c < large.bin", uri) == "100000\n"
    assert shelf.gets["GET /large.bin"] == 1
    await output(cluster, framework, "true", URI(value=f"{shelf.url}/large.bin"))
    assert shelf.gets["GET /large.bin"] == 2


async def test_a_task_is_killed_while_its_files_are_still_coming(shelf: Shelf, framework: Framework) -> None:
    shelf.open.clear()
    job = framework.add("true", shape=fetching(URI(value=f"{shelf.url}/endless.bin")))
    await shelf.waiting.wait()
    await framework.client.kill(job.task_id)
    await framework.finish()
    assert job.end is not None
    assert (job.end.state, job.end.reason) == (
        mesos.TASK_KILLED,
        mesos.TaskStatus.REASON_TASK_KILLED_DURING_LAUNCH,
    )


async def test_a_task_whose_agent_is_killed_while_its_files_come_is_started_by_the_next(
    shelf: Shelf, cluster: Cluster, framework: Framework
) -> None:
    shelf.put("greeting.txt", b"good morning\n")
    shelf.open.clear()
    job = framework.add("cat greeting.txt", shape=fetching(URI(value=f"{shelf.url}/greeting.txt")))
    await shelf.waiting.wait()
    agent = cluster.agent().process
    await asyncio.to_thread(agent.kill)
    shelf.open.set()
    await asyncio.to_thread(agent.start)
    await framework.finish()
    assert job.end is not None
    assert (job.end.state, job.end.message) == (mesos.TASK_FINISHED, "Command exited with status 0")
    folder = cluster.sandbox(framework.client.framework_id, job.task_id)
    assert (folder / "stdout").read_text() == "good morning\n"
