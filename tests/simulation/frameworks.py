"""Frameworks on the SDK's client: they launch, kill, answer late, twice or not at all, and notice every contradiction.

What a framework has to remember, it remembers across its own restarts; its process comes and goes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.errors import Forbidden, InvalidRequest, MezzoError, NotFound, Unavailable
from mezzo.resources import parse
from mezzo.scheduler.client import SchedulerClient
from mezzo.scheduler.tracker import LaunchTracker, Received
from mezzo.scheduler.transport import GrpcTransport
from mezzo.task_states import TERMINAL
from tests.simulation.containers import ENDLESS
from tests.simulation.loop import Process
from tests.simulation.options import Options

NEEDED = "cpus:0.5;mem:64"
OF_EXECUTOR = "cpus:0.1;mem:32"
ANSWER_SECONDS = (0.0, 0.5)
SETTLE_SECONDS = 5.0
RECONCILE_SECONDS = 3.0
REFUSE_SECONDS = (0.0, 3.0)

LOST = frozenset({mesos.TASK_LOST, mesos.TASK_DROPPED, mesos.TASK_GONE, mesos.TASK_GONE_BY_OPERATOR})
"""TASK_UNKNOWN is not among them: it says that the registry does not know, and not that the task has ended."""

Call = v1.Call
Operation = mesos.Offer.Operation


class ContradictionError(AssertionError):
    """What a framework was told cannot be true."""


@dataclass(slots=True)
class Attempt:
    """One launch of a task: a call that may be lost on its way."""

    task_id: str
    agent_id: str
    statuses: list[mesos.TaskStatus] = field(default_factory=list)
    """Everything that was said of it, also what was said again."""
    ends: set[bytes] = field(default_factory=set)
    endless: bool = False
    """It runs until it is killed."""
    launched_in: str = ""
    """The term of the registry that it was launched with."""
    killed_in: str = ""
    """The term of the registry that has admitted the call to kill it; it is answerable for that."""


class FrameworkNode:
    """A framework, across the lives of its process."""

    def __init__(
        self,
        name: str,
        roles: tuple[str, ...],
        chooser: random.Random,
        options: Options,
        registries: list[str],
        loses: Callable[[str], bool],
    ) -> None:
        """`loses`: whether the agent of this id may have lost what it held."""
        self.name = name
        self.roles = roles
        self.options = options
        self.tracker = LaunchTracker()
        self.attempts: dict[str, Attempt] = {}
        self.removed = False
        """Torn down, or away for longer than its failover time-out."""
        self.may_be_removed = options.failover_timeout < 1_000
        self.info = mesos.FrameworkInfo(
            user="", name=name, failover_timeout=options.failover_timeout, checkpoint=True, roles=roles
        )
        for capability in ("PARTITION_AWARE", "MULTI_ROLE"):
            self.info.capabilities.add(type=mesos.FrameworkInfo.Capability.Type.Value(capability))
        self._subscribed_at = 0.0
        self._term = ""
        """Of the registry that this framework is subscribed with."""
        self._random = chooser
        self._registries = registries
        self._loses = loses
        for number in range(options.tasks_per_framework):
            task = self._task(f"{name}-{number}")
            self.tracker.add(task, parse(NEEDED) + parse(OF_EXECUTOR))

    @property
    def finished(self) -> bool:
        return self.removed or not (self.tracker.any_waiting or self.unfinished())

    def unfinished(self) -> list[str]:
        """The tasks whose ends it waits for. Of an agent that has lost its records nobody may ever say them."""
        return [
            launch.task_id
            for launch in self.tracker.unfinished()
            if not self._loses(self.attempts[launch.task_id].agent_id)
        ]

    def states(self, task_id: str) -> list[str]:
        """What was heard of a task, in order."""
        return [mesos.TaskState.Name(status.state) for status in self.attempts[task_id].statuses]

    def _task(self, task_id: str) -> mesos.TaskInfo:
        task = mesos.TaskInfo(name=task_id, agent_id=mesos.AgentID(value=""), resources=parse(NEEDED).messages())
        task.task_id.value = task_id
        return task

    # --- the process

    async def run(self, _process: Process) -> None:
        """One life."""
        await asyncio.sleep(self._random.uniform(0, 1))
        transport = GrpcTransport(self._random.choice(self._registries))
        async with SchedulerClient(transport, self.info) as client:
            beside = [
                asyncio.create_task(self._reconcile_now_and_then(client)),
                asyncio.create_task(self._kill_endless_tasks(client)),
            ]
            answering: set[asyncio.Task[None]] = set()
            try:
                async for event in client.events():
                    if event.type == v1.Event.OFFERS:
                        for offer in event.offers.offers:
                            task = asyncio.create_task(self._answer_later(client, offer))
                            answering.add(task)
                            task.add_done_callback(answering.discard)
                    else:
                        await self._calling(self._handle(client, event))
            finally:
                for task in (*beside, *answering):
                    task.cancel()
                await asyncio.gather(*beside, *answering, return_exceptions=True)

    @staticmethod
    async def _calling(work: Coroutine[Any, Any, None]) -> bool:
        """A call that is refused, or lost, is made up for by a later one. Returns whether it was answered."""
        try:
            await work
        except Unavailable:
            return False
        except (Forbidden, InvalidRequest, NotFound):
            return True
        except MezzoError as error:
            raise ContradictionError(f"refused in a way that makes no sense: {error!r}") from error
        return True

    async def _handle(self, client: SchedulerClient, event: v1.Event) -> None:
        if event.type == v1.Event.SUBSCRIBED:
            self.info.id.CopyFrom(event.subscribed.framework_id)
            self._term, self._subscribed_at = event.subscribed.master_info.id, asyncio.get_running_loop().time()
            await self._reconcile(client)
        elif event.type == v1.Event.UPDATE:
            await self._update(client, event.update.status)
        elif event.type == v1.Event.ERROR:
            if not self.may_be_removed:
                raise ContradictionError(f"{self.name} was refused: {event.error.message}")
            self.removed = True

    # --- offers

    async def _answer_later(self, client: SchedulerClient, offer: mesos.Offer) -> None:
        if self._random.random() < self.options.gives_up_offers:
            return  # it will be rescinded
        await asyncio.sleep(self._random.uniform(*ANSWER_SECONDS))
        if not await self._calling(self._answer(client, offer)):
            # Nobody knows whether it was used. One that was is gone, and one that was not must not be kept for ever.
            while not await self._calling(client.decline([offer.id])):  # noqa: ASYNC110  it is a call, not a flag
                await asyncio.sleep(1.0)

    async def _answer(self, client: SchedulerClient, offer: mesos.Offer) -> None:
        refuse_seconds = self._random.uniform(*REFUSE_SECONDS)
        tasks = self.tracker.take(offer, tasks_max=self._random.randint(0, 4))
        if not tasks and self._random.random() < 0.5:
            await client.decline([offer.id], refuse_seconds)
            return
        for task in tasks:
            task.ClearField("command")
            task.ClearField("executor")
            self.attempts[task.task_id.value] = Attempt(
                task.task_id.value, offer.agent_id.value, launched_in=self._term
            )
        await client.accept([offer.id], self._operations(client, tasks), refuse_seconds)

    def _operations(self, client: SchedulerClient, tasks: list[mesos.TaskInfo]) -> list[Operation]:
        if len(tasks) > 1 and self._random.random() < self.options.pods:
            pod = Operation(type=Operation.LAUNCH_GROUP)
            executor = pod.launch_group.executor
            executor.type = mesos.ExecutorInfo.DEFAULT
            executor.executor_id.value = f"pod-{tasks[0].task_id.value}"
            executor.framework_id.CopyFrom(client.framework_info.id)
            executor.resources.extend(parse(OF_EXECUTOR).messages())
            for task in tasks:
                pod.launch_group.task_group.tasks.add().CopyFrom(task)
                pod.launch_group.task_group.tasks[-1].command.value = "simulated"
            return [pod]
        launch = Operation(type=Operation.LAUNCH)
        launch.launch.SetInParent()
        for task in tasks:
            if self._random.random() < self.options.executors:
                task.executor.type = mesos.ExecutorInfo.CUSTOM
                task.executor.executor_id.value = f"executor-{task.task_id.value}"
                task.executor.framework_id.CopyFrom(client.framework_info.id)
                task.executor.command.value = "simulated"
                task.executor.resources.extend(parse(OF_EXECUTOR).messages())
            else:
                self.attempts[task.task_id.value].endless = self._random.random() < self.options.endless
                task.command.value = ENDLESS if self.attempts[task.task_id.value].endless else "simulated"
            launch.launch.task_infos.append(task)
        return [launch]

    # --- updates

    async def _update(self, client: SchedulerClient, status: mesos.TaskStatus) -> None:
        attempt = self.attempts[status.task_id.value]
        before = list(attempt.statuses)
        if status.state in (mesos.TASK_UNREACHABLE, mesos.TASK_UNKNOWN):
            attempt.killed_in = ""  # the registry kills nothing that is out of its reach
        attempt.statuses.append(status)
        if status.uuid:
            self._check_end(attempt, before, status)
        elif self._is_contradicted(attempt, before, status):
            raise ContradictionError(f"{attempt.task_id} was lost although its agent had it: {status.message}")
        lost = self.tracker.receive(status) is Received.LAUNCH_LOST
        if lost and self.options.revives:
            await client.revive()
        if status.uuid:
            await self._acknowledge(client, status)

    def _is_contradicted(self, attempt: Attempt, before: list[mesos.TaskStatus], status: mesos.TaskStatus) -> bool:
        """The registry says that it is lost, and the agent had it, and has not said that it ended."""
        reached = any(each.uuid for each in before)
        return status.state in LOST and reached and not attempt.ends and not self._loses(attempt.agent_id)

    def _check_end(self, attempt: Attempt, before: list[mesos.TaskStatus], status: mesos.TaskStatus) -> None:
        repeated = status.uuid in {each.uuid for each in before}
        if attempt.ends and not repeated and not self._loses(attempt.agent_id):
            states = [mesos.TaskState.Name(each.state) for each in attempt.statuses]
            raise ContradictionError(f"{attempt.task_id} goes on after its end: {states}: {status.message}")
        if status.state in TERMINAL:
            attempt.ends.add(status.uuid)

    async def _acknowledge(self, client: SchedulerClient, status: mesos.TaskStatus) -> None:
        await client.acknowledge(status)
        if self._random.random() < self.options.answers_twice:
            await client.acknowledge(status)
        if status.state == mesos.TASK_RUNNING and self._random.random() < self.options.kills:
            agent_id = status.agent_id.value if self._random.random() < 0.5 else None
            await client.kill(status.task_id.value, agent_id)

    async def _reconcile(self, client: SchedulerClient) -> None:
        """With the agent's id: a registry that was elected since the agent got out of reach knows no task without."""
        asked: list[tuple[str, str | None]] = [
            (launch.task_id, launch.task.agent_id.value) for launch in self.tracker.unfinished()
        ]
        if asked:
            await client.reconcile(asked)

    async def _reconcile_now_and_then(self, client: SchedulerClient) -> None:
        while True:
            await asyncio.sleep(RECONCILE_SECONDS)
            await self._calling(self._reconcile(client))
            if self.options.revives and self.tracker.any_waiting and self._random.random() < 0.3:
                await self._calling(client.revive())

    async def _kill_endless_tasks(self, client: SchedulerClient) -> None:
        """Once each, while one registry leads: it sees to it, even where the agent is away for a moment.

        A new one knows neither of the call nor, for a while, of the task: it is told again and again, for so long.
        """
        while True:
            await asyncio.sleep(self._random.uniform(0.5, 2.0))
            settled_at = self._subscribed_at + self.options.agent_reregister_timeout + SETTLE_SECONDS
            settled = asyncio.get_running_loop().time() > settled_at
            for launch in list(self.tracker.unfinished()):
                attempt = self.attempts[launch.task_id]
                runs = launch.status is not None and launch.status.state == mesos.TASK_RUNNING
                if attempt.endless and runs and attempt.killed_in != self._term:
                    term = self._term
                    admitted = await self._calling(client.kill(launch.task_id, attempt.agent_id))
                    reached = launch.status is not None and launch.status.state == mesos.TASK_RUNNING
                    answerable = admitted and reached and (settled or attempt.launched_in == term)
                    attempt.killed_in = term if answerable else ""
