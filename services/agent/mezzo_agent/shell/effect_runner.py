"""Acts on the core's effects: each is begun here, and what comes of it returns as an event."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
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
    Persist,
    SendToExecutor,
    SendToRegistry,
    StartTimer,
    UpdateContainer,
    WatchContainer,
)
from mezzo_agent.core.events import (
    ContainerActionFailed,
    ContainerEnded,
    ContainerNotStarted,
    ContainerStarted,
    Event,
    Timer,
)
from mezzo_agent.ports import ContainerConfig, ContainerId, Containerizer, LaunchError, Termination, reason_of
from mezzo_agent.shell.executor_streams import ExecutorStreams
from mezzo_chassis.log import get_logger

UNKNOWN_CONTAINER = "Container unknown to the containerizer; none of its processes is running"

CAUSES_MAX = 10_000
"""For how many updates is known what they follow from; those of a framework that ends are never acknowledged."""

log = get_logger(__name__)


class Observer(Protocol):
    """Is told how long things took, in seconds."""

    def launched(self, seconds: float, *, failed: bool) -> None: ...

    def destroyed(self, seconds: float) -> None: ...


class Shell(Protocol):
    """What is needed of the engine."""

    @property
    def cause(self) -> str: ...

    def post(self, event: Event, cause: str = "") -> None: ...

    def start_timer(self, key: Timer, seconds: float) -> None: ...

    def cancel_timer(self, key: Timer) -> None: ...

    def spawn(
        self, work: Coroutine[Any, Any, Event | None], failed: Callable[[Exception], Event], *, name: str
    ) -> None: ...


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
        self._observer = observer
        self._engine: Shell
        # Containers whose end a task of ours is going to report.
        self._watched: set[ContainerId] = set()
        # What unacknowledged updates follow from, by their uuid: each waits for the one before it.
        self._causes: dict[bytes, str] = {}
        self.running: Effect | None = None
        """The effect that is being carried out, or has failed to be."""
        self._runs: dict[type, Callable[[Any], None]] = {
            Persist: self._persisted,
            SendToRegistry: self._send_to_registry,
            SendToExecutor: lambda effect: self._streams.send(effect.connection, effect.event),
            CloseExecutorStream: lambda effect: self._streams.close(effect.connection),
            LaunchContainer: self._launch_container,
            WatchContainer: self._watch_container,
            KillContainer: self._kill_container,
            DestroyContainer: self._destroy_container,
            UpdateContainer: self._update_container,
            ForgetContainer: lambda effect: self._containerizer.forget(effect.container_id),
            StartTimer: lambda effect: self._engine.start_timer(effect.timer, effect.delay_seconds),
            CancelTimer: lambda effect: self._engine.cancel_timer(effect.timer),
            DiscardSandbox: lambda effect: self._discard(effect.path),
            EndAgent: end,
        }
        self.effects: Mapping[type, Callable[[Any], None]] = dict.fromkeys(self._runs, self.run)
        """For the engine: what carries out each type of effect."""

    def bind(self, engine: Shell) -> None:
        """Where the outcome of effects goes. Before any effect."""
        self._engine = engine

    def run(self, effect: Effect) -> None:
        """Begin to carry out an effect."""
        self.running = effect
        self._runs[type(effect)](effect)
        self.running = None

    def _persisted(self, effect: Persist) -> None:
        """It is durable by now."""
        record = effect.record
        if record.HasField("update"):
            if len(self._causes) == CAUSES_MAX:
                del self._causes[next(iter(self._causes))]
            self._causes[record.update.status.uuid] = self._engine.cause
        elif record.HasField("acknowledgement"):
            self._causes.pop(record.acknowledgement.uuid, None)

    def _send_to_registry(self, effect: SendToRegistry) -> None:
        message, cause = effect.message, self._engine.cause
        if message.HasField("task_update"):
            cause = self._causes.get(message.task_update.status.uuid, cause)
            _log_update(message.task_update, cause)
        message.cause = cause
        self._send(message)

    def _launch_container(self, effect: LaunchContainer) -> None:
        container_id = effect.config.container_id
        self._watched.add(container_id)
        self._spawn(self._launch(effect.config), container_id, "launch")

    def _watch_container(self, effect: WatchContainer) -> None:
        self._watched.add(effect.container_id)
        self._spawn(self._watch(effect.container_id), effect.container_id, "watch")

    def _kill_container(self, effect: KillContainer) -> None:
        work = self._kill(effect.container_id, effect.signal)
        self._spawn_minor(work, effect.container_id, "kill")

    def _destroy_container(self, effect: DestroyContainer) -> None:
        self._spawn(self._destroy(effect.container_id), effect.container_id, "destroy")

    def _update_container(self, effect: UpdateContainer) -> None:
        work = self._update(effect.container_id, effect.resources)
        self._spawn_minor(work, effect.container_id, "update")

    def _spawn(self, work: Coroutine[Any, Any, Event | None], container_id: ContainerId, action: str) -> None:
        """Something that the core waits for the end of."""

        def failed(error: Exception) -> Event:
            return self._ended(container_id, _lost(f"cannot {action} the container: {reason_of(error)}"))

        self._engine.spawn(work, failed, name=f"{action} {container_id}")

    def _spawn_minor(self, work: Coroutine[Any, Any, Event | None], container_id: ContainerId, action: str) -> None:
        """Something that nothing depends on."""

        def failed(error: Exception) -> Event:
            return ContainerActionFailed(container_id, action, reason_of(error))

        self._engine.spawn(work, failed, name=f"{action} {container_id}")

    async def _launch(self, config: ContainerConfig) -> Event:
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
            self._engine.post(ContainerStarted(launched.container_id, launched.pid))
            return await self._watch(config.container_id)
        self._observer.launched(time.perf_counter() - began, failed=True)
        log.info("launch failed", container_id=config.container_id, reason=failure.message)
        self._watched.discard(config.container_id)
        return ContainerNotStarted(config.container_id, failure.reason, failure.message)

    async def _watch(self, container_id: ContainerId) -> Event:
        try:
            termination = await self._containerizer.wait(container_id)
        except NotFound as error:
            log.error("container not found while waiting for its end", container_id=container_id, error=str(error))
            termination = Termination(None, UNKNOWN_CONTAINER)
        except Exception as error:
            log.exception("cannot wait for a container", container_id=container_id)
            await self._end(container_id)
            termination = _lost(f"cannot wait for the container: {reason_of(error)}")
        return self._ended(container_id, termination)

    async def _kill(self, container_id: ContainerId, signal: int) -> Event | None:
        """Where it fails, the core destroys the container when the grace period is over."""
        try:
            await self._containerizer.kill(container_id, signal)
        except NotFound:
            return self._ended_unless_watched(container_id)
        except Exception as error:
            log.exception("cannot signal a container", container_id=container_id, signal=signal)
            return ContainerActionFailed(container_id, "kill", reason_of(error))
        return None

    async def _destroy(self, container_id: ContainerId) -> Event | None:
        began = time.perf_counter()
        failure = await self._end(container_id)
        if failure is not None:
            return self._ended(container_id, _lost(f"cannot destroy the container: {reason_of(failure)}"))
        self._observer.destroyed(time.perf_counter() - began)
        return self._ended_unless_watched(container_id)

    async def _end(self, container_id: ContainerId) -> Exception | None:
        return await retry(lambda: self._containerizer.destroy(container_id), "destroy", container_id)

    def _ended_unless_watched(self, container_id: ContainerId) -> Event | None:
        """Nothing runs under this id. If a task of ours watches the container, that one knows how it ended."""
        if container_id in self._watched:
            return None
        return self._ended(container_id, Termination(None, UNKNOWN_CONTAINER))

    def _ended(self, container_id: ContainerId, termination: Termination) -> Event:
        self._watched.discard(container_id)
        return ContainerEnded(container_id, termination)

    async def _update(self, container_id: ContainerId, resources: Resources) -> Event | None:
        try:
            await self._containerizer.update(container_id, resources)
        except NotFound as error:
            log.debug("container to update not found", error=str(error))
        except Exception as error:
            log.exception("cannot update a container", container_id=container_id)
            return ContainerActionFailed(container_id, "update", reason_of(error))
        return None


def _lost(why: str) -> Termination:
    """Of a container that may run on: the agent could do nothing about it. Mesos' agent says it with this reason."""
    reason = mesos.TaskStatus.REASON_EXECUTOR_TERMINATED
    return Termination(None, f"Abnormal executor termination: {why}", reason)


def _log_update(update: session.TaskUpdate, cause: str) -> None:
    """A line in the log for how each task ended; what comes before is told by /state."""
    status = update.status
    if status.state in TERMINAL:
        log.info(
            "task ended",
            framework_id=update.framework_id.value,
            task_id=status.task_id.value,
            state=mesos.TaskState.Name(status.state),
            message=status.message,
            cause=cause,
        )
