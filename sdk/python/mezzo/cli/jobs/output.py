"""What the tasks of a job write, copied to here as they write it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import aiohttp

from mezzo.cli import log_printer
from mezzo.cli.api import Api
from mezzo.cli.errors import ApiError, print_error, print_note
from mezzo.cli.log_follower import FOLLOWED_TASKS_MAX, Failure, Log, follow
from mezzo.cli.selection import task_path

STREAMS = ("stdout", "stderr")
# How long the rest of its output is asked for after its end: gateways and agents may be finding a new leader.
REST_SECONDS = 15.0


class JobOutput:
    """Follows each launch of a job, and marks the lines where there are several tasks."""

    def __init__(self, api: Api, unwritable: Callable[[], None], *, prefixed: bool) -> None:
        """`unwritable` is called where nobody takes what is to be written: a pipe was closed, a terminal is gone."""
        self._api = api
        self._unwritable = unwritable
        self._prefixed = prefixed
        self._following: dict[str, list[asyncio.Task[None]]] = {}
        self._told = False

    def follow(self, framework_id: str, task_id: str, number: int, ended: Callable[[], bool]) -> None:
        """Copy what a task writes from its beginning, once; until it has ended, or nobody reads it."""
        if task_id in self._following or self._too_many(task_id):
            return
        self._following[task_id] = [
            asyncio.create_task(self._copy(Log(task_path(framework_id, task_id), stream), task_id, number, ended))
            for stream in STREAMS
        ]

    def _too_many(self, task_id: str) -> bool:
        """Whether the output of another task is one too many; that is told once."""
        followed = sum(any(not each.done() for each in both) for both in self._following.values())
        if followed < FOLLOWED_TASKS_MAX:
            return False
        if not self._told:
            self._told = True
            print_note(
                f"the output of {FOLLOWED_TASKS_MAX} tasks is shown at once, and that of {task_id} and others is not; "
                "mezzo logs shows it"
            )
        return True

    async def rest(self) -> None:
        """Wait until everything has been copied."""
        await asyncio.gather(*(each for both in self._following.values() for each in both))

    async def close(self) -> None:
        """Copy nothing more."""
        following = [each for both in self._following.values() for each in both]
        for each in following:
            each.cancel()
        await asyncio.gather(*following, return_exceptions=True)

    async def _copy(self, log: Log, task_id: str, number: int, ended: Callable[[], bool]) -> None:
        lines = log_printer.Lines(log.stream, log_printer.prefix(task_id, log.stream), number)
        try:
            await follow(
                self._api, log, lines.write if self._prefixed else log_printer.raw(log.stream), _UntilRest(ended)
            )
            lines.close()
        except (aiohttp.ClientError, TimeoutError, ApiError) as error:
            print_error(f"cannot read the rest of {log.stream}: {error}")
        except OSError:
            self._unwritable()


class _UntilRest:
    """Go on while the task does, and for `REST_SECONDS` after its end."""

    def __init__(self, ended: Callable[[], bool]) -> None:
        self._ended = ended
        self._ended_at = math.inf

    def read(self) -> None:
        pass

    def lasts(self, _failure: Failure) -> bool:
        if self._ended():
            self._ended_at = min(self._ended_at, time.monotonic())
        return time.monotonic() < self._ended_at + REST_SECONDS
