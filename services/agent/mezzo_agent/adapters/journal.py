"""The journal: what the agent has to know after `kill -9` at any instant.

    <work_dir>/meta/lock                    held by the agent process that uses this work_dir
    <work_dir>/meta/journal.<n>             the records; of several the highest number counts
    <work_dir>/meta/journal.<n>-torn        copy of a file that ended with an append that was not finished
    <work_dir>/meta/journal.<n>-damaged     copy of a file that cannot be read to its end, or of one before it

The file is only ever appended to, and replaced as a whole by a shorter one that leads to the same state. What stands in
it is told in journal_format.py.

Every commit is written before it returns, so that no death of the process loses it, and nearly every one is synced, so
that no death of the machine does. Acknowledgements alone are synced with the commit that follows: should the machine
lose one, the update is sent, and acknowledged, once more.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from mezzo import private_files
from mezzo.agent.v1.checkpoint_pb2 import CheckpointRecord
from mezzo_agent.adapters import journal_format
from mezzo_chassis import trace
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.log import get_logger

REWRITE_BYTES_MIN = 8 << 20
"""The journal is not rewritten before it has grown by this much, and by as much again as its last rewriting had."""
ROOM_BYTES = 256 << 10
"""How much the file grows at a time, in zeros: appends overwrite them."""
UNSYNCED_RECORDS_MAX = 64
"""How many records wait for a commit that is synced; with one more they are synced themselves."""
_MAY_WAIT = ("acknowledgement", "executor_removed", "framework_removed")
"""What is only ever the end of something: if it is lost, that ends again."""
COPIES_MAX = 5
"""How many torn or damaged files are kept; the oldest go first."""
_COPY = re.compile(r"journal\.\d+-(torn|damaged)(-\d+)?")

log = get_logger(__name__)


class DamagedJournal(Exception):
    """Something that was on the disk once cannot be read; its end merely torn off is no damage."""


class Journal:
    """Appends batches and syncs each at most once, in one thread; never two things at a time."""

    def __init__(self, meta: Path) -> None:
        self._meta = meta
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._file = -1
        self._lock = -1
        self._number = 0
        self._salt = b""
        # Up to here it is synced; the unsynced records are written behind it, and again with the next commit.
        self._good_bytes = 0
        self._unsynced: list[bytes] = []
        # The file's length, zeros included.
        self._file_bytes = 0
        self._base_bytes = 0
        # An append failed, and what it wrote is still there.
        self._unclean = False

    def open(self, *, strict: bool) -> tuple[list[CheckpointRecord], str]:
        """Read what an earlier process left; also what is damaged, where `strict` is off.

        Raises `StartupError`: another agent uses this folder, it cannot be written, or (strict) it is damaged.
        """
        try:
            # The users of tasks pass through the work_dir, but not through this folder.
            self._meta.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._meta.mkdir(mode=private_files.FOLDER_MODE, exist_ok=True)
            self._lock = os.open(self._meta / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._open(strict)
        except BlockingIOError:
            raise StartupError(
                Exit.UNWRITABLE, f"another agent uses --work_dir {self._meta.parent}; each agent needs its own"
            ) from None
        except DamagedJournal as error:
            raise StartupError(
                Exit.INCOMPATIBLE_STATE,
                f"{error}; --strict=false recovers the intact records and discards the others",
            ) from None
        except OSError as error:
            what = error.filename or self._meta
            raise StartupError(Exit.UNWRITABLE, f"cannot use {what}: {error.strerror}") from None

    def _open(self, strict: bool) -> tuple[list[CheckpointRecord], str]:
        found = sorted(
            (int(path.suffix[1:]), path) for path in self._meta.glob("journal.*") if path.suffix[1:].isdigit()
        )
        for leftover in self._meta.glob("journal.*.new"):
            leftover.unlink()
        if not found:
            self._create([])
            return [], ""
        self._number, path = found[-1]
        contents = journal_format.read(path.read_bytes())
        damage = f"{path} is damaged: {contents.damage}" if contents.damage else ""
        if damage and strict:
            raise DamagedJournal(damage)
        if damage:
            # The files before it were to be removed: what they hold is in this one, where that can be read.
            for _, each in found:
                self._keep(each, "damaged")
        elif contents.torn_bytes:
            copy = self._keep(path, "torn")
            log.warning(
                "journal ends with an incomplete append; discarded it",
                journal=str(path),
                torn_bytes=contents.torn_bytes,
                copy=str(copy),
            )
        if damage or contents.torn_bytes or contents.version != journal_format.VERSION:
            self._create(contents.records)
        else:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            os.fdatasync(self._file)  # an earlier process may not have come to that
            self._salt = contents.salt
            self._good_bytes = self._base_bytes = contents.good_bytes
            self._file_bytes = os.fstat(self._file).st_size
        for _, old in found[:-1]:
            old.unlink()
        return contents.records, damage

    def _keep(self, path: Path, what: str) -> Path:
        """A copy of the file beside it; returns its name. The oldest copies are removed."""
        for number in itertools.count(1):
            copy = path.with_name(f"{path.name}-{what}" + (f"-{number}" if number > 1 else ""))
            try:
                _copy(path, copy)
            except FileExistsError:
                if copy.samefile(path):
                    break  # by an agent that died just afterwards
            else:
                break
        _sync_folder(self._meta)
        copies = [each for each in self._meta.iterdir() if _COPY.fullmatch(each.name)]
        copies.sort(key=lambda each: (each.stat().st_ctime_ns, each.name))
        for old in copies[:-COPIES_MAX]:
            old.unlink()
        return copy

    @property
    def grown(self) -> bool:
        """Whether it pays to rewrite it."""
        return self._good_bytes - self._base_bytes > max(REWRITE_BYTES_MIN, self._base_bytes)

    async def commit(self, records: Sequence[CheckpointRecord]) -> None:
        """Return when they are on the disk, all of them. Raises OSError, and then none of them is."""
        if self.write(records):
            return
        for record in records:
            trace.hop("decided", record)
        frames = self._frames([record.SerializeToString() for record in records])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._append, frames)
        for record in records:
            trace.hop("on disk", record)

    def write(self, records: Sequence[CheckpointRecord]) -> bool:
        """Write records that may wait to be synced, at once. False, with nothing done, where any has to be committed.

        Raises:
            OSError: none of them is written.
        """
        if any(record.WhichOneof("record") not in _MAY_WAIT for record in records):
            return False
        serialised = [record.SerializeToString() for record in records]
        frames = self._frames(serialised)
        if not self._may_wait(records, frames):
            return False
        for record in records:
            trace.hop("decided", record)
        self._write(frames)
        self._unsynced += serialised
        for record in records:
            trace.hop("written", record)
        return True

    def _frames(self, records: Sequence[bytes]) -> list[bytes]:
        """What is to be written behind the synced part: it includes what is written there and not synced."""
        frames: list[bytes] = []
        position = self._good_bytes
        for body in journal_format.appends([*self._unsynced, *records]):
            frames.append(journal_format.frame(body, self._salt, position))
            position += len(frames[-1])
        return frames

    def _may_wait(self, records: Sequence[CheckpointRecord], frames: Sequence[bytes]) -> bool:
        """Whether what may wait is quickly written into the room that there is."""
        return (
            not self._unclean
            and len(frames) == 1
            and self._good_bytes + len(frames[0]) <= self._file_bytes
            and len(self._unsynced) + len(records) <= UNSYNCED_RECORDS_MAX
        )

    async def rewrite(self, records: Iterable[CheckpointRecord]) -> None:
        """Replace the whole by a shorter journal. Raises OSError, and then the old one stays."""
        snapshot = list(records)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._create, snapshot)

    def _append(self, frames: Sequence[bytes]) -> None:
        self._make_room(sum(map(len, frames)))
        self._write(frames, sync=True)
        self._good_bytes += sum(map(len, frames))
        self._file_bytes = max(self._file_bytes, self._good_bytes)
        self._unsynced.clear()

    def _make_room(self, length: int) -> None:
        """Lengthen the file by zeros, if it has not got so much room and the disk has."""
        wanted = self._good_bytes + length
        if wanted <= self._file_bytes:
            return
        zeros = bytes(wanted + ROOM_BYTES - self._file_bytes)
        try:
            _write_all(self._file, zeros, self._file_bytes)
            os.fsync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._file_bytes)
        else:
            self._file_bytes += len(zeros)

    def _write(self, frames: Sequence[bytes], *, sync: bool = False) -> None:
        """Write behind the synced part. Raises OSError, and then nothing stands there."""
        if self._unclean:
            self._cut()
        self._unclean = True  # half a frame in the middle would be damage
        position = self._good_bytes
        try:
            for frame in frames:
                _write_all(self._file, frame, position)
                if sync:
                    os.fdatasync(self._file)
                position += len(frame)
        except OSError:
            # At once: to start with a torn tail takes a new file, and on a full disk there is no room for that.
            with suppress(OSError):
                self._cut()
            raise
        self._unclean = False

    def _cut(self) -> None:
        """Remove what stands behind the synced part. Raises OSError."""
        os.ftruncate(self._file, self._good_bytes)
        self._file_bytes = self._good_bytes

    def _create(self, records: Iterable[CheckpointRecord]) -> None:
        """Start the next file: it counts from the moment it has its name."""
        data, salt = journal_format.new_file(records)
        path = self._meta / f"journal.{self._number + 1}"
        new = self._meta / f"{path.name}.new"
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, data, 0)
            os.fsync(file)
            new.rename(path)
            _sync_folder(self._meta)
        except OSError:
            os.close(file)
            new.unlink(missing_ok=True)
            path.unlink(missing_ok=True)  # or it would count at the next start
            raise
        if self._file >= 0:
            os.close(self._file)
        (self._meta / f"journal.{self._number}").unlink(missing_ok=True)
        self._file, self._salt, self._unclean = file, salt, False
        self._number += 1
        self._good_bytes = self._file_bytes = self._base_bytes = len(data)
        self._unsynced.clear()

    async def forget(self) -> None:
        """Begin again from nothing: the agent is no longer who it was. Nothing is committed afterwards.

        Raises:
            OSError: what is there cannot be removed.
        """
        try:
            await self.rewrite([])
        except OSError:
            # A full disk has no room for an empty journal either; to remove the old one takes none.
            await asyncio.get_running_loop().run_in_executor(self._thread, self._remove)

    def _remove(self) -> None:
        for path in sorted(self._meta.glob("journal.*")):
            path.unlink()
        _sync_folder(self._meta)

    def close(self) -> None:
        """Give the folder free, and the room that was not needed."""
        self._thread.shutdown(wait=True)
        if self._file >= 0:
            with suppress(OSError):  # what has to be on the disk is
                os.ftruncate(self._file, self._good_bytes + sum(map(len, self._frames(()))))
                os.fdatasync(self._file)
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1


def _copy(path: Path, copy: Path) -> None:
    """Raises FileExistsError. A second name costs nothing, and works on a full disk; some file systems have none."""
    try:
        os.link(path, copy)
    except FileExistsError:
        raise
    except OSError:
        with open(copy, "xb", opener=private_files.opener) as target, path.open("rb") as source:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())


def _write_all(descriptor: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, position)
        view, position = view[written:], position + written


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
