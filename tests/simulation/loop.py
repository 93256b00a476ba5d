"""An event loop whose time is simulated: nothing takes time, and the next moment comes as soon as all is done.

One loop runs the whole cluster. Each callback belongs to a `Process`, the one that scheduled it: so a process can stand
still while the others go on, has clocks of its own, and can be killed. What runs next depends on nothing but the seed:
callbacks run in the order in which they were scheduled, and tasks and futures have hashes that do not depend on where
they lie in memory.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Self, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START_SECONDS = 1_800_000_000.0
"""What the clocks say when a simulation begins. Seconds since the epoch."""
CALLBACKS_PER_MOMENT_MAX = 200_000
"""With so many, and no time that passes, something runs in circles."""


class SimulationError(AssertionError):
    """The simulation cannot go on: nothing is left to happen, or something runs in circles."""


class Process:
    """One run of one program on one host, from its start to its death."""

    def __init__(self, name: str, host: str = "", wall_offset_seconds: float = 0.0) -> None:
        self.name = name
        self.host = host
        self.wall_offset_seconds = wall_offset_seconds
        """How far its host's wall clock is ahead of the true time."""
        self.paused_until = 0.0
        """It stands still until then, as after SIGSTOP. Loop time."""
        self.alive = True
        """Whether anything that it does has an effect. A process that was killed is still cleaned up."""
        self.gone = False
        """Whether it has been cleaned up, too: none of its callbacks run any more."""
        self.tasks: dict[asyncio.Task[Any], None] = {}
        """Those that have not ended, in the order of their beginnings."""

    def __repr__(self) -> str:
        return f"<{self.name}>"


class _Handle(asyncio.Handle):
    """A callback, and whose it is."""

    __slots__ = ("process",)

    process: Process


class _TimerHandle(asyncio.TimerHandle):
    __slots__ = ("process",)

    process: Process


class _Task(asyncio.Task[Any]):
    """Sets of tasks are in the order of their creation, more or less, instead of that of their addresses."""

    def __new__(cls, *_: Any, loop: SimulatedLoop, **__: Any) -> Self:
        made = super().__new__(cls)
        made.number = next(loop.numbers)
        return made

    number: int

    def __hash__(self) -> int:
        return self.number


class _Future(asyncio.Future[Any]):
    def __new__(cls, *, loop: SimulatedLoop) -> Self:
        made = super().__new__(cls)
        made.number = next(loop.numbers)
        return made

    number: int

    def __hash__(self) -> int:
        return self.number


