"""Files of a sandbox, whatever its owner does there: nothing hangs, nothing is left, no bad name hides the others."""

import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from mezzo.errors import Forbidden, InvalidRequest, NotFound
from mezzo_chassis.http import file_tree
from mezzo_chassis.http.download import attachment, send_file
from mezzo_chassis.http.files import READ_BYTES_MAX, FilesApi, FileTree, text_of
from mezzo_chassis.http.routes import Routes
from mezzo_chassis.http.site import start_site


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    (folder / "stdout").write_text("0123456789")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "stdout").write_text("secret")
    return folder


@pytest.fixture
def tree(sandbox: Path) -> FileTree:
    shown = FileTree()
    shown.show("/sandbox", sandbox)
    return shown


@pytest.fixture
async def client(tree: FileTree) -> AsyncIterator[aiohttp.ClientSession]:
    routes, files = Routes("slave"), FilesApi(tree)
    routes.add("/files/browse", files.browse)
    routes.add("/files/read", files.read)
    routes.add("/files/download", files.download)
    site = await start_site(routes.application(), "127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}", auto_decompress=False) as session:
        yield session
    await site.stop()


def link_out(sandbox: Path) -> str:
    (sandbox / "link").symlink_to(sandbox.parent / "outside" / "stdout")
    return "link"


def linked_folder(sandbox: Path) -> str:
    (sandbox / "link").symlink_to("../outside")
    return "link/stdout"


def loop(sandbox: Path) -> str:
    (sandbox / "loop").symlink_to("loop")
    return "loop"


def dots(sandbox: Path) -> str:
    return "../outside/stdout"


def null_byte(sandbox: Path) -> str:
    return "stdout\0"


def long_name(sandbox: Path) -> str:
    return "x" * 300


def below_a_file(sandbox: Path) -> str:
    return "stdout/x"


def listening(sandbox: Path) -> str:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")  # beside the test's own folder: a full path may be too long for a socket
    return "socket"


