"""The journal as bytes: how records become frames, and what is to be made of frames that cannot be read.

    file   = magic line, salt (8 bytes), base (8), checksum of all that (4), frames
    frame  = mark (4), length of the body (4), checksum of the head (4), checksum of the body (4), body
    body   = records, each a serialised mezzo.agent.v1.CheckpointRecord behind its length (4)

Numbers are little endian, checksums CRC-32. The checksum of a head covers the file's salt, the frame's position and its
length: no bytes of a record, of another file or of another place can be taken for a frame, whoever wrote the record.
`base` is how many bytes of frames the file was born with, synced before it had its name.

Zeros to the end of the file are room for frames to come: a frame that overwrites them is synced without a word to the
file system's own journal, for which everything else that makes and removes files would have to wait.

One frame is one append: written and synced as a whole, so a process or machine that dies meanwhile leaves less than all
of it, or something else, at the very end of the file (a *torn tail*). Whatever is followed by a sound frame, lies in
the base, or is longer than an append can be was on the disk once: it is *damage*.

Version 1 had no marks, and checksums of the records alone; it is still read.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from mezzo.agent.v1.checkpoint_pb2 import CheckpointRecord

VERSION = 2
MAGIC = b"mezzo agent journal 2\n"
MAGIC_V1 = b"mezzo agent journal 1\n"
MAGIC_ANY = b"mezzo agent journal "
SALT_BYTES = 8
FILE_HEAD_BYTES = len(MAGIC) + SALT_BYTES + 8 + 4
MARK = b"MzJ\xa7"
HEAD_BYTES = 16
V1_HEAD_BYTES = 8
APPEND_BYTES_MAX = 65 << 20
"""The most that is written and synced at once, and so the longest tail that can be torn. A record is a message that
came by gRPC, of 64 MiB at most, and a little more."""
V1_SCAN_BYTES_MAX = 8 << 20
"""The longest tail of a version 1 journal in which sound records are looked for: without marks that is slow."""


class RecordTooLarge(ValueError):
    """One record is larger than an append may be."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal says: its records, how many bytes hold them, and what follows these."""

    records: list[CheckpointRecord]
    good_bytes: int
    damage: str = ""
    """Why the rest cannot be read, though it was on the disk once; "" for none."""
    torn_bytes: int = 0
    """Bytes of an append that was not finished."""
    version: int = VERSION
    salt: bytes = b""


def file_head(salt: bytes, base_bytes: int) -> bytes:
    head = MAGIC + salt + base_bytes.to_bytes(8, "little")
    return head + zlib.crc32(head).to_bytes(4, "little")


def new_file(records: Iterable[CheckpointRecord]) -> tuple[bytes, bytes]:
    """A journal of these records, each in a frame of its own, and its salt. Raises RecordTooLarge."""
    salt = os.urandom(SALT_BYTES)
    frames = bytearray()
    for record in records:
        frames += frame(_body([record.SerializeToString()]), salt, FILE_HEAD_BYTES + len(frames))
    return file_head(salt, len(frames)) + frames, salt


def appends(records: Sequence[bytes]) -> Iterator[bytes]:
    """The bodies of the frames for these serialised records: one, unless they are too many. Raises RecordTooLarge."""
    waiting: list[bytes] = []
    size = HEAD_BYTES
    for data in records:
        if waiting and size + 4 + len(data) > APPEND_BYTES_MAX:
            yield _body(waiting)
            waiting, size = [], HEAD_BYTES
        waiting.append(data)
        size += 4 + len(data)
    if waiting:
        yield _body(waiting)


def frame(body: bytes, salt: bytes, position: int) -> bytes:
    """The frame of this body at this position of the file."""
    length = len(body).to_bytes(4, "little")
    head = _head_checksum(salt, position, length).to_bytes(4, "little")
    return b"".join((MARK, length, head, zlib.crc32(body).to_bytes(4, "little"), body))


def read(data: bytes) -> Contents:
    """What a journal says, of either version."""
    if data.startswith(MAGIC):
        return _read_frames(data)
    if data.startswith(MAGIC_V1):
        return _read_v1(data)
    later = data.startswith(MAGIC_ANY)
    return Contents([], 0, "a later version of Mezzo wrote it" if later else "it is not the journal of an agent")


def _body(records: Iterable[bytes]) -> bytes:
    body = b"".join(part for record in records for part in (len(record).to_bytes(4, "little"), record))
    if HEAD_BYTES + len(body) > APPEND_BYTES_MAX:
        raise RecordTooLarge(f"a record of {len(body)} bytes is larger than {APPEND_BYTES_MAX} bytes")
    return body


