"""Writing inside one folder and nowhere else, whatever names and links somebody has put there or asks for.

Every step of a path is opened on its own, relative to the one before and without following links, so there is no
moment at which a link could be exchanged for a folder that has been looked at.

A symbolic link is made only if it cannot lead out: its target begins with at most as many `..` as the link lies deep,
and has none after that. Going up happens only at the start, from a real folder, and going down leads through real
folders or through links of the same kind; so what it reaches lies inside, however links are chained. (Looking where
a link leads, instead, would have to be done again for all links whenever one is added.)
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class OutsideError(Exception):
    """A name or a link would lead out of the folder."""


def parts_of(name: str) -> tuple[str, ...]:
    """Split a relative path into its steps.

    Raises:
        OutsideError: it is empty, climbs, or has a null character.
    """
    steps = tuple(step for step in name.split("/") if step not in {"", "."})
    if ".." in steps or "\0" in name:
        raise OutsideError(f"the path '{name}' leads out of the sandbox")
    return steps


class ConfinedFolder:
    """A folder that everything below stays in, to be used as a context manager.

    Raises:
        OSError: the file system refuses.
        OutsideError: a name or a link leads out of the folder.
    """

    def __init__(self, path: Path) -> None:
        self._root = os.open(path, _FOLDER)
        self.folders_made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._root)

    def make_folder(self, parts: Sequence[str], mode: int = 0o755) -> None:
        folder = self._descend(parts)
        try:
            if parts:
                os.fchmod(folder, mode)
        finally:
            os.close(folder)

    def create_file(self, parts: Sequence[str], mode: int = 0o644) -> int:
        """A descriptor for writing to a new file of that name; one that was there (a file or a link) is replaced."""
        folder, name = self._parent(parts)
        try:
            _unlink(folder, name)
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=folder)
        finally:
            os.close(folder)
        os.fchmod(descriptor, mode)  # whatever the umask took away
        return descriptor

    def open_file(self, parts: Sequence[str]) -> int:
        """A descriptor for reading a file that is there."""
        folder, name = self._parent(parts)
        try:
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)

    def append_file(self, parts: Sequence[str], mode: int = 0o640) -> int:
        folder, name = self._parent(parts)
        try:
            return os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, mode, dir_fd=folder)
        finally:
            os.close(folder)

    def make_symbolic_link(self, parts: Sequence[str], target: str) -> None:
        check_link(parts, target)
        folder, name = self._parent(parts)
        try:
            _unlink(folder, name)
            os.symlink(target, name, dir_fd=folder)
        finally:
            os.close(folder)

    def make_hard_link(self, parts: Sequence[str], source: Sequence[str]) -> None:
        """Another name for a file that lies in this folder too."""
        source_folder, source_name = self._parent(source)
        try:
            folder, name = self._parent(parts)
            try:
                if tuple(parts) != tuple(source):
                    _unlink(folder, name)
                    os.link(source_name, name, src_dir_fd=source_folder, dst_dir_fd=folder, follow_symlinks=False)
            finally:
                os.close(folder)
        finally:
            os.close(source_folder)

    def _parent(self, parts: Sequence[str]) -> tuple[int, str]:
        if not parts:
            raise OutsideError("the path names the sandbox itself")
        return self._descend(parts[:-1]), parts[-1]

    def _descend(self, parts: Sequence[str]) -> int:
        """A descriptor of the folder, which is made if it is not there. The caller closes it."""
        folder = os.dup(self._root)
        for step in parts:
            try:
                below = self._open_or_make(folder, step)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise OutsideError(f"'{'/'.join(parts)}' leads through '{step}', which is not a folder") from None
                raise
            finally:
                os.close(folder)
            folder = below
        return folder

    def _open_or_make(self, folder: int, name: str) -> int:
        try:
            return os.open(name, _FOLDER, dir_fd=folder)
        except FileNotFoundError:
            os.mkdir(name, 0o755, dir_fd=folder)
            self.folders_made += 1
            return os.open(name, _FOLDER, dir_fd=folder)


def check_link(parts: Sequence[str], target: str) -> None:
    """Check that a symbolic link at that place is sure to stay inside: see above.

    Raises:
        OutsideError: it is not.
    """
    where = "/".join(parts)
    if target.startswith("/") or not target:
        raise OutsideError(f"the link '{where}' leads out of the sandbox, to '{target}'")
    steps = [step for step in target.split("/") if step not in {"", "."}]
    climbs = 0
    while climbs < len(steps) and steps[climbs] == "..":
        climbs += 1
    if climbs > len(parts) - 1 or ".." in steps[climbs:]:
        raise OutsideError(f"the link '{where}' leads, or may lead, out of the sandbox, to '{target}'")


def _unlink(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