class _Job:
    """Work for a thread. It takes its time, and then happens at once."""

    def __init__(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.done = False

    def run(self) -> None:
        if self.done:
            return
        self.done = True
        if self.future.cancelled():
            return  # it had not begun
        try:
            result = self.work()
        except Exception as error:  # noqa: BLE001  it is passed on
            if not self.future.done():
                self.future.set_exception(error)
        else:
            if not self.future.done():
                self.future.set_result(result)


class SimulatedLoop(asyncio.BaseEventLoop):
    """`run(until)` lets moment after moment pass. `steps` counts them."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._order = itertools.count()
        self.numbers = itertools.count(1)
        """Of tasks and futures."""
        self._waiting: list[tuple[float, int, _TimerHandle]] = []
        self._ready: deque[_Handle | _TimerHandle] = deque()
        self._callbacks = 0
        self._over: Callable[[], bool] = lambda: False
        self._ending = False
        self._jobs: dict[Process, deque[_Job]] = {}
        self._threads_free: dict[Any, float] = {}
        self.world = Process("world")
        """Who does what belongs to no program of the cluster."""
        self.process = self.world
        """Whose callback runs."""
        self.steps = 0
        self.failure: BaseException | None = None
        self.tolerant = False
        """Whether failures are let pass: when it is over, and everything is only to end."""
        self.job_seconds: Callable[[Process], float] = lambda _: 0.0
        """How long a thread of a process needs for a piece of work."""
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._unhandled)

    # --- running

    def run(self, until: Callable[[], bool]) -> None:
        """Let time pass until `until()`, which is asked after each moment.

        Raises:
            SimulationError: nothing is left to happen, or something runs in circles.
            BaseException: what `fail` was called with.
        """
        self._over, self._ending = until, False
        self.run_forever()
        self.raise_failure()

    def raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    def fail(self, error: BaseException) -> None:
        """End the simulation: the first error is what it ends with."""
        if self.tolerant:
            return
        if self.failure is None:
            self.failure = error
        self.stop()

    def stop(self) -> None:
        self._ending = True
        super().stop()

    def _run_once(self) -> None:
        if not self._ready and not self._ending:
            if self._over():
                self.stop()
                return
            self._advance()
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            process = handle.process
            if handle.cancelled() or process.gone:
                continue
            if process.paused_until > self._now:
                self._wait(process.paused_until, handle)
                continue
            self.process = process
            try:
                handle._run()
            finally:
                self.process = self.world
            self._callbacks += 1
        if self._callbacks > CALLBACKS_PER_MOMENT_MAX:
            raise SimulationError(f"{self._callbacks} callbacks at {self._now:.6f}, and no time passes")

    def _advance(self) -> None:
        """To the next moment at which anything happens."""
        waiting = self._waiting
        while waiting and waiting[0][2].cancelled():
            heapq.heappop(waiting)
        if not waiting:
            raise SimulationError("nothing is left to happen")
        self._now = max(self._now, waiting[0][0])
        self.steps += 1
        self._callbacks = 0
        while waiting and waiting[0][0] <= self._now:
            handle = heapq.heappop(waiting)[2]
            if not handle.cancelled():
                self._ready.append(handle)

    def _wait(self, when: float, handle: _Handle | _TimerHandle) -> None:
        heapq.heappush(self._waiting, (when, next(self._order), handle))  # type: ignore[misc]

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.fail(error if error is not None else SimulationError(f"{context['message']}: {context}"))

    # --- what asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        assert not self.is_closed()
        handle = _Handle(callback, args, self, context)
        handle.process = self.process
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        assert not self.is_closed()
        handle = _TimerHandle(when, callback, args, self, context)
        handle.process = self.process
        self._wait(when, handle)
        return handle

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Cancelled handles are left out when their time has come."""

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def _make_task(
        self, _loop: asyncio.AbstractEventLoop, work: Any, *, context: Context | None = None
    ) -> asyncio.Future[Any]:
        task = _Task(work, loop=self, context=context)
        owner = self.process
        owner.tasks[task] = None
        task.add_done_callback(lambda ended: owner.tasks.pop(ended, None))
        return task

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """A thread pool of a process' own does one thing after another; the default one does all at once."""
        future: asyncio.Future[Any] = self.create_future()
        if not self.process.alive:
            future.cancel()
            return future
        job = _Job(lambda: func(*args), future)
        begins = self._now if executor is None else max(self._now, self._threads_free.get(executor, 0.0))
        when = begins + self.job_seconds(self.process)
        if executor is not None:
            self._threads_free[executor] = when
        jobs = self._jobs.setdefault(self.process, deque())
        jobs.append(job)

        def run() -> None:
            if job in jobs:
                jobs.remove(job)
                job.run()

        self.call_at(when, run)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There are no threads."""

    # --- processes

    @contextmanager
    def acting_as(self, process: Process) -> Iterator[None]:
        """What is scheduled meanwhile is that process'."""
        before, self.process = self.process, process
        try:
            yield
        finally:
            self.process = before

    def call_at_as(self, process: Process, when: float, callback: Callable[..., object], *args: Any) -> Any:
        """Schedule something as if that process had."""
        with self.acting_as(process):
            return self.call_at(when, callback, *args)

    def cut_off(self, process: Process, *, begun: Callable[[Callable[[], Any]], None]) -> None:
        """The process dies: from now on nothing that it does has an effect. What its threads were at is lost.

        `begun` is given the oldest piece of work, which may have been done in part.
        """
        process.alive = False
        process.paused_until = 0.0
        jobs = self._jobs.pop(process, deque())
        for number, job in enumerate(jobs):
            if number == 0 and not job.future.cancelled():
                begun(job.work)
            job.done = True
            job.future.cancel()

    def bury(self, process: Process) -> list[asyncio.Task[Any]]:
        """The process has been cleaned up: nothing of it runs any more. Returns the tasks that it left."""
        process.alive = False
        process.gone = True
        self._jobs.pop(process, None)
        left = list(process.tasks)
        process.tasks.clear()
        return left
