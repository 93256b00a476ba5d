"""Keeps a task's stdout and stderr from filling the disk, without standing between the task and its files.

The task writes to its files itself (opened with O_APPEND), so its output never depends on the agent being alive. When
a file has grown beyond its limit, the agent copies the head of it to `stdout.1` (the older ones move on to `stdout.2`
and so on) and cuts that head off. Nothing that the task writes meanwhile is lost or written twice:

- Where the file system can (ext4, XFS), the head is cut off with fallocate(FALLOC_FL_COLLAPSE_RANGE): in whole blocks,
  atomically against appending writers, who notice nothing.
- Elsewhere the container's processes are stopped (SIGSTOP) while what has come since is copied and the file truncated.

The files are one stream cut at block boundaries: a line may begin in `stdout.1` and end in `stdout`. How much has been
cut off stands in an extended attribute of the file, where the file system has those: `log_stream` tells by it where in
the stream a file begins. If the agent is killed in the instant between keeping a copy and cutting the head off, that
head stands in both. A program that opens its log again by name and without O_APPEND is beyond this module.
"""

import asyncio
import ctypes
import errno
import os
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from mezzo_agent.containers.posix.processes import ProcessId, stopped

_log = structlog.get_logger(__name__)

_COLLAPSE_RANGE = 0x08
_CANNOT_COLLAPSE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

ROTATING = threading.Lock()
"""Held while files are renamed and a head is cut off, and by whoever reads several of them as one stream."""

_CUT_ATTRIBUTE = "user.mezzo.cut"
_CUT_MAX = 1 << 60

CHECK_INTERVAL_SECS = 1.0
"""How often sizes are looked at. A task that writes w bytes a second exceeds its limit by up to w for that long."""


@dataclass(frozen=True, slots=True)
class LogLimit:
    """A file is rotated when it has reached `bytes_max`; `files_max` older ones, as large at most, are kept."""

    bytes_max: int = 10 << 20
    files_max: int = 2

    def __post_init__(self) -> None:
        if self.bytes_max < os.sysconf("SC_PAGE_SIZE"):
            raise ValueError(f"maximum size of a log file must be at least one page, not {self.bytes_max} bytes")
        if self.files_max < 0:
            raise ValueError("maximum number of rotated log files must not be negative")


def rotate(sandbox: Path, name: str, limit: LogLimit, quiet: Callable[[], AbstractContextManager[None]]) -> int:
    """Rotate one log file if it is too large; return how many bytes were cut off its head.

    `quiet` keeps every process that may write to the file from doing so; entered only where collapsing is impossible.
    The task may have put anything into its sandbox: no link is followed, and a file of another owner is left alone.

    Raises:
        OSError: it cannot be rotated.
    """
    with _opened(sandbox, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) as folder:
        try:
            log = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except FileNotFoundError:
            return 0
        with _closing(log):
            found = os.fstat(log)
            if found.st_size < limit.bytes_max or not stat.S_ISREG(found.st_mode):
                return 0
            if found.st_uid != os.fstat(folder).st_uid:
                return 0
            rotation = _Rotation(folder, name, log, limit)
            try:
                return rotation.by_collapsing(found.st_size)
            except OSError as error:
                if error.errno not in _CANNOT_COLLAPSE:
                    raise
            with quiet():
                return rotation.by_truncating()


def bytes_cut(log: int) -> int:
    """How many bytes have been cut off the head of a log file; 0 where nobody says."""
    try:
        # Its task may have written anything there.
        return min(max(0, int(os.getxattr(log, _CUT_ATTRIBUTE))), _CUT_MAX)
    except (OSError, ValueError):
        return 0


