"""A defect in the core ends the term. Whoever sent what was being handled is refused for a while, and nobody else."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from structlog.testing import capture_logs

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.operator.v1 import operator_pb2 as operator
from mezzo.resources import parse
from mezzo.scheduler.v1.scheduler_pb2 import SubscribeRequest
from mezzo.scheduler.v1.scheduler_pb2_grpc import SchedulerStub
from mezzo_registry.core import Registry, effects, events
from mezzo_registry.shell import leader_loop
from mezzo_registry.testing import PATIENCE_SECONDS, PlayedAgent, PlayedFramework

from .test_service import Service, serving

Call = scheduler.Call
MEANWHILE = 5
"""How often a peer that is refused tries again in a test."""


class Poison:
    """Makes the real core raise at certain events, every time."""

    def __init__(self) -> None:
        self.bad: Callable[[Registry, events.Event], bool] = lambda _core, _event: False
        self.terms: list[Registry] = []
        """The core of each term that has handled anything."""
        self.raised = 0
        self._handle = Registry.handle

    def handle(self, core: Registry, event: events.Event, *, now: float) -> Sequence[effects.Effect]:
        if core not in self.terms:
            self.terms.append(core)
        ordered = self._handle(core, event, now=now)
        if self.bad(core, event):
            self.raised += 1
            raise KeyError("nobody thought of this")  # with the state changed already
        return ordered


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    """Nothing is bad until a test says what."""
    poison = Poison()
    monkeypatch.setattr(Registry, "handle", lambda core, event, *, now: poison.handle(core, event, now=now))
    monkeypatch.setattr(leader_loop, "RETRY_SECONDS_MIN", 0.01)
    return poison


@pytest.fixture
async def registry(tmp_path: Path, poison: Poison) -> AsyncIterator[Service]:
    """A registry with a core that can be poisoned."""
    async with serving(tmp_path) as service:
        yield service
    assert poison.raised <= 1, "one defect ends one term, and no other"


class Bystanders:
    """An agent with a task, and its framework: what happens to others must not matter to them."""

    def __init__(self, registry: Service) -> None:
        self.registry = registry
        self.run: agent_session.RunTask | None = None

    async def begin(self) -> "Bystanders":
        self.agent = PlayedAgent(self.registry.channel)
        await self.agent.register()
        self.agent.id = (await self.agent.receive("registered")).agent_id.value
        self.framework = PlayedFramework(self.registry.channel)
        await self.framework.subscribed()
        offer = (await self.framework.receive("OFFERS")).offers.offers[0]
        await self.framework.call(self.framework.launch(offer, "t1"))
        self.run = await self.agent.receive("run_task")
        await self.agent.update(self.run, "TASK_RUNNING")
        await self.acknowledge()
        return self

    async def acknowledge(self) -> str:
        status = (await self.framework.receive("UPDATE")).update.status
        await self.framework.call(self.framework.acknowledge(status))
        await self.agent.receive("acknowledge_update")
        return mesos.TaskState.Name(status.state)

    async def come_back(self) -> None:
        """To the next term, as they were."""
        await asyncio.gather(self.agent.ended(), self.framework.ended())
        assert self.run is not None
        register = registration("node", self.run.task.agent_id.value, "slave(1)@127.0.0.1:5051")
        register.tasks.add(
            name="t1",
            task_id=self.run.task.task_id,
            framework_id=self.run.framework_id,
            agent_id=self.run.task.agent_id,
            state=mesos.TASK_RUNNING,
            resources=self.run.task.resources,
        )
        register.frameworks.add(id=self.run.framework_id, user="root", name="test")
        info = mesos.FrameworkInfo(user="root", name="test", id=self.run.framework_id, failover_timeout=60)
        await retry(lambda: self._register(register))
        await retry(lambda: self._subscribe(info))

    async def _register(self, register: agent_session.Register) -> None:
        self.agent = PlayedAgent(self.registry.channel)
        self.agent.send(agent_session.AgentMessage(register=register))
        await self.agent.receive("registered")

    async def _subscribe(self, info: mesos.FrameworkInfo) -> None:
        self.framework = PlayedFramework(self.registry.channel, info)
        await self.framework.subscribed()

    async def finish(self) -> None:
        """Their task comes to its end."""
        assert self.run is not None
        await self.agent.update(self.run, "TASK_FINISHED")
        assert await self.acknowledge() == "TASK_FINISHED"
        assert await self.agent.end() is grpc.StatusCode.OK
        self.framework.cancel()


async def retry(attempt: Callable[[], Awaitable[object]]) -> None:
    """Until a term leads."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await attempt()
                return
            except ConnectionError:
                await asyncio.sleep(0.01)


