"""Frameworks that do what they should not: they take others' offers, answer for others' tasks, and ask for nonsense.

Whatever they say is refused or does no harm; nobody else may notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.errors import InternalError, MezzoError
from mezzo.resources import parse
from mezzo.scheduler.client import SchedulerClient
from mezzo.scheduler.transport import GrpcTransport
from tests.simulation.loop import Process

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

Call = v1.Call
Operation = mesos.Offer.Operation
CALL_SECONDS = (0.05, 1.0)
REMEMBERED_MAX = 50


class HostileFramework:
    """Subscribes as anybody may, and then calls whatever comes to its mind."""

    def __init__(self, simulation: Simulation, name: str, chooser: random.Random, registries: list[str]) -> None:
        self._simulation = simulation
        self.name = name
        self._random = chooser
        self._registries = registries
        self._offers: list[mesos.Offer] = []
        self._updates: list[mesos.TaskStatus] = []
        self._numbers = 0
        self._kinds: list[Callable[[], Call]] = [
            self._accept,
            self._accept_twice,
            self._decline,
            self._acknowledge,
            self._kill,
            self._reconcile,
            self._request,
            self._shutdown,
            self._message,
            self._tear_down_another,
            self._suppress,
            self._empty,
        ]

    async def run(self, _process: Process) -> None:
        """Until it is killed."""
        while True:
            await asyncio.sleep(self._random.uniform(0, 1))
            with contextlib.suppress(MezzoError):
                await self._live()

    async def _live(self) -> None:
        info = mesos.FrameworkInfo(user="", name=self.name, failover_timeout=self._random.choice((0, 5)))
        info.roles.append(self._random.choice(self._simulation.options.roles))
        info.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
        transport = GrpcTransport(self._random.choice(self._registries))
        async with SchedulerClient(transport, info) as client:
            calling = asyncio.create_task(self._call_now_and_then(client))
            try:
                async for event in client.events():
                    self._remember(event)
            finally:
                calling.cancel()
                await asyncio.gather(calling, return_exceptions=True)

    def _remember(self, event: v1.Event) -> None:
        self._offers = [*self._offers, *event.offers.offers][-REMEMBERED_MAX:]
        if event.HasField("update"):
            self._updates = [*self._updates, event.update.status][-REMEMBERED_MAX:]

    async def _call_now_and_then(self, client: SchedulerClient) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(*CALL_SECONDS))
            call = self._random.choice(self._kinds)()
            try:
                await client.send(call)
            except InternalError as defect:
                self._simulation.loop.fail(AssertionError(f"{self.name}: a call met a defect: {defect}: {call}"))
            except MezzoError:
                continue

    # --- others' things

    def _others(self) -> list[str]:
        return [task_id for framework in self._simulation.frameworks for task_id in framework.attempts]

    def _task_id(self) -> str:
        others = self._others()
        mine = [status.task_id.value for status in self._updates]
        return self._random.choice([*others[-20:], *mine, "never", "a/b", ""])

    def _agent_id(self) -> str:
        return self._random.choice([*(offer.agent_id.value for offer in self._offers), "nowhere", ""])

    def _offer_id(self) -> str:
        """One of its own, which may be gone by now, or one that another may have."""
        mine = [offer.id.value for offer in self._offers]
        guessed = []
        for each in mine[-3:]:
            start, _, number = each.rpartition("-O")
            if number.isdigit():
                guessed.append(f"{start}-O{int(number) + self._random.randint(-5, 5)}")
        return self._random.choice([*mine, *guessed, "no offer"])

    # --- calls

    def _launch(self) -> Operation:
        operation = Operation(type=Operation.LAUNCH)
        for _ in range(self._random.randint(1, 3)):
            self._numbers += 1
            task_id = self._random.choice((f"{self.name}-{self._numbers}", self._task_id(), f"{self.name}-1"))
            task = operation.launch.task_infos.add(name=task_id)
            task.task_id.value = task_id
            task.agent_id.value = self._agent_id()
            amount = self._random.choice(("cpus:0.1;mem:32", "cpus:10000;mem:1", "cpus:0.001", "gpus:1"))
            task.resources.extend(parse(amount).messages())
            if self._random.random() < 0.8:
                task.command.value = "simulated"
        return operation

    def _accept(self) -> Call:
        call = Call(type=Call.ACCEPT)
        call.accept.offer_ids.add(value=self._offer_id())
        if self._random.random() < 0.2:
            call.accept.offer_ids.add(value=self._offer_id())
        call.accept.operations.append(self._launch())
        if self._random.random() < 0.3:
            call.accept.filters.refuse_seconds = self._random.choice((-1.0, 0.0, 1e9, float("nan")))
        return call

    def _accept_twice(self) -> Call:
        call = self._accept()
        call.accept.offer_ids.append(call.accept.offer_ids[0])
        return call

    def _decline(self) -> Call:
        call = Call(type=Call.DECLINE)
        call.decline.offer_ids.add(value=self._offer_id())
        call.decline.filters.refuse_seconds = self._random.choice((0.1, 5.0))
        return call

    def _acknowledge(self) -> Call:
        """An update that nobody sent, or that another was sent."""
        call = Call(type=Call.ACKNOWLEDGE)
        call.acknowledge.agent_id.value = self._agent_id()
        call.acknowledge.task_id.value = self._task_id()
        uuids = [
            status.uuid
            for framework in self._simulation.frameworks
            for attempt in list(framework.attempts.values())[-5:]
            for status in attempt.statuses
            if status.uuid
        ]
        uuids += [status.uuid for status in self._updates if status.uuid]
        call.acknowledge.uuid = self._random.choice([*uuids, b"0123456789abcdef", b""])
        return call

    def _kill(self) -> Call:
        call = Call(type=Call.KILL)
        call.kill.task_id.value = self._task_id()
        return call

    def _reconcile(self) -> Call:
        call = Call(type=Call.RECONCILE)
        call.reconcile.SetInParent()
        for _ in range(self._random.randint(0, 3)):
            task = call.reconcile.tasks.add()
            task.task_id.value = self._task_id()
            if self._random.random() < 0.5:
                task.agent_id.value = self._agent_id()
        return call

    def _request(self) -> Call:
        call = Call(type=Call.REQUEST)
        request = call.request.requests.add()
        request.agent_id.value = self._agent_id()
        request.resources.extend(parse("cpus:1000").messages())
        return call

    def _shutdown(self) -> Call:
        call = Call(type=Call.SHUTDOWN)
        call.shutdown.executor_id.value = f"executor-{self._task_id()}"
        call.shutdown.agent_id.value = self._agent_id()
        return call

    def _message(self) -> Call:
        call = Call(type=Call.MESSAGE)
        call.message.executor_id.value = f"executor-{self._task_id()}"
        call.message.agent_id.value = self._agent_id()
        call.message.data = b"x"
        return call

    def _tear_down_another(self) -> Call:
        """The client signs it with its own id; so it is its own end, now and then."""
        if self._random.random() < 0.8:
            return self._empty()
        return Call(type=Call.TEARDOWN)

    def _suppress(self) -> Call:
        call = Call(type=self._random.choice((Call.SUPPRESS, Call.REVIVE)))
        call.suppress.roles.append(self._random.choice(("web", "nobody's", "")))
        return call

    def _empty(self) -> Call:
        return Call(type=self._random.choice(list(Call.Type.values())))
