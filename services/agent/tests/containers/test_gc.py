import os
import subprocess
from pathlib import Path

import pytest

from mezzo_agent.containers import sandbox
from mezzo_agent.containers.gc import GarbageCollector, disk_usage, due, maximum_age_secs
from mezzo_agent.core.sandbox_names import SandboxName

WEEK_SECS = 7 * 86400.0


def folder(path: Path, *, modified: float) -> Path:
    path.mkdir()
    (path / "stdout").write_text("output")
    os.utime(path, (modified, modified))
    return path


@pytest.mark.parametrize(
    ("usage", "fraction"),
    [(0.0, 0.9), (0.5, 0.4), (0.9, 0.0), (1.0, 0.0)],
    ids=["empty", "half", "at-headroom", "full"],
)
def test_the_fuller_the_disk_the_younger_garbage_may_get(usage: float, fraction: float) -> None:
    assert maximum_age_secs(WEEK_SECS, 0.1, usage) == pytest.approx(WEEK_SECS * fraction)


def test_what_has_reached_the_age_is_due_oldest_first() -> None:
    modified = {Path("young"): 100.0, Path("old"): 10.0, Path("oldest"): 5.0}
    assert due(modified, now=105.0, age_secs=90.0) == [Path("oldest"), Path("old")]


async def test_a_sandbox_is_removed_when_its_age_is_reached_and_not_before(tmp_path: Path) -> None:
    now = 1_000_000.0
    collector = GarbageCollector(gc_delay_secs=100.0, disk_headroom=0.0, clock=lambda: now)
    old = folder(tmp_path / "old", modified=now - 100)
    young = folder(tmp_path / "young", modified=now - 99)
    collector.schedule_all([old, young])

    assert await collector.collect(disk_usage=0.0) == [old]
    assert not old.exists()
    assert (young / "stdout").exists()
    assert (collector.counts.succeeded, collector.counts.failed, collector.counts.pending) == (1, 0, 1)

    assert await collector.collect(disk_usage=0.5) == [young]
    assert not young.exists()


async def test_a_full_disk_removes_all_garbage_at_once(tmp_path: Path) -> None:
    collector = GarbageCollector(gc_delay_secs=WEEK_SECS, disk_headroom=0.1, clock=lambda: 1000.0)
    garbage = folder(tmp_path / "garbage", modified=1000.0)
    collector.schedule(garbage)
    assert await collector.collect(disk_usage=0.89) == []
    assert await collector.collect(disk_usage=0.95) == [garbage]


async def test_a_path_that_is_in_use_again_stays(tmp_path: Path) -> None:
    collector = GarbageCollector(gc_delay_secs=0.0, disk_headroom=0.0)
    kept = folder(tmp_path / "kept", modified=0.0)
    collector.schedule(kept)
    assert collector.unschedule(kept)
    assert not collector.unschedule(kept)
    assert await collector.collect(disk_usage=0.0) == []
    assert kept.exists()


async def test_a_restarted_agent_goes_on_counting_where_the_last_one_was(tmp_path: Path) -> None:
    now = 5000.0
    path = folder(tmp_path / "sandbox", modified=now - 60)
    first = GarbageCollector(gc_delay_secs=100.0, disk_headroom=0.0, clock=lambda: now)
    first.schedule(path)
    assert await first.collect(disk_usage=0.0) == []

    now += 40
    second = GarbageCollector(gc_delay_secs=100.0, disk_headroom=0.0, clock=lambda: now)
    second.schedule(path)
    assert await second.collect(disk_usage=0.0) == [path]


async def test_links_in_garbage_are_removed_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("keep me")
    garbage = tmp_path / "garbage"
    garbage.mkdir()
    (garbage / "link").symlink_to(precious)
    collector = GarbageCollector(gc_delay_secs=0.0, disk_headroom=0.0)
    collector.schedule(garbage)
    await collector.collect(disk_usage=0.0)
    assert not garbage.exists()
    assert (precious / "file").read_text() == "keep me"


async def test_a_path_that_cannot_be_removed_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    a_file = tmp_path / "not-a-folder"
    a_file.write_text("")
    os.utime(a_file, (0, 0))
    good = folder(tmp_path / "good", modified=1.0)
    collector = GarbageCollector(gc_delay_secs=0.0, disk_headroom=0.0)
    collector.schedule_all([a_file, good])
    assert await collector.collect(disk_usage=0.0) == [good]
    assert (collector.counts.succeeded, collector.counts.failed, collector.counts.pending) == (1, 1, 0)


async def test_a_sandbox_deeper_than_any_stack_is_removed(tmp_path: Path) -> None:
    deep = folder(tmp_path / "deep", modified=1.0)
    below = os.open(deep, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=below)
        next_one = os.open("d", os.O_RDONLY, dir_fd=below)
        os.close(below)
        below = next_one
    os.close(below)
    os.utime(deep, (1.0, 1.0))
    collector = GarbageCollector(gc_delay_secs=0.0, disk_headroom=0.0)
    collector.schedule(deep)
    try:
        assert await collector.collect(disk_usage=0.0) == [deep]
        assert not deep.exists()
    finally:
        subprocess.run(["/bin/rm", "-rf", deep], check=True)  # noqa: ASYNC221  pytest cannot remove it either


def test_a_path_that_cannot_be_looked_at_is_no_garbage_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    collector = GarbageCollector(gc_delay_secs=0.0, disk_headroom=0.0)
    collector.retire(tmp_path / "a-file" / "sandbox")
    assert collector.scheduled == frozenset()


def test_a_path_that_does_not_exist_is_no_garbage(tmp_path: Path) -> None:
    collector = GarbageCollector(gc_delay_secs=0.0, disk_headroom=0.0)
    collector.schedule(tmp_path / "nothing")
    assert collector.scheduled == frozenset()


def test_disk_usage_is_a_fraction(tmp_path: Path) -> None:
    assert 0.0 < disk_usage(tmp_path) < 1.0


async def test_the_age_of_what_was_in_use_for_long_begins_when_it_is_retired(tmp_path: Path) -> None:
    now = 10_000.0
    old = folder(tmp_path / "service", modified=1.0)
    collector = GarbageCollector(gc_delay_secs=100.0, disk_headroom=0.0, clock=lambda: now)
    collector.retire(old)
    collector.retire(tmp_path / "nothing")
    now += 99
    assert await collector.collect(disk_usage=0.0) == []
    now += 1
    assert await collector.collect(disk_usage=0.0) == [old]


async def test_of_a_sandbox_not_even_the_way_to_it_is_left(tmp_path: Path) -> None:
    run = SandboxName("agent-S0", "fw-0000", "task-1", "c1").path(tmp_path)
    sandbox.create(run)
    collector = GarbageCollector(gc_delay_secs=0.0, disk_headroom=0.0)
    collector.retire(run)
    assert await collector.collect(disk_usage=0.0) == [run]
    assert [path.name for path in (tmp_path / "slaves").rglob("*")] == ["agent-S0", "frameworks"]
