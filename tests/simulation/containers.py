"""Containers without processes of the kernel: they outlive the agent, and run commands that only take their time.

Custom executors are programs on the SDK's client, over the simulated gRPC.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as v1
from mezzo.errors import MezzoError, NotFound, Unavailable
from mezzo.executor.client import ExecutorClient
from mezzo.executor.environment import ExecutorEnvironment
from mezzo.executor.transport import GrpcTransport
from mezzo.resources import Resources
from mezzo_agent.ports import (
    ContainerConfig,
    ContainerId,
    Launched,
    LaunchError,
    RecoveredContainer,
    RecoveredState,
    Termination,
)
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.options import Options
from tests.simulation.programs import Program

ENDLESS = "until it is killed"
"""The command of a task that ends no other way."""
IDLE_SECONDS = 3.0
"""An executor without tasks ends after so long."""


@dataclass(eq=False)
class Container:
    """One of a host's, running or ended."""

    config: ContainerConfig
    pid: int
    ended: bool = False
    wait_status: int | None = None
    end: asyncio.TimerHandle | None = None
    executor: Program | None = None
    waiting: list[tuple[Process, asyncio.Future[None]]] = field(default_factory=list)


class Host:
    """What stays when the agent on it dies: its containers, its disk, its place in the network."""

    def __init__(
        self,
        name: str,
        ip: str,
        loop: SimulatedLoop,
        chooser: random.Random,
        options: Options,
        work_dir: Path,
        kill: Callable[[Program], object],
    ) -> None:
        self.name = name
        self.ip = ip
        self.loop = loop
        self.random = chooser
        self.options = options
        self.work_dir = work_dir
        self._kill = kill
        self.containers: dict[ContainerId, Container] = {}
        self.starts: Counter[tuple[str, str]] = Counter()
        """How often each task was really started: more than once is a violation."""
        self.failed_launches: set[ContainerId] = set()
        self.lost_records = False
        """Its journal was damaged: what it held may be unknown to the agent that came after."""
        self.taken_down = False
        """An operator may have taken it out of service, with all that ran on it."""

    def start(self, config: ContainerConfig) -> Container:
        container = Container(config, self.random.randrange(2, 2**22))
        self.containers[config.container_id] = container
        if config.task_id is None:
            self._start_executor(container)
        else:
            self.starts[config.framework_id, config.task_id] += 1
            status = 256 * 3 if self.random.random() < self.options.fails else 0
            seconds = self.random.uniform(*self.options.run_seconds)
            if config.command.value != ENDLESS:
                container.end = self.loop.call_at_as(
                    self.loop.world, self.loop.time() + seconds, self.end, container, status
                )
        return container

    def end(self, container: Container, wait_status: int) -> None:
        """It has ended, whatever it was."""
        if container.ended:
            return
        container.ended, container.wait_status = True, wait_status
        if container.end is not None:
            container.end.cancel()
        if container.executor is not None:
            self._kill(container.executor)
        for process, future in container.waiting:
            with self.loop.acting_as(process):
                if not future.done():
                    future.set_result(None)
        container.waiting.clear()

    def end_soon(self, container: Container, wait_status: int) -> None:
        with self.loop.acting_as(self.loop.world):
            self.loop.call_later(self.random.uniform(0.0, 0.05), self.end, container, wait_status)

    def power_off(self) -> None:
        """Everything on it dies with it, and nothing says how."""
        for container in self.containers.values():
            self.end(container, signal.SIGKILL)

    def _start_executor(self, container: Container) -> None:
        def ended(_: Program, error: BaseException | None) -> None:
            if error is not None:
                self.loop.fail(error)
            self.end(container, 0)

        program = Executor(self, container)
        container.executor = Program(f"executor on {self.name}", self.ip, self.loop, program.run, ended=ended)
        container.executor.start()


