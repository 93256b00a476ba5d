"""Agents that run nothing: they register, and answer every task with TASK_RUNNING and then, if so told, TASK_FINISHED.

What is left to measure is the cluster's own work.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field

import grpc

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1 import agent_session_pb2_grpc as session_grpc

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    # Each channel with a connection of its own, as real agents have.
    ("grpc.use_local_subchannel_pool", 1),
)


def scalar(name: str, value: float) -> mesos.Resource:
    return mesos.Resource(name=name, type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=value), role="*")


@dataclass(slots=True)
class EmulatedAgent:
    """One agent with one stream. `cpus` and `mem` (MiB) are what it offers; its tasks end at once, or never."""

    number: int
    cpus: float
    mem: float
    ends_tasks: bool = True
    _outbox: list[session.AgentMessage] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _unacknowledged: dict[bytes, tuple[str, str, bool]] = field(default_factory=dict)
    agent_id: str = ""
    registered: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, address: str) -> None:
        """Serve until cancelled."""
        async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            call = session_grpc.AgentSessionStub(channel).Connect()
            self._put(session.AgentMessage(register=self._register()))
            sender = asyncio.create_task(self._send(call))
            try:
                async for response in call:
                    for message in response.messages:
                        self._take(message)
            finally:
                sender.cancel()
                call.cancel()

    def _register(self) -> session.Register:
        info = mesos.AgentInfo(hostname=f"emulated-{self.number}", port=5051)
        resources = [scalar("cpus", self.cpus), scalar("mem", self.mem)]
        info.resources.extend(resources)
        return session.Register(
            agent_info=info, version="0.1.0", total_resources=resources, pid=f"slave(1)@127.0.0.1:{5051}"
        )

    def _put(self, message: session.AgentMessage) -> None:
        self._outbox.append(message)
        self._wake.set()

    async def _send(self, call: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._outbox = self._outbox, []
            await call.write(session.ConnectRequest(messages=batch))

    def _take(self, message: session.RegistryMessage) -> None:
        kind = message.WhichOneof("message")
        if kind == "run_task":
            self._update(message.run_task.framework_id.value, message.run_task.task.task_id.value, running=True)
        elif kind == "acknowledge_update":
            framework_id, task_id, running = self._unacknowledged.pop(message.acknowledge_update.uuid)
            if running and self.ends_tasks:
                self._update(framework_id, task_id, running=False)
        elif kind == "registered":
            self.agent_id = message.registered.agent_id.value
            self.registered.set()
        elif kind == "heartbeat":
            self._put(session.AgentMessage(heartbeat=session.Heartbeat()))

    def _update(self, framework_id: str, task_id: str, *, running: bool) -> None:
        number = uuid.uuid4().bytes
        self._unacknowledged[number] = (framework_id, task_id, running)
        status = mesos.TaskStatus(
            task_id=mesos.TaskID(value=task_id),
            state=mesos.TASK_RUNNING if running else mesos.TASK_FINISHED,
            source=mesos.TaskStatus.SOURCE_EXECUTOR,
            agent_id=mesos.AgentID(value=self.agent_id),
            timestamp=time.time(),
            uuid=number,
        )
        update = session.TaskUpdate(framework_id=mesos.FrameworkID(value=framework_id), status=status)
        self._put(session.AgentMessage(task_update=update))
