"""The life of a service process: one event loop, signals, background tasks that may not die unseen, exit codes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from mezzo.errors import shorten
from mezzo_chassis import trace
from mezzo_chassis.errors import Exit, StartupError, in_one_line
from mezzo_chassis.log import get_logger
from mezzo_chassis.mesos_flags import warn_of_variables

# Full collections walk everything that lives; with hundreds of thousands of records that takes longer than a heartbeat.
GC_THRESHOLDS = (50_000, 20, 100)

log = get_logger(__name__)


class Lifecycle:
    """What a running service can be told, and what it can leave running."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        # The name of the signal that ended it, if one did.
        self.signal: signal.Signals | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None

    def stop(self, by: signal.Signals | None = None) -> None:
        self.signal = self.signal or by
        self.stopping.set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run something in the background. If it fails, the service ends, and says why."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        self._failure = self._failure or task.exception()
        log.error("background task failed", task=task.get_name(), exc_info=task.exception())
        self.stopping.set()

    async def close(self) -> None:
        """End what is left in the background; raises what made the service end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._failure is not None:
            raise self._failure


def run(
    serve: Callable[[Lifecycle], Awaitable[None]], *, service: str, signals: tuple[signal.Signals, ...] = ()
) -> int:
    """Run a service until SIGTERM, SIGINT or one of `signals`; returns the exit code.

    `serve` starts everything, waits for `lifecycle.stopping`, and ends everything.
    """
    try:
        trace.begin(service)
        warn_of_variables(service, os.environ)
        asyncio.run(_run(serve, signals))
    except StartupError as error:
        print(f"mezzo {service}: {shorten(in_one_line(str(error)))}", file=sys.stderr, flush=True)
        return error.code
    except Exception:  # the last place where it can be told
        log.exception("service failed")
        return Exit.FAILED
    return 0


async def _run(serve: Callable[[Lifecycle], Awaitable[None]], signals: tuple[signal.Signals, ...]) -> None:
    gc.set_threshold(*GC_THRESHOLDS)
    lifecycle = Lifecycle()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, *signals):
        loop.add_signal_handler(number, lifecycle.stop, number)
    try:
        await serve(lifecycle)
    finally:
        await lifecycle.close()


def freeze_gc() -> None:
    """Take everything that lives now out of garbage collection: called after recovery and bulk registration."""
    gc.collect()
    gc.freeze()
