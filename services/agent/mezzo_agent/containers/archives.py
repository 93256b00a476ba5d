"""Unpacks archives that strangers made: nothing is written outside the given folder, and no more than a limit allows.

Left out are owners and the set-user-id, set-group-id and other-people-may-write bits. A path that climbs, a link that
might lead out, a device node or a FIFO makes the whole archive refused. Symbolic links are made last, so that nothing
in the archive is written through one.
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

from mezzo_agent.containers.budget import Budget, TooLarge
from mezzo_agent.containers.confined import ConfinedFolder, OutsideError, parts_of

MEMBERS_MAX = 1_000_000
LINK_BYTES_MAX = 4096
_CHUNK_BYTES = 1 << 20

_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class ArchiveError(Exception):
    """The archive is damaged, hostile, or too large; the message says which."""


def is_archive(name: str) -> bool:
    """Whether the name, by its ending, asks for the file to be unpacked."""
    return name.endswith((*_TAR_SUFFIXES, ".zip", ".gz"))


def unpack(file: IO[bytes], name: str, folder: Path, budget: Budget) -> None:
    """Unpacks a file, of which `name` says what kind it is, into the folder.

    A plain `.gz` becomes one file of the name without the ending. `budget` bounds what comes out. Raises ArchiveError,
    or OSError where the disk fails, or Unwanted; what was unpacked until then stays.
    """
    try:
        with ConfinedFolder(folder) as inside:
            unpacking = _Unpacking(inside, budget)
            if name.endswith(_TAR_SUFFIXES):
                unpacking.tar(file)
            elif name.endswith(".zip"):
                unpacking.zip(file)
            else:
                unpacking.gzip(file, name.removesuffix(".gz"))
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise ArchiveError(f"the archive is damaged: {error}") from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile: an unknown compression, a password
        raise ArchiveError(f"the archive cannot be read: {error}") from error
    except OutsideError as error:
        raise ArchiveError(str(error)) from error
    except TooLarge as error:
        raise ArchiveError(f"unpacked, {error}") from error


class _Unpacking:
    def __init__(self, inside: ConfinedFolder, budget: Budget) -> None:
        self._inside = inside
        self._budget = budget
        self._members = 0
        self._links: list[tuple[tuple[str, ...], str]] = []

    def tar(self, file: IO[bytes]) -> None:
        with tarfile.open(fileobj=file, mode="r:*") as archive:
            for member in archive:
                self._count_member()
                self._tar_member(archive, member)
        self._make_links()

    def _tar_member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = parts_of(member.name)
        if member.isdir():
            self._inside.make_folder(parts, _folder_mode(member.mode))
        elif member.isreg():
            content = archive.extractfile(member)
            if content is None:
                raise ArchiveError(f"'{member.name}' has no content")
            self._write(parts, content, member.mode, member.mtime)
        elif member.issym():
            self._links.append((parts, member.linkname))
        elif member.islnk():
            self._inside.make_hard_link(parts, parts_of(member.linkname))
        else:
            raise ArchiveError(f"'{member.name}' is a device node, a FIFO, or of a kind that has no place in a sandbox")

    def zip(self, file: IO[bytes]) -> None:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                self._count_member()
                self._zip_member(archive, member)
        self._make_links()

    def _zip_member(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        parts = parts_of(member.filename)
        mode = member.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if member.is_dir():
            self._inside.make_folder(parts)
            return
        with archive.open(member) as content:
            if kind == stat.S_IFLNK:
                target = content.read(LINK_BYTES_MAX + 1)
                if len(target) > LINK_BYTES_MAX:
                    raise ArchiveError(f"the link '{member.filename}' is longer than {LINK_BYTES_MAX} bytes")
                self._links.append((parts, os.fsdecode(target)))
            elif kind in (0, stat.S_IFREG):
                self._write(parts, content, mode or 0o644, None)
            else:
                raise ArchiveError(f"'{member.filename}' is a device node, or of a kind that has no place in a sandbox")

    def gzip(self, file: IO[bytes], name: str) -> None:
        with gzip.open(file, "rb") as content:
            self._write(parts_of(name), content, 0o644, None)

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
        if self._members > MEMBERS_MAX:
            raise ArchiveError(f"the archive has more than {MEMBERS_MAX} members")

    def _make_links(self) -> None:
        for parts, target in self._links:
            self._inside.make_symbolic_link(parts, target)


def _file_mode(mode: int) -> int:
    return (mode & 0o755) | 0o600


def _folder_mode(mode: int) -> int:
    return (mode & 0o755) | 0o700
