"""Acts on the core's effects: each is begun here, and what comes of it returns as an event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import singledispatchmethod
from pathlib import Path
from typing import Any, Protocol

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.errors import NotFound
from mezzo.task_states import TERMINAL
from mezzo_agent.adapters.executor_streams import ExecutorStreams
from mezzo_agent.core.effects import (
    CancelTimer,
    CloseExecutorStream,
    DestroyContainer,
    DiscardSandbox,
    Effect,
    EndAgent,
    ForgetContainer,
    KillContainer,
    LaunchContainer,
    SendToExecutor,
    SendToRegistry,
    StartTimer,
    UpdateContainer,
    WatchContainer,
)
from mezzo_agent.core.events import ContainerEnded, ContainerNotStarted, ContainerStarted, Event, Timer, TimerFired
from mezzo_agent.ports import ContainerConfig, ContainerId, Containerizer, LaunchError, Termination
from mezzo_chassis.log import get_logger

log = get_logger(__name__)


class Observer(Protocol):
    """Is told how long things took, in seconds."""

    def launched(self, seconds: float, *, failed: bool) -> None: ...

    def destroyed(self, seconds: float) -> None: ...


class Performer:
    """Never waits: containers are seen to by tasks of their own, messages are queued."""

    def __init__(
        self,
        containerizer: Containerizer,
        streams: ExecutorStreams,
        *,
        send: Callable[[session.AgentMessage], None],
        discard: Callable[[Path], None],
        end: Callable[[EndAgent], None],
        observer: Observer,
    ) -> None:
        self._containerizer = containerizer
        self._streams = streams
        self._send = send
        self._discard = discard
        self._end = end
        self._observer = observer
        self._post: Callable[[Event], None] = _unbound
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def report_to(self, post: Callable[[Event], None]) -> None:
        """Where the outcome of effects goes. Before any effect."""
        self._post = post

    async def close(self) -> None:
        """Let go of everything; containers run on."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @singledispatchmethod
    def perform(self, effect: Effect) -> None:
        raise TypeError(f"{type(effect).__name__} is no effect to act on")

    @perform.register
    def _(self, effect: SendToRegistry) -> None:
        self._send(effect.message)
        if effect.message.HasField("task_update"):
            _tell(effect.message.task_update)

    @perform.register
    def _(self, effect: SendToExecutor) -> None:
        self._streams.send(effect.connection, effect.event)

    @perform.register
    def _(self, effect: CloseExecutorStream) -> None:
        self._streams.close(effect.connection)

    @perform.register
    def _(self, effect: LaunchContainer) -> None:
        self._spawn(self._launch(effect.config))

    @perform.register
    def _(self, effect: WatchContainer) -> None:
        self._spawn(self._watch(effect.container_id))

    @perform.register
    def _(self, effect: KillContainer) -> None:
        self._spawn(self._attempt("kill", self._containerizer.kill(effect.container_id, effect.signal)))

    @perform.register
    def _(self, effect: DestroyContainer) -> None:
        self._spawn(self._attempt("destroy", self._destroy(effect.container_id)))

    @perform.register
    def _(self, effect: UpdateContainer) -> None:
        self._spawn(self._attempt("update", self._containerizer.update(effect.container_id, effect.resources)))

    @perform.register
    def _(self, effect: ForgetContainer) -> None:
        self._containerizer.forget(effect.container_id)

    @perform.register
    def _(self, effect: StartTimer) -> None:
        self._cancel(effect.timer)
        loop = asyncio.get_running_loop()
        self._timers[effect.timer] = loop.call_later(effect.delay_seconds, self._fire, effect.timer)

    @perform.register
    def _(self, effect: CancelTimer) -> None:
        self._cancel(effect.timer)

    @perform.register
    def _(self, effect: DiscardSandbox) -> None:
        self._discard(effect.path)

    @perform.register
    def _(self, effect: EndAgent) -> None:
        self._end(effect)

    def _cancel(self, timer: Timer) -> None:
        handle = self._timers.pop(timer, None)
        if handle is not None:
            handle.cancel()

    def _fire(self, timer: Timer) -> None:
        self._timers.pop(timer, None)
        self._post(TimerFired(timer))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _launch(self, config: ContainerConfig) -> None:
        began = time.perf_counter()
        try:
            launched = await self._containerizer.launch(config)
        except LaunchError as error:
            self._observer.launched(time.perf_counter() - began, failed=True)
            log.info("launch failed", container_id=config.container_id, reason=error.message)
            self._post(ContainerNotStarted(config.container_id, error.reason, error.message))
            return
        self._observer.launched(time.perf_counter() - began, failed=False)
        self._post(ContainerStarted(launched.container_id, launched.pid))
        await self._watch(config.container_id)

    async def _destroy(self, container_id: ContainerId) -> None:
        began = time.perf_counter()
        await self._containerizer.destroy(container_id)
        self._observer.destroyed(time.perf_counter() - began)

    async def _watch(self, container_id: ContainerId) -> None:
        try:
            termination = await self._containerizer.wait(container_id)
        except NotFound as error:
            log.error("lost sight of a container", container_id=container_id, error=str(error))
            termination = Termination(None, f"The agent lost sight of the container: {error}")
        self._post(ContainerEnded(container_id, termination))

    async def _attempt(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """A container that has ended meanwhile is no error: ContainerEnded is on its way."""
        try:
            await work
        except NotFound as error:
            log.debug("nothing to do", what=what, reason=str(error))
        except Exception:
            log.exception("cannot act on a container", what=what)


def _tell(update: session.TaskUpdate) -> None:
    """A line in the log for how each task ended; what comes before is told by /state."""
    status = update.status
    if status.state in TERMINAL:
        log.info(
            "task ended",
            framework_id=update.framework_id.value,
            task_id=status.task_id.value,
            state=mesos.TaskState.Name(status.state),
            message=status.message,
        )


def _unbound(event: Event) -> None:
    raise RuntimeError(f"nobody has asked to be told of {type(event).__name__}")
