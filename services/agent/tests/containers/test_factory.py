from pathlib import Path

import pytest

from mezzo_agent.containers.factory import ContainerizerConfig, UnknownIsolation, create, isolators
from mezzo_agent.containers.posix.processes import Process, ProcessTable
from mezzo_agent.containers.posix.usage import Allowance, UsageMeter


@pytest.mark.parametrize(
    ("flag", "names"),
    [
        ("posix/cpu,posix/mem", {"posix/cpu", "posix/mem"}),
        ("posix/mem", {"posix/mem"}),
        ("posix", {"posix/cpu", "posix/mem"}),
        ("process, posix/rlimits", {"posix/cpu", "posix/mem", "posix/rlimits"}),
        ("", set()),
    ],
)
def test_isolation_takes_the_names_that_mesos_has(flag: str, names: set[str]) -> None:
    assert isolators(flag) == names


def test_an_isolation_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownIsolation, match="unknown isolator 'cgroups/cpu'"):
        create(ContainerizerConfig(work_dir=tmp_path, runtime_dir=tmp_path, isolation="posix/cpu,cgroups/cpu"))


def process(pid: int, parent: int, user_ticks: int, *, waited: int = 0, pages: int = 0) -> Process:
    return Process(
        pid=pid,
        state="S",
        parent=parent,
        group=pid,
        session=pid,
        user_ticks=user_ticks,
        system_ticks=0,
        waited_user_ticks=waited,
        waited_system_ticks=0,
        threads=1,
        start_time=pid,
        resident_pages=pages,
    )


def machine() -> ProcessTable:
    """A monitor (10) with a task (11), the task's child (12), and a daemon that it has adopted (13)."""
    return ProcessTable(
        [
            process(1, 0, 9999),
            process(10, 1, 5000, waited=100, pages=999),
            process(11, 10, 200, waited=30, pages=1),
            process(12, 11, 50, pages=2),
            process(13, 10, 20, pages=4),
            process(20, 1, 7777, pages=999),
        ]
    )


async def test_cpu_time_counts_the_tree_and_everybody_that_was_waited_for_but_not_the_monitor_itself() -> None:
    statistics = await UsageMeter(scan=machine).measure(10, Allowance())
    assert statistics.cpus_user_time_secs == pytest.approx((100 + 200 + 30 + 50 + 20) / 100)


async def test_memory_counts_the_tree_without_the_monitor() -> None:
    statistics = await UsageMeter(scan=machine).measure(10, Allowance())
    assert statistics.mem_rss_bytes == 7 * 4096


async def test_what_is_not_asked_for_by_isolation_is_not_reported() -> None:
    allowance = Allowance(cpus=1.0, mem_bytes=1, cpus_limit=2.0, mem_limit_bytes=2)
    fields = {
        field.name for field, _ in (await UsageMeter(mem=False, scan=machine).measure(10, allowance)).ListFields()
    }
    assert fields == {"timestamp", "cpus_user_time_secs", "cpus_system_time_secs", "cpus_soft_limit", "cpus_limit"}
    fields = {
        field.name for field, _ in (await UsageMeter(cpu=False, scan=machine).measure(10, allowance)).ListFields()
    }
    assert fields == {"timestamp", "mem_rss_bytes", "mem_soft_limit_bytes", "mem_limit_bytes"}


async def test_questions_at_the_same_time_are_answered_from_one_scan() -> None:
    scans = 0

    def counted() -> ProcessTable:
        nonlocal scans
        scans += 1
        return machine()

    meter = UsageMeter(scan=counted)
    first, second = await meter.measure(10, Allowance()), await meter.measure(20, Allowance())
    assert scans == 1
    assert first.timestamp == second.timestamp
