"""The journal: what was committed is there again, whatever instant the process died in. Damage is told from that."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1.checkpoint_pb2 import AcknowledgementRecord, CheckpointRecord, FrameworkRecord, TaskRecord
from mezzo_agent.adapters import journal as module
from mezzo_agent.adapters import journal_format
from mezzo_agent.adapters.journal import COPIES_MAX, Journal
from mezzo_agent.adapters.journal_format import FILE_HEAD_BYTES, HEAD_BYTES, MAGIC, MAGIC_V1, read
from mezzo_chassis.errors import Exit, StartupError


def record(number: int, size: int = 0) -> CheckpointRecord:
    info = mesos.FrameworkInfo(user="u" * size, name=f"framework {number}", id=mesos.FrameworkID(value=f"F{number}"))
    return CheckpointRecord(framework=FrameworkRecord(framework_info=info))


RECORDS = [record(number) for number in range(5)]


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    return tmp_path / "meta"


@pytest.fixture
async def written(meta: Path) -> Path:
    """The file of a journal of five records, in two commits."""
    return await write(meta, [RECORDS[:2], RECORDS[2:]])


async def write(meta: Path, commits: Sequence[Sequence[CheckpointRecord]]) -> Path:
    journal = Journal(meta)
    journal.open(strict=True)
    for commit in commits:
        await journal.commit(commit)
    journal.close()
    return file_of(meta)


def file_of(meta: Path) -> Path:
    (file,) = [path for path in meta.glob("journal.*") if path.suffix[1:].isdigit()]
    return file


def copies(meta: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in meta.glob("journal.*-*")}


def reopen(meta: Path, *, strict: bool = True) -> tuple[list[CheckpointRecord], str]:
    journal = Journal(meta)
    try:
        return journal.open(strict=strict)
    finally:
        journal.close()


def version_1(records: Sequence[CheckpointRecord]) -> bytes:
    """As an agent before this format wrote it."""
    data = MAGIC_V1
    for each in records:
        body = each.SerializeToString()
        data += len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little") + body
    return data


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


async def test_records_come_back_in_order(written: Path, meta: Path) -> None:
    assert reopen(meta) == (RECORDS, "")
    assert reopen(meta) == (RECORDS, "")
    assert copies(meta) == {}


async def test_cut_anywhere_behind_its_head_loses_no_more_than_the_commit_that_was_cut(
    written: Path, meta: Path
) -> None:
    data = written.read_bytes()
    first = FILE_HEAD_BYTES + HEAD_BYTES + sum(4 + each.ByteSize() for each in RECORDS[:2])
    for length in range(FILE_HEAD_BYTES, len(data) + 1):
        found = read(data[:length])
        whole = 5 if length == len(data) else 2 if length >= first else 0
        good = {0: FILE_HEAD_BYTES, 2: first, 5: len(data)}[whole]
        assert (found.records, found.damage, found.good_bytes) == (RECORDS[:whole], "", good)
        assert found.torn_bytes == len(data[good:length].rstrip(b"\0"))


async def test_file_without_its_whole_head_is_damaged(written: Path) -> None:
    """It was synced before it had its name: nothing that dies leaves less."""
    for length in range(FILE_HEAD_BYTES):
        assert read(written.read_bytes()[:length]).damage


async def test_file_without_all_that_it_was_born_with_is_damaged(meta: Path) -> None:
    journal = Journal(meta)
    journal.open(strict=True)
    await journal.rewrite(RECORDS)
    journal.close()
    data = file_of(meta).read_bytes()
    for length in range(FILE_HEAD_BYTES, len(data)):
        assert read(data[:length]).damage


async def test_goes_on_after_a_cut_and_keeps_what_was_cut_off(
    written: Path, meta: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.truncate(written, written.stat().st_size - 3)
    torn = written.read_bytes()
    journal = Journal(meta)
    assert journal.open(strict=True) == (RECORDS[:2], "")
    await journal.commit([record(9)])
    journal.close()
    assert copies(meta) == {f"{written.name}-torn": torn}
    assert f"{written}-torn" in capsys.readouterr().out
    assert reopen(meta) == ([*RECORDS[:2], record(9)], "")


async def test_end_of_zeros_is_room_for_more(written: Path, meta: Path) -> None:
    with written.open("ab") as file:
        file.write(bytes(100))
    assert read(written.read_bytes()).torn_bytes == 0
    assert reopen(meta) == (RECORDS, "")
    assert copies(meta) == {}


async def test_more_than_one_append_can_be_is_not_torn_off(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_format, "APPEND_BYTES_MAX", 99)
    with written.open("ab") as file:
        file.write(b"x" * 100)
    with pytest.raises(StartupError, match=f"{written} is damaged: the 100 bytes .* more than a torn tail"):
        reopen(meta)


async def test_damage_in_the_middle_is_refused_by_name_and_kept_aside_when_told_to_go_on(
    written: Path, meta: Path
) -> None:
    data = flipped(written.read_bytes(), 8 * (FILE_HEAD_BYTES + 40))
    written.write_bytes(data)
    with pytest.raises(StartupError, match=rf"{written}.*byte {FILE_HEAD_BYTES} .*checksum") as refused:
        reopen(meta)
    assert refused.value.code == Exit.INCOMPATIBLE_STATE
    assert copies(meta) == {}
    found, damage = reopen(meta, strict=False)
    assert found == []
    assert "checksum" in damage
    assert copies(meta) == {f"{written.name}-damaged": data}
    assert reopen(meta) == ([], "")


async def test_flipped_bit_of_a_length_is_damage(meta: Path) -> None:
    """It would take all that follows for the torn end of its own record."""
    file = await write(meta, [[record(number)] for number in range(100)])
    data = file.read_bytes()
    for bit in range(32):
        found = read(flipped(data, 8 * (FILE_HEAD_BYTES + 4) + bit))
        assert (found.records, found.torn_bytes) == ([], 0)
        assert "follows a sound one" in found.damage


@settings(max_examples=60, deadline=None)
@given(data=st.data(), sizes=st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=4), min_size=1, max_size=5))
def test_no_flipped_bit_ever_loses_a_record_silently(data: st.DataObject, sizes: list[list[int]]) -> None:
    """Damage is reported, or the last append alone is lost, and a copy of it kept."""
    commits = [[record(number, size) for number, size in enumerate(commit)] for commit in sizes]
    born_with = data.draw(st.integers(0, 3), label="records that the file was born with")
    with tempfile.TemporaryDirectory() as folder:
        meta = Path(folder) / "meta"
        file = asyncio.run(_born_with(meta, born_with, commits))
        whole = file.read_bytes()
        bit = data.draw(st.integers(0, 8 * len(whole) - 1), label="bit")
        file.write_bytes(flipped(whole, bit))
        try:
            found, damage = reopen(meta)
        except StartupError as error:
            assert str(file) in str(error)  # noqa: PT017  it need not be raised
            assert file.read_bytes() == flipped(whole, bit)
            return
        assert damage == ""
        synced = [record(number) for number in range(born_with)]
        assert found == [*synced, *itertools.chain(*commits[:-1])]
        assert list(copies(meta).values()) == [flipped(whole, bit)]


async def test_no_bit_of_a_journal_can_be_flipped_and_a_record_lost_silently(written: Path) -> None:
    data = written.read_bytes()
    last = FILE_HEAD_BYTES + HEAD_BYTES + sum(4 + each.ByteSize() for each in RECORDS[:2])
    for bit in range(8 * len(data)):
        found = read(flipped(data, bit))
        assert found.damage or (bit >= 8 * last and found.records == RECORDS[:2] and found.torn_bytes)


async def _born_with(meta: Path, number: int, commits: Sequence[Sequence[CheckpointRecord]]) -> Any:
    journal = Journal(meta)
    journal.open(strict=True)
    await journal.rewrite([record(each) for each in range(number)])
    for commit in commits:
        await journal.commit(commit)
    journal.close()
    return file_of(meta)


async def test_bytes_of_a_record_are_never_taken_for_a_frame(meta: Path) -> None:
    """A framework may write into its tasks whatever it likes, frames too."""
    forged = journal_format.frame(b"", b"\0" * 8, 0) * 20
    ids: dict[str, Any] = {"task_id": mesos.TaskID(value="t"), "agent_id": mesos.AgentID(value="S0")}
    evil = CheckpointRecord(task=TaskRecord(task=mesos.TaskInfo(name="t", data=forged, **ids)))
    file = await write(meta, [RECORDS, [evil]])
    os.truncate(file, file.stat().st_size - 1)
    assert reopen(meta) == (RECORDS, "")


@pytest.mark.parametrize("records", [[], RECORDS])
async def test_journal_of_version_1_is_read_and_becomes_one_of_version_2(
    meta: Path, records: Sequence[CheckpointRecord]
) -> None:
    meta.mkdir()
    (meta / "journal.7").write_bytes(version_1(records))
    assert reopen(meta) == (records, "")
    assert file_of(meta).name == "journal.8"
    assert file_of(meta).read_bytes().startswith(MAGIC)
    assert reopen(meta) == (records, "")


def test_no_flipped_bit_of_version_1_loses_more_than_the_last_record() -> None:
    data = version_1(RECORDS)
    last = len(data) - 8 - RECORDS[-1].ByteSize()
    for bit in range(8 * len(data)):
        found = read(flipped(data, bit))
        assert found.damage or (bit >= 8 * last and found.records == RECORDS[:-1] and found.torn_bytes)


async def test_journal_and_copies_are_nobody_elses_to_read(meta: Path) -> None:
    before = os.umask(0)
    try:
        file = await write(meta, [RECORDS])
        os.truncate(file, file.stat().st_size - 1)
        reopen(meta)
    finally:
        os.umask(before)
    assert copies(meta)
    assert {path.stat().st_mode & 0o777 for path in meta.iterdir()} == {0o600}
    assert meta.stat().st_mode & 0o777 == 0o700
    assert meta.parent.stat().st_mode & 0o022 == 0


async def test_file_of_something_else_is_refused(meta: Path) -> None:
    meta.mkdir()
    (meta / "journal.3").write_text("something else entirely")
    with pytest.raises(StartupError, match="not the journal of an agent"):
        reopen(meta)


async def test_file_of_a_later_version_is_refused(meta: Path) -> None:
    meta.mkdir()
    (meta / "journal.3").write_text("mezzo agent journal 3\n")
    with pytest.raises(StartupError, match="later version"):
        reopen(meta)


async def test_copies_are_bounded_and_the_oldest_go_first(written: Path, meta: Path) -> None:
    for number in range(COPIES_MAX + 2):
        with file_of(meta).open("ab") as file:
            file.write(b"torn %d" % number)
        reopen(meta)
    kept = copies(meta)
    assert len(kept) == COPIES_MAX
    assert sorted(data[-1:] for data in kept.values()) == [b"2", b"3", b"4", b"5", b"6"]


async def test_copy_is_made_where_a_file_cannot_have_two_names(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unsupported)
    with written.open("ab") as file:
        file.write(b"torn")
    torn = written.read_bytes()
    assert reopen(meta) == (RECORDS, "")
    assert copies(meta) == {f"{written.name}-torn": torn}
    assert all(path.stat().st_mode & 0o077 == 0 for path in meta.iterdir())


async def test_older_journal_is_kept_where_the_newer_is_damaged(written: Path, meta: Path) -> None:
    newer = written.with_name("journal.9")
    newer.write_bytes(written.read_bytes()[: FILE_HEAD_BYTES - 1])
    older = written.read_bytes()
    reopen(meta, strict=False)
    assert copies(meta)[f"{written.name}-damaged"] == older


async def test_commit_larger_than_an_append_may_be_is_several(meta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_format, "APPEND_BYTES_MAX", 200)
    records = [record(number, 50) for number in range(10)]
    file = await write(meta, [records])
    assert file.read_bytes().count(journal_format.MARK) > 1
    assert reopen(meta) == (records, "")


# --- room, and what is synced


ACKNOWLEDGED = [
    CheckpointRecord(acknowledgement=AcknowledgementRecord(task_id=mesos.TaskID(value="t"), uuid=bytes([number])))
    for number in range(200)
]


class Disk:
    """Counts what a journal asks of the disk: syncs of what it has written, and changes of the file's length."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = file
        self._bytes = file.stat().st_size
        self.syncs = 0
        self.lengths = [self._bytes]
        for name in ("fdatasync", "fsync"):
            monkeypatch.setattr(os, name, self._counting(getattr(os, name)))

    def _counting(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def counted(descriptor: int) -> None:
            self.syncs += 1
            sync(descriptor)
            if self._file.stat().st_size != self.lengths[-1]:
                self.lengths.append(self._file.stat().st_size)

        return counted


async def test_a_commit_is_synced_once_and_the_file_grows_seldom(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(meta)
    journal.open(strict=True)
    disk = Disk(written, monkeypatch)
    records = [record(number, 1000) for number in range(100)]
    for each in records:
        await journal.commit([each])
    assert len(disk.lengths) == 2
    assert disk.syncs == 100 + 1
    monkeypatch.undo()
    journal.close()
    assert reopen(meta) == ([*RECORDS, *records], "")


async def test_room_that_is_left_is_given_back(written: Path, meta: Path) -> None:
    before = written.stat().st_size
    journal = Journal(meta)
    journal.open(strict=True)
    await journal.commit([record(9)])
    assert written.stat().st_size > before + module.ROOM_BYTES
    journal.close()
    assert before < written.stat().st_size < before + 1000


async def test_a_full_disk_without_room_for_more_takes_what_fits(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(meta)
    journal.open(strict=True)
    real = os.pwrite

    def nearly_full(descriptor: int, data: bytes, position: int) -> Any:
        if len(data) > 1000:
            raise OSError(28, "No space left on device")
        return real(descriptor, data, position)

    monkeypatch.setattr(os, "pwrite", nearly_full)
    await journal.commit([record(9)])
    journal.close()
    assert reopen(meta) == ([*RECORDS, record(9)], "")


async def test_an_agent_that_leaves_is_forgotten_on_a_full_disk_too(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(meta)
    journal.open(strict=True)

    def full(_descriptor: int, _data: bytes, _position: int) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    await journal.forget()
    journal.close()
    monkeypatch.undo()
    assert reopen(meta) == ([], "")


async def test_acknowledgements_are_there_at_once_and_synced_with_what_follows(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(meta)
    journal.open(strict=True)
    await journal.commit([record(8)])
    disk = Disk(written, monkeypatch)
    for number, each in enumerate(ACKNOWLEDGED[:3], 1):
        await journal.commit([each])
        # As another process finds it when this one is killed now.
        assert read(written.read_bytes()).records == [*RECORDS, record(8), *ACKNOWLEDGED[:number]]
    assert disk.syncs == 0
    await journal.commit([record(9)])
    assert disk.syncs == 1
    monkeypatch.undo()
    journal.close()
    assert reopen(meta) == ([*RECORDS, record(8), *ACKNOWLEDGED[:3], record(9)], "")


async def test_acknowledgements_that_the_machine_loses_are_no_damage(written: Path, meta: Path) -> None:
    journal = Journal(meta)
    journal.open(strict=True)
    await journal.commit([record(8)])
    synced = written.read_bytes()
    await journal.commit(ACKNOWLEDGED[:2])
    await journal.commit([record(9)])
    later = written.read_bytes()
    journal.close()
    changed = [position for position in range(len(later)) if later[position] != synced[position]]
    # The machine dies before or while the last commit is synced: of its bytes some are on the disk.
    for lost in range(changed[0], changed[-1]):
        found = read(later[:lost] + synced[lost:])
        assert (found.records, found.damage) == ([*RECORDS, record(8)], "")


async def test_acknowledgements_do_not_wait_for_ever(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(meta)
    journal.open(strict=True)
    await journal.commit([record(8)])
    disk = Disk(written, monkeypatch)
    for each in ACKNOWLEDGED:
        await journal.commit([each])
    assert disk.syncs == len(ACKNOWLEDGED) // (module.UNSYNCED_RECORDS_MAX + 1)
    monkeypatch.undo()
    journal.close()
    assert reopen(meta) == ([*RECORDS, record(8), *ACKNOWLEDGED], "")


async def test_acknowledgements_are_in_the_next_commit_although_one_before_it_failed(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(meta)
    journal.open(strict=True)
    await journal.commit([record(8)])
    await journal.commit(ACKNOWLEDGED[:1])

    def fail(_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="No space"):
            await journal.commit([record(9)])
    await journal.commit(ACKNOWLEDGED[1:2])
    await journal.commit([record(9)])
    journal.close()
    assert reopen(meta) == ([*RECORDS, record(8), *ACKNOWLEDGED[:2], record(9)], "")


async def test_what_is_said_of_other_things_is_synced_together_with_an_acknowledgement(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(meta)
    journal.open(strict=True)
    await journal.commit([record(8)])
    disk = Disk(written, monkeypatch)
    await journal.commit([ACKNOWLEDGED[0], record(9)])
    assert disk.syncs == 1
    monkeypatch.undo()
    journal.close()


# --- another file


async def test_rewritten_journal_replaces_the_old_one_and_goes_on(written: Path, meta: Path) -> None:
    journal = Journal(meta)
    journal.open(strict=True)
    await journal.rewrite(RECORDS[3:])
    await journal.commit([record(9)])
    journal.close()
    assert len(list(meta.glob("journal.*"))) == 1
    assert reopen(meta) == ([*RECORDS[3:], record(9)], "")


async def test_rewriting_that_cannot_be_synced_counts_for_nothing(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(meta)
    journal.open(strict=True)

    def fail(_: Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_sync_folder", fail)
        with pytest.raises(OSError, match="Input/output"):
            await journal.rewrite(RECORDS[3:])
    await journal.commit([record(9)])
    journal.close()
    assert reopen(meta) == ([*RECORDS, record(9)], "")


async def test_append_that_failed_leaves_nothing_behind(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(meta)
    journal.open(strict=True)
    before = written.read_bytes()

    def fail(_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="No space"):
            await journal.commit([record(8, 500)])
    assert written.read_bytes() == before  # an agent that is killed now starts on the full disk
    await journal.commit([record(9)])
    journal.close()
    assert reopen(meta) == ([*RECORDS, record(9)], "")
    assert copies(meta) == {}


async def test_append_that_could_not_be_taken_back_is_taken_back_before_the_next(
    written: Path, meta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(meta)
    journal.open(strict=True)

    def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        for name in ("fdatasync", "ftruncate"):
            patched.setattr(os, name, fail)
        with pytest.raises(OSError, match="Input/output"):
            await journal.commit([record(8, 500)])
    assert written.stat().st_size > 500
    await journal.commit([record(9)])
    journal.close()
    assert reopen(meta) == ([*RECORDS, record(9)], "")
    assert copies(meta) == {}


async def test_half_a_rewriting_counts_for_nothing(written: Path, meta: Path) -> None:
    (meta / "journal.7.new").write_bytes(MAGIC + b"half")
    assert reopen(meta) == (RECORDS, "")
    assert not list(meta.glob("*.new"))


async def test_second_agent_on_the_same_folder_is_refused(meta: Path) -> None:
    first = Journal(meta)
    first.open(strict=True)
    with pytest.raises(StartupError, match="another agent uses --work_dir"):
        Journal(meta).open(strict=True)
    first.close()
    assert reopen(meta) == ([], "")


async def test_journal_asks_to_be_rewritten_only_when_it_has_grown(meta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mezzo_agent.adapters.journal.REWRITE_BYTES_MIN", 100)
    journal = Journal(meta)
    journal.open(strict=True)
    assert not journal.grown
    await journal.commit(RECORDS)
    assert journal.grown
    await journal.rewrite(RECORDS)
    assert not journal.grown
    journal.close()
