"""The client itself: a subscription that outlives the agent's restarts, and updates that are never lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import AsyncGeneratorType
from typing import Self, cast

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as v1
from mezzo import http
from mezzo.backoff import Backoff
from mezzo.errors import MezzoError, Unavailable, Unimplemented
from mezzo.executor.environment import ExecutorEnvironment
from mezzo.executor.transport import GrpcTransport, HttpTransport, Transport

Type = v1.Call.Type
_log = logging.getLogger("mezzo.executor")

RETRY_SECONDS_MIN = 0.2
# Where the agent allows no pause at all, it is not asked without one.
RETRY_SECONDS_FLOOR = 0.01


class ExecutorClient:
    """An executor that stays subscribed to its agent.

    Until the agent acknowledges them, it keeps the tasks that it was given and the updates that it sent; a new
    subscription takes them along, so that an agent that was restarted has missed nothing.
    """

    def __init__(
        self,
        transport: Transport,
        environment: ExecutorEnvironment,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` gives numbers from 0 to 1, by which the pauses between attempts to subscribe differ."""
        self._transport = transport
        self._environment = environment
        self._backoff = backoff(environment, jitter)
        self._tasks: dict[str, mesos.TaskInfo] = {}
        self._updates: dict[bytes, v1.Call.Update] = {}
        self._over = asyncio.Event()
        self._events: AsyncGeneratorType[v1.Event, None] | None = None
        # An update could not be sent on this subscription, so the next one has to take it along.
        self._stale = False
        self._waiting: asyncio.Timeout | None = None
        self._answered = False

    @classmethod
    def from_environment(cls, content_type: str = http.PROTOBUF, *, grpc: bool = False) -> ExecutorClient:
        """The client of a process that an agent started: over the v1 HTTP API, by its socket where it has one, or gRPC.

        Raises `KeyError` and `ValueError` as `ExecutorEnvironment.read`, and `Unimplemented` for gRPC of an agent that
        does not say where it serves that.
        """
        environment = ExecutorEnvironment.read()
        if grpc:
            if environment.grpc_endpoint is None:
                raise Unimplemented("MEZZO_AGENT_GRPC_ENDPOINT is not set: the agent serves no gRPC")
            return cls(GrpcTransport(environment.grpc_endpoint, environment.token), environment)
        transport = HttpTransport(
            environment.agent_endpoint,
            domain_socket=environment.domain_socket,
            token=environment.token,
            content_type=content_type,
        )
        return cls(transport, environment)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        if self._events is not None and not self._events.ag_running:
            await self._events.aclose()
        await self._transport.close()

    def events(self) -> AsyncIterator[v1.Event]:
        """Every event but HEARTBEAT, across restarts of the agent.

        Ends after SHUTDOWN or ERROR, which are yielded; when the stream breaks and the executor does not checkpoint;
        and when the agent has been away for longer than the recovery time-out. Then the executor is to end, too.
        Raises `MezzoError` where the agent refuses the subscription. Whoever leaves the loop may go on by asking again.
        """
        # Held here, or else leaving the loop would end the subscription. One that has ended has no frame any more.
        if self._events is None or self._events.ag_frame is None:
            self._events = cast("AsyncGeneratorType[v1.Event, None]", self._subscribed_again_and_again())
        return self._events

    async def _subscribed_again_and_again(self) -> AsyncGenerator[v1.Event]:
        recovery_seconds = self._environment.recovery_timeout_seconds
        give_up_at = time.monotonic() + recovery_seconds
        while not self._over.is_set():
            self._stale = self._answered = False
            failure = "the stream ended"
            try:
                async with contextlib.aclosing(self._subscription(give_up_at)) as events:
                    async for event in events:
                        yield event
                        if event.type in (v1.Event.SHUTDOWN, v1.Event.ERROR):
                            return
            except Unavailable as error:
                # The agent is away: whether it may come back is decided below.
                failure = str(error)
            if not self._environment.checkpoint and not self._stale:
                return
            if self._answered:
                give_up_at = time.monotonic() + recovery_seconds
                self._backoff.reset()
            elif time.monotonic() >= give_up_at:
                _log.error("no subscription at agent %s for %g s: %s", self._transport, recovery_seconds, failure)
                return
            if self._over.is_set():
                return
            if self._stale:
                failure = "an update could not be sent"
            seconds = next(self._backoff)
            _log.warning("no subscription at agent %s: %s; next attempt in %.2g s", self._transport, failure, seconds)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), seconds)

    async def _subscription(self, answered_by: float) -> AsyncGenerator[v1.Event]:
        call = self._new(Type.SUBSCRIBE)
        call.subscribe.SetInParent()
        call.subscribe.unacknowledged_tasks.extend(self._tasks.values())
        call.subscribe.unacknowledged_updates.extend(self._updates.values())
        async with contextlib.aclosing(self._transport.subscribe(call)) as stream:
            while not self._stale:
                # An agent that hangs is away, too; one that has answered may be silent for as long as it likes.
                seconds = None if self._answered else max(0.0, answered_by - time.monotonic())
                try:
                    async with asyncio.timeout(seconds) as self._waiting:
                        events = await anext(stream)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise Unavailable("the agent does not answer") from None
                finally:
                    self._waiting = None
                self._answered = True
                for event in events:
                    self._remember(event)
                    if event.type != v1.Event.HEARTBEAT:
                        yield event

    def _subscribe_again(self) -> None:
        self._stale = True
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(0)

    def _remember(self, event: v1.Event) -> None:
        """Keep what the agent may have to be told again."""
        if event.type == v1.Event.LAUNCH:
            self._tasks[event.launch.task.task_id.value] = event.launch.task
        elif event.type == v1.Event.LAUNCH_GROUP:
            for task in event.launch_group.task_group.tasks:
                self._tasks[task.task_id.value] = task
        elif event.type == v1.Event.ACKNOWLEDGED:
            self._updates.pop(event.acknowledged.uuid, None)
            self._tasks.pop(event.acknowledged.task_id.value, None)

    def _new(self, call_type: Type.ValueType) -> v1.Call:
        call = v1.Call(type=call_type)
        call.framework_id.value = self._environment.framework_id
        call.executor_id.value = self._environment.executor_id
        return call

    async def update(
        self, task_id: str, state: mesos.TaskState.ValueType, message: str = "", data: bytes | None = None
    ) -> None:
        """Report a task's state; again, with a new subscription, if the agent cannot be reached.

        Raises `MezzoError` where the agent will not take it.
        """
        call = self._new(Type.UPDATE)
        status = call.update.status
        status.task_id.value = task_id
        status.executor_id.value = self._environment.executor_id
        status.state = state
        status.source = mesos.TaskStatus.SOURCE_EXECUTOR
        status.timestamp = time.time()
        status.uuid = uuid.uuid4().bytes
        if message:
            status.message = message
        if data is not None:
            status.data = data
        self._updates[status.uuid] = call.update
        try:
            await self._transport.call(call)
        except Unavailable:
            self._subscribe_again()
        except MezzoError:
            # The agent will not take it, however often it is told.
            self._updates.pop(status.uuid, None)
            raise

    async def message(self, data: bytes) -> None:
        """Send bytes to the scheduler; they may be lost."""
        call = self._new(Type.MESSAGE)
        call.message.data = data
        await self._transport.call(call)


def backoff(environment: ExecutorEnvironment, chance: Callable[[], float] = random.random) -> Backoff:
    """The delays between attempts to subscribe.

    None is longer than half of what the agent names in MESOS_SUBSCRIPTION_BACKOFF_MAX: a restarted agent waits that
    long for its executors before it ends them, and each has to have tried within it (docs/executor-http-api.md of
    apache/mesos, "Backoff Strategies").
    """
    seconds_max = max(environment.subscription_backoff_seconds_max / 2, RETRY_SECONDS_FLOOR)
    return Backoff(RETRY_SECONDS_MIN, seconds_max, chance=chance)
