import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from mezzo.errors import NotFound
from mezzo_agent.containers import log_stream, logs
from mezzo_agent.containers.log_stream import LogPart
from mezzo_agent.containers.logs import LogLimit, rotate
from mezzo_chassis.testing import attributes_missing

PAGE = os.sysconf("SC_PAGE_SIZE")
LIMIT = LogLimit(4 * PAGE, 2)


@pytest.fixture(params=["collapsing", "truncating"])
def sandbox(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if missing := attributes_missing(tmp_path):
        pytest.skip(missing)
    if request.param == "truncating":
        monkeypatch.setattr(logs, "_COLLAPSE_RANGE", 0x80000000)  # no such mode: EOPNOTSUPP
    return tmp_path


def opening(sandbox: Path) -> Callable[[str], BinaryIO]:
    def open_file(name: str) -> BinaryIO:
        try:
            return (sandbox / name).open("rb")
        except FileNotFoundError:
            raise NotFound("") from None

    return open_file


def write(sandbox: Path, data: bytes) -> None:
    with (sandbox / "stdout").open("ab") as file:
        file.write(data)


def turn(sandbox: Path) -> int:
    return rotate(sandbox, "stdout", LIMIT, contextlib.nullcontext)


def follow(sandbox: Path, position: int) -> tuple[bytes, int]:
    """All there is from a position on, and where that ends."""
    read = b""
    while (part := log_stream.read(opening(sandbox), "stdout", position, 1000)).data:
        read += part.data
        position = part.position + len(part.data)
    return read, position


def numbered(start: int, count: int) -> bytes:
    return b"".join(b"%015d\n" % number for number in range(start, start + count))


def test_a_reader_who_keeps_pace_reads_every_byte_once_whatever_is_rotated(sandbox: Path) -> None:
    position, read, number, rotated = 0, b"", 0, 0
    for count in (100, 900, 3, 1100, 50, 2000, 1, 700):
        write(sandbox, numbered(number, count))
        number += count
        rotated += turn(sandbox) > 0
        more, position = follow(sandbox, position)
        read += more
    assert read == numbered(0, number)
    assert position == len(read)
    assert rotated >= 2


def test_a_reader_who_is_late_begins_with_the_oldest_that_is_kept(sandbox: Path) -> None:
    number = 0
    for _ in range(8):
        write(sandbox, numbered(number, 1500))
        number += 1500
        turn(sandbox)
    part = log_stream.read(opening(sandbox), "stdout", 0, 16)
    assert part.position > 0
    assert part.end == number * 16
    read, position = follow(sandbox, 0)
    assert position == part.end
    assert numbered(0, number).endswith(read)
    assert len(read) == part.end - part.position


def test_nothing_stands_beyond_the_end(sandbox: Path) -> None:
    write(sandbox, b"short")
    assert log_stream.read(opening(sandbox), "stdout", 3, 100) == LogPart(b"rt", 3, 5)
    assert log_stream.read(opening(sandbox), "stdout", 50, 100) == LogPart(b"", 50, 5)
    with pytest.raises(NotFound):
        log_stream.read(opening(sandbox), "stderr", 0, 100)


@pytest.mark.parametrize("value", [b"-5", b"many", b"", b"9" * 61])
def test_what_a_task_writes_into_the_attribute_hurts_nobody(value: bytes, sandbox: Path) -> None:
    write(sandbox, b"short")
    os.setxattr(sandbox / "stdout", "user.mezzo.cut", value)
    chunk = log_stream.read(opening(sandbox), "stdout", 0, 100)
    assert (chunk.data, chunk.end - chunk.position) == (b"short", 5)


def test_any_number_of_pieces_costs_no_more_than_two_open_files(sandbox: Path) -> None:
    write(sandbox, b"short")
    os.setxattr(sandbox / "stdout", "user.mezzo.cut", b"1000")
    for number in range(1, 201):
        (sandbox / f"stdout.{number}").touch()
    opened: list[BinaryIO] = []

    def open_file(name: str) -> BinaryIO:
        assert sum(not file.closed for file in opened) <= 1
        opened.append(opening(sandbox)(name))
        return opened[-1]

    assert log_stream.read(open_file, "stdout", 0, 100) == LogPart(b"", 1000, 1005)