class _Rotation:
    def __init__(self, folder: int, name: str, log: int, limit: LogLimit) -> None:
        self.folder = folder
        self.name = name
        self.log = log
        self.limit = limit

    def by_collapsing(self, size: int) -> int:
        block = os.fstatvfs(self.log).f_bsize
        head = (size - 1) // block * block  # what is left must not be empty: fallocate(2)
        if head == 0:
            return 0
        self._probe(block)
        pieces = self._copy_pieces(head)
        with ROTATING:
            self._move_on(pieces)
            _collapse(self.log, head)
            self._count(head)
        return head

    def by_truncating(self) -> int:
        size = os.fstat(self.log).st_size
        pieces = self._copy_pieces(size)
        with ROTATING:
            self._move_on(pieces)
            os.ftruncate(self.log, 0)
            self._count(size)
        return size

    def _count(self, head: int) -> None:
        try:
            os.setxattr(self.log, _CUT_ATTRIBUTE, str(bytes_cut(self.log) + head).encode())
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise

    def _probe(self, block: int) -> None:
        """Find out whether the file system can collapse, before anything is copied: on an empty file.

        Raises:
            OSError: it cannot.
        """
        with _closing(os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600, dir_fd=self.folder)) as probe:
            os.ftruncate(probe, 2 * block)
            _collapse(probe, block)

    def _copy_pieces(self, head: int) -> int:
        """Copy the newest of the first `head` bytes beside the log; return into how many files."""
        pieces = self._pieces(head)
        for number, (start, end) in enumerate(pieces):
            self._copy(start, end, f".{self.name}.new-{number}")
        return len(pieces)

    def _move_on(self, pieces: int) -> None:
        """The copies become stdout.1, stdout.2, …; what was there moves on."""
        for number in range(self.limit.files_max - pieces, 0, -1):
            with suppress(FileNotFoundError):
                self._rename(f"{self.name}.{number}", f"{self.name}.{number + pieces}")
        for number in range(pieces):
            self._rename(f".{self.name}.new-{number}", f"{self.name}.{number + 1}")

    def _pieces(self, head: int) -> list[tuple[int, int]]:
        """Ranges of at most `bytes_max` bytes, the newest first, and no more than may be kept."""
        pieces: list[tuple[int, int]] = []
        end = head
        while end > 0 and len(pieces) < self.limit.files_max:
            start = max(0, end - self.limit.bytes_max)
            pieces.append((start, end))
            end = start
        return pieces

    def _copy(self, start: int, end: int, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.folder)  # of an agent that died while it copied
        copy = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640, dir_fd=self.folder)
        with _closing(copy):
            owner = os.fstat(self.log)
            os.fchown(copy, owner.st_uid, owner.st_gid)
            while start < end:
                copied = os.sendfile(copy, self.log, start, end - start)
                if copied == 0:
                    raise OSError(errno.EIO, "the log file became shorter while it was copied", self.name)
                start += copied

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self.folder, dst_dir_fd=self.folder)


def _collapse(descriptor: int, length: int) -> None:
    if _libc.fallocate(descriptor, _COLLAPSE_RANGE, 0, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "fallocate")


class _closing:  # noqa: N801  used like contextlib.closing, for a descriptor
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> int:
        return self.descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def _opened(path: Path, flags: int) -> _closing:
    return _closing(os.open(path, flags))


class LogRotation:
    """Looks after the logs of every running container, in one pass for all of them, off the event loop."""

    def __init__(self, limits: Mapping[str, LogLimit], interval_secs: float = CHECK_INTERVAL_SECS) -> None:
        self._limits = dict(limits)
        self._interval_secs = interval_secs
        self._watched: dict[str, tuple[Path, ProcessId]] = {}

    def watch(self, container: str, sandbox: Path, monitor: ProcessId) -> None:
        self._watched[container] = (sandbox, monitor)

    def forget(self, container: str) -> None:
        self._watched.pop(container, None)

    async def run(self) -> None:
        """Run until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval_secs)
            await asyncio.to_thread(self.check, list(self._watched.values()))

    def check(self, watched: list[tuple[Path, ProcessId]]) -> None:
        """Never raises: one file that cannot be rotated must not keep the others from it."""
        for sandbox, monitor in watched:
            for name, limit in self._limits.items():
                try:
                    self._check_file(sandbox, name, limit, monitor)
                except Exception:  # noqa: BLE001  the others are still to be looked at
                    _log.exception("log rotation failed with an unexpected error", sandbox=str(sandbox), name=name)

    def _check_file(self, sandbox: Path, name: str, limit: LogLimit, monitor: ProcessId) -> None:
        try:
            if os.lstat(f"{sandbox}/{name}").st_size >= limit.bytes_max:
                rotate(sandbox, name, limit, partial(stopped, monitor))
        except FileNotFoundError:
            return  # the task removed it, or the sandbox has been collected meanwhile
        except OSError as error:
            _log.warning("cannot rotate a log file", sandbox=str(sandbox), name=name, error=str(error))
