"""A damaged write-ahead log is told from one that ends with an unfinished transaction: SQLite drops both in silence."""

import contextlib
import sqlite3
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzo_chassis.errors import Exit, StartupError
from mezzo_registry.adapters.sqlite_store import SqliteStore
from mezzo_registry.adapters.sqlite_wal import FRAME_HEADER_BYTES, HEADER_BYTES, Finding, examine
from mezzo_registry.core.records import ADMITTED, Write

TRANSACTIONS = 6


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.fixture
async def killed(tmp_path: Path) -> Path:
    """The store of a registry that wrote a few transactions and was killed: SQLite had no time to put the log away."""
    original = tmp_path / "running" / "s.sqlite"
    store = SqliteStore(original)
    await store.open()
    for number in range(TRANSACTIONS):
        await store.write([[Write(ADMITTED, f"S{number}", b"x" * 3000)]])
    path = tmp_path / "killed" / "s.sqlite"
    path.parent.mkdir()
    for ending in ("", "-wal"):
        path.with_name(path.name + ending).write_bytes(original.with_name(original.name + ending).read_bytes())
    await store.close()
    return path


def log_of(path: Path) -> Path:
    return path.with_name("s.sqlite-wal")


async def reopened(path: Path) -> Mapping[str, bytes]:
    store = SqliteStore(path)
    try:
        await store.open()
        return (await store.open_term())[ADMITTED]
    finally:
        await store.close()


def contents(path: Path) -> dict[str, bytes]:
    """Of the store and what SQLite keeps beside it."""
    return {file.name: file.read_bytes() for file in path.parent.glob("s.sqlite*") if file.suffix != ".lock"}


def copy_of_torn(path: Path) -> Path:
    return path.with_name("s.sqlite-wal-torn")


def read_by_sqlite(path: Path, log: bytes) -> int:
    """How many records SQLite finds with this log; -1 for no table."""
    copy = path.with_name("copy.sqlite")
    copy.write_bytes(path.read_bytes())
    path.with_name("copy.sqlite-wal").write_bytes(log)
    path.with_name("copy.sqlite-shm").unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        try:
            (count,) = connection.execute("SELECT count(*) FROM records").fetchone()
        except sqlite3.OperationalError:
            return -1
        return int(count)


async def test_log_of_a_killed_registry_is_whole(killed: Path) -> None:
    assert examine(log_of(killed).read_bytes()) == Finding()
    assert len(await reopened(killed)) == TRANSACTIONS
    assert copy_of_torn(killed) not in set(killed.parent.iterdir())


async def test_no_flipped_bit_drops_a_transaction_silently(killed: Path) -> None:
    """Damage is reported, or the last transaction alone is lost, which cannot be told from an unfinished one."""
    log = log_of(killed).read_bytes()

    @settings(max_examples=200, deadline=None)
    @given(bit=st.integers(0, 8 * len(log) - 1))
    def check(bit: int) -> None:
        finding = examine(flipped(log, bit))
        assert finding.damage or finding.torn_bytes
        if not finding.damage:
            assert read_by_sqlite(killed, flipped(log, bit)) == TRANSACTIONS - 1

    check()


async def test_no_flipped_bit_of_a_header_goes_unnoticed(killed: Path) -> None:
    log = log_of(killed).read_bytes()
    frame_bytes = FRAME_HEADER_BYTES + int.from_bytes(log[8:12], "big")
    first_and_last = (HEADER_BYTES, len(log) - frame_bytes)
    headers = [range(HEADER_BYTES), *(range(at, at + FRAME_HEADER_BYTES) for at in first_and_last)]
    for byte in (byte for header in headers for byte in header):
        for bit in range(8 * byte, 8 * byte + 8):
            finding = examine(flipped(log, bit))
            assert finding.damage or finding.torn_bytes


async def test_log_cut_off_anywhere_is_torn_and_no_damage(killed: Path) -> None:
    """As a power failure may leave it."""
    log = log_of(killed).read_bytes()
    page_bytes = int.from_bytes(log[8:12], "big")
    assert examine(log[: HEADER_BYTES - 1]).torn_bytes
    for length in range(HEADER_BYTES, len(log), 501):
        assert not examine(log[:length]).damage
    # After the header, and after each frame that ends a transaction, nothing is missing.
    assert examine(log[:HEADER_BYTES]) == Finding()
    assert examine(log[: len(log) - FRAME_HEADER_BYTES - page_bytes]).damage == ""


async def test_frames_from_before_a_checkpoint_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    store = SqliteStore(path)
    await store.open()
    for number in range(TRANSACTIONS):
        await store.write([[Write(ADMITTED, f"S{number}", b"x" * 3000)]])
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(RESTART)")
    await store.write([[Write(ADMITTED, "S9", b"x")]])
    assert examine(log_of(path).read_bytes()) == Finding()
    await store.close()


def damage(file: Path) -> bytes:
    content = flipped(file.read_bytes(), 8 * (HEADER_BYTES + 100))
    file.write_bytes(content)
    return content


async def test_registry_refuses_a_store_whose_log_is_damaged_and_leaves_it_as_it_is(killed: Path) -> None:
    damaged = damage(log_of(killed))
    before = contents(killed)
    with pytest.raises(StartupError, match=f"{log_of(killed)} is damaged: .*later transactions follow") as refused:
        await reopened(killed)
    assert refused.value.code is Exit.INCOMPATIBLE_STATE
    assert contents(killed) == before
    assert damaged in before.values()


def cut(file: Path) -> bytes:
    content = file.read_bytes()[:-10]
    file.write_bytes(content)
    return content


async def test_copy_of_an_unfinished_transaction_is_kept(killed: Path) -> None:
    torn = cut(log_of(killed))
    assert len(await reopened(killed)) == TRANSACTIONS - 1
    assert contents(killed)["s.sqlite-wal-torn"] == torn
    assert stat.S_IMODE(copy_of_torn(killed).stat().st_mode) == 0o600