class SimulatedContainerizer:
    """What one agent process sees of its host's containers."""

    def __init__(self, host: Host, process: Process) -> None:
        self._host = host
        self._process = process
        self._random = host.random
        self._launching: set[ContainerId] = set()

    async def launch(self, config: ContainerConfig) -> Launched:
        self._launching.add(config.container_id)
        await self._wait_a_little()
        if config.container_id not in self._launching:
            raise LaunchError(mesos.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED, "destroyed during its launch")
        self._launching.discard(config.container_id)
        if self._random.random() < self._host.options.launch_fails:
            self._host.failed_launches.add(config.container_id)
            if self._random.random() < 0.3:
                raise OSError("the kernel refused")
            raise LaunchError(mesos.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED, "no such image")
        container = self._host.start(config)
        await self._wait_a_little()
        return Launched(config.container_id, container.pid)

    async def recover(self, checkpointed: Iterable[ContainerId]) -> dict[ContainerId, RecoveredContainer]:
        known = set(checkpointed)
        for container_id, container in self._host.containers.items():
            if container_id not in known:
                self._host.end(container, signal.SIGKILL)
        return {each: self._recovered(each) for each in sorted(known)}

    def _recovered(self, container_id: ContainerId) -> RecoveredContainer:
        container = self._host.containers.get(container_id)
        if container is None:
            return RecoveredContainer(container_id, RecoveredState.UNKNOWN)
        if container.ended:
            ended = Termination(container.wait_status)
            return RecoveredContainer(container_id, RecoveredState.ENDED, container.pid, ended)
        return RecoveredContainer(container_id, RecoveredState.RUNNING, container.pid)

    async def wait(self, container_id: ContainerId) -> Termination:
        container = self._get(container_id)
        if not container.ended:
            future: asyncio.Future[None] = self._host.loop.create_future()
            container.waiting.append((self._process, future))
            await future
        return Termination(container.wait_status)

    async def kill(self, container_id: ContainerId, signal: int) -> None:
        await self._wait_a_little()
        container = self._get(container_id)
        ignored = signal != 9 and self._random.random() < self._host.options.ignores_kill
        if not container.ended and not ignored:
            self._host.end_soon(container, signal)

    async def destroy(self, container_id: ContainerId) -> None:
        """A launch under way comes to nothing."""
        await self._wait_a_little()
        self._launching.discard(container_id)
        container = self._host.containers.get(container_id)
        if container is not None and not container.ended:
            self._host.end(container, signal.SIGKILL)

    def forget(self, container_id: ContainerId) -> None:
        if self._process.alive:
            self._host.containers.pop(container_id, None)

    async def usage(self, container_id: ContainerId) -> mesos.ResourceStatistics:
        return mesos.ResourceStatistics(timestamp=self._host.loop.time())

    async def status(self, container_id: ContainerId) -> mesos.ContainerStatus:
        return mesos.ContainerStatus()

    async def update(self, container_id: ContainerId, resources: Resources) -> None:
        self._get(container_id)

    async def close(self) -> None:
        """Containers go on."""

    async def _wait_a_little(self) -> None:
        await asyncio.sleep(self._random.uniform(*self._host.options.start_seconds))
        if not self._process.alive:
            raise asyncio.CancelledError

    def _get(self, container_id: ContainerId) -> Container:
        container = self._host.containers.get(container_id)
        if container is None:
            raise NotFound(container_id)
        return container


class Executor:
    """A custom executor: runs tasks, reports them, and dies now and then."""

    def __init__(self, host: Host, container: Container) -> None:
        self._host = host
        self._container = container
        self._random = host.random
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reporting: set[asyncio.Task[None]] = set()

    async def run(self, _process: Process) -> None:
        environment = ExecutorEnvironment.read(self._container.config.environment)
        assert environment.grpc_endpoint is not None
        await asyncio.sleep(self._random.uniform(*self._host.options.start_seconds))
        transport = GrpcTransport(environment.grpc_endpoint, environment.token)
        dies = self._random.random() < self._host.options.executor_dies
        death = asyncio.create_task(asyncio.sleep(self._random.uniform(*self._host.options.run_seconds)))
        async with ExecutorClient(transport, environment) as client:
            work = asyncio.create_task(self._work(client))
            idle = asyncio.create_task(self._become_idle(client))
            waited = [work, idle, death] if dies else [work, idle]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            for task in (work, idle, death, *self._tasks.values(), *self._reporting):
                task.cancel()
            await asyncio.gather(work, idle, death, *self._tasks.values(), *self._reporting, return_exceptions=True)

    async def _become_idle(self, client: ExecutorClient) -> None:
        """Return once all tasks have ended, and the agent knows."""
        idle_seconds = 0.0
        while idle_seconds < IDLE_SECONDS:
            await asyncio.sleep(1.0)
            busy = not self._tasks or client._updates or not all(task.done() for task in self._tasks.values())
            idle_seconds = 0.0 if busy else idle_seconds + 1.0

    async def _work(self, client: ExecutorClient) -> None:
        try:
            async for event in client.events():
                if event.type == v1.Event.LAUNCH:
                    self._launch(client, event.launch.task.task_id.value)
                elif event.type == v1.Event.LAUNCH_GROUP:
                    for task in event.launch_group.task_group.tasks:
                        self._launch(client, task.task_id.value)
                elif event.type == v1.Event.KILL and event.kill.task_id.value in self._tasks:
                    self._tasks[event.kill.task_id.value].cancel()
        except MezzoError:
            return  # the agent does not want it

    def _launch(self, client: ExecutorClient, task_id: str) -> None:
        self._host.starts[self._container.config.framework_id, task_id] += 1
        self._tasks[task_id] = asyncio.create_task(self._run(client, task_id))

    async def _run(self, client: ExecutorClient, task_id: str) -> None:
        failed = self._random.random() < self._host.options.fails
        end = mesos.TASK_FAILED if failed else mesos.TASK_FINISHED
        try:
            await self._report(client, task_id, mesos.TASK_RUNNING)
            await asyncio.sleep(self._random.uniform(*self._host.options.run_seconds))
        except asyncio.CancelledError:
            end = mesos.TASK_KILLED
        reporting = asyncio.create_task(self._report(client, task_id, end))
        self._reporting.add(reporting)

    async def _report(self, client: ExecutorClient, task_id: str, state: mesos.TaskState.ValueType) -> None:
        try:
            await client.update(task_id, state)
        except Unavailable:
            pass  # it is sent again
        except MezzoError:
            pass  # the agent does not want it
