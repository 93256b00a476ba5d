"""B10: how many tasks a second go from ACCEPT to TASK_RUNNING, on emulated agents."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.resources import Resources, parse
from mezzo.scheduler import GrpcTransport, SchedulerClient
from mezzo_chassis.testing import ServiceProcess, free_ports
from tests.bench.emulated import EmulatedAgent
from tests.bench.row import Row, per_second

AGENTS = 500
TASK = parse("cpus:0.1;mem:32")
WARM_UP_TASKS = 1_000
TASKS = 10_000
RUNS = 3
PATIENCE_SECONDS = 300


@asynccontextmanager
async def control_plane(folder: Path) -> AsyncIterator[str]:
    """A registry and an allocator as processes; yields the registry's address."""
    ports = free_ports(4)
    flags = {"ip": "127.0.0.1", "log_level": "warning"}
    allocator = ServiceProcess.service(
        "allocator", {**flags, "grpc_port": ports[0], "metrics_port": ports[1]}, folder=folder, grpc_port=ports[0]
    )
    registry = ServiceProcess.service(
        "registry",
        {
            **flags,
            "grpc_port": ports[2],
            "metrics_port": ports[3],
            "allocator": f"127.0.0.1:{ports[0]}",
            "work_dir": folder / "registry",
        },
        folder=folder,
        grpc_port=ports[2],
    )
    with allocator, registry:
        allocator.wait_healthy()
        registry.wait_healthy()
        yield f"127.0.0.1:{ports[2]}"


class Framework:
    """Launches a number of tasks, so many in each accept, as fast as offers allow."""

    def __init__(self, count: int, per_accept: int) -> None:
        self.waiting = count
        self.per_accept = per_accept
        self.number = 0
        self.running = 0
        self.finished = 0
        self.started = 0.0
        self.last_running = 0.0
        self._sent: deque[asyncio.Task[None]] = deque()

    def send(self, work: asyncio.Task[None]) -> None:
        """Do not wait for an answer before the next call, but never leave one unseen."""
        self._sent.append(work)
        while self._sent and self._sent[0].done():
            self._sent.popleft().result()

    async def settle(self) -> None:
        """Wait until every call has been answered."""
        await asyncio.gather(*self._sent)

    def tasks_for(self, offer: mesos.Offer) -> list[mesos.TaskInfo]:
        free = Resources.of(offer.resources).unallocated()
        room = min(
            free.thousandths_of("cpus") // TASK.thousandths_of("cpus"),
            free.thousandths_of("mem") // TASK.thousandths_of("mem"),
        )
        messages = TASK.messages()
        tasks = []
        for _ in range(min(room, self.waiting, self.per_accept)):
            self.number += 1
            task = mesos.TaskInfo(name="bench", agent_id=offer.agent_id, resources=messages)
            task.task_id.value = f"bench-{self.number}"
            task.command.value = "true"
            tasks.append(task)
        self.waiting -= len(tasks)
        return tasks


async def run(address: str, count: int, per_accept: int) -> float:
    """Tasks a second from the first ACCEPT to the last TASK_RUNNING."""
    framework = Framework(count, per_accept)
    info = mesos.FrameworkInfo(user="", name="bench")
    async with SchedulerClient(GrpcTransport(address), info) as scheduler, asyncio.timeout(PATIENCE_SECONDS):
        async for event in scheduler.events():
            if event.type == v1.Event.OFFERS:
                framework.started = framework.started or time.perf_counter()
                for offer in event.offers.offers:
                    tasks = framework.tasks_for(offer)
                    framework.send(asyncio.create_task(scheduler.launch(offer, tasks, 0)))
            elif event.type == v1.Event.UPDATE:
                status = event.update.status
                framework.send(asyncio.create_task(scheduler.acknowledge(status)))
                if status.state == mesos.TASK_RUNNING:
                    framework.running += 1
                    framework.last_running = time.perf_counter()
                elif status.state == mesos.TASK_FINISHED:
                    framework.finished += 1
            if framework.finished == count:
                break
        await framework.settle()
        await scheduler.teardown()
    return count / (framework.last_running - framework.started)


async def measure() -> list[Row]:
    """The rows of B10."""
    with tempfile.TemporaryDirectory() as folder:
        async with control_plane(Path(folder)) as address:
            agents = [EmulatedAgent(number, cpus=8, mem=8192) for number in range(AGENTS)]
            running = [asyncio.create_task(agent.run(address)) for agent in agents]
            await asyncio.gather(*(agent.registered.wait() for agent in agents))
            await run(address, WARM_UP_TASKS, 1)
            rows = []
            for per_accept, published in (
                (1, "Slurm 500/s, kube-scheduler 680–810/s, Aurora ≈ 876/s"),
                (10, "NSDI'11 ≈ 3,300/s, Nomad C1M 3,750/s"),
            ):
                rates = [await run(address, TASKS, per_accept) for _ in range(RUNS)]
                what = f"tasks/s, ACCEPT → TASK_RUNNING, {AGENTS} emulated agents, {per_accept} a call"
                rows.append(Row("B10", what, published, per_second(rates)))
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    return rows
