"""How much is logged is raised for a while."""

from __future__ import annotations

import asyncio

import pytest

from mezzo.errors import InvalidRequest
from mezzo_chassis.verbosity import LEVEL_MAX, Verbosity

PATIENCE_SECONDS = 20


@pytest.fixture
def levels(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[str]:
    """The levels that are set, in order."""
    told: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr("mezzo_chassis.verbosity.set_level", told.put_nowait)
    return told


async def test_more_is_told_until_the_time_is_over(levels: asyncio.Queue[str]) -> None:
    verbosity = Verbosity("warning")
    verbosity.raise_to(1, 0)
    assert (verbosity.level, levels.get_nowait()) == (1, "debug")
    assert await asyncio.wait_for(levels.get(), PATIENCE_SECONDS) == "warning"
    assert verbosity.level == 0


async def test_what_is_raised_again_is_not_cut_short_by_the_first_end(levels: asyncio.Queue[str]) -> None:
    verbosity, ended = Verbosity("info"), asyncio.Event()
    verbosity.raise_to(2, 0)
    verbosity.raise_to(LEVEL_MAX + 5, 3600)
    asyncio.get_running_loop().call_later(0, ended.set)  # after the first end, had it been left to come
    await ended.wait()
    assert verbosity.level == LEVEL_MAX
    verbosity.close()
    assert (verbosity.level, [levels.get_nowait() for _ in range(levels.qsize())]) == (0, ["debug", "debug", "info"])


async def test_less_than_no_time_is_refused_and_changes_nothing(levels: asyncio.Queue[str]) -> None:
    verbosity = Verbosity("info")
    with pytest.raises(InvalidRequest, match="must not be negative"):
        verbosity.raise_to(1, -1e-9)
    assert (verbosity.level, levels.empty()) == (0, True)
