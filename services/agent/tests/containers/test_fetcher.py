import asyncio
import gzip
import os
import stat
import tarfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import web

from mesos.v1.mesos_pb2 import CommandInfo
from mezzo_agent.adapters.users import Credentials
from mezzo_agent.containers.containerizer import PosixContainerizer
from mezzo_agent.fetching.budget import Budget
from mezzo_agent.fetching.fetcher import Fetcher, FetchError, locate, name_of
from mezzo_agent.fetching.identity import FileWorker
from mezzo_agent.fetching.unpacking import UnpackLimits
from mezzo_agent.ports import ContainerConfig, LaunchError
from mezzo_chassis.testing import raw_http

Configure = Callable[..., ContainerConfig]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


class Server:
    """A real HTTP server on loopback. It counts the downloads of each path."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.downloads: Counter[str] = Counter()
        self.release = asyncio.Event()
        self.stalling = asyncio.Event()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/slow", self._slow, allow_head=False)
        app.router.add_get("/chunked", self._chunked, allow_head=False)
        app.router.add_get("/moved", self._moved)
        app.router.add_get("/round", self._round)
        app.router.add_get("/away", self._away)
        app.router.add_get("/{name:.*}", self._file)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self.release.set()
        await self._runner.cleanup()

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.files:
            raise web.HTTPNotFound
        if request.method == "GET":
            self.downloads[name] += 1
        return web.Response(body=self.files[name])

    async def _moved(self, _: web.Request) -> web.Response:
        raise web.HTTPFound("/file")

    async def _round(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(f"/round?{len(request.query_string) * 'x'}x")

    async def _away(self, _: web.Request) -> web.Response:
        raise web.HTTPFound("file:///etc/passwd")

    async def _chunked(self, request: web.Request) -> web.StreamResponse:
        self.downloads["chunked"] += 1
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"of unknown size")
        await answer.write_eof()
        return answer

    async def _slow(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b"a beginning")
        self.stalling.set()
        await self.release.wait()
        return answer


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    sandbox = tmp_path / "sandbox"
    sandbox.mkdir()
    return sandbox


@pytest.fixture
async def fetcher(tmp_path: Path) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(tmp_path / "cache", cache_bytes_max=1000, stall_timeout_secs=30, bytes_max=100_000)
    await fetcher.open()
    yield fetcher
    await fetcher.close()


def uri(value: str, **flags: object) -> CommandInfo.URI:
    return CommandInfo.URI(value=value, **flags)  # type: ignore[arg-type]


def tar(**files: bytes) -> bytes:
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, BytesIO(content))
    return file.getvalue()


async def fetch(fetcher: Fetcher, sandbox: Path, *uris: CommandInfo.URI, user: str = "me") -> None:
    await fetcher.fetch(uris, sandbox, user, None)


async def test_a_file_comes_over_http_and_the_owner_reads_so_in_stderr(
    fetcher: Fetcher, server: Server, sandbox: Path
) -> None:
    server.files["file"] = os.urandom(50_000)
    await fetch(fetcher, sandbox, uri(f"{server.url}/file"))
    assert (sandbox / "file").read_bytes() == server.files["file"]
    assert (sandbox / "file").stat().st_mode & 0o777 == 0o644
    assert f"fetched '{server.url}/file'" in (sandbox / "stderr").read_text()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("http://host/a/file", "file"),
        ("http://host/file?token=x", "file?token=x"),
        ("http://host/file.tgz?at=a/b", "b"),
        ("http://host/file#part", "file#part"),
        ("http://host/with%20space", "with%20space"),
        ("file:///with%20space", "with space"),
        ("/a/file?x", "file?x"),
        ("file", "file"),
    ],
)
def test_a_file_is_called_by_what_follows_the_last_slash_of_its_uri(value: str, name: str) -> None:
    assert name_of(value) == name


async def test_a_query_belongs_to_the_name_and_decides_whether_it_is_an_archive(
    fetcher: Fetcher, server: Server, sandbox: Path
) -> None:
    server.files["a.tar.gz"] = tar(inner=b"x")
    await fetch(fetcher, sandbox, uri(f"{server.url}/a.tar.gz?token=x"))
    assert sorted(os.listdir(sandbox)) == ["a.tar.gz?token=x", "stderr"]
    await fetch(fetcher, sandbox, uri(f"{server.url}/a.tar.gz?token={'x' * 300}", output_file="a.tar.gz"))
    assert (sandbox / "inner").read_bytes() == b"x"


async def test_a_uri_without_a_name_is_fetched_to_its_output_file(
    fetcher: Fetcher, server: Server, sandbox: Path
) -> None:
    server.files[""] = b"the front page"
    await fetch(fetcher, sandbox, uri(f"{server.url}/", output_file="index.html"))
    assert (sandbox / "index.html").read_bytes() == b"the front page"


async def test_redirections_are_followed(fetcher: Fetcher, server: Server, sandbox: Path) -> None:
    server.files["file"] = b"here"
    await fetch(fetcher, sandbox, uri(f"{server.url}/moved"))
    assert (sandbox / "moved").read_bytes() == b"here"


@pytest.mark.parametrize("cache", [False, True])
async def test_redirections_without_an_end_are_counted(
    fetcher: Fetcher, server: Server, sandbox: Path, cache: bool
) -> None:
    complaint = (
        f"cannot fetch '{server.url}/round': redirected 20 times \\(the maximum is 20\\), last to '/round.x{{20}}'"
    )
    with pytest.raises(FetchError, match=complaint):
        await fetch(fetcher, sandbox, uri(f"{server.url}/round", cache=cache))


async def test_a_redirection_to_a_file_of_the_agent_is_not_followed(
    fetcher: Fetcher, server: Server, sandbox: Path
) -> None:
    with pytest.raises(FetchError, match=r"/away': redirected to 'file:///etc/passwd', which is not HTTP$"):
        await fetch(fetcher, sandbox, uri(f"{server.url}/away"))


async def test_files_of_this_machine_come_by_uri_and_by_path(fetcher: Fetcher, sandbox: Path, tmp_path: Path) -> None:
    for name in ("one", "two", "three", "with space"):
        (tmp_path / name).write_text(name)
    await fetch(
        fetcher,
        sandbox,
        uri(f"file://{tmp_path}/one"),
        uri(f"file://localhost{tmp_path}/two"),
        uri(f"{tmp_path}/three"),
        uri(f"file://{tmp_path}/with%20space"),
    )
    for name in ("one", "two", "three", "with space"):
        assert (sandbox / name).read_text() == name


async def test_a_uri_that_is_given_twice_is_one_file(fetcher: Fetcher, sandbox: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("once")
    await fetch(fetcher, sandbox, uri(f"file://{tmp_path}/file"), uri(f"file://{tmp_path}/file"))
    assert sorted(os.listdir(sandbox)) == ["file", "stderr"]
    assert (sandbox / "file").read_text() == "once"


async def test_white_space_before_a_uri_means_nothing(fetcher: Fetcher, server: Server, sandbox: Path) -> None:
    server.files["file"] = b"content"
    await fetch(fetcher, sandbox, uri(f"  {server.url}/file"))
    assert (sandbox / "file").read_bytes() == b"content"


async def test_an_archive_under_a_name_of_its_own_is_unpacked_by_that_name(
    fetcher: Fetcher, server: Server, sandbox: Path
) -> None:
    server.files["data.gz"] = gzip.compress(b"content")
    await fetch(fetcher, sandbox, uri(f"{server.url}/data.gz", extract=True, output_file="custom.gz"))
    assert (sandbox / "custom").read_bytes() == b"content"


async def test_a_relative_path_starts_at_frameworks_home(tmp_path: Path, sandbox: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "executor").write_text("from home")
    fetcher = Fetcher(tmp_path / "cache", 0, 30, frameworks_home=tmp_path / "home")
    await fetch(fetcher, sandbox, uri("executor"))
    assert (sandbox / "executor").read_text() == "from home"


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("relative/path", "--frameworks_home is not set"),
        ("ftp://host/file", "unknown scheme 'ftp'"),
        ("hdfs://host/file", "unknown scheme 'hdfs'"),
        ("http:///file", "host name is required"),
        ("http://host", "path has no file name"),
        ("http://host/", "path has no file name"),
        ("http://host/folder/", "path has no file name"),
        ("http://[bad/file", "IPv6"),
        ("file://elsewhere/file", "not 'elsewhere'"),
        ("/some/..", "path has no file name"),
        ("http://host/file?folder=/", "path has no file name"),
        ("http://host/file?" + "x" * 300, "more than 255 bytes"),
        ("/etc/pass\0wd", "a null character"),
        ("file:///etc/pass%00wd", "a null character"),
    ],
)
def test_a_uri_that_cannot_be_followed_is_named_with_the_reason(value: str, complaint: str) -> None:
    def follow() -> None:
        locate(value, None)
        name_of(value)

    with pytest.raises(FetchError) as raised:
        follow()
    assert value in str(raised.value)
    assert complaint in str(raised.value)


def test_a_password_in_a_uri_is_not_shown() -> None:
    assert str(FetchError("https://me:secret@host/file", "why")) == "cannot fetch 'https://host/file': why"


async def test_a_missing_file_is_an_error_that_names_it(fetcher: Fetcher, server: Server, sandbox: Path) -> None:
    with pytest.raises(FetchError, match=f"{server.url}/nothing.*404"):
        await fetch(fetcher, sandbox, uri(f"{server.url}/nothing"))
    with pytest.raises(FetchError, match="No such file"):
        await fetch(fetcher, sandbox, uri("file:///no/such/file"))
    with pytest.raises(FetchError, match="not a regular file"):
        await fetch(fetcher, sandbox, uri("/etc"))
    assert "404" in (sandbox / "stderr").read_text()


async def test_a_server_that_is_not_there_is_an_error(fetcher: Fetcher, server: Server, sandbox: Path) -> None:
    await server.stop()
    with pytest.raises(FetchError, match=f"cannot fetch '{server.url}/file'"):
        await fetch(fetcher, sandbox, uri(f"{server.url}/file"))


async def test_a_download_that_stalls_is_given_up(server: Server, sandbox: Path, tmp_path: Path) -> None:
    fetcher = Fetcher(tmp_path / "cache", 0, stall_timeout_secs=0.05)
    with pytest.raises(FetchError, match=r"no data received for 0\.05 seconds"):
        await fetch(fetcher, sandbox, uri(f"{server.url}/slow"))
    await fetcher.close()


ENDLESS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "a chunk's head": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=", b"x" * 1000),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_an_answer_that_goes_on_without_a_byte_of_the_file_is_given_up(
    sandbox: Path, tmp_path: Path, what: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, rest = ENDLESS[what]
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(rest)
            await writer.drain()

    fetcher = Fetcher(tmp_path / "cache", 0, stall_timeout_secs=0.2)
    async with raw_http.serving(answer) as port:
        with pytest.raises(FetchError, match=r"no data received for 0\.2 seconds"):
            await fetch(fetcher, sandbox, uri(f"http://127.0.0.1:{port}/file"))
        await fetcher.close()


async def test_an_archive_that_asks_for_too_much_memory_is_an_error_that_names_the_uri(
    server: Server, sandbox: Path, tmp_path: Path
) -> None:
    name = tarfile.TarInfo("././@LongLink")
    name.size, name.type = 64 << 20, tarfile.GNUTYPE_LONGNAME
    server.files["a.tar.gz"] = gzip.compress(name.tobuf(tarfile.GNU_FORMAT) + bytes(name.size), 1)
    limits = UnpackLimits(bytes_max=1 << 20, memory_bytes_max=32 << 20)
    fetcher = Fetcher(tmp_path / "cache", 1 << 20, stall_timeout_secs=30, unpack_limits=limits)
    await fetcher.open()
    for cache in (False, True):
        with pytest.raises(
            FetchError, match=f"{server.url}/a.tar.gz': unpacking the archive takes more than 33554432 bytes"
        ):
            await fetch(fetcher, sandbox, uri(f"{server.url}/a.tar.gz", cache=cache))
    await fetcher.close()


async def test_a_file_beyond_the_limit_is_refused(
    fetcher: Fetcher, server: Server, sandbox: Path, tmp_path: Path
) -> None:
    server.files["large"] = bytes(100_001)
    (tmp_path / "large").write_bytes(bytes(100_001))
    for value in (f"{server.url}/large", f"{tmp_path}/large"):
        with pytest.raises(FetchError, match="more than 100000 bytes"):
            await fetch(fetcher, sandbox, uri(value))


async def test_an_executable_is_made_one_and_not_unpacked(fetcher: Fetcher, server: Server, sandbox: Path) -> None:
    server.files["a.tar.gz"] = tar(inner=b"x")
    await fetch(fetcher, sandbox, uri(f"{server.url}/a.tar.gz", executable=True))
    assert stat.S_IMODE((sandbox / "a.tar.gz").stat().st_mode) == 0o755
    assert not (sandbox / "inner").exists()


async def test_an_archive_is_unpacked_beside_itself_unless_that_is_not_wanted(
    fetcher: Fetcher, server: Server, sandbox: Path
) -> None:
    server.files["a.tar.gz"] = tar(inner=b"x")
    await fetch(fetcher, sandbox, uri(f"{server.url}/a.tar.gz", extract=False))
    assert sorted(os.listdir(sandbox)) == ["a.tar.gz", "stderr"]
    await fetch(fetcher, sandbox, uri(f"{server.url}/a.tar.gz"))
    assert sorted(os.listdir(sandbox)) == ["a.tar.gz", "inner", "stderr"]


async def test_a_damaged_archive_is_an_error_that_names_the_uri(
    fetcher: Fetcher, server: Server, sandbox: Path
) -> None:
    server.files["a.zip"] = b"no zip"
    with pytest.raises(FetchError, match=f"{server.url}/a.zip.*damaged"):
        await fetch(fetcher, sandbox, uri(f"{server.url}/a.zip"))


async def test_an_output_file_may_lie_in_folders_of_the_sandbox(
    fetcher: Fetcher, server: Server, sandbox: Path
) -> None:
    server.files["file"] = b"content"
    await fetch(fetcher, sandbox, uri(f"{server.url}/file", output_file="some/where/else"))
    assert (sandbox / "some/where/else").read_bytes() == b"content"


@pytest.mark.parametrize("output_file", ["/etc/motd", "../outside", "in/../../outside", "link/outside"])
async def test_an_output_file_outside_the_sandbox_is_refused(
    fetcher: Fetcher, server: Server, sandbox: Path, tmp_path: Path, output_file: str
) -> None:
    server.files["file"] = b"content"
    (sandbox / "link").symlink_to(tmp_path)
    with pytest.raises(FetchError, match=f"{server.url}/file"):
        await fetch(fetcher, sandbox, uri(f"{server.url}/file", output_file=output_file))
    assert not (tmp_path / "outside").exists()


async def test_a_cached_uri_is_downloaded_once_for_any_number_of_tasks(
    fetcher: Fetcher, server: Server, tmp_path: Path
) -> None:
    server.files["file"] = b"shared"
    sandboxes = [tmp_path / f"sandbox-{number}" for number in range(10)]
    for sandbox in sandboxes:
        sandbox.mkdir()
    await asyncio.gather(*(fetch(fetcher, sandbox, uri(f"{server.url}/file", cache=True)) for sandbox in sandboxes))
    assert server.downloads["file"] == 1
    assert {(sandbox / "file").read_bytes() for sandbox in sandboxes} == {b"shared"}
    assert fetcher.cache_bytes_used == 6


async def test_what_is_cached_comes_under_the_name_that_each_task_wants(
    fetcher: Fetcher, server: Server, sandbox: Path
) -> None:
    server.files["file"] = b"shared"
    for name in ("mine", "in/a/folder/mine", None):
        await fetch(fetcher, sandbox, uri(f"{server.url}/file", cache=True, output_file=name))
        assert (sandbox / (name or "file")).read_bytes() == b"shared"
    assert server.downloads["file"] == 1


async def test_uris_of_all_kinds_come_for_one_command_some_from_the_cache(
    fetcher: Fetcher, server: Server, tmp_path: Path
) -> None:
    server.files.update({"program": b"#!/bin/sh", "archive.tgz": tar(inner=b"x"), "plain": b"y"})
    for number in range(3):
        sandbox = tmp_path / f"sandbox-{number}"
        sandbox.mkdir()
        await fetch(
            fetcher,
            sandbox,
            uri(f"{server.url}/program", executable=True, cache=True),
            uri(f"{server.url}/archive.tgz", cache=True),
            uri(f"{server.url}/plain"),
        )
        assert stat.S_IMODE((sandbox / "program").stat().st_mode) == 0o755
        assert (sandbox / "inner").read_bytes() == b"x"
        assert (sandbox / "plain").read_bytes() == b"y"
    assert server.downloads == {"program": 1, "archive.tgz": 1, "plain": 3}


async def test_each_user_has_a_cache_of_its_own(fetcher: Fetcher, server: Server, sandbox: Path) -> None:
    server.files["file"] = b"secret"
    for user in ("one", "two", "one"):
        await fetch(fetcher, sandbox, uri(f"{server.url}/file", cache=True), user=user)
    assert server.downloads["file"] == 2


async def test_of_a_cached_archive_only_the_content_comes_into_the_sandbox(
    fetcher: Fetcher, server: Server, sandbox: Path
) -> None:
    server.files["a.tgz"] = tar(inner=b"x")
    await fetch(fetcher, sandbox, uri(f"{server.url}/a.tgz", cache=True))
    assert sorted(os.listdir(sandbox)) == ["inner", "stderr"]
    await fetch(fetcher, sandbox, uri(f"{server.url}/a.tgz", cache=True, executable=True))
    assert stat.S_IMODE((sandbox / "a.tgz").stat().st_mode) == 0o755
    assert server.downloads["a.tgz"] == 1


async def test_the_least_recently_used_file_makes_room(fetcher: Fetcher, server: Server, sandbox: Path) -> None:
    for name in ("a", "b", "c"):
        server.files[name] = bytes(400)
    for name in ("a", "b", "a", "c", "a", "b"):  # c throws b out, which then throws c out
        await fetch(fetcher, sandbox, uri(f"{server.url}/{name}", cache=True))
    assert server.downloads == {"a": 1, "b": 2, "c": 1}
    assert fetcher.cache_bytes_used == 800


async def test_what_does_not_fit_into_the_cache_or_has_no_size_goes_past_it(
    fetcher: Fetcher, server: Server, sandbox: Path
) -> None:
    server.files["large"] = bytes(1001)
    await fetch(fetcher, sandbox, uri(f"{server.url}/large", cache=True), uri(f"{server.url}/chunked", cache=True))
    assert (sandbox / "large").stat().st_size == 1001
    assert (sandbox / "chunked").read_bytes() == b"of unknown size"
    assert fetcher.cache_bytes_used == 0


async def test_small_files_are_no_more_than_the_cache_may_hold(server: Server, sandbox: Path, tmp_path: Path) -> None:
    fetcher = Fetcher(tmp_path / "cache", 1000, stall_timeout_secs=30, cache_entries_max=2)
    await fetcher.open()
    server.files.update(a=b"1", b=b"2", c=b"3")
    for name in ("a", "b", "a", "c", "a"):
        await fetch(fetcher, sandbox, uri(f"{server.url}/{name}", cache=True))
    assert (fetcher.cache_bytes_used, len(os.listdir(tmp_path / "cache"))) == (2, 2)
    assert server.downloads == {"a": 1, "b": 1, "c": 1}
    await fetcher.close()


async def test_a_failed_download_leaves_nothing_in_the_cache_and_is_tried_again(
    fetcher: Fetcher, server: Server, sandbox: Path, tmp_path: Path
) -> None:
    with pytest.raises(FetchError):
        await fetch(fetcher, sandbox, uri(f"{server.url}/later", cache=True))
    assert os.listdir(tmp_path / "cache") == []
    server.files["later"] = b"now"
    await fetch(fetcher, sandbox, uri(f"{server.url}/later", cache=True))
    assert (sandbox / "later").read_bytes() == b"now"


async def test_a_local_file_is_cached_too(fetcher: Fetcher, sandbox: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("first")
    await fetch(fetcher, sandbox, uri(f"{tmp_path}/file", cache=True))
    (tmp_path / "file").unlink()
    await fetch(fetcher, sandbox, uri(f"{tmp_path}/file", cache=True))
    assert (sandbox / "file").read_text() == "first"


@as_root
@pytest.mark.parametrize("cache", [False, True])
async def test_an_archive_is_unpacked_as_the_user(
    root_with_groups: None, fetcher: Fetcher, server: Server, sandbox: Path, tmp_path: Path, cache: bool
) -> None:
    nobody = Credentials.of("nobody")
    os.chown(sandbox, nobody.uid, nobody.gid)
    for path in [tmp_path, *tmp_path.parents]:
        if str(path).startswith("/tmp/"):
            path.chmod(0o755)
    (sandbox / "roots").mkdir()
    server.files["a.tar.gz"] = tar(inner=b"x")
    server.files["b.tar.gz"] = tar(**{"roots/inner": b"x"})
    await fetcher.fetch([uri(f"{server.url}/a.tar.gz", cache=cache)], sandbox, "nobody", nobody)
    assert (sandbox / "inner").stat().st_uid == nobody.uid
    with pytest.raises(FetchError, match=r"b\.tar\.gz': Permission denied: 'inner'"):
        await fetcher.fetch([uri(f"{server.url}/b.tar.gz", cache=cache)], sandbox, "nobody", nobody)


@as_root
async def test_a_file_that_the_user_may_not_read_is_not_fetched_for_it(
    root_with_groups: None, fetcher: Fetcher, sandbox: Path, tmp_path: Path
) -> None:
    nobody = Credentials.of("nobody")
    os.chown(sandbox, nobody.uid, nobody.gid)
    for path in [tmp_path, *tmp_path.parents]:
        if str(path).startswith("/tmp/"):
            path.chmod(0o755)
    (tmp_path / "secret").write_text("root's")
    (tmp_path / "secret").chmod(0o640)
    (tmp_path / "public").write_text("everybody's")
    for cache in (False, True):
        with pytest.raises(FetchError, match="Permission denied"):
            await fetcher.fetch([uri(f"{tmp_path}/secret", cache=cache)], sandbox, "nobody", nobody)
    await fetcher.fetch([uri(f"{tmp_path}/public", output_file="a/b")], sandbox, "nobody", nobody)
    assert {(sandbox / name).stat().st_uid for name in ("a", "a/b", "stderr")} == {nobody.uid}
    assert os.geteuid() == 0
    (tmp_path / "written-by-root").touch()
    assert (tmp_path / "written-by-root").stat().st_uid == 0


async def test_a_task_finds_what_was_fetched(
    containers: PosixContainerizer, configure: Configure, server: Server
) -> None:
    server.files["program"] = b"#!/bin/sh\nexit 12\n"
    config = configure("./program", uris=[uri(f"{server.url}/program", executable=True)])
    await containers.launch(config)
    assert (await containers.wait(config.container_id)).wait_status == 12 << 8
    assert containers.counts.fetches_succeeded == 1


async def test_a_task_whose_uri_cannot_be_fetched_is_not_started(
    containers: PosixContainerizer, configure: Configure, server: Server, runtime_dir: Path
) -> None:
    config = configure("touch ran", uris=[uri(f"{server.url}/nothing")])
    with pytest.raises(LaunchError, match=f"{server.url}/nothing"):
        await containers.launch(config)
    assert not (config.sandbox / "ran").exists()
    assert f"{server.url}/nothing" in (config.sandbox / "stderr").read_text()
    assert list((runtime_dir / "containers").iterdir()) == []
    assert containers.counts.fetches_failed == 1


async def test_a_container_that_is_destroyed_while_it_fetches_is_not_started(
    containers: PosixContainerizer, configure: Configure, server: Server
) -> None:
    config = configure("touch ran", uris=[uri(f"{server.url}/slow")])
    launching = asyncio.create_task(containers.launch(config))
    await server.stalling.wait()
    await containers.destroy(config.container_id)
    with pytest.raises(LaunchError, match="destroyed"):
        await launching
    assert not (config.sandbox / "ran").exists()


async def test_a_cancelled_caller_returns_when_the_thread_has_let_go_of_its_files() -> None:
    started, let_go = threading.Event(), threading.Event()

    def work(worker: FileWorker) -> None:
        budget = Budget(1 << 60, worker.unwanted)
        started.set()
        try:
            while True:
                budget.spend(1)
        finally:
            let_go.set()

    async with FileWorker(None) as worker:
        working = asyncio.create_task(worker.run(work, worker))
        await asyncio.to_thread(started.wait)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert let_go.is_set()
