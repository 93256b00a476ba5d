"""A framework for tests: launches tasks, remembers every update, and takes each task's end exactly once or fails."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.errors import Forbidden, InvalidRequest, Unavailable
from mezzo.resources import Resources, parse
from mezzo.scheduler import SchedulerClient, Transport
from mezzo.task_states import TERMINAL

PATIENCE_SECONDS = 90
REFUSE_SECONDS = 0.2
RECONCILE_SECONDS = 2.0


@dataclass(slots=True)
class Job:
    """One piece of work. A launch that never reached an agent is launched again, under a new id."""

    name: str
    command: str
    needed: Resources
    # Changes to the task before it is launched.
    shape: Callable[[mesos.TaskInfo], None] = lambda task: None
    task_id: str = ""
    statuses: list[mesos.TaskStatus] = field(default_factory=list)
    attempts: int = 0

    @property
    def end(self) -> mesos.TaskStatus | None:
        return next((status for status in self.statuses if status.state in TERMINAL), None)


class Framework:
    """Runs jobs to their ends on one client."""

    def __init__(self, transport: Transport, *, partition_aware: bool = True, failover_timeout: float = 600) -> None:
        info = mesos.FrameworkInfo(user="", name="test", failover_timeout=failover_timeout, checkpoint=True)
        if partition_aware:
            info.capabilities.add(type=mesos.FrameworkInfo.Capability.PARTITION_AWARE)
        self.client = SchedulerClient(transport, info)
        self.jobs: dict[str, Job] = {}
        self.subscriptions = 0
        # What executors said, as (executor id, bytes).
        self.messages: list[tuple[str, bytes]] = []
        self.ends: dict[str, set[bytes]] = defaultdict(set)
        self._by_task: dict[str, Job] = {}
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
        self, command: str, resources: str = "cpus:0.1;mem:32", shape: Callable[[mesos.TaskInfo], None] | None = None
    ) -> Job:
        job = Job(f"job-{len(self.jobs)}", command, parse(resources))
        if shape:
            job.shape = shape
        self.jobs[job.name] = job
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
        free = Resources.of(offer.resources).unallocated()
        tasks = []
        for job in self.jobs.values():
            if not job.task_id and free.contains(job.needed):
                free -= job.needed
                tasks.append(self._launch(job, offer.agent_id))
        if tasks:
            async with self._launching:
                await self.client.launch(offer, tasks, refuse_seconds=0)
        else:
            await self.client.decline([offer.id], REFUSE_SECONDS)

    def _launch(self, job: Job, agent_id: mesos.AgentID) -> mesos.TaskInfo:
        job.attempts += 1
        job.task_id = f"{job.name}.{job.attempts}.{uuid.uuid4().hex[:6]}"
        self._by_task[job.task_id] = job
        task = mesos.TaskInfo(name=job.name, agent_id=agent_id, resources=job.needed.messages())
        task.task_id.value = job.task_id
        task.command.value = job.command
        job.shape(task)
        # Whatever it is called by now.
        job.task_id = task.task_id.value
        self._by_task[job.task_id] = job
        return task

    def _note(self, status: mesos.TaskStatus) -> None:
        job = self._by_task[status.task_id.value]
        never_launched = status.reason == mesos.TaskStatus.REASON_RECONCILIATION and not job.statuses
        if never_launched and status.state in (mesos.TASK_UNKNOWN, mesos.TASK_LOST, mesos.TASK_DROPPED):
            # Nothing was ever heard of it: the launch went down with a registry. It may be said twice, and be of a
            # launch that has been made up for already.
            if status.task_id.value == job.task_id:
                job.task_id = ""
            return
        known = {each.uuid for each in job.statuses if each.uuid}
        if status.uuid and status.uuid in known:
            return  # sent again because the acknowledgement was lost
        if status.reason == mesos.TaskStatus.REASON_RECONCILIATION:
            return
        job.statuses.append(status)
        if status.state in TERMINAL:
            self.ends[job.name].add(status.uuid or status.SerializeToString())

    async def _reconcile(self) -> None:
        # Calls go over several connections: one that overtook a launch would be told that nobody knows its tasks.
        async with self._launching:
            waiting = [(job.task_id, None) for job in self.jobs.values() if job.task_id and not job.end]
            if waiting:
                await self.client.reconcile(waiting)

    async def _reconcile_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_SECONDS)
            try:
                await self._reconcile()
            except (Unavailable, Forbidden, InvalidRequest):
                continue