async def refused(call: Any) -> str:
    """Why a call is refused as a defect, once a term leads that does."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call()
            if error.value.code() is grpc.StatusCode.INTERNAL:
                return error.value.details() or ""
            assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION, "that is, nobody leads yet"
            await asyncio.sleep(0.01)


async def agent_refused(registry: Service, agent_id: str = "", pid: str = "slave(1)@127.0.0.1:5052") -> str:
    """Why an agent is refused, once a term leads that does."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            agent = another_agent(registry, agent_id, pid)
            if await agent.ended() is grpc.StatusCode.INTERNAL:
                return await agent.details()
            await asyncio.sleep(0.01)


def another_agent(registry: Service, agent_id: str = "", pid: str = "slave(1)@127.0.0.1:5052") -> PlayedAgent:
    agent = PlayedAgent(registry.channel)
    agent.send(agent_session.AgentMessage(register=registration("other", agent_id, pid)))
    return agent


def registration(hostname: str, agent_id: str, pid: str) -> agent_session.Register:
    register = agent_session.Register(version="0.1.0", pid=pid)
    register.agent_info.hostname = hostname
    if agent_id:
        register.agent_info.id.value = agent_id
    register.total_resources.extend(parse("cpus:4;mem:1024").messages())
    register.agent_info.resources.extend(register.total_resources)
    return register


async def subscribe(registry: Service, name: str, framework_id: str = "") -> None:
    """Until the registry ends the stream."""
    call = Call(type=Call.SUBSCRIBE)
    call.subscribe.framework_info.MergeFrom(mesos.FrameworkInfo(user="root", name=name))
    if framework_id:
        call.framework_id.value = framework_id
        call.subscribe.framework_info.id.value = framework_id
    async for _ in SchedulerStub(registry.channel).Subscribe(SubscribeRequest(call=call), timeout=PATIENCE_SECONDS):
        pass


async def metric(registry: Service, sample: str) -> float:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{registry.config.metrics_port}/metrics") as response,
    ):
        lines = (await response.text()).splitlines()
    (line,) = [each for each in lines if each.startswith(f"{sample} ")]
    return float(line.rpartition(" ")[2])


# --- frameworks -------------------------------------------------------------------------------------------------------


async def test_a_framework_whose_call_is_poison_is_refused_and_others_go_on(registry: Service, poison: Poison) -> None:
    bystanders = await Bystanders(registry).begin()
    hostile = PlayedFramework(registry.channel, mesos.FrameworkInfo(user="root", name="hostile"))
    await hostile.subscribed()
    poison.bad = lambda _core, event: isinstance(event, events.FrameworkCalled) and event.call.type == Call.REQUEST
    with capture_logs() as logs:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await hostile.call(Call(type=Call.REQUEST))
        assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        await bystanders.come_back()
        for framework_id in [hostile.id, ""] * MEANWHILE:
            reason = await refused(partial(subscribe, registry, "hostile", framework_id))
            assert re.fullmatch(
                rf"framework {hostile.id} is refused until .*: "
                "its framework_called REQUEST led to a defect in the registry, whose log has more",
                reason,
            )
    await bystanders.finish()
    assert len(poison.terms) == 2
    assert await metric(registry, 'mezzo_registry_defects_total{event="framework_called"}') == 1
    assert await metric(registry, 'mezzo_registry_defects_refused_total{event="framework_called"}') >= 2 * MEANWHILE
    assert await metric(registry, 'mezzo_registry_defects_total{event="task_updated"}') == 0
    [line] = [each for each in logs if each["event"] == "defect ends the incarnation"]
    assert f"framework {hostile.id}" in str(line["suspects"])
    assert line["cause"]


async def test_a_framework_whose_subscription_is_poison_is_refused_and_others_go_on(
    registry: Service, poison: Poison
) -> None:
    bystanders = await Bystanders(registry).begin()

    def bad(_core: Registry, event: events.Event) -> bool:
        return isinstance(event, events.FrameworkSubscribing) and event.call.subscribe.framework_info.name == "hostile"

    poison.bad = bad

    for _ in range(MEANWHILE):
        reason = await refused(partial(subscribe, registry, "hostile"))
        assert reason.startswith("framework 'hostile' of 'root' is refused until ")
    await bystanders.come_back()
    await bystanders.finish()
    assert len(poison.terms) == 2


