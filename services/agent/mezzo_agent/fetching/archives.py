"""Unpacks archives that strangers made: nothing is written outside the given folder, and no more than a limit allows.

Left out are owners and the set-user-id, set-group-id and other-people-may-write bits. A path that climbs, a link that
might lead out, a device node or a FIFO makes the whole archive refused. Symbolic links are made last, so that nothing
in the archive is written through one.

The libraries below read some of what an archive holds (long names, extended headers, a zip's directory, a dictionary)
into memory, as much as the archive says there is. So this runs in a process of its own whose memory is limited:
unpacker.py.
"""

import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Protocol

from mezzo_agent.fetching.budget import Budget, TooLarge
from mezzo_agent.fetching.confined import ConfinedFolder, OutsideError, parts_of

MEMBERS_MAX = 1_000_000
"""Files, folders and links, with the folders that are made because a name mentions them."""
PATH_BYTES_MAX = 4096
"""Of a member's name, and of what a link leads to: PATH_MAX of Linux."""
SHOWN_CHARS_MAX = 200
_CHUNK_BYTES = 1 << 20

_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class ArchiveError(Exception):
    """The archive is damaged, hostile, or too large; the message says which."""


def is_archive(name: str) -> bool:
    """Whether the name, by its ending, asks for the file to be unpacked."""
    return name.endswith((*_TAR_SUFFIXES, ".zip", ".gz"))


def unpack(file: IO[bytes], name: str, folder: Path, budget: Budget, members_max: int = MEMBERS_MAX) -> None:
    """Unpack a file, of which `name` says what kind it is, into the folder.

    A plain `.gz` becomes one file of the name without the ending. `budget` bounds what comes out, and is asked before
    each member. What was unpacked before a failure stays.

    Raises:
        ArchiveError: the archive is damaged, hostile or too large.
        MemoryError: the process may have no more.
        OSError: the disk fails.
    """
    try:
        with ConfinedFolder(folder) as inside:
            unpacking = _Unpacking(inside, budget, members_max)
            if name.endswith(_TAR_SUFFIXES):
                unpacking.tar(file)
            elif name.endswith(".zip"):
                unpacking.zip(file)
            else:
                unpacking.gzip(file, name.removesuffix(".gz"))
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise ArchiveError(f"the archive is damaged: {shown(str(error))}") from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile: an unknown compression, a password
        raise ArchiveError(f"the archive cannot be read: {shown(str(error))}") from error
    except OutsideError as error:
        raise ArchiveError(str(error)) from error
    except TooLarge as error:
        raise ArchiveError(f"the archive expands to more than {error.bytes_max} bytes") from error


class _Unpacking:
    def __init__(self, inside: ConfinedFolder, budget: Budget, members_max: int) -> None:
        self._inside = inside
        self._budget = budget
        self._members_max = members_max
        self._members = 0
        self._links: list[tuple[tuple[str, ...], str]] = []

    def tar(self, file: IO[bytes]) -> None:
        with tarfile.open(fileobj=file, mode="r:*") as archive:
            while (member := archive.next()) is not None:
                # It would keep them all, and nothing here goes back to one.
                archive.members.clear()  # type: ignore[attr-defined]
                self._count_member()
                self._tar_member(archive, member)
        self._make_links()

    def _tar_member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = _path_of(member.name)
        if member.isdir():
            self._inside.make_folder(parts, _folder_mode(member.mode))
        elif member.isreg():
            content = archive.extractfile(member)
            if content is None:
                raise ArchiveError(f"'{shown(member.name)}' has no content")
            self._write(parts, content, member.mode, member.mtime)
        elif member.issym():
            self._add_link(parts, member.linkname)
        elif member.islnk():
            self._inside.make_hard_link(parts, _path_of(member.linkname))
        else:
            raise _unfit(member.name)

    def zip(self, file: IO[bytes]) -> None:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                self._count_member()
                self._zip_member(archive, member)
        self._make_links()

    def _zip_member(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        parts = _path_of(member.filename)
        mode = member.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if member.is_dir():
            self._inside.make_folder(parts)
            return
        with archive.open(member) as content:
            if kind == stat.S_IFLNK:
                self._add_link(parts, os.fsdecode(content.read(PATH_BYTES_MAX + 1)))
            elif kind in (0, stat.S_IFREG):
                self._write(parts, content, mode or 0o644, None)
            else:
                raise _unfit(member.filename)

    def gzip(self, file: IO[bytes], name: str) -> None:
        with gzip.open(file, "rb") as content:
            self._write(_path_of(name), content, 0o644, None)

    def _write(self, parts: tuple[str, ...], content: _Readable, mode: int, modified: float | None) -> None:
        descriptor = self._inside.create_file(parts, _file_mode(mode))
        with open(descriptor, "wb", buffering=0) as out:
            while chunk := content.read(_CHUNK_BYTES):
                self._budget.spend(len(chunk))
                out.write(chunk)
            if modified is not None and 0 <= modified < 1 << 40:
                os.utime(descriptor, (modified, modified))

    def _count_member(self) -> None:
        self._members += 1
        if self._members + self._inside.folders_made > self._members_max:
            raise ArchiveError(f"the archive has more than {self._members_max} files, folders and links")
        self._budget.spend(0)

    def _add_link(self, parts: tuple[str, ...], target: str) -> None:
        if len(os.fsencode(target)) > PATH_BYTES_MAX:
            raise ArchiveError(
                f"the link '{shown('/'.join(parts))}' leads to a path of more than {PATH_BYTES_MAX} bytes"
            )
        self._links.append((parts, target))

    def _make_links(self) -> None:
        for parts, target in self._links:
            self._inside.make_symbolic_link(parts, target)


def shown(text: str) -> str:
    """What an error tells of a text that a stranger made."""
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"


def _path_of(name: str) -> tuple[str, ...]:
    if len(os.fsencode(name)) > PATH_BYTES_MAX:
        raise ArchiveError(f"the path '{shown(name)}' has more than {PATH_BYTES_MAX} bytes")
    return parts_of(name)


def _unfit(name: str) -> ArchiveError:
    return ArchiveError(f"'{shown(name)}' is a device node, a FIFO, or of another kind that is refused")


def _file_mode(mode: int) -> int:
    return (mode & 0o755) | 0o600


def _folder_mode(mode: int) -> int:
    return (mode & 0o755) | 0o700
