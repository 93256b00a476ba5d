"""One log of one task, read to its end, or followed across restarts of whoever stands in between."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import aiohttp

from mezzo.backoff import Backoff
from mezzo.cli import exit_codes
from mezzo.cli.errors import ApiError, exit_code_of

if TYPE_CHECKING:
    from mezzo.cli.api import Api

RETRY_SECONDS_MIN = 0.2
RETRY_SECONDS_MAX = 2.0
# How long a gateway, or an agent, may be away while somebody follows.
AWAY_SECONDS_MAX = 60.0
# What is read at first to find the last lines; twice as much each time that it has too few.
TAIL_BYTES = 16 * 1024
# Tasks whose logs are followed at once: each takes two of the hundred connections that aiohttp opens.
FOLLOWED_TASKS_MAX = 40
SIZE_HEADER = "Mezzo-File-Size"

Write = Callable[[bytes], None]
Failure = aiohttp.ClientError | TimeoutError | ApiError


@dataclass(frozen=True, slots=True)
class Log:
    """What a task writes to one of its streams."""

    task_path: str
    """Where the gateway serves the task."""
    stream: str
    """`stdout` or `stderr`."""

    @property
    def path(self) -> str:
        """Where the gateway serves the log."""
        return f"{self.task_path}/files/{self.stream}"


class Patience(Protocol):
    """Whether a log that cannot be read now is worth another attempt."""

    def read(self) -> None:
        """Note that it could be read."""

    def lasts(self, failure: Failure) -> bool:
        """Whether to try again after this failure."""


class UntilAway:
    """Go on until it could not be read for `AWAY_SECONDS_MAX`; what is refused at once is not waited for."""

    def __init__(self, reconnecting: Callable[[Failure], None]) -> None:
        """`reconnecting` is called for the first failure of several in a row."""
        self._reconnecting = reconnecting
        self._was_read = False
        self._away_since: float | None = None

    def read(self) -> None:
        self._was_read, self._away_since = True, None

    def lasts(self, failure: Failure) -> bool:
        refused = isinstance(failure, ApiError) and exit_code_of(failure) != exit_codes.UNREACHABLE
        if refused and not self._was_read:
            return False
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._reconnecting(failure)
        return time.monotonic() < self._away_since + AWAY_SECONDS_MAX


async def copy(api: Api, log: Log, write: Write, offset: int = 0) -> None:
    """Copy what is there, from an offset on. Raises what asking the gateway raises."""
    async for piece in api.stream(log.path, offset=str(offset)):
        write(piece)


async def follow(api: Api, log: Log, write: Write, patience: Patience, offset: int = 0) -> None:
    """Copy what the task writes from an offset on, until it has ended.

    Raises:
        ApiError, aiohttp.ClientError, TimeoutError: it cannot be read, and the patience is over.
    """
    backoff = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)

    def opened(_headers: object) -> None:
        patience.read()
        backoff.reset()

    while True:
        try:
            async for piece in api.stream(log.path, opened, follow="true", offset=str(offset)):
                write(piece)
                offset += len(piece)
            return
        except (aiohttp.ClientError, TimeoutError, ApiError) as failure:
            if not patience.lasts(failure):
                raise
            await asyncio.sleep(next(backoff))


async def offset_of_last_lines(api: Api, log: Log, lines: int) -> int:
    """Where the last `lines` lines of it begin; one that has no end yet counts. Raises what asking raises."""
    size = await _size(api, log)
    if lines == 0:
        return size
    length = TAIL_BYTES
    while True:
        start = max(size - length, 0)
        pieces = deque[bytes]()
        await _copy_part(api, log, pieces.append, start, size - start)
        text = b"".join(pieces)
        position = _start_of_last_lines(text, lines)
        if position is not None:
            return start + position
        if start == 0:
            return 0
        length *= 2


async def _size(api: Api, log: Log) -> int:
    sizes: list[int] = []
    async for _ in api.stream(log.path, lambda headers: sizes.append(int(headers[SIZE_HEADER])), length="0"):
        pass
    return sizes[0]


async def _copy_part(api: Api, log: Log, write: Write, offset: int, length: int) -> None:
    async for piece in api.stream(log.path, offset=str(offset), length=str(length)):
        write(piece)


def _start_of_last_lines(text: bytes, lines: int) -> int | None:
    """Where in a text the last lines of it begin; None where it may have fewer."""
    end = len(text) - 1 if text.endswith(b"\n") else len(text)
    for _ in range(lines):
        end = text.rfind(b"\n", 0, end)
        if end < 0:
            return None
    return end + 1
