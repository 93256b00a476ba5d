"""Groups of tasks on the default executor: they are launched, read and ended together."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.resources import parse
from mezzo.scheduler import HttpTransport, SchedulerClient
from mezzo.task_states import TERMINAL
from tests.cluster import Cluster
from tests.framework import PATIENCE_SECONDS
from tests.mezzo_command import MezzoCommand

NEEDED = "cpus:0.1;mem:32"


class PodFramework:
    """Launches one group on the first offer, and hears how its tasks fare."""

    def __init__(self, client: SchedulerClient) -> None:
        self.client = client
        self.statuses: dict[str, list[mesos.TaskStatus]] = defaultdict(list)
        self.ids: dict[str, str] = {}
        self._events = client.events()

    async def launch(self, commands: Mapping[str, str]) -> None:
        """One task for each command, by its name."""
        offer = await self._offer()
        operation = mesos.Offer.Operation(type=mesos.Offer.Operation.LAUNCH_GROUP)
        executor = operation.launch_group.executor
        executor.type = mesos.ExecutorInfo.DEFAULT
        executor.executor_id.value = f"pod-{uuid.uuid4().hex[:6]}"
        executor.framework_id.value = self.client.framework_id
        executor.resources.extend(parse(NEEDED).messages())
        for name, command in commands.items():
            self.ids[name] = f"{name}-{uuid.uuid4().hex[:6]}"
            task = operation.launch_group.task_group.tasks.add(name=name, agent_id=offer.agent_id)
            task.task_id.value = self.ids[name]
            task.command.value = command
            task.resources.extend(parse(NEEDED).messages())
        await self.client.accept([offer.id], [operation])

    async def _offer(self) -> mesos.Offer:
        async for event in self._events:
            if event.type == v1.Event.OFFERS:
                return event.offers.offers[0]
        raise AssertionError("no offer")

    async def until(self, *names: str, states: frozenset[int] = TERMINAL) -> list[mesos.TaskStatus]:
        """The first status of each of these tasks that is one of the states."""
        found: dict[str, mesos.TaskStatus] = {}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for name in names:
                    told = [each for each in self.statuses[name] if each.state in states]
                    if told:
                        found[name] = told[0]
                if len(found) == len(names):
                    return [found[name] for name in names]
                await self._hear()

    async def _hear(self) -> None:
        event = await anext(self._events)
        if event.type == v1.Event.UPDATE:
            status = event.update.status
            (name,) = [name for name, task_id in self.ids.items() if task_id == status.task_id.value]
            self.statuses[name].append(status)
            await self.client.acknowledge(status)


@pytest.fixture
async def framework(cluster: Cluster) -> AsyncIterator[PodFramework]:
    info = mesos.FrameworkInfo(user="", name="pods", roles=["*"])
    info.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
    async with SchedulerClient(HttpTransport(cluster.url), info) as client:
        yield PodFramework(client)
        await client.teardown()


RUNNING = frozenset({mesos.TASK_RUNNING})


async def test_each_task_has_a_sandbox_in_the_pods_and_its_own_output(
    cluster: Cluster, framework: PodFramework
) -> None:
    await framework.launch({"web": "echo served; exec sleep 1000", "log": "echo shipped; exec sleep 1000"})
    web, log = await framework.until("web", "log", states=RUNNING)
    ids = [status.container_status.container_id for status in (web, log)]
    assert ids[0].parent == ids[1].parent
    assert ids[0].value != ids[1].value
    pod = cluster.sandbox(framework.client.framework_id, web.executor_id.value)
    assert pod.resolve().name == ids[0].parent.value
    assert {path.name for path in (pod / "containers").iterdir()} == {each.value for each in ids}
    mezzo = MezzoCommand(cluster.gateway().http)
    assert await asyncio.to_thread(mezzo.output, "logs", framework.ids["web"]) == "served\n"
    assert await asyncio.to_thread(mezzo.output, "logs", framework.ids["log"]) == "shipped\n"


async def test_a_task_that_finishes_leaves_the_others_alone(framework: PodFramework) -> None:
    await framework.launch({"short": "true", "long": "exec sleep 1000"})
    (end,) = await framework.until("short")
    assert end.state == mesos.TASK_FINISHED
    await framework.until("long", states=RUNNING)
    await framework.client.kill(framework.ids["long"])
    (end,) = await framework.until("long")
    assert end.state == mesos.TASK_KILLED


async def test_a_task_that_fails_takes_the_others_along(framework: PodFramework) -> None:
    await framework.launch({"bad": "exit 4", "good": "exec sleep 1000"})
    bad, good = await framework.until("bad", "good")
    assert (bad.state, bad.message) == (mesos.TASK_FAILED, "Command exited with status 4")
    assert good.state == mesos.TASK_KILLED