def _head_checksum(salt: bytes, position: int, length: bytes) -> int:
    return zlib.crc32(salt + position.to_bytes(8, "little") + length)


def _read_frames(data: bytes) -> Contents:
    head = data[:FILE_HEAD_BYTES]
    if len(head) < FILE_HEAD_BYTES or zlib.crc32(head[:-4]) != int.from_bytes(head[-4:], "little"):
        return Contents([], 0, "the head of the file does not match its checksum")
    salt = head[len(MAGIC) : len(MAGIC) + SALT_BYTES]
    base_end = FILE_HEAD_BYTES + int.from_bytes(head[len(MAGIC) + SALT_BYTES : -4], "little")
    records: list[CheckpointRecord] = []
    position = FILE_HEAD_BYTES
    while position < len(data):
        end = _frame_end(data, position, salt)
        if end is None:
            return _rest(data, records, position, salt, in_base=position < base_end)
        try:
            records += _records_of(data[position + HEAD_BYTES : end])
        except (DecodeError, ValueError):
            return Contents(records, position, f"the frame at byte {position} holds no checkpoint", salt=salt)
        position = end
    if position < base_end:
        return Contents(records, position, f"it ends at byte {position}, and had {base_end} at first", salt=salt)
    return Contents(records, position, salt=salt)


def _frame_end(data: bytes, position: int, salt: bytes) -> int | None:
    """Where the frame at this position ends; None if there is no sound one."""
    head = data[position : position + HEAD_BYTES]
    if len(head) < HEAD_BYTES or not head.startswith(MARK):
        return None
    length = head[4:8]
    if _head_checksum(salt, position, length) != int.from_bytes(head[8:12], "little"):
        return None
    end = position + HEAD_BYTES + int.from_bytes(length, "little")
    if end > len(data) or zlib.crc32(data[position + HEAD_BYTES : end]) != int.from_bytes(head[12:], "little"):
        return None
    return end


def _rest(data: bytes, records: list[CheckpointRecord], position: int, salt: bytes, *, in_base: bool) -> Contents:
    """What begins at `position` is no frame: room for the next, the tail of the file, or damage."""
    torn_bytes = len(data[position:].rstrip(b"\0"))
    damage = ""
    if in_base:
        damage = f"the frame at byte {position} does not match its checksums"
    elif (sound := _next_frame(data, position, salt)) is not None:
        damage = f"the frame at byte {position} does not match its checksums, and at byte {sound} follows a sound one"
    elif torn_bytes > APPEND_BYTES_MAX:
        damage = f"the {torn_bytes} bytes from byte {position} on are more than a torn tail can have"
    return Contents(records, position, damage, 0 if damage else torn_bytes, salt=salt)


def _next_frame(data: bytes, position: int, salt: bytes) -> int | None:
    found = data.find(MARK, position + 1)
    while found >= 0:
        if _frame_end(data, found, salt) is not None:
            return found
        found = data.find(MARK, found + 1)
    return None


def _records_of(body: bytes) -> list[CheckpointRecord]:
    """Raises DecodeError or ValueError."""
    records = []
    position = 0
    while position < len(body):
        start = position + 4
        position = start + int.from_bytes(body[start - 4 : start], "little")
        if position > len(body):
            raise ValueError("a record is longer than its frame")
        records.append(CheckpointRecord.FromString(body[start:position]))
    return records


def _read_v1(data: bytes) -> Contents:
    records: list[CheckpointRecord] = []
    position = len(MAGIC_V1)
    while position < len(data):
        found = _v1_record(data, position)
        if found is None:
            damage = _v1_damage(data, position)
            return Contents(records, position, damage, 0 if damage else len(data) - position, version=1)
        record, position = found
        records.append(record)
    return Contents(records, position, version=1)


def _v1_record(data: bytes, position: int) -> tuple[CheckpointRecord, int] | None:
    start = position + V1_HEAD_BYTES
    length = int.from_bytes(data[position : position + 4], "little")
    end = start + length
    if (
        length == 0
        or end > len(data)
        or zlib.crc32(data[start:end]) != int.from_bytes(data[start - 4 : start], "little")
    ):
        return None
    try:
        return CheckpointRecord.FromString(data[start:end]), end
    except DecodeError:
        return None


def _v1_damage(data: bytes, position: int) -> str:
    if len(data) - position > V1_SCAN_BYTES_MAX:
        return f"the {len(data) - position} bytes from byte {position} on are more than a torn tail can have"
    for later in range(position + 1, len(data) - V1_HEAD_BYTES):
        if _v1_record(data, later) is not None:
            return f"the record at byte {position} does not match its checksum, and at byte {later} follows a sound one"
    return ""
