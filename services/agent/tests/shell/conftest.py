"""The whole agent in this process: real servers, a real journal, a scripted registry, a containerizer that pretends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1 import agent_session_pb2_grpc as service
from mezzo.errors import MezzoError, NotFound
from mezzo_agent.app import serve
from mezzo_agent.config import Config
from mezzo_agent.ports import (
    ContainerConfig,
    Containerizer,
    Launched,
    LaunchError,
    RecoveredContainer,
    RecoveredState,
    Termination,
)
from mezzo_chassis.lifecycle import Lifecycle
from mezzo_chassis.rpc import Server, start_server
from mezzo_chassis.testing import free_ports

SECONDS_MAX = 20.0


class PretendedContainers:
    """A containerizer whose containers run and end when the test says so; they survive the agent, as real ones do."""

    def __init__(self) -> None:
        self.configs: dict[str, ContainerConfig] = {}
        self.terminations: dict[str, asyncio.Future[Termination]] = {}
        self.signals: list[tuple[str, int]] = []
        self.updates: list[tuple[str, str]] = []
        self.forgotten: list[str] = []
        self.refusal: LaunchError | None = None
        # Signals other than SIGKILL end nothing.
        self.deaf = False
        self.launched = asyncio.Event()
        self._pids = itertools.count(1000)

    def running(self) -> list[str]:
        return [each for each, ended in self.terminations.items() if not ended.done()]

    def of_task(self, task_id: str) -> str:
        return next(each for each, config in self.configs.items() if config.task_id == task_id)

    async def until_launched(self, executor_id: str, times: int = 1) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while sum(config.executor_id == executor_id for config in self.configs.values()) < times:
                self.launched.clear()
                await self.launched.wait()

    def finish(self, container_id: str, wait_status: int | None = 0, **more: Any) -> None:
        if not self.terminations[container_id].done():
            self.terminations[container_id].set_result(Termination(wait_status, **more))

    async def launch(self, config: ContainerConfig) -> Launched:
        if self.refusal is not None:
            raise self.refusal
        self.configs[config.container_id] = config
        self.terminations[config.container_id] = asyncio.get_running_loop().create_future()
        config.sandbox.mkdir(parents=True)
        (config.sandbox / "stdout").write_text(f"hello from {config.executor_id}\n")
        self.launched.set()
        return Launched(config.container_id, next(self._pids))

    async def recover(self, checkpointed: Iterable[str]) -> dict[str, RecoveredContainer]:
        found = {}
        for orphan in set(self.terminations) - set(checkpointed):
            self.finish(orphan, 9)
        for container_id in checkpointed:
            ended = self.terminations.get(container_id)
            if ended is None:
                found[container_id] = RecoveredContainer(container_id, RecoveredState.UNKNOWN)
            elif ended.done():
                found[container_id] = RecoveredContainer(container_id, RecoveredState.ENDED, termination=ended.result())
            else:
                found[container_id] = RecoveredContainer(container_id, RecoveredState.RUNNING, 1)
        return found

    async def wait(self, container_id: str) -> Termination:
        return await asyncio.shield(self._of(container_id))

    async def kill(self, container_id: str, signal: int) -> None:
        self._of(container_id)
        self.signals.append((container_id, signal))
        if not self.deaf:
            self.finish(container_id, signal)

    async def destroy(self, container_id: str) -> None:
        if container_id in self.terminations:
            self.finish(container_id, 9)

    def forget(self, container_id: str) -> None:
        self.forgotten.append(container_id)

    async def usage(self, container_id: str) -> mesos.ResourceStatistics:
        self._of(container_id)
        return mesos.ResourceStatistics(
            timestamp=1.5,
            cpus_user_time_secs=0.2,
            cpus_system_time_secs=0.05,
            cpus_soft_limit=0.6,
            mem_rss_bytes=1 << 20,
            mem_soft_limit_bytes=1 << 26,
            mem_limit_bytes=1 << 26,
        )

    async def status(self, container_id: str) -> mesos.ContainerStatus:
        self._of(container_id)
        return mesos.ContainerStatus(container_id=mesos.ContainerID(value=container_id), executor_pid=1000)

    async def update(self, container_id: str, resources: object) -> None:
        self._of(container_id)
        self.updates.append((container_id, str(resources)))

    async def close(self) -> None:
        """Containers go on."""

    def _of(self, container_id: str) -> asyncio.Future[Termination]:
        try:
            return self.terminations[container_id]
        except KeyError:
            raise NotFound(container_id) from None


class ScriptedRegistry(service.AgentSessionServicer):
    """Serves one agent: registers it, keeps what it says, and acknowledges updates unless told not to."""

    def __init__(self) -> None:
        self.received: list[session.AgentMessage] = []
        self.acknowledging = True
        self.refusal: MezzoError | None = None
        self.sessions = 0
        self.ended = 0
        self.refused = 0
        self.agent_id = "S0"
        self.heartbeat_interval_seconds = 5.0
        self.heartbeat_timeout_seconds = 15.0
        self.silent = False
        # As the registry does: what an agent that registers does not know is sent again.
        self.resyncs = False
        self.orders: dict[str, dict[str, object]] = {}
        self.frameworks: dict[str, mesos.FrameworkInfo] = {}
        self._news = asyncio.Event()
        self._outgoing: asyncio.Queue[session.RegistryMessage | None] = asyncio.Queue()
        self._server: Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        add = (service.add_AgentSessionServicer_to_server, self)
        self._server = await start_server("127.0.0.1", port, [add], ["mezzo.agent.v1.AgentSession"])
        self.port = self._server.port

    async def stop(self) -> None:
        if self._server is not None:
            self._outgoing.put_nowait(None)
            await self._server.stop(0)
            self._server = None

    async def Connect(
        self, requests: AsyncIterator[session.ConnectRequest], context: Any
    ) -> AsyncIterator[session.ConnectResponse]:
        if self.refusal is not None:
            self.refused += 1
            self._news.set()
            raise self.refusal
        self.sessions += 1
        self._outgoing = asyncio.Queue()
        if not self.silent:
            registered = session.Registered(
                agent_id=mesos.AgentID(value=self.agent_id),
                heartbeat_interval_seconds=self.heartbeat_interval_seconds,
                heartbeat_timeout_seconds=self.heartbeat_timeout_seconds,
                master_info=mesos.MasterInfo(id="R", ip=0, port=5050, hostname="master-host"),
            )
            self.send(registered=registered)
        listening = asyncio.create_task(self._listen(requests))
        try:
            while (message := await self._outgoing.get()) is not None:
                yield session.ConnectResponse(messages=[message])
        finally:
            listening.cancel()
            self.ended += 1
            self._news.set()

    async def _listen(self, requests: AsyncIterator[session.ConnectRequest]) -> None:
        async for request in requests:
            for message in request.messages:
                self.received.append(message)
                self._news.set()
                if message.HasField("register") and self.resyncs:
                    self._resync({task.task_id.value for task in message.register.tasks})
                if message.HasField("leave"):
                    self._outgoing.put_nowait(None)
                if message.HasField("task_update") and self.acknowledging and message.task_update.status.uuid:
                    self.acknowledge(message.task_update)

    def send(self, **message: Any) -> None:
        self._outgoing.put_nowait(session.RegistryMessage(**message))

    def _resync(self, known: set[str]) -> None:
        for info in self.frameworks.values():
            self.send(framework_update=session.FrameworkUpdate(framework_info=info))
        for task_id, order in self.orders.items():
            if task_id not in known and not self.states(task_id):
                self.send(**order)

    def acknowledge(self, update: session.TaskUpdate) -> None:
        status = update.status
        self.send(
            acknowledge_update=session.AcknowledgeUpdate(
                framework_id=update.framework_id, task_id=status.task_id, uuid=status.uuid
            )
        )

    def add_framework(self, framework_id: str = "F1", **fields: Any) -> None:
        info = mesos.FrameworkInfo(user="root", name="f", id=mesos.FrameworkID(value=framework_id), **fields)
        self.frameworks[framework_id] = info
        self.send(framework_update=session.FrameworkUpdate(framework_info=info))

    def run(self, task: mesos.TaskInfo, framework_id: str = "F1") -> None:
        order = session.RunTask(framework_id=mesos.FrameworkID(value=framework_id), task=task)
        self.orders[task.task_id.value] = {"run_task": order}
        self.send(run_task=order)

    def kill(self, task_id: str, framework_id: str = "F1", grace_seconds: float | None = None) -> None:
        message = session.KillTask(
            framework_id=mesos.FrameworkID(value=framework_id), task_id=mesos.TaskID(value=task_id)
        )
        if grace_seconds is not None:
            message.kill_policy.grace_period.nanoseconds = round(grace_seconds * 1e9)
        self.send(kill_task=message)

    def states(self, task_id: str) -> list[str]:
        """Every state that was reported of a task, in order; repetitions of one update count once."""
        statuses = [each.task_update.status for each in self.received if each.HasField("task_update")]
        by_uuid = {status.uuid: status for status in statuses if status.task_id.value == task_id}
        return [mesos.TaskState.Name(status.state) for status in by_uuid.values()]

    def registrations(self) -> list[session.Register]:
        return [each.register for each in self.received if each.HasField("register")]

    async def until(self, condition: Callable[[], object], seconds_max: float = SECONDS_MAX) -> None:
        """Wait until something that was heard makes the condition true."""
        async with asyncio.timeout(seconds_max):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def last(self, task_id: str) -> mesos.TaskStatus:
        """The newest update of a task."""
        statuses = [each.task_update.status for each in self.received if each.HasField("task_update")]
        return [status for status in statuses if status.task_id.value == task_id][-1]

    async def until_state(self, task_id: str, state: str, seconds_max: float = SECONDS_MAX) -> None:
        await self.until(lambda: state in self.states(task_id), seconds_max)


class RunningAgent:
    """An agent that can be stopped and started again, in this process."""

    def __init__(self, config: Config, containers: Containerizer) -> None:
        self.config = config
        self.containers = containers
        self._life: Lifecycle | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.config.port}"

    @property
    def executor_url(self) -> str:
        return f"{self.url}/api/v1/executor"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.config.grpc_port}"

    async def start(self, **flags: Any) -> None:
        self.config = dataclasses.replace(self.config, **flags)
        self._life = Lifecycle()
        ready = asyncio.Event()
        work = serve(self.config, self._life, containerizer=self.containers, ready=ready.set)
        self._serving = asyncio.create_task(work)
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._serving.done():
            await self._serving

    async def stop(self) -> None:
        if self._serving is not None and self._life is not None:
            self._life.stop()
            with contextlib.suppress(Exception):
                await self._serving
            await self._life.close()
            self._serving = None

    async def end(self) -> BaseException | None:
        """What it ends with, whenever it does."""
        assert self._serving is not None
        await asyncio.wait({self._serving})
        return self._serving.exception()

    async def ended(self) -> None:
        """It ends by itself."""
        assert self._serving is not None
        async with asyncio.timeout(SECONDS_MAX):
            await self._serving


@pytest.fixture
async def registry() -> AsyncIterator[ScriptedRegistry]:
    scripted = ScriptedRegistry()
    await scripted.start()
    yield scripted
    await scripted.stop()


@pytest.fixture
def containers() -> PretendedContainers:
    return PretendedContainers()


@pytest.fixture
def config(tmp_path: Path, registry: ScriptedRegistry) -> Config:
    port, grpc_port, metrics_port = free_ports(3)
    return Config(
        master=("127.0.0.1", registry.port),
        ip="127.0.0.1",
        port=port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        work_dir=tmp_path / "work",
        resources="cpus:4;mem:1024;disk:1024;ports:[31000-32000]",
        attributes="rack:r1;level:3",
        registration_backoff_factor=0.2,
    )


@pytest.fixture
async def agent(
    config: Config, containers: PretendedContainers, registry: ScriptedRegistry
) -> AsyncIterator[RunningAgent]:
    """Registered."""
    running = RunningAgent(config, containers)
    await running.start()
    await registry.until(registry.registrations)
    yield running
    await running.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=True) as client:
        yield client