@pytest.mark.parametrize("make", [link_out, linked_folder, loop, dots, null_byte, long_name, below_a_file, listening])
async def test_what_leads_out_or_nowhere_is_not_there(
    make: Callable[[Path], str],
    sandbox: Path,
    tree: FileTree,
    client: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(sandbox)
    virtual = f"/sandbox/{make(sandbox)}"
    with pytest.raises(NotFound):
        tree.open(virtual)
    for endpoint in ("read", "download"):
        async with client.get(f"/files/{endpoint}", params={"path": virtual}) as response:
            assert (response.status, await response.read()) == (404, b"")


async def test_links_within_a_sandbox_are_followed(sandbox: Path, tree: FileTree) -> None:
    (sandbox / "runs").mkdir()
    (sandbox / "runs" / "1").mkdir()
    (sandbox / "runs" / "1" / "stdout").write_text("first")
    (sandbox / "runs" / "latest").symlink_to(sandbox / "runs" / "1")
    assert tree.read("/sandbox/runs/latest/stdout", 0, None) == (b"first", 5)
    assert [entry.path for entry in tree.browse("/sandbox/runs/latest/")] == ["/sandbox/runs/latest/stdout"]


async def test_a_folder_of_too_many_entries_is_not_listed(
    sandbox: Path, tree: FileTree, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_tree, "FOLDER_ENTRIES_MAX", 3)
    for name in ("a", "b"):
        (sandbox / name).touch()
    assert len(tree.browse("/sandbox")) == 3
    (sandbox / "c").touch()
    async with client.get("/files/browse", params={"path": "/sandbox"}) as response:
        assert (response.status, await response.text()) == (400, "path: /sandbox has more than 3 entries")


class Raced(FileTree):
    """Somebody exchanges a folder just after its path has been found to be inside."""

    def __init__(self, exchange: Callable[[], None]) -> None:
        super().__init__()
        self._exchange = exchange

    def resolve(self, virtual: str) -> Path:
        path = super().resolve(virtual)
        self._exchange()
        return path


@pytest.mark.parametrize("what", ["below/stdout", "below"])
def test_a_link_that_replaces_a_folder_in_the_meantime_is_not_followed(what: str, sandbox: Path) -> None:
    below = sandbox / "below"

    def exchange() -> None:
        shutil.rmtree(below)
        below.symlink_to(sandbox.parent / "outside")

    tree = Raced(exchange)
    tree.show("/sandbox", sandbox)
    for method in (tree.open, tree.browse):
        below.unlink(missing_ok=True)
        below.mkdir()
        (below / "stdout").write_text("shown")
        with pytest.raises(NotFound):
            method(f"/sandbox/{what}")


async def test_a_pipe_is_no_file_and_holds_nobody_up(
    sandbox: Path, tree: FileTree, client: aiohttp.ClientSession
) -> None:
    os.mkfifo(sandbox / "pipe")
    for endpoint in ("read", "download"):
        async with client.get(f"/files/{endpoint}", params={"path": "/sandbox/pipe"}) as response:
            assert response.status == 400
            assert "no regular file" in await response.text()
    assert [entry.document()["mode"] for entry in tree.browse("/sandbox/pipe")] == ["prw-r--r--"]


async def test_a_name_that_is_no_text_hides_no_other(sandbox: Path, client: aiohttp.ClientSession) -> None:
    os.mknod(os.fsencode(sandbox) + b"/\xff.log")
    async with client.get("/files/browse", params={"path": "/sandbox"}) as response:
        assert [entry["path"] for entry in await response.json()] == ["/sandbox/stdout", "/sandbox/\ufffd.log"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_forbidden(sandbox: Path, tree: FileTree) -> None:
    (sandbox / "stdout").chmod(0)
    with pytest.raises(Forbidden):
        tree.open("/sandbox/stdout")


def test_a_part_is_bounded_and_behind_the_end_there_is_nothing(sandbox: Path, tree: FileTree) -> None:
    (sandbox / "large").write_bytes(b"x" * (READ_BYTES_MAX + 1))
    assert len(tree.read("/sandbox/large", 0, 10 * READ_BYTES_MAX)[0]) == READ_BYTES_MAX
    for offset in (10, 11, 2**64):
        assert tree.read("/sandbox/stdout", offset, None) == (b"", 10)
    with pytest.raises(InvalidRequest, match="is a directory"):
        tree.read("/sandbox", 0, None)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("offset=-2", "offset: -2 is negative"),
        ("length=-2", "length: -2 is negative"),
        (f"offset={10**18}0", "offset: is too large"),
        (f"offset={10**30}", f"offset: '{10**30}' must be an integer"),
        ("offset=", "offset: '' must be an integer"),
        ("length=", "length: '' must be an integer"),
        ("offset=1_0", "offset: '1_0' must be an integer"),
        ("offset=%D9%A3", "offset: '\u0663' must be an integer"),
    ],
)
async def test_offsets_and_lengths_that_make_no_sense(query: str, text: str, client: aiohttp.ClientSession) -> None:
    async with client.get(f"/files/read?path=/sandbox/stdout&{query}") as response:
        assert (response.status, await response.text()) == (400, text)


@pytest.mark.parametrize(
    ("query", "data", "offset"),
    [
        ("", "", 10),  # the size, and no data: how clients that follow a file begin
        ("&length=4", "", 10),
        ("&offset=-1", "", 10),
        ("&offset=-1&length=-1", "", 10),
        ("&offset=0", "0123456789", 0),
        ("&offset=3&length=-1", "3456789", 3),
        ("&offset=3&length=2", "34", 3),
        ("&offset=3&length=0", "", 3),
        ("&offset=10", "", 10),
        ("&offset=99999", "", 99999),
    ],
)
async def test_a_part_is_what_mesos_makes_of_offset_and_length(
    query: str, data: str, offset: int, client: aiohttp.ClientSession
) -> None:
    for path in ("/sandbox/stdout", "file:///sandbox/stdout"):
        async with client.get(f"/files/read?path={path}{query}") as response:
            assert (response.status, await response.json()) == (200, {"data": data, "offset": offset})


