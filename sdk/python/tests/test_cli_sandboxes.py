"""`mezzo get` on this side of a gateway, which may be anybody's: nothing is written elsewhere, and nothing half."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

import aiohttp
import pytest

from mezzo.cli.errors import ApiError
from mezzo.cli.sandboxes import Copied, Place, _copy, _target, find

TASK = {"id": "web-1", "framework_id": "F", "state": "TASK_RUNNING"}
FILES = {"stdout": b"out", "data/a": b"1", "data/deep/run": b"22"}


class Serving:
    """A gateway with the sandbox of one task: files by their paths, and besides them whatever is listed."""

    def __init__(self, files: dict[str, bytes], *listed: tuple[str, str], task_ids: tuple[str, ...] = ()) -> None:
        self.files = files
        self.listed = listed
        self.breaks = ""
        self.task_ids = task_ids

    async def rows(self, _path: str, *_keys: str, **_query: str) -> list[dict[str, Any]]:
        return [{**TASK, "id": each} for each in self.task_ids]

    async def get(self, _path: str, /, *, path: str) -> list[dict[str, Any]]:
        if path in self.files:
            return [self._entry(path, "-rw-r--r--")]
        found = {}
        for name in self.files:
            parts = PurePosixPath(name).parts
            above = PurePosixPath(path).parts
            if parts[: len(above)] == above:
                folder = len(parts) > len(above) + 1
                shown = "/".join(parts[: len(above) + 1])
                found[shown] = self._entry(shown, "drwxr-xr-x" if folder else "-rwxr-xr-x" if "run" in shown else "-r")
        if not path:
            found |= {name: self._entry(name, mode) for name, mode in self.listed}
        return list(found.values())

    @staticmethod
    def _entry(path: str, mode: str) -> dict[str, Any]:
        return {"path": path, "mode": mode, "size": 1, "mtime": 0.0, "uid": "u", "gid": "g"}

    async def stream(self, _path: str, /, *, path: str) -> AsyncIterator[bytes]:
        if path not in self.files:
            raise ApiError(404, f"file {path} not found")
        yield self.files[path][:1]
        if path == self.breaks:
            raise aiohttp.ClientPayloadError("cut off")
        yield self.files[path][1:]


async def copied(api: Serving, path: str, local: Path) -> Copied:
    place = Place(TASK, path)
    return await _copy(api, place, _target(place, local))  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_a_whole_sandbox_is_copied_into_a_folder_that_is_there_under_the_tasks_id(tmp_path: Path) -> None:
    done = await copied(Serving(FILES), "", tmp_path)
    assert (done.files, done.size, done.left_out, done.target) == (3, 6, 0, tmp_path / "web-1")
    assert content(tmp_path / "web-1") == FILES
    assert (tmp_path / "web-1" / "data" / "deep" / "run").stat().st_mode & stat.S_IXUSR
    assert not (tmp_path / "web-1" / "stdout").stat().st_mode & stat.S_IXUSR


async def test_a_path_that_ends_above_itself_is_not_copied_into_the_folder_above(tmp_path: Path) -> None:
    place = Place(TASK, "data/..")
    assert _target(place, tmp_path) == tmp_path / "web-1"


async def test_a_name_as_long_as_file_systems_take_is_copied(tmp_path: Path) -> None:
    name = "\u8a9e" * 85  # 255 bytes
    await copied(Serving({name: b"1"}), "", tmp_path / "copy")
    assert content(tmp_path / "copy") == {name: b"1"}


async def test_a_folder_and_a_file_get_the_name_that_is_given(tmp_path: Path) -> None:
    await copied(Serving(FILES), "data", tmp_path / "copy")
    assert content(tmp_path / "copy") == {"a": b"1", "deep/run": b"22"}
    await copied(Serving(FILES), "data/a", tmp_path / "copy" / "a")
    await copied(Serving({"data/a": b"new"}), "data/a", tmp_path / "copy")
    assert content(tmp_path / "copy")["a"] == b"new"


async def test_a_file_that_breaks_off_leaves_nothing_behind_and_what_was_there_before(tmp_path: Path) -> None:
    api = Serving(FILES)
    api.breaks = "stdout"
    (tmp_path / "stdout").write_text("before")
    with pytest.raises(aiohttp.ClientPayloadError):
        await copied(api, "stdout", tmp_path)
    assert content(tmp_path) == {"stdout": b"before"}


@pytest.mark.parametrize("name", ["..", ".", "", "a/../../b", "/etc/passwd", "a\0b", "sub/deep"])
async def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ApiError) as refused:
        await copied(Serving({}, (name, "-rw-r--r--")), "", tmp_path / "in")
    assert refused.value.status == 502
    assert content(tmp_path) == {}


async def test_nothing_is_written_through_a_link_that_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "data").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "copy" / "stdout").symlink_to(tmp_path / "elsewhere" / "stdout")
    with pytest.raises(ApiError, match="data is a link; it is not written through"):
        await _copy(Serving(FILES), Place(TASK, ""), tmp_path / "copy")  # type: ignore[arg-type]
    await _copy(Serving({"stdout": b"out"}), Place(TASK, ""), tmp_path / "copy")  # type: ignore[arg-type]
    assert content(tmp_path / "elsewhere") == {}
    assert (tmp_path / "copy" / "stdout").read_bytes() == b"out"
    assert not (tmp_path / "copy" / "stdout").is_symlink()


async def test_what_is_no_file_is_left_out_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = (("pipe", "prw-r--r--"), ("out", "lrwxrwxrwx"), ("secret", "-rw-------"))
    done = await copied(Serving({"stdout": b"out"}, *listed), "", tmp_path)
    assert (done.files, done.left_out) == (1, 3)
    assert capsys.readouterr().err.splitlines() == [
        "mezzo: pipe is left out: it is no regular file",
        "mezzo: out is left out: it links to a folder, or out of the sandbox",
        "mezzo: secret is left out: file secret not found",
    ]


async def test_a_folder_that_cannot_be_read_does_not_keep_the_rest_from_being_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Closed(Serving):
        async def get(self, _path: str, /, *, path: str) -> list[dict[str, Any]]:
            if path == "closed":
                raise ApiError(403, "the agent may not read closed")
            return await super().get(_path, path=path)

    done = await copied(Closed({"stdout": b"out"}, ("closed", "drwx------")), "", tmp_path / "copy")
    assert (content(tmp_path / "copy"), done.left_out) == ({"stdout": b"out"}, 1)
    assert capsys.readouterr().err == "mezzo: closed is left out: the agent may not read closed\n"


async def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "stdout").mkdir()
    with pytest.raises(ApiError, match="stdout is a folder"):
        await copied(Serving(FILES), "stdout", tmp_path)


@pytest.mark.parametrize(
    ("text", "task_id", "path"),
    [
        ("web", "web-1", ""),
        ("web:", "web-1", ""),
        ("web:/data/a/", "web-1", "data/a"),
        ("web:a:b", "web-1", "a:b"),
        ("job:1", "job:1", ""),
        ("job:1:x", "job:1", "x"),
    ],
)
async def test_a_place_is_a_task_and_a_path_even_where_the_id_has_colons(text: str, task_id: str, path: str) -> None:
    found = await find(Serving({}, task_ids=("web-1", "job:1")), text)  # type: ignore[arg-type]
    assert (found.task["id"], found.path) == (task_id, path)
