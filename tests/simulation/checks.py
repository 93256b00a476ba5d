"""What must be true: while it runs, of what is sent; and once it is calm, of where everything has come to."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.resources import Resources
from mezzo.scheduler.client import SchedulerClient
from mezzo.scheduler.transport import GrpcTransport
from mezzo_registry.core import Registry
from mezzo_registry.core.state.transitions import AgentState
from tests.simulation.loop import Process

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

AGENT_SESSION = "/mezzo.agent.v1.AgentSession/Connect"
QUOTA_CHECK_SECONDS = 0.5
QUOTA_SETTLED_SECONDS = 8.0
"""So long after anything has changed that allocators have to be told of, they have been told."""
AMOUNT_MIN = 0.001


class ViolationError(AssertionError):
    """Something is not as it must be."""


class Checks:
    """Looks at a simulation from outside."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._loop = simulation.loop
        self._agents = {program.name: program for program in simulation.agent_programs}
        if simulation.options.quota:
            self._loop.call_later(QUOTA_CHECK_SECONDS, self._check_quota)

    # --- what is sent

    def sent(self, sender: Process, _receiver: Process, method: str, data: bytes) -> None:
        """Before anything is sent that the agent vouches for, it is on its disk."""
        if method != AGENT_SESSION:
            return
        program = self._agents.get(sender.name.partition("/")[0])
        if program is None or program.process is not sender:
            return
        for message in session.ConnectRequest.FromString(data).messages:
            if message.HasField("task_update"):
                status = message.task_update.status
                journal = self._simulation.journal_of(program)
                if journal is None or status.uuid not in journal.read_bytes():
                    self._loop.fail(ViolationError(f"{program.name} sends an update that is not on its disk: {status}"))

    # --- quota

    def _check_quota(self) -> None:
        """A role is offered no more than its limit, once all have been told of that, and what was out is answered.

        As in Mesos a task holds nothing from the moment at which the registry knows that it has ended, although it is
        listed until its framework has acknowledged that: it may wait for long behind an older update.
        """
        self._loop.call_later(QUOTA_CHECK_SECONDS, self._check_quota)
        registry, operator = self._settled_registry(), self._simulation.operator
        if registry is None:
            return
        state, now = registry._context.state, registry._context.now
        for role, limit in operator.limits.items():
            settled_for = self._loop.time() - operator.limited_at[role] - QUOTA_SETTLED_SECONDS
            offers = [offer for offer in state.offers.values() if _is_below(offer.role, role)]
            new = sum(_cpus(offer.resources) for offer in offers if now - offer.made_at < settled_for)
            held = sum(
                _cpus(resources)
                for agent in state.agents.values()
                for owner, resources in (
                    *((task.role, task.resources) for task in agent.tasks.values() if not task.terminal),
                    *((executor.role, executor.resources) for executor in agent.executors.values()),
                )
                if _is_below(owner, role)
            )
            if new and held + new > limit + AMOUNT_MIN:
                error = f"role {role} has {held} CPUs and is offered {new} more, and its limit is {limit}"
                self._loop.fail(ViolationError(error))

    def _settled_registry(self) -> Registry | None:
        """The registry that leads, where nothing has changed for a while that others have to be told of."""
        leading = [each.core for each in self._simulation.registries if each.core is not None]
        if len(leading) != 1:
            return None
        state = leading[0]._context.state
        started = [agent.reregistered_at or agent.registered_at for agent in state.agents.values()]
        connected = all(agent.state is AgentState.CONNECTED for agent in state.agents.values())
        if not connected or len(started) != len(self._simulation.agents) or None in started:
            return None
        newest = max(at for at in started if at is not None)
        settled = leading[0]._context.now - newest > QUOTA_SETTLED_SECONDS
        return leading[0] if settled and state.allocator_connected else None

    # --- what everything comes to

    def at_rest(self) -> bool:
        simulation = self._simulation
        return (
            (simulation.operator.repaired or simulation.options.operator_seconds is None)
            and all(framework.finished for framework in simulation.frameworks)
            and all(program.runs for program in simulation.service_programs)
            and not self._held_on_agents()
        )

    def progress(self) -> object:
        """Changes whenever anything comes nearer to its end."""
        frameworks = self._simulation.frameworks
        return (
            sum(len(attempt.ends) for framework in frameworks for attempt in framework.attempts.values()),
            sum(len(framework.attempts) for framework in frameworks),
            len(self._held_on_agents()),
            sum(framework.removed for framework in frameworks),
        )

    def _held_on_agents(self) -> list[str]:
        return [
            f"{agent.host.name}: {name}"
            for agent in self._simulation.agents
            if agent.core is not None
            for framework in agent.core.state.frameworks.values()
            for name in (*framework.tasks, *framework.executors)
        ]

    def at_the_end(self) -> None:
        """Raises `ViolationError`."""
        simulation = self._simulation
        for framework in simulation.frameworks:
            if framework.removed:
                continue
            if unfinished := framework.unfinished():
                states = [framework.states(task_id) for task_id in unfinished]
                raise ViolationError(f"{framework.name}: never ended: {dict(zip(unfinished, states, strict=True))}")
            if framework.tracker.any_waiting:
                raise ViolationError(f"{framework.name}: never offered enough")
        if held := self._held_on_agents():
            raise ViolationError(f"agents still hold: {held}")
        if not simulation.operator.repaired and simulation.options.operator_seconds is not None:
            raise ViolationError("the operator could not undo what it had done")
        if down := [program.name for program in simulation.service_programs if not program.runs]:
            raise ViolationError(f"never came back: {down}")
        for agent in simulation.agents:
            twice = [key for key, count in agent.host.starts.items() if count > 1]
            if twice and not agent.host.lost_records:
                raise ViolationError(f"started more than once on {agent.host.name}: {twice}")


def _is_below(role: str, other: str) -> bool:
    return f"{role}/".startswith(f"{other}/")


def _cpus(resources: Resources) -> float:
    return sum(each.scalar.value for each in resources.messages() if each.name == "cpus")


class Probe:
    """A framework that comes last, and is to be offered everything that there is."""

    def __init__(self, simulation: Simulation, registries: list[str]) -> None:
        self._simulation = simulation
        self._registries = registries
        self._offers: dict[str, mesos.Offer] = {}

    async def run(self, _process: Process) -> None:
        """Until it is killed."""
        info = mesos.FrameworkInfo(user="", name="probe", roles=[self._simulation.options.roles[0]])
        info.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
        while True:
            async with SchedulerClient(GrpcTransport(self._registries[0]), info) as client:
                async for event in client.events():
                    if event.type == v1.Event.SUBSCRIBED:
                        self._offers.clear()
                    for offer in event.offers.offers:
                        self._offers[offer.id.value] = offer
                    self._offers.pop(event.rescind.offer_id.value, None)
            await asyncio.sleep(1.0)

    def missing(self) -> dict[str, str]:
        """By host: what is there and has not been offered."""
        offered: defaultdict[str, Resources] = defaultdict(lambda: Resources.EMPTY)
        for offer in self._offers.values():
            offered[offer.hostname] += Resources.of(offer.resources).unallocated()
        return {
            agent.host.name: f"{agent.resources} is there, {offered[agent.host.name]} is offered"
            for agent in self._simulation.agents
            if offered[agent.host.name] != agent.resources
        }
