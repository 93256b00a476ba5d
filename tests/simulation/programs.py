"""Programs that run, die, and are started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.loop import Process, SimulatedLoop

CLEAN_SECONDS = 5.0
"""So long after its death what is left of a process is thrown away."""

Main = Callable[[Process], Coroutine[Any, Any, None]]


class Program:
    """Something that is to run on a host, and runs now or does not."""

    def __init__(
        self,
        name: str,
        host: str,
        loop: SimulatedLoop,
        main: Main,
        *,
        ended: Callable[[Program, BaseException | None], None] | None = None,
    ) -> None:
        """`ended` is called when it ends by itself, with what it raised: by default that is a failure."""
        self.name = name
        self.host = host
        self.wall_offset_seconds = 0.0
        self.process: Process | None = None
        """The life that runs; None while none does."""
        self.lives = 0
        self._loop = loop
        self._main = main
        self._ended = ended or self._failed
        self._root: asyncio.Task[None] | None = None
        self._cleaning: list[asyncio.Task[None]] = []

    @property
    def runs(self) -> bool:
        return self.process is not None

    def start(self) -> None:
        """Begin a life, unless one runs."""
        if self.process is not None:
            return
        self.lives += 1
        process = self.process = Process(f"{self.name}/{self.lives}", self.host, self.wall_offset_seconds)
        self._root = spawn(self._loop, process, lambda: self._main(process))
        self._root.add_done_callback(lambda task: self._over(process, task))

    def kill(self, begun: Callable[[Callable[[], Any]], None]) -> Process | None:
        """`kill -9`. Returns what was killed; `begun`: see `SimulatedLoop.cut_off`."""
        process, self.process = self.process, None
        if process is None or self._root is None:
            return None
        self._loop.cut_off(process, begun=begun)
        with self._loop.acting_as(process):
            self._root.cancel()
        return process

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so long."""
        if self.process is not None:
            self.process.paused_until = max(self.process.paused_until, self._loop.time() + seconds)

    def jump(self, seconds: float) -> None:
        """Its host's wall clock is set to another time."""
        self.wall_offset_seconds += seconds
        if self.process is not None:
            self.process.wall_offset_seconds = self.wall_offset_seconds

    def _over(self, process: Process, task: asyncio.Task[None]) -> None:
        alive = process.alive
        clean_up(self._loop, process)
        if not alive or self.process is not process:
            if not task.cancelled() and task.exception() is not None and not isinstance(task.exception(), OSError):
                self._loop.fail(task.exception() or AssertionError("no exception"))
            return  # it was killed
        self.process = None
        with self._loop.acting_as(self._loop.world):
            self._ended(self, None if task.cancelled() else task.exception())

    def _failed(self, _program: Program, error: BaseException | None) -> None:
        self._loop.fail(error or AssertionError(f"{self.name} ended by itself"))


def spawn(loop: SimulatedLoop, process: Process, main: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Run something as a process of its own."""
    with loop.acting_as(process):
        return loop.create_task(main(), name=process.name)


def clean_up(loop: SimulatedLoop, process: Process) -> None:
    """End what a process left running, as the kernel does."""
    process.alive = False

    async def clean() -> None:
        mine = asyncio.current_task()
        left = [task for task in process.tasks if task is not mine]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=CLEAN_SECONDS)
        loop.bury(process)

    with loop.acting_as(process):
        loop.create_task(clean(), name=f"clean up {process.name}")