# --- agents -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [events.TaskUpdated, events.ExecutorExited, events.AgentLeaving])
async def test_an_agent_whose_message_is_poison_is_refused_and_others_go_on(
    registry: Service, poison: Poison, kind: type[events.Event]
) -> None:
    bystanders = await Bystanders(registry).begin()
    hostile = another_agent(registry)
    agent_id = (await hostile.receive("registered")).agent_id.value
    poison.bad = lambda _core, event: isinstance(event, kind) and "t1" not in repr(event)  # the bystanders' task
    messages = {
        events.TaskUpdated: agent_session.AgentMessage(task_update=agent_session.TaskUpdate()),
        events.ExecutorExited: agent_session.AgentMessage(executor_exited=agent_session.ExecutorExited()),
        events.AgentLeaving: agent_session.AgentMessage(leave=agent_session.Leave()),
    }
    hostile.send(messages[kind])
    assert await hostile.ended() is grpc.StatusCode.FAILED_PRECONDITION
    await bystanders.come_back()
    for known_as in [agent_id, ""] * MEANWHILE:  # the second: it has lost its work_dir
        reason = await agent_refused(registry, known_as)
        assert reason.startswith(f"agent {agent_id} is refused until ")
    await bystanders.finish()
    assert len(poison.terms) == 2


async def test_an_agent_whose_registration_is_poison_is_refused_and_others_go_on(
    registry: Service, poison: Poison
) -> None:
    bystanders = await Bystanders(registry).begin()
    poison.bad = lambda _core, event: (
        isinstance(event, events.AgentRegistering) and event.register.agent_info.hostname == "other"
    )
    for _ in range(MEANWHILE):
        reason = await agent_refused(registry)
        assert reason.startswith("agent at slave(1)@127.0.0.1:5052 is refused until ")
        assert "its agent_registering led to a defect" in reason
    await bystanders.come_back()
    await bystanders.finish()
    assert len(poison.terms) == 2


async def test_an_agent_whose_end_is_poison_is_refused_and_others_go_on(registry: Service, poison: Poison) -> None:
    """The core has let go of the session when it raises."""
    bystanders = await Bystanders(registry).begin()
    hostile = another_agent(registry)
    agent_id = (await hostile.receive("registered")).agent_id.value

    def bad(core: Registry, event: events.Event) -> bool:
        agent = core.state.agents[agent_id]
        return isinstance(event, events.AgentDisconnected) and agent.registered_at is not None and not agent.connected

    poison.bad = bad
    await hostile.end()
    for _ in range(MEANWHILE):
        reason = await agent_refused(registry)
        assert reason.startswith(f"agent {agent_id} is refused until ")
        assert "its agent_disconnected led to a defect" in reason
    await bystanders.come_back()
    await bystanders.finish()
    assert len(poison.terms) == 2


# --- everybody else ---------------------------------------------------------------------------------------------------


async def test_an_allocator_whose_advice_is_poison_is_refused_and_tasks_go_on(
    registry: Service, poison: Poison
) -> None:
    bystanders = await Bystanders(registry).begin()
    before = registry.allocator.sessions
    poison.bad = lambda _core, event: isinstance(event, events.AllocationsMade)
    another = another_agent(registry)  # whose resources are offered
    await another.ended()
    await bystanders.come_back()
    await registry.allocator.begun(before + 3)
    await bystanders.finish()
    assert len(poison.terms) == 2


async def test_observers_whose_snapshot_is_poison_are_refused_and_tasks_go_on(
    registry: Service, poison: Poison
) -> None:
    bystanders = await Bystanders(registry).begin()
    poison.bad = lambda _core, event: isinstance(event, events.ObserverJoined)

    async def watch() -> None:
        async for _ in registry.operators.Watch(operator.WatchRequest()):
            pass

    for _ in range(MEANWHILE):
        assert (await refused(watch)).startswith("refused for now: observer_joined has led to a defect before")
    await bystanders.come_back()
    await bystanders.finish()
    assert len(poison.terms) == 2


async def test_a_call_of_an_operator_that_is_poison_is_refused_and_other_calls_are_not(
    registry: Service, poison: Poison
) -> None:
    call = master.Call(type=master.Call.UPDATE_WEIGHTS)
    call.update_weights.weight_infos.add(role="web", weight=2)
    poison.bad = lambda _core, event: isinstance(event, events.OperatorCalled) and event.call == call

    async def update() -> None:
        await registry.operators.Call(operator.CallRequest(call=call))

    for _ in range(MEANWHILE):
        reason = await refused(update)
        assert reason.startswith("operator call ")
        assert "its operator_called UPDATE_WEIGHTS led to a defect" in reason
    other = master.Call(type=master.Call.UPDATE_WEIGHTS)
    other.update_weights.weight_infos.add(role="web", weight=3)
    await registry.operators.Call(operator.CallRequest(call=other))
    assert len(poison.terms) == 2
