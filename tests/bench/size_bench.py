"""What a cluster weighs: memory of each service by agents and tasks, of each command, and how large answers are."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.resources import Resources, parse
from mezzo.scheduler import GrpcTransport, SchedulerClient
from tests.bench.emulated import EmulatedAgent
from tests.bench.measured_cluster import measured_cluster
from tests.bench.row import Row, milliseconds
from tests.cluster import Cluster

AGENTS = 2_000
TASKS = 40_000
REAL_TASKS = 100
NEEDED = parse("cpus:0.01;mem:1")
READS = 5
PATIENCE_SECONDS = 600
CONTROL_PLANE = ("registry", "allocator", "gateway")


def resident_bytes(cluster: Cluster) -> dict[str, int]:
    return {name: psutil.Process(cluster.nodes[f"{name}-0"].process.pid).memory_info().rss for name in CONTROL_PLANE}


def mebibytes(value: float) -> str:
    return f"{value / 2**20:,.0f} MiB"


def kibibytes(value: float) -> str:
    return f"{value / 1024:,.1f} KiB"


def per_piece(before: dict[str, int], after: dict[str, int], pieces: int) -> str:
    return ", ".join(f"{name} {kibibytes(max(0, after[name] - before[name]) / pieces)}" for name in CONTROL_PLANE)


@asynccontextmanager
async def running(address: str, count: int, command: str, prefix: str) -> AsyncIterator[None]:
    """While inside, a framework has so many tasks running."""
    launched = up = 0
    async with (
        SchedulerClient(GrpcTransport(address), mesos.FrameworkInfo(user="", name=prefix)) as scheduler,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        async for event in scheduler.events():
            if event.type == v1.Event.OFFERS:
                for offer in event.offers.offers:
                    free = Resources.of(offer.resources).unallocated()
                    room = min(free.thousandths_of("cpus") // NEEDED.thousandths_of("cpus"), count - launched)
                    tasks = [task(f"{prefix}-{launched + number}", offer.agent_id, command) for number in range(room)]
                    launched += len(tasks)
                    await scheduler.launch(offer, tasks, 0)
            elif event.type == v1.Event.UPDATE:
                up += event.update.status.state == mesos.TASK_RUNNING
                await scheduler.acknowledge(event.update.status)
            if up == count:
                break
        await scheduler.suppress()
        yield
        await scheduler.teardown()


def task(name: str, agent_id: mesos.AgentID, command: str) -> mesos.TaskInfo:
    info = mesos.TaskInfo(name=name, agent_id=agent_id, resources=NEEDED.messages())
    info.task_id.value = name
    info.command.value = command
    return info


async def read(url: str) -> tuple[int, list[float]]:
    """An answer's bytes, and how many seconds it took, several times; the first is left out."""
    seconds, size = [], 0
    async with aiohttp.ClientSession() as http:
        for _ in range(READS + 1):
            started = time.perf_counter()
            async with http.get(url) as answer:
                size = len(await answer.read())
            seconds.append(time.perf_counter() - started)
    return size, seconds[1:]


async def control_plane() -> list[Row]:
    """Memory by agents and tasks that are emulated, and the answers about them."""
    per_agent = -(-TASKS // AGENTS)
    with tempfile.TemporaryDirectory() as folder, measured_cluster(Path(folder), agents=0) as cluster:
        idle = resident_bytes(cluster)
        agents = [EmulatedAgent(number, 0.01 * per_agent, 4096, ends_tasks=False) for number in range(AGENTS)]
        serving = [asyncio.create_task(agent.run(cluster.registry().grpc)) for agent in agents]
        await asyncio.gather(*(agent.registered.wait() for agent in agents))
        await read(f"{cluster.url}/slaves")
        with_agents = resident_bytes(cluster)
        async with running(cluster.registry().grpc, TASKS, "sleep 1000", "size"):
            state_bytes, state_seconds = await read(f"{cluster.url}/state")
            _, summary_seconds = await read(f"{cluster.url}/state-summary")
            with_tasks = resident_bytes(cluster)
        for one in serving:
            one.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    size = f"{AGENTS:,} agents, {TASKS:,} running tasks"
    return [
        Row("size", "memory, idle", "Mesos master: 51 MB", ", ".join(f"{k} {mebibytes(v)}" for k, v in idle.items())),
        Row("size", f"memory for each of {AGENTS:,} agents", "–", per_piece(idle, with_agents, AGENTS)),
        Row("size", f"memory for each of {TASKS:,} running tasks", "–", per_piece(with_agents, with_tasks, TASKS)),
        Row("size", f"/state, {size}: {mebibytes(state_bytes)}", "–", milliseconds(state_seconds)),
        Row("size", f"/state-summary, {size}", "–", milliseconds(summary_seconds)),
    ]


async def agent() -> list[Row]:
    """Memory of a real agent, and of what it starts for each plain command: its launcher and its monitor."""
    with tempfile.TemporaryDirectory() as folder, measured_cluster(Path(folder)) as cluster:
        process = psutil.Process(cluster.agent().process.pid)
        idle = process.memory_info().rss
        async with running(cluster.registry().grpc, REAL_TASKS, "exec sleep 1000", "real"):
            after = process.memory_info().rss
            beside = sum(own_bytes(process)) / REAL_TASKS
    return [
        Row("size", "memory of an agent, idle", "Mesos agent: 53 MB", mebibytes(idle)),
        Row("size", "memory of an agent for each plain command", "–", kibibytes((after - idle) / REAL_TASKS)),
        Row("size", "memory (PSS) beside each plain command", "Mesos: 14 MB, an executor", kibibytes(beside)),
    ]


def own_bytes(process: psutil.Process) -> list[int]:
    """PSS of what an agent started, less the commands themselves."""
    return [child.memory_full_info().pss for child in process.children(recursive=True) if child.name() != "sleep"]


async def measure() -> list[Row]:
    """The rows of `size`."""
    return [*await control_plane(), *await agent()]