def test_a_character_that_is_cut_in_two_is_left_to_the_next_part() -> None:
    data = "aé€𝄞".encode()
    for cut in range(len(data) + 1):
        first = text_of(data[:cut])
        assert "aé€𝄞".startswith(first) or cut == 0
        assert first + text_of(data[len(first.encode()) :]) == "aé€𝄞"
    assert text_of(b"\xff") == "\ufffd"
    assert text_of(b"\xe2\x82") == "\ufffd"  # nothing else is there: who asks again would get the same


@pytest.mark.parametrize(
    ("wanted", "status", "content", "content_range"),
    [
        (None, 200, b"0123456789", None),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"Range: the file has 10 bytes", "bytes */10"),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
async def test_a_download_sends_the_part_that_is_wanted(
    wanted: str | None, status: int, content: bytes, content_range: str | None, client: aiohttp.ClientSession
) -> None:
    headers = {"Range": wanted} if wanted else {}
    async with client.get("/files/download?path=/sandbox/stdout", headers=headers) as response:
        assert (response.status, await response.read()) == (status, content)
        assert response.headers.get("Content-Range") == content_range
    async with client.head("/files/download?path=/sandbox/stdout") as response:
        assert (response.status, response.headers["Content-Length"]) == (200, "10")


async def test_a_download_is_the_file_itself_and_never_another_beside_it(
    sandbox: Path, client: aiohttp.ClientSession
) -> None:
    (sandbox / "stdout.gz").write_bytes(b"another")
    async with client.get("/files/download?path=/sandbox/stdout", headers={"Accept-Encoding": "gzip"}) as response:
        assert (response.headers.get("Content-Encoding"), await response.read()) == (None, b"0123456789")


async def test_a_download_is_called_what_the_file_is_called(sandbox: Path, client: aiohttp.ClientSession) -> None:
    name = 'a "b";\r\nX-Evil: 1 ü'
    (sandbox / name).write_text("x")
    url = URL("/files/download").with_query(path=f"/sandbox/{name}")
    async with client.get(url) as response:
        assert await response.read() == b"x"
        assert "X-Evil" not in response.headers
        disposition = response.headers["Content-Disposition"]
    plain = '"a _b_;__X-Evil: 1 _"'
    assert disposition == f"attachment; filename={plain}; filename*=UTF-8''a%20%22b%22%3B%0D%0AX-Evil%3A%201%20%C3%BC"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("stdout", "stdout"),  # as Mesos writes it, for clients that take all that follows for the name
        ("stdout.1", "stdout.1"),
        ("core of the matter", '"core of the matter"'),
        ("100%41", "100_41"),
        ("c:\\x", '"c:_x"'),
        ("日本", "__"),
        ("\udcff.log", "_.log"),
    ],
)
def test_a_name_is_told_to_clients_that_read_no_encoded_one(name: str, plain: str) -> None:
    assert attachment(name).startswith(f"attachment; filename={plain}; filename*=UTF-8''")


async def test_a_file_that_becomes_shorter_while_it_is_sent_is_not_taken_for_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"

    class Shrinking:
        """A file that is truncated once its size has been told."""

        def __init__(self, file: BinaryIO) -> None:
            self._file = file

        def seek(self, offset: int) -> int:
            os.truncate(path, 5)
            return self._file.seek(offset)

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    async def send(request: web.Request) -> web.StreamResponse:
        path.write_bytes(b"0123456789")
        with path.open("rb") as file:
            return await send_file(request, Shrinking(file), "log")  # type: ignore[arg-type]

    routes = Routes("slave")
    routes.add("/log", send)
    site = await start_site(routes.application(), "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as session, session.get("/log") as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
    finally:
        await site.stop()
