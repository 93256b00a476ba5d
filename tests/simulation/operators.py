"""An operator: changes quotas and weights, plans maintenance, ends tasks and frameworks. Puts it right in the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.maintenance import maintenance_pb2 as maintenance
from mesos.v1.master import master_pb2 as master
from mezzo import rpc
from mezzo.errors import InternalError, MezzoError, NotLeading, Unavailable
from mezzo.operator.v1 import operator_pb2 as service
from mezzo.operator.v1 import operator_pb2_grpc
from tests.simulation.loop import START_SECONDS, Process

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

Call = master.Call
CALL_SECONDS_MAX = 20.0
LIMITED_SECONDS = 25.0
"""So long limits stay, once it is calm: then everybody knows of them."""
REPAIR_SECONDS = 2.0


class Operator:
    """A process that calls whichever registry answers."""

    def __init__(self, simulation: Simulation, chooser: random.Random, registries: list[str]) -> None:
        self._simulation = simulation
        self._options = simulation.options
        self._random = chooser
        self._registries = registries
        self.repaired = False
        """Whether nothing is left of what it has changed, once it is calm."""
        self.limits: dict[str, float] = {}
        """Role → the most CPUs that it may have, as far as the registry has confirmed it."""
        self.limited_at: dict[str, float] = {}
        """Role → when that was asked for, or confirmed, last. Loop time."""

    async def run(self, _process: Process) -> None:
        options = self._options
        assert options.operator_seconds is not None
        kinds: list[Callable[[], Call | service.KillTaskRequest | None]] = [self._kill_task]
        if options.quota:
            kinds.append(self._update_quota)
        if options.weights:
            kinds.append(self._update_weights)
        if options.maintenance:
            kinds += [self._schedule_maintenance, self._start_maintenance, self._stop_maintenance]
        if options.teardown:
            kinds.append(self._tear_down)
        while not self._simulation.calm:
            await asyncio.sleep(self._random.uniform(*options.operator_seconds))
            call = self._random.choice(kinds)()
            if call is not None:
                await self._make(call)
        if options.quota:
            await self._make(self._update_quota())
        await asyncio.sleep(LIMITED_SECONDS)
        while not self.repaired:
            self.repaired = await self._repair()
            await asyncio.sleep(REPAIR_SECONDS)
        await asyncio.Event().wait()

    async def _make(self, call: Call | service.KillTaskRequest) -> bool:
        """Returns whether it was done. A refusal is an answer; a defect is not."""
        limits = self._limits_in(call)
        for role in limits:
            self.limited_at[role] = self._simulation.loop.time()
            self.limits.pop(role, None)
        try:
            await self._ask_leader(call)
        except InternalError as defect:
            raise AssertionError(f"a call of an operator met a defect: {defect}") from defect
        except MezzoError:
            return False
        for role, limit in limits.items():
            self.limited_at[role] = self._simulation.loop.time()
            if limit is not None:
                self.limits[role] = limit
        return True

    async def _ask_leader(self, call: Call | service.KillTaskRequest) -> master.Response:
        """Whichever registry it is. Raises `MezzoError`."""
        for address in self._random.sample(self._registries, len(self._registries)):
            try:
                async with rpc.open_channel(address) as channel:
                    stub = operator_pb2_grpc.OperatorStub(channel)
                    if isinstance(call, Call):
                        request = service.CallRequest(call=call)
                        return (await rpc.answer(stub.Call(request, timeout=CALL_SECONDS_MAX))).response
                    await rpc.answer(stub.KillTask(call, timeout=CALL_SECONDS_MAX))
                    return master.Response()
            except NotLeading:
                continue
        raise Unavailable("no registry leads")

    @staticmethod
    def _limits_in(call: Call | service.KillTaskRequest) -> dict[str, float | None]:
        if not isinstance(call, Call) or call.type != Call.UPDATE_QUOTA:
            return {}
        return {
            config.role: config.limits["cpus"].value if "cpus" in config.limits else None
            for config in call.update_quota.quota_configs
        }

    # --- what it does

    def _role(self) -> str:
        return self._random.choice([role for role in self._options.roles if role != "*"] or ["web"])

    def _update_quota(self) -> Call:
        call = Call(type=Call.UPDATE_QUOTA)
        call.update_quota.force = True
        config = call.update_quota.quota_configs.add(role=self._role())
        if self._random.random() < 0.7:
            config.limits["cpus"].value = self._random.randint(1, 8)
        if self._random.random() < 0.3:
            config.guarantees["cpus"].value = min(1.0, config.limits["cpus"].value if config.limits else 1.0)
        return call

    def _update_weights(self) -> Call:
        call = Call(type=Call.UPDATE_WEIGHTS)
        call.update_weights.weight_infos.add(role=self._role(), weight=self._random.choice((0.5, 1.0, 3.0)))
        return call

    def _machine(self) -> mesos.MachineID:
        host = self._random.choice(self._simulation.agents).host
        return mesos.MachineID(hostname=host.name, ip=host.ip)

    def _schedule_maintenance(self) -> Call:
        call = Call(type=Call.UPDATE_MAINTENANCE_SCHEDULE)
        window = call.update_maintenance_schedule.schedule.windows.add()
        window.machine_ids.append(self._machine())
        start = START_SECONDS + self._simulation.loop.time() + self._random.uniform(0, 60)
        window.unavailability.start.nanoseconds = round(start * 1e9)
        return call

    def _start_maintenance(self) -> Call:
        call = Call(type=Call.START_MAINTENANCE)
        call.start_maintenance.machines.append(self._machine())
        for agent in self._simulation.agents:
            if agent.host.name == call.start_maintenance.machines[0].hostname:
                self._simulation.note_agents()
                agent.host.taken_down = True
        return call

    def _stop_maintenance(self) -> Call:
        call = Call(type=Call.STOP_MAINTENANCE)
        call.stop_maintenance.machines.append(self._machine())
        return call

    def _kill_task(self) -> service.KillTaskRequest | None:
        framework = self._random.choice(self._simulation.frameworks)
        tasks = [launch.task_id for launch in framework.tracker.unfinished()]
        if not tasks:
            return None
        request = service.KillTaskRequest()
        request.framework_id.CopyFrom(framework.info.id)
        request.task_id.value = self._random.choice(tasks)
        return request

    def _tear_down(self) -> Call | None:
        if self._random.random() < 0.8 or len(self._simulation.frameworks) < 2:
            return None
        framework = self._simulation.frameworks[-1]
        if not framework.info.HasField("id"):
            return None
        framework.may_be_removed = True
        call = Call(type=Call.TEARDOWN)
        call.teardown.framework_id.CopyFrom(framework.info.id)
        return call

    # --- and undoes

    async def _repair(self) -> bool:
        calls = []
        for role in sorted({*self._options.roles, "web"} - {"*"}):
            quota = Call(type=Call.UPDATE_QUOTA)
            quota.update_quota.force = True
            quota.update_quota.quota_configs.add(role=role)
            calls.append(quota)
        if not all([await self._make(call) for call in calls]):
            return False
        return not self._options.maintenance or await self._end_maintenance()

    async def _end_maintenance(self) -> bool:
        status = await self._maintenance_status()
        if status is None:
            return False
        if status.down_machines:
            stop = Call(type=Call.STOP_MAINTENANCE)
            stop.stop_maintenance.machines.extend(status.down_machines)
            await self._make(stop)
            return False
        if status.draining_machines:
            clear = Call(type=Call.UPDATE_MAINTENANCE_SCHEDULE)
            clear.update_maintenance_schedule.schedule.SetInParent()
            await self._make(clear)
            return False
        return True

    async def _maintenance_status(self) -> maintenance.ClusterStatus | None:
        try:
            answer = await self._ask_leader(Call(type=Call.GET_MAINTENANCE_STATUS))
        except MezzoError:
            return None
        return answer.get_maintenance_status.status
