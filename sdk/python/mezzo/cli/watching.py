"""When to look again: after each event of the operator API, and after a while for what no event tells of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiohttp

from mezzo.cli.errors import ApiError

if TYPE_CHECKING:
    from mezzo.cli.api import Api

# Offers, quotas and weights change without an event.
LOOK_SECONDS = 5.0
# What changes together is shown together.
GATHER_SECONDS = 0.2
AGAIN_SECONDS = 1.0


async def changes(api: Api) -> AsyncIterator[None]:
    """Now, and then whenever something may have changed."""
    wake = asyncio.Event()
    following = asyncio.create_task(_wake_on_events(api, wake))
    try:
        while True:
            wake.clear()
            yield
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _wake_on_events(api: Api, wake: asyncio.Event) -> None:
    """Who looks again finds out what is wrong, if something is, and says so: here it is only tried again."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ApiError):
            async for event in api.events():
                if event["type"] != "HEARTBEAT":
                    wake.set()
        await asyncio.sleep(AGAIN_SECONDS)
