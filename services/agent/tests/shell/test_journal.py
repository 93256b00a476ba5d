"""The journal: what was committed is there again, whatever instant the process died in."""

from __future__ import annotations

import os

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1.checkpoint_pb2 import CheckpointRecord, FrameworkRecord
from mezzo_agent.adapters.journal import MAGIC, Journal, read
from mezzo_chassis.errors import Exit, StartupError


def record(number: int) -> CheckpointRecord:
    info = mesos.FrameworkInfo(user="u", name=f"framework {number}", id=mesos.FrameworkID(value=f"F{number}"))
    return CheckpointRecord(framework=FrameworkRecord(framework_info=info))


RECORDS = [record(number) for number in range(5)]


@pytest.fixture
def meta(tmp_path):
    return tmp_path / "meta"


@pytest.fixture
async def written(meta):
    """The file of a journal of five records, in two commits."""
    journal = Journal(meta)
    journal.open(strict=True)
    await journal.commit(RECORDS[:2])
    await journal.commit(RECORDS[2:])
    journal.close()
    (file,) = meta.glob("journal.*")
    return file


def reopen(meta, *, strict=True):
    journal = Journal(meta)
    try:
        return journal.open(strict=strict)
    finally:
        journal.close()


async def test_records_come_back_in_order(written, meta):
    assert reopen(meta) == (RECORDS, "")


async def test_cut_at_any_byte_loses_only_what_was_cut(written, meta):
    data = written.read_bytes()
    ends = [len(MAGIC)]
    for each in RECORDS:
        ends.append(ends[-1] + 8 + each.ByteSize())
    for length in range(len(data) + 1):
        whole = sum(end <= length for end in ends[1:])
        found, good, problem = read(data[:length])
        assert (found, problem) == (RECORDS[:whole], "")
        assert good == (ends[whole] if length >= ends[0] else 0)


async def test_goes_on_after_a_cut(written, meta):
    os.truncate(written, written.stat().st_size - 3)
    journal = Journal(meta)
    assert journal.open(strict=True) == (RECORDS[:4], "")
    await journal.commit([record(9)])
    journal.close()
    assert reopen(meta) == ([*RECORDS[:4], record(9)], "")


async def test_end_of_zeros_is_taken_for_torn_off(written, meta):
    with written.open("ab") as file:
        file.write(bytes(100))
    assert reopen(meta) == (RECORDS, "")


async def test_damage_in_the_middle_is_refused_by_name_and_kept_aside_when_told_to_go_on(written, meta):
    data = bytearray(written.read_bytes())
    data[len(MAGIC) + 20] ^= 0xFF
    written.write_bytes(data)
    with pytest.raises(StartupError, match=rf"{written}.*byte {len(MAGIC)} .*checksum") as refused:
        reopen(meta)
    assert refused.value.code == Exit.INCOMPATIBLE_STATE
    found, damage = reopen(meta, strict=False)
    assert found == []
    assert "checksum" in damage
    assert [kept.read_bytes() for kept in meta.glob("*-damaged")] == [bytes(data)]
    assert reopen(meta) == ([], "")


async def test_file_of_something_else_is_refused(meta):
    meta.mkdir()
    (meta / "journal.3").write_text("something else entirely")
    with pytest.raises(StartupError, match="no journal"):
        reopen(meta)


async def test_rewritten_journal_replaces_the_old_one_and_goes_on(written, meta):
    journal = Journal(meta)
    journal.open(strict=True)
    await journal.rewrite(RECORDS[3:])
    await journal.commit([record(9)])
    journal.close()
    assert len(list(meta.glob("journal.*"))) == 1
    assert reopen(meta) == ([*RECORDS[3:], record(9)], "")


async def test_half_a_rewriting_counts_for_nothing(written, meta):
    (meta / "journal.7.new").write_bytes(MAGIC + b"half")
    assert reopen(meta) == (RECORDS, "")
    assert not list(meta.glob("*.new"))


async def test_second_agent_on_the_same_folder_is_refused(meta):
    first = Journal(meta)
    first.open(strict=True)
    with pytest.raises(StartupError, match="another agent uses the work_dir"):
        Journal(meta).open(strict=True)
    first.close()
    assert reopen(meta) == ([], "")


async def test_journal_asks_to_be_rewritten_only_when_it_has_grown(meta, monkeypatch):
    monkeypatch.setattr("mezzo_agent.adapters.journal.REWRITE_BYTES_MIN", 100)
    journal = Journal(meta)
    journal.open(strict=True)
    assert not journal.grown
    await journal.commit(RECORDS)
    assert journal.grown
    await journal.rewrite(RECORDS)
    assert not journal.grown
    journal.close()
