"""Files that a service shows: browsing, reading and downloading, as Mesos' `/files` endpoints do."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from aiohttp import web

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import InvalidRequest, NotFound
from mezzo_chassis.http.exchange import json_response

READ_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder, by the path under which it is shown."""

    path: str
    status: os.stat_result

    def document(self) -> dict[str, object]:
        """The form of `/files/browse`."""
        return {
            "gid": _group(self.status.st_gid),
            "mode": stat.filemode(self.status.st_mode),
            "mtime": float(int(self.status.st_mtime)),
            "nlink": self.status.st_nlink,
            "path": self.path,
            "size": self.status.st_size,
            "uid": _user(self.status.st_uid),
        }

    def message(self) -> mesos.FileInfo:
        """The form of LIST_FILES."""
        return mesos.FileInfo(
            path=self.path,
            nlink=self.status.st_nlink,
            size=self.status.st_size,
            mtime=mesos.TimeInfo(nanoseconds=int(self.status.st_mtime) * 10**9),
            mode=self.status.st_mode,
            uid=_user(self.status.st_uid),
            gid=_group(self.status.st_gid),
        )


class FileTree:
    """Folders shown under virtual paths. What is shown can never be left: neither by `..` nor by a link."""

    def __init__(self) -> None:
        self._roots: dict[str, Path] = {}

    def show(self, virtual: str, real: Path) -> None:
        """Show a folder, and all that is below it, as `virtual`."""
        self._roots["/" + virtual.strip("/")] = real

    def hide(self, virtual: str) -> None:
        self._roots.pop("/" + virtual.strip("/"), None)

    def resolve(self, virtual: str) -> Path:
        """The real path; raises `NotFound` for what is not there or not shown."""
        wanted = "/" + virtual.strip("/")
        for root, real in sorted(self._roots.items(), key=lambda each: -len(each[0])):
            if wanted == root or wanted.startswith(f"{root}/"):
                folder = real.resolve()
                path = (folder / wanted[len(root) :].lstrip("/")).resolve()
                if path.is_relative_to(folder) and path.exists():
                    return path
        raise NotFound("")

    def browse(self, virtual: str) -> list[Entry]:
        """What is in a folder, by name; a file is the only entry of itself."""
        path = self.resolve(virtual)
        shown = "/" + virtual.strip("/")
        if not path.is_dir():
            return [Entry(shown, path.stat())]
        with os.scandir(path) as found:
            entries = [Entry(f"{shown}/{each.name}", each.stat(follow_symlinks=False)) for each in found]
        return sorted(entries, key=lambda entry: entry.path)

    def read(self, virtual: str, offset: int, length: int | None) -> tuple[bytes, int]:
        """A part of a file, of at most `READ_BYTES_MAX`, and the size of the whole."""
        path = self.resolve(virtual)
        if path.is_dir():
            raise InvalidRequest("path", f"{virtual} is a folder")
        wanted = READ_BYTES_MAX if length is None else min(length, READ_BYTES_MAX)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(offset)
            return file.read(wanted), size


class FilesApi:
    """`/files/browse`, `/files/read` and `/files/download` over a tree."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    async def browse(self, request: web.Request) -> web.StreamResponse:
        path = required_path(request)
        try:
            entries = await asyncio.to_thread(self._tree.browse, path)
        except NotFound:
            return empty_not_found()
        return json_response(request, [entry.document() for entry in entries])

    async def read(self, request: web.Request) -> web.StreamResponse:
        """`offset=-1` asks for the size alone."""
        path = required_path(request)
        offset, length = whole_number(request, "offset"), whole_number(request, "length")
        if length is not None and length < -1:
            raise InvalidRequest("length", f"{length} is negative")
        try:
            data, size = await asyncio.to_thread(
                self._tree.read, path, max(0, offset or 0), None if length == -1 else length
            )
        except NotFound:
            return empty_not_found()
        if offset == -1:
            return json_response(request, {"data": "", "offset": size})
        return json_response(request, {"data": data.decode(errors="replace"), "offset": offset or 0})

    async def download(self, request: web.Request) -> web.StreamResponse:
        path = required_path(request)
        try:
            real = await asyncio.to_thread(self._tree.resolve, path)
        except NotFound:
            return empty_not_found()
        if await asyncio.to_thread(real.is_dir):
            raise InvalidRequest("path", f"{path} is a folder")
        return web.FileResponse(real, headers={"Content-Disposition": f"attachment; filename={real.name}"})


def required_path(request: web.Request) -> str:
    path = request.query.get("path")
    if not path:
        raise InvalidRequest("path", "is required in the query")
    return path


def whole_number(request: web.Request, name: str) -> int | None:
    """A number in the query; None where it is not given."""
    text = request.query.get(name)
    if text is None or text == "":
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidRequest(name, f"{text!r} is not a whole number") from None


def empty_not_found() -> web.Response:
    """What Mesos says of a file that is not there."""
    return web.Response(status=404, text="")


@lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@lru_cache(maxsize=1024)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
