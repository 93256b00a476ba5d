"""Work on a container that may fail for a moment: tried again after growing pauses, and a bounded number of times."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mezzo.backoff import Backoff
from mezzo.errors import NotFound
from mezzo_agent.ports import ContainerId
from mezzo_chassis.log import get_logger

ATTEMPTS_MAX = 5
ATTEMPT_SECONDS_MAX = 60.0
"""How long one attempt may take: a container whose processes do not die takes 50 s until that is certain."""
RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 5.0

log = get_logger(__name__)


async def retry(work: Callable[[], Awaitable[object]], action: str, container_id: ContainerId) -> Exception | None:
    """Await `work()` until it succeeds. Return None, or its last failure after ATTEMPTS_MAX of them.

    `NotFound` is a success: what is to be removed is not there.
    """
    failure: Exception | None = None
    backoff = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS_MAX):
                await work()
        except NotFound:
            return None
        except TimeoutError as error:
            failure = TimeoutError(str(error) or f"no success within {ATTEMPT_SECONDS_MAX:g} s")
        except Exception as error:  # noqa: BLE001  it is returned
            failure = error
        else:
            return None
        log.error(
            "cannot act on a container", action=action, container_id=container_id, attempt=attempt, exc_info=failure
        )
        if attempt < ATTEMPTS_MAX:
            await asyncio.sleep(next(backoff))
    return failure
