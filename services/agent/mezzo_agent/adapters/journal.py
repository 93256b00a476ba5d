"""The journal: what the agent has to know after `kill -9` at any instant.

    <work_dir>/meta/lock            held by the agent process that uses this work_dir
    <work_dir>/meta/journal.<n>     the records; of several the highest number counts

A file is a magic line, and then frames: the length of the record and its CRC-32, four bytes each, little endian, and
the record, a serialised mezzo.agent.v1.CheckpointRecord. It is only ever appended to, and replaced as a whole by a
shorter one that leads to the same state.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from google.protobuf.message import DecodeError

from mezzo.agent.v1.checkpoint_pb2 import CheckpointRecord
from mezzo_chassis.errors import Exit, StartupError

MAGIC = b"mezzo agent journal 1\n"
HEAD_BYTES = 8
RECORD_BYTES_MAX = 64 << 20
REWRITE_BYTES_MIN = 8 << 20
"""The journal is not rewritten before it has grown by this much, and by as much again as its last rewriting had."""


class DamagedJournal(Exception):
    """Something in the middle of the journal cannot be read; its end merely torn off is no damage."""


def frame(record: bytes) -> bytes:
    return len(record).to_bytes(4, "little") + zlib.crc32(record).to_bytes(4, "little") + record


def read(data: bytes) -> tuple[list[CheckpointRecord], int, str]:
    """The records, how many bytes are good, and what is wrong with the rest ("" if it is merely torn off)."""
    if not data.startswith(MAGIC):
        torn = MAGIC.startswith(data)
        later = data.startswith(MAGIC[: MAGIC.index(b"1")])
        damage = "a later version of Mezzo wrote it" if later else "it is no journal of an agent"
        return [], 0, "" if torn else damage
    records: list[CheckpointRecord] = []
    position = len(MAGIC)
    while True:
        head = data[position : position + HEAD_BYTES]
        length, checksum = int.from_bytes(head[:4], "little"), int.from_bytes(head[4:], "little")
        end = position + HEAD_BYTES + length
        if len(head) < HEAD_BYTES or end > len(data):
            return records, position, ""
        body = data[position + HEAD_BYTES : end]
        if length == 0 or zlib.crc32(body) != checksum:
            last = end == len(data) or not any(data[position:])
            return records, position, "" if last else f"the record at byte {position} does not match its checksum"
        try:
            records.append(CheckpointRecord.FromString(body))
        except DecodeError:
            return records, position, f"the record at byte {position} is no checkpoint"
        position = end


class Journal:
    """Appends batches and syncs each once, in one thread; never two things at a time."""

    def __init__(self, meta: Path) -> None:
        self._meta = meta
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._file = -1
        self._lock = -1
        self._number = 0
        self._good_bytes = 0
        self._base_bytes = 0

    def open(self, *, strict: bool) -> tuple[list[CheckpointRecord], str]:
        """Read what an earlier process left; also what is damaged, where `strict` is off.

        Raises `StartupError`: another agent uses this folder, it cannot be written, or (strict) it is damaged.
        """
        try:
            self._meta.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._meta / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._open(strict)
        except BlockingIOError:
            raise StartupError(
                Exit.UNWRITABLE, f"another agent uses the work_dir {self._meta.parent}; give each its own"
            ) from None
        except DamagedJournal as error:
            raise StartupError(
                Exit.INCOMPATIBLE_STATE,
                f"{error}; with --strict=false the agent goes on with what is good, and loses the rest",
            ) from None
        except OSError as error:
            raise StartupError(Exit.UNWRITABLE, f"cannot use {self._meta}: {error.strerror}") from None

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
        records, good, damage = read(path.read_bytes())
        if damage:
            damage = f"{path} is damaged: {damage}"
            if strict:
                raise DamagedJournal(damage)
            path.with_suffix(f".{self._number}-damaged").write_bytes(path.read_bytes())
        if good == 0:
            self._create([])
        else:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            os.ftruncate(self._file, good)
            os.lseek(self._file, good, os.SEEK_SET)
            self._good_bytes = self._base_bytes = good
        for _, old in found[:-1]:
            old.unlink()
        return records, damage

    @property
    def grown(self) -> bool:
        """Whether it pays to rewrite it."""
        return self._good_bytes - self._base_bytes > max(REWRITE_BYTES_MIN, self._base_bytes)

    async def commit(self, records: Sequence[CheckpointRecord]) -> None:
        """Return when they are on the disk, all of them. Raises OSError, and then none of them is."""
        data = b"".join(frame(record.SerializeToString()) for record in records)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._append, data)

    async def rewrite(self, records: Iterable[CheckpointRecord]) -> None:
        """Replace the whole by a shorter journal. Raises OSError, and then the old one stays."""
        frames = [frame(record.SerializeToString()) for record in records]
        await asyncio.get_running_loop().run_in_executor(self._thread, self._create, frames)

    def _append(self, data: bytes) -> None:
        try:
            _write_all(self._file, data)
            os.fdatasync(self._file)
        except OSError:
            # Half a record in the middle would be damage.
            os.ftruncate(self._file, self._good_bytes)
            os.lseek(self._file, self._good_bytes, os.SEEK_SET)
            raise
        self._good_bytes += len(data)

    def _create(self, frames: Iterable[bytes]) -> None:
        """Start the next file: it counts from the moment it has its name."""
        data = MAGIC + b"".join(frames)
        path = self._meta / f"journal.{self._number + 1}"
        new = self._meta / f"{path.name}.new"
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, data)
            os.fsync(file)
            new.rename(path)
            _sync_folder(self._meta)
        except OSError:
            os.close(file)
            new.unlink(missing_ok=True)
            raise
        if self._file >= 0:
            os.close(self._file)
        (self._meta / f"journal.{self._number}").unlink(missing_ok=True)
        self._file = file
        self._number += 1
        self._good_bytes = self._base_bytes = len(data)

    async def forget(self) -> None:
        """Begin again from nothing: the agent is no longer who it was."""
        await self.rewrite([])

    def close(self) -> None:
        """Give the folder free. What was committed is on the disk already."""
        self._thread.shutdown(wait=True)
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
