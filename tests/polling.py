"""Waiting for what no event tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

PATIENCE_SECONDS = 60
PAUSE_SECONDS = 0.03

T = TypeVar("T")


async def eventually(probe: Callable[[], Awaitable[T]], what: str, seconds_max: float = PATIENCE_SECONDS) -> T:
    """The first answer of `probe` that is true; fails, saying `what` did not come, when there is none in time."""
    answer: T | None = None
    try:
        async with asyncio.timeout(seconds_max):
            while True:
                answer = await probe()
                if answer:
                    return answer
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        raise AssertionError(f"{what}: not after {seconds_max} s; the last answer was {answer!r}") from None
