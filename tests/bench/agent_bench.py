"""B9 and B13: a real agent. How soon one command runs, and how many a second one agent launches."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.http import JSON
from mezzo.resources import Resources, parse
from mezzo.scheduler import GrpcTransport, HttpTransport, SchedulerClient, Transport
from tests.bench.measured_cluster import measured_cluster
from tests.bench.row import Row, per_second

SINGLE_TASKS = 100
SINGLE_WARM_UP = 10
MANY_TASKS = 1_000
NEEDED = parse("cpus:0.01;mem:1")
RUNS = 3
PATIENCE_SECONDS = 300


class Latencies:
    """Launches one command after another, each on an idle cluster."""

    def __init__(self) -> None:
        self.accepted = 0.0
        self.running: list[float] = []
        self.finished: list[float] = []

    async def handle(self, scheduler: SchedulerClient, event: v1.Event) -> None:
        if event.type == v1.Event.OFFERS:
            offer = event.offers.offers[0]
            task = command(f"single-{len(self.finished)}", offer.agent_id)
            self.accepted = time.perf_counter()
            await scheduler.launch(offer, [task], 0)
            await scheduler.suppress()
        elif event.type == v1.Event.UPDATE:
            status = event.update.status
            if status.state == mesos.TASK_RUNNING:
                self.running.append(time.perf_counter() - self.accepted)
            if status.state == mesos.TASK_FINISHED:
                self.finished.append(time.perf_counter() - self.accepted)
            await scheduler.acknowledge(status)
            if status.state == mesos.TASK_FINISHED:
                await scheduler.revive()


def command(name: str, agent_id: mesos.AgentID) -> mesos.TaskInfo:
    task = mesos.TaskInfo(name=name, agent_id=agent_id, resources=NEEDED.messages())
    task.task_id.value = name
    task.command.value = "true"
    return task


async def single(transport: Transport) -> Latencies:
    """ACCEPT to TASK_RUNNING and to TASK_FINISHED, in seconds, for one plain command at a time."""
    measured = Latencies()
    async with SchedulerClient(transport, mesos.FrameworkInfo(user="", name="single")) as scheduler:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for event in scheduler.events():
                await measured.handle(scheduler, event)
                if len(measured.finished) == SINGLE_TASKS + SINGLE_WARM_UP:
                    break
        await scheduler.teardown()
    del measured.running[:SINGLE_WARM_UP], measured.finished[:SINGLE_WARM_UP]
    return measured


async def many(transport: Transport) -> float:
    """Plain commands a second, from the first ACCEPT to the last TASK_FINISHED, on one agent."""
    launched = finished = 0
    started = 0.0
    async with SchedulerClient(transport, mesos.FrameworkInfo(user="", name="many")) as scheduler:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for event in scheduler.events():
                if event.type == v1.Event.OFFERS:
                    started = started or time.perf_counter()
                    for offer in event.offers.offers:
                        free = Resources.of(offer.resources).unallocated()
                        room = min(free.thousandths_of("cpus") // NEEDED.thousandths_of("cpus"), MANY_TASKS - launched)
                        tasks = [command(f"many-{launched + number}", offer.agent_id) for number in range(room)]
                        launched += len(tasks)
                        await scheduler.launch(offer, tasks, 0)
                elif event.type == v1.Event.UPDATE:
                    finished += event.update.status.state == mesos.TASK_FINISHED
                    await scheduler.acknowledge(event.update.status)
                if finished == MANY_TASKS:
                    break
        seconds = time.perf_counter() - started
        await scheduler.teardown()
    return MANY_TASKS / seconds


def milliseconds(values: list[float]) -> str:
    ordered = sorted(values)
    return f"p50 {statistics.median(ordered) * 1e3:.1f} ms, p99 {ordered[int(len(ordered) * 0.99)] * 1e3:.1f} ms"


async def measure() -> list[Row]:
    """The rows of B13 and B9."""
    with tempfile.TemporaryDirectory() as folder, measured_cluster(Path(folder)) as cluster:
        http = await single(HttpTransport(cluster.url, JSON))
        grpc = await single(GrpcTransport(cluster.registry().grpc))
        rates = [await many(HttpTransport(cluster.url, JSON)) for _ in range(RUNS)]
    launched = f"{MANY_TASKS:,} plain commands on one agent, to their ends"
    return [
        Row("B13", "ACCEPT → TASK_RUNNING, `true`, HTTP in JSON", "Apache Mesos: 120 ms", milliseconds(http.running)),
        Row("B13", "ACCEPT → TASK_FINISHED, `true`, HTTP in JSON", "Apache Mesos: 210 ms", milliseconds(http.finished)),
        Row("B13", "ACCEPT → TASK_RUNNING, `true`, gRPC", "–", milliseconds(grpc.running)),
        Row("B9", launched, "Apache Mesos 1.7: 33/s; here: 9–10/s", per_second(rates)),
    ]
