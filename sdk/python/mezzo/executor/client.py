"""The client itself: a subscription that outlives the agent's restarts, and updates that are never lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Self

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as v1
from mezzo import http
from mezzo.errors import MezzoError, Unavailable
from mezzo.executor.environment import ExecutorEnvironment
from mezzo.executor.transport import HttpTransport, Transport

Type = v1.Call.Type

RETRY_SECONDS = 0.2


class ExecutorClient:
    """An executor that stays subscribed to its agent.

    Until the agent acknowledges them, it keeps the tasks that it was given and the updates that it sent; a new
    subscription takes them along, so that an agent that was restarted has missed nothing.
    """

    def __init__(self, transport: Transport, environment: ExecutorEnvironment) -> None:
        self._transport = transport
        self._environment = environment
        self._tasks: dict[str, mesos.TaskInfo] = {}
        self._updates: dict[bytes, v1.Call.Update] = {}
        self._over = False

    @classmethod
    def from_environment(cls, content_type: str = http.PROTOBUF) -> ExecutorClient:
        """The client of a process that an agent started."""
        environment = ExecutorEnvironment.read()
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
        self._over = True
        await self._transport.close()

    async def events(self) -> AsyncIterator[v1.Event]:
        """Every event but HEARTBEAT, across restarts of the agent.

        Ends after SHUTDOWN or ERROR, which are yielded; when the stream breaks and the executor does not checkpoint;
        and when the agent has been away for longer than the recovery time-out. Then the executor is to end, too.
        """
        away_since: float | None = None
        while not self._over:
            with contextlib.suppress(Unavailable):
                async for event in self._subscription():
                    away_since = None
                    yield event
                    if event.type in (v1.Event.SHUTDOWN, v1.Event.ERROR):
                        return
            away_since = away_since or time.monotonic()
            if not self._environment.checkpoint:
                return
            if time.monotonic() - away_since > self._environment.recovery_timeout_seconds:
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _subscription(self) -> AsyncIterator[v1.Event]:
        call = self._new(Type.SUBSCRIBE)
        call.subscribe.SetInParent()
        call.subscribe.unacknowledged_tasks.extend(self._tasks.values())
        call.subscribe.unacknowledged_updates.extend(self._updates.values())
        stream = self._transport.subscribe(call)
        try:
            async for events in stream:
                for event in events:
                    self._note(event)
                    if event.type != v1.Event.HEARTBEAT:
                        yield event
        finally:
            await stream.aclose()

    def _note(self, event: v1.Event) -> None:
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
        """Report a task's state. When the agent cannot be reached it is reported with the next subscription."""
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
            with contextlib.suppress(Unavailable):
                await self._transport.call(call)
        except MezzoError:
            # The agent will not take it, however often it is told.
            del self._updates[status.uuid]
            raise

    async def message(self, data: bytes) -> None:
        """Send bytes to the scheduler; they may be lost."""
        call = self._new(Type.MESSAGE)
        call.message.data = data
        await self._transport.call(call)
