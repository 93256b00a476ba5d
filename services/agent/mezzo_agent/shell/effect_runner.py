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
from mezzo.resources import Resources
from mezzo.task_states import TERMINAL
from mezzo_agent.containers.retries import retry
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
from mezzo_agent.ports import ContainerConfig, ContainerId, Containerizer, LaunchError, Termination, reason_of
from mezzo_agent.shell.executor_streams import ExecutorStreams
from mezzo_chassis.log import get_logger

UNKNOWN_CONTAINER = "Container unknown to the containerizer; none of its processes is running"

log = get_logger(__name__)


class Observer(Protocol):
    """Is told how long things took, in seconds."""

    def launched(self, seconds: float, *, failed: bool) -> None: ...

    def destroyed(self, seconds: float) -> None: ...


class EffectRunner:
    """Never waits: containers are seen to by tasks of their own, messages are queued.

    Every launch, watch and destroy ends in an event, whatever the containerizer raises: the core waits for that alone.
    """

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
        self._end_agent = end
        self._observer = observer
        self._post: Callable[[Event], None] = _unbound
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Containers whose end a task of ours is going to report.
        self._watched: set[ContainerId] = set()

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
    def run(self, effect: Effect) -> None:
        raise TypeError(f"{type(effect).__name__} is not an effect of the agent")

    @run.register
    def _(self, effect: SendToRegistry) -> None:
        self._send(effect.message)
        if effect.message.HasField("task_update"):
            _log_update(effect.message.task_update)

    @run.register
    def _(self, effect: SendToExecutor) -> None:
        self._streams.send(effect.connection, effect.event)

    @run.register
    def _(self, effect: CloseExecutorStream) -> None:
        self._streams.close(effect.connection)

    @run.register
    def _(self, effect: LaunchContainer) -> None:
        self._watched.add(effect.config.container_id)
        self._spawn(self._launch(effect.config))

    @run.register
    def _(self, effect: WatchContainer) -> None:
        self._watched.add(effect.container_id)
        self._spawn(self._watch(effect.container_id))

    @run.register
    def _(self, effect: KillContainer) -> None:
        self._spawn(self._kill(effect.container_id, effect.signal))

    @run.register
    def _(self, effect: DestroyContainer) -> None:
        self._spawn(self._destroy(effect.container_id))

    @run.register
    def _(self, effect: UpdateContainer) -> None:
        self._spawn(self._update(effect.container_id, effect.resources))

    @run.register
    def _(self, effect: ForgetContainer) -> None:
        self._containerizer.forget(effect.container_id)

    @run.register
    def _(self, effect: StartTimer) -> None:
        self._cancel(effect.timer)
        loop = asyncio.get_running_loop()
        self._timers[effect.timer] = loop.call_later(effect.delay_seconds, self._fire, effect.timer)

    @run.register
    def _(self, effect: CancelTimer) -> None:
        self._cancel(effect.timer)

    @run.register
    def _(self, effect: DiscardSandbox) -> None:
        self._discard(effect.path)

    @run.register
    def _(self, effect: EndAgent) -> None:
        self._end_agent(effect)

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
            failure = error
        except Exception as error:
            log.exception("launch failed with an unexpected error", container_id=config.container_id)
            await self._end(config.container_id)  # nothing says how far it came
            failure = LaunchError(mesos.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED, reason_of(error))
        else:
            self._observer.launched(time.perf_counter() - began, failed=False)
            self._post(ContainerStarted(launched.container_id, launched.pid))
            await self._watch(config.container_id)
            return
        self._observer.launched(time.perf_counter() - began, failed=True)
        log.info("launch failed", container_id=config.container_id, reason=failure.message)
        self._watched.discard(config.container_id)
        self._post(ContainerNotStarted(config.container_id, failure.reason, failure.message))

    async def _watch(self, container_id: ContainerId) -> None:
        try:
            termination = await self._containerizer.wait(container_id)
        except NotFound as error:
            log.error("container not found while waiting for its end", container_id=container_id, error=str(error))
            termination = Termination(None, UNKNOWN_CONTAINER)
        except Exception as error:
            log.exception("cannot wait for a container", container_id=container_id)
            await self._end(container_id)
            termination = _lost(f"cannot wait for the container: {reason_of(error)}")
        self._ended(container_id, termination)

    async def _kill(self, container_id: ContainerId, signal: int) -> None:
        """Where it fails, the core destroys the container when the grace period is over."""
        try:
            await self._containerizer.kill(container_id, signal)
        except NotFound:
            self._ended_unless_watched(container_id)
        except Exception:
            log.exception("cannot signal a container", container_id=container_id, signal=signal)

    async def _destroy(self, container_id: ContainerId) -> None:
        began = time.perf_counter()
        failure = await self._end(container_id)
        if failure is not None:
            self._ended(container_id, _lost(f"cannot destroy the container: {reason_of(failure)}"))
            return
        self._observer.destroyed(time.perf_counter() - began)
        self._ended_unless_watched(container_id)

    async def _end(self, container_id: ContainerId) -> Exception | None:
        return await retry(lambda: self._containerizer.destroy(container_id), "destroy", container_id)

    def _ended_unless_watched(self, container_id: ContainerId) -> None:
        """Nothing runs under this id. If a task of ours watches the container, that one knows how it ended."""
        if container_id not in self._watched:
            self._ended(container_id, Termination(None, UNKNOWN_CONTAINER))

    def _ended(self, container_id: ContainerId, termination: Termination) -> None:
        self._watched.discard(container_id)
        self._post(ContainerEnded(container_id, termination))

    async def _update(self, container_id: ContainerId, resources: Resources) -> None:
        """Nothing waits for it."""
        try:
            await self._containerizer.update(container_id, resources)
        except NotFound as error:
            log.debug("container to update not found", error=str(error))
        except Exception:
            log.exception("cannot update a container", container_id=container_id)


def _lost(why: str) -> Termination:
    """Of a container that may run on: the agent could do nothing about it. Mesos' agent says it with this reason."""
    reason = mesos.TaskStatus.REASON_EXECUTOR_TERMINATED
    return Termination(None, f"Abnormal executor termination: {why}", reason)


def _log_update(update: session.TaskUpdate) -> None:
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
    raise RuntimeError(f"no receiver of events is bound; lost {type(event).__name__}")
