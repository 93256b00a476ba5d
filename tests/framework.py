"""A framework for tests: launches tasks, remembers every update, and takes each task's end exactly once or fails."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Self

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.errors import Forbidden, InvalidRequest, Unavailable
from mezzo.resources import parse
from mezzo.scheduler import SchedulerClient, Transport
from mezzo.scheduler.tracker import Launch, LaunchTracker, Received
from mezzo.task_states import TERMINAL

PATIENCE_SECONDS = 90
REFUSE_SECONDS = 0.2
RECONCILE_SECONDS = 2.0

Job = Launch
Shape = Callable[[mesos.TaskInfo], None]


class Framework:
    """Runs jobs to their ends on one client."""

    def __init__(self, transport: Transport, *, partition_aware: bool = True, failover_timeout: float = 600) -> None:
        info = mesos.FrameworkInfo(user="", name="test", failover_timeout=failover_timeout, checkpoint=True)
        if partition_aware:
            info.capabilities.add(type=mesos.FrameworkInfo.Capability.PARTITION_AWARE)
        self.client = SchedulerClient(transport, info)
        self.tracker = LaunchTracker()
        self._at_launch: dict[str, Shape] = {}
        self.jobs: dict[str, Job] = {}
        self.subscriptions = 0
        # What executors said, as (executor id, bytes).
        self.messages: list[tuple[str, bytes]] = []
        self.ends: dict[str, set[bytes]] = defaultdict(set)
        self._changed = asyncio.Condition()
        self._launching = asyncio.Lock()
        self._loop: asyncio.Task[None] | None = None
        self._reconciler: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._run())
        self._reconciler = asyncio.create_task(self._reconcile_now_and_then())
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            # While it is still subscribed: whoever is not may not end the framework.
            async with asyncio.timeout(5):
                await self.client.teardown()
        except (Unavailable, Forbidden, InvalidRequest, TimeoutError):
            pass  # the cluster may be gone already; that is the test's affair
        for task in (self._loop, self._reconciler):
            assert task is not None
            task.cancel()
        await asyncio.gather(self._loop, self._reconciler, return_exceptions=True)  # type: ignore[arg-type]
        await self.client.close()

    def add(
        self,
        command: str,
        resources: str = "cpus:0.1;mem:32",
        shape: Shape = lambda task: None,
        at_launch: Shape = lambda task: None,
    ) -> Job:
        """One more task that waits for an offer. `shape` changes it before, and `at_launch` once it has one."""
        name = f"job-{len(self.jobs)}"
        needed = parse(resources)
        task = mesos.TaskInfo(name=name, agent_id=mesos.AgentID(value=""), resources=needed.messages())
        task.task_id.value = f"{name}.{uuid.uuid4().hex[:6]}"
        task.command.value = command
        shape(task)
        job = self.jobs[name] = self.tracker.add(task, needed)
        self._at_launch[job.name] = at_launch
        return job

    async def until(self, condition: Callable[[], bool], seconds_max: float = PATIENCE_SECONDS) -> None:
        """Wait for something to become true of the jobs; fails with what they have come to."""
        try:
            async with asyncio.timeout(seconds_max), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            open_jobs = {
                job.name: [mesos.TaskState.Name(status.state) for status in job.statuses]
                for job in self.jobs.values()
                if not job.end
            }
            raise AssertionError(f"still open after {seconds_max} s: {open_jobs}") from None

    async def finish(self, seconds_max: float = PATIENCE_SECONDS) -> None:
        """Wait until every job has ended."""
        await self.until(lambda: all(job.end for job in self.jobs.values()), seconds_max)

    async def job_is(self, job: Job, state: mesos.TaskState.ValueType) -> mesos.TaskStatus:
        await self.until(lambda: any(status.state == state for status in job.statuses))
        return next(status for status in job.statuses if status.state == state)

    async def _run(self) -> None:
        async for event in self.client.events():
            await self._handle(event)
            async with self._changed:
                self._changed.notify_all()

    async def _handle(self, event: v1.Event) -> None:
        try:
            if event.type == v1.Event.SUBSCRIBED:
                self.subscriptions += 1
                await self._reconcile()
            elif event.type == v1.Event.OFFERS:
                for offer in event.offers.offers:
                    await self._use(offer)
            elif event.type == v1.Event.UPDATE:
                self._note(event.update.status)
                await self.client.acknowledge(event.update.status)
            elif event.type == v1.Event.MESSAGE:
                self.messages.append((event.message.executor_id.value, event.message.data))
        except (Unavailable, Forbidden, InvalidRequest):
            pass  # the stream that the call belonged to has ended; the next subscription settles it

    async def _use(self, offer: mesos.Offer) -> None:
        tasks = self.tracker.take(offer)
        for task in tasks:
            job = self.tracker.launch_of(task.task_id.value)
            assert job is not None
            self._at_launch[job.name](task)
        if tasks:
            async with self._launching:
                await self.client.launch(offer, tasks, refuse_seconds=0)
        else:
            await self.client.decline([offer.id], REFUSE_SECONDS)

    def _note(self, status: mesos.TaskStatus) -> None:
        received = self.tracker.receive(status)
        if received is Received.NEW and status.state in TERMINAL:
            job = self.tracker.launch_of(status.task_id.value)
            assert job is not None
            self.ends[job.task.name].add(status.uuid or status.SerializeToString())

    async def _reconcile(self) -> None:
        # Calls go over several connections: one that overtook a launch would be told that nobody knows its tasks.
        async with self._launching:
            unfinished = [(job.task_id, None) for job in self.tracker.unfinished()]
            if unfinished:
                await self.client.reconcile(unfinished)

    async def _reconcile_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_SECONDS)
            try:
                await self._reconcile()
            except (Unavailable, Forbidden, InvalidRequest):
                continue
