"""Whether the write-ahead log of an SQLite file is whole, which SQLite does not tell.

After a crash SQLite takes the log up to the first frame that does not match its checksum and drops the rest in silence:
so it should with the end of a transaction that was being written. But a bit that flipped in the middle drops
transactions that were synced long ago, and one in the header drops them all. Here the two are told from each other
before SQLite opens the file. Source: https://www.sqlite.org/fileformat2.html, "The Write-Ahead Log".

    header   magic, version, page size, checkpoint, salt 1, salt 2, checksum 1, checksum 2: 4 bytes each
    frame    page, pages after a commit or 0, salt 1, salt 2, checksum 1, checksum 2: 4 bytes each; and the page

Each checksum goes on from the one before it. Frames with other salts are left from before the last checkpoint.
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
MAGIC = 0x377F0682
"""Its last bit says in which byte order words are summed up: 1 is big endian."""

_WORDS = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a log; neither: nothing."""

    # Transactions that were synced cannot be read; "" for none.
    damage: str = ""
    # Bytes of a transaction that was not finished, or cannot be told from one.
    torn_bytes: int = 0


def examine(log: bytes) -> Finding:
    """Examine the content of a `-wal` file that nobody writes to."""
    if not log:
        return Finding()
    if len(log) < HEADER_BYTES:
        return Finding(torn_bytes=len(log))
    magic, _, page_bytes, _, salt_1, salt_2, *expected = _WORDS.unpack_from(log)
    big_endian = bool(magic & 1)
    if magic & ~1 != MAGIC or _sum(log[: HEADER_BYTES - 8], (0, 0), big_endian=big_endian) != tuple(expected):
        return Finding("its header does not match its checksum") if len(log) > HEADER_BYTES else Finding()
    frame_bytes = FRAME_HEADER_BYTES + page_bytes
    frames = range(HEADER_BYTES, len(log) - frame_bytes + 1, frame_bytes)
    committed, bad = HEADER_BYTES, len(log)
    checksum = (expected[0], expected[1])
    for position in frames:
        _, commit, *salts, sum_1, sum_2 = _FRAME.unpack_from(log, position)
        checksum = _sum(log[position : position + 8], checksum, big_endian=big_endian)
        page = log[position + FRAME_HEADER_BYTES : position + frame_bytes]
        checksum = _sum(page, checksum, big_endian=big_endian)
        if salts != [salt_1, salt_2] or checksum != (sum_1, sum_2):
            bad = position
            break
        if commit:
            committed = position + frame_bytes
    return _classify(log, frames, bad, committed, [salt_1, salt_2])


def _classify(log: bytes, frames: range, bad: int, committed: int, salts: list[int]) -> Finding:
    """From `bad` on nothing can be read; up to `committed` are whole transactions.

    The frames of this checkpoint that follow belong to the transaction that was being written. If one comes after the
    frame with which that one was committed, it had been synced: the writer waits for that before it goes on.
    """
    over = False
    last = 0
    for position in frames:
        _, commit, *found, _, _ = _FRAME.unpack_from(log, position)
        # One from before the last checkpoint has neither salt; one with one of them is ours, and damaged.
        if position < bad or (found[0] != salts[0] and found[1] != salts[1]):
            continue
        if over:
            return Finding(f"the frame at byte {bad} does not match its checksum, and later transactions follow")
        last = position
        over = over or commit != 0
    if last or bad > committed:
        return Finding(torn_bytes=len(log) - committed)
    return Finding()


def _sum(data: bytes, start: tuple[int, int], *, big_endian: bool) -> tuple[int, int]:
    words = array("I", data)
    if big_endian != (sys.byteorder == "big"):
        words.byteswap()
    first, second = start
    pairs = iter(words)
    for even, odd in zip(pairs, pairs, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
