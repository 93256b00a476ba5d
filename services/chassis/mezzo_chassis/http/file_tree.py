"""Folders shown under virtual paths, which nobody can leave."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import Forbidden, InvalidRequest, NotFound

READ_BYTES_MAX = 16 * 4096
"""Of a file in one answer: sixteen pages, as in Mesos (src/files/files.cpp). Whoever wants more asks again."""
FOLDER_ENTRIES_MAX = 100_000
"""Of a folder that is listed: each takes half a kilobyte here, and whoever runs in a sandbox may make millions."""

# Searched, not read, where the system knows the difference.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe without a writer would be waited for.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}


def without_scheme(path: str) -> str:
    """A path that may be written as a `file://` URI: so in all calls and endpoints of Mesos that name a file."""
    return path.removeprefix("file://")


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
    """Folders shown under virtual paths. What is shown can never be left: neither by `..` nor by a link.

    Whoever runs in a sandbox may do there what he likes, also while it is read: exchange a folder for a link, or put a
    pipe where a file was. All methods block; all raise `NotFound` for what is not there or not shown, and `Forbidden`
    for what this process may not read.
    """

    def __init__(self) -> None:
        self._roots: dict[str, Path] = {}

    def show(self, virtual: str, real: Path) -> None:
        """Show a folder, and all that is below it, as `virtual`."""
        self._roots["/" + virtual.strip("/")] = real

    def hide(self, virtual: str) -> None:
        self._roots.pop("/" + virtual.strip("/"), None)

    def resolve(self, virtual: str) -> Path:
        """The real path, without any link in it."""
        wanted = "/" + virtual.strip("/")
        if "\0" in wanted:
            raise NotFound("")
        for root, real in sorted(self._roots.items(), key=lambda each: -len(each[0])):
            if wanted == root or wanted.startswith(f"{root}/"):
                with _refusals(virtual):
                    folder = os.path.realpath(real, strict=True)
                    path = Path(os.path.realpath(f"{folder}/{wanted[len(root) :]}", strict=True))
                    if path.is_relative_to(folder):
                        return path
        raise NotFound("")

    def browse(self, virtual: str) -> list[Entry]:
        """What is in a folder, by name; a file is the only entry of itself.

        Raises `InvalidRequest` for a folder of more than `FOLDER_ENTRIES_MAX` entries.
        """
        path = self.resolve(virtual)
        shown = "/" + virtual.strip("/")
        with _refusals(virtual):
            descriptor = _open_without_links(path)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISDIR(status.st_mode):
                return [Entry(shown, status)]
            entries = list(islice(_entries(descriptor, shown), FOLDER_ENTRIES_MAX + 1))
            if len(entries) > FOLDER_ENTRIES_MAX:
                raise InvalidRequest("path", f"{virtual} has more than {FOLDER_ENTRIES_MAX} entries")
            return sorted(entries, key=lambda entry: entry.path)
        finally:
            os.close(descriptor)

    def open(self, virtual: str) -> BinaryIO:
        """A file, to be read. Raises `InvalidRequest` for what is there and no regular file."""
        path = self.resolve(virtual)
        with _refusals(virtual):
            descriptor = _open_without_links(path)
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            raise InvalidRequest("path", f"{virtual} is {'a directory' if stat.S_ISDIR(mode) else 'no regular file'}")
        return os.fdopen(descriptor, "rb")

    def read(self, virtual: str, offset: int, length: int | None) -> tuple[bytes, int]:
        """A part of a file, of at most `READ_BYTES_MAX`, and the size of the whole."""
        wanted = READ_BYTES_MAX if length is None else min(length, READ_BYTES_MAX)
        with self.open(virtual) as file:
            size = os.fstat(file.fileno()).st_size
            if offset >= size:
                return b"", size
            file.seek(offset)
            return file.read(wanted), size


@contextmanager
def _refusals(virtual: str) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise Forbidden(f"{virtual} may not be read") from None
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        raise NotFound("") from None


def _open_without_links(path: Path) -> int:
    """A descriptor of what a path without links names.

    The path is walked again, folder by folder: where somebody has put a link into it since it was resolved, it fails
    instead of following the link to wherever it leads.
    """
    folder = os.open(path.anchor, _FOLDER)
    try:
        for part in path.parts[1:-1]:
            below = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(path.name or ".", _FILE, dir_fd=folder)
    finally:
        os.close(folder)


def _entries(descriptor: int, shown: str) -> Iterator[Entry]:
    with os.scandir(descriptor) as found:
        for each in found:
            try:
                status = each.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it went while the folder was read
            # A name is any bytes; what is shown is text.
            yield Entry(f"{shown}/{os.fsencode(each.name).decode(errors='replace')}", status)


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
