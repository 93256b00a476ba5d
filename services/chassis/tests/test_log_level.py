"""How much is logged is raised for a while."""

from __future__ import annotations

import asyncio

import pytest

from mezzo.errors import InvalidRequest
from mezzo_chassis.log_level import LEVEL_MAX, LogLevel

PATIENCE_SECONDS = 20


@pytest.fixture
def levels(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[str]:
    """The levels that are set, in order."""
    told: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr("mezzo_chassis.log_level.set_level", told.put_nowait)
    return told


async def test_more_is_told_until_the_time_is_over(levels: asyncio.Queue[str]) -> None:
    log_level = LogLevel("warning")
    log_level.raise_to(1, 0)
    assert (log_level.level, levels.get_nowait()) == (1, "debug")
    assert await asyncio.wait_for(levels.get(), PATIENCE_SECONDS) == "warning"
    assert log_level.level == 0


async def test_what_is_raised_again_is_not_cut_short_by_the_first_end(levels: asyncio.Queue[str]) -> None:
    log_level, ended = LogLevel("info"), asyncio.Event()
    log_level.raise_to(2, 0)
    log_level.raise_to(LEVEL_MAX + 5, 3600)
    asyncio.get_running_loop().call_later(0, ended.set)  # after the first end, had it been left to come
    await ended.wait()
    assert log_level.level == LEVEL_MAX
    log_level.close()
    assert (log_level.level, [levels.get_nowait() for _ in range(levels.qsize())]) == (0, ["debug", "debug", "info"])


async def test_less_than_no_time_is_refused_and_changes_nothing(levels: asyncio.Queue[str]) -> None:
    log_level = LogLevel("info")
    with pytest.raises(InvalidRequest, match="must not be negative"):
        log_level.raise_to(1, -1e-9)
    assert (log_level.level, levels.empty()) == (0, True)
