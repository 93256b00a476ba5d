"""What the registry admits, the agent runs or ends, whatever the message; and neither breaks on any."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.errors import MezzoError
from mezzo.resources import parse
from mezzo.task_states import TERMINAL
from mezzo_agent.containers.posix.command import InvalidCommand, program_of, rlimits_of
from mezzo_agent.containers.posix.usage import Allowance
from mezzo_agent.core import Agent, effects, events
from mezzo_agent.core.model import Phase
from mezzo_agent.core.state import Settings
from mezzo_registry.core import events as registry_events
from mezzo_registry.core.effects import SendToAgent
from mezzo_registry.testing.conversation import Cluster, FakeAgent, FakeFramework
from tests.admission.hostile import spoil

Operation = mesos.Offer.Operation
RESOURCES = "cpus:8;mem:8192;disk:10000;gpus:2;ports:[31000-32000];sets:{a,b}"
FRAMEWORK_IDS = ("", "F1", "x" * 255, "€" * 85, "€" * 200, "a/b", "..")


class Host:
    """An agent's core that the registry's messages are handed to, and whose messages are handed back."""

    def __init__(self, cluster: Cluster, seen_as: FakeAgent) -> None:
        self.cluster, self.seen_as = cluster, seen_as
        numbers = itertools.count(1)
        info = mesos.AgentInfo(hostname="node", port=5051, resources=parse(RESOURCES).messages())
        where = Settings(work_dir=Path("/w"), ip="10.0.0.1", port=5051)
        self.core = Agent(where, info, lambda: next(numbers).to_bytes(16, "big"))
        self.core.handle(events.SessionOpened(), now=cluster.now)
        registered = agent_session.Registered(agent_id=mesos.AgentID(value=seen_as.id))
        self.deliver([agent_session.RegistryMessage(registered=registered)])

    def deliver(self, messages: list[agent_session.RegistryMessage]) -> None:
        for message in messages:
            # As over the wire.
            received = agent_session.RegistryMessage.FromString(message.SerializeToString())
            for effect in self.core.handle(events.RegistryMessageReceived(received), now=self.cluster.now):
                if isinstance(effect, effects.LaunchContainer):
                    launch(effect)
                elif isinstance(effect, effects.SendToRegistry) and effect.message.HasField("task_update"):
                    self.cluster.handle(registry_events.TaskUpdated(self.seen_as.session, effect.message.task_update))
            self.core.validate()


def launch(effect: effects.LaunchContainer) -> None:
    """What the containerizer makes of a container before it starts it. It may refuse it, in its own words."""
    config = effect.config
    Allowance.of(config.resources, config.limits)
    for name, value in config.environment.items():
        assert b"\0" not in os.fsencode(name) + os.fsencode(value)
    try:
        program, arguments = program_of(config.command)
        assert b"\0" not in b"".join(map(os.fsencode, (program, *arguments)))
        if config.container is not None:
            rlimits_of(config.container.rlimit_info)
    except InvalidCommand:
        pass


def task(data: st.DataObject, offer: mesos.Offer, name: str, *, executor: bool) -> mesos.TaskInfo:
    info = mesos.TaskInfo(name=name, task_id=mesos.TaskID(value=name), agent_id=offer.agent_id)
    info.resources.extend(parse("cpus:0.1;mem:32;ports:[31000-31001]").messages())
    if executor:
        info.executor.executor_id.value = "e1"
        info.executor.command.value = "./executor"
        info.executor.resources.extend(parse("cpus:0.1;mem:32").messages())
    else:
        info.command.value = "true"
    return info


def call(data: st.DataObject, offer: mesos.Offer) -> scheduler.Call:
    """An ACCEPT with some tasks, of which some fields are not as they should be."""
    made = scheduler.Call(type=scheduler.Call.ACCEPT)
    made.accept.offer_ids.append(offer.id)
    how = data.draw(st.sampled_from(["commands", "executor", "group"]))
    tasks = [task(data, offer, f"t{number}", executor=how == "executor") for number in range(2)]
    for _ in range(data.draw(st.integers(1, 4))):
        spoil(data, tasks[data.draw(st.integers(0, 1))])
    if how == "group":
        operation = made.accept.operations.add(type=Operation.LAUNCH_GROUP)
        executor = operation.launch_group.executor
        executor.type = mesos.ExecutorInfo.DEFAULT
        executor.executor_id.value = "e1"
        executor.resources.extend(parse("cpus:0.1;mem:32").messages())
        if data.draw(st.booleans()):
            spoil(data, executor)
        operation.launch_group.task_group.tasks.extend(tasks)
    else:
        made.accept.operations.add(type=Operation.LAUNCH).launch.task_infos.extend(tasks)
    return made


def subscribe(cluster: Cluster, framework_id: str) -> FakeFramework | None:
    """A framework under the id that it chose; None if it was turned away."""
    info = cluster.framework_info("PARTITION_AWARE")
    if framework_id:
        info.id.value = framework_id
    stream_id = cluster.subscribe(info)
    (first, *_) = cluster.on_stream(stream_id) or [scheduler.Event()]
    if first.type != scheduler.Event.SUBSCRIBED:
        return None
    info.id.CopyFrom(first.subscribed.framework_id)
    return FakeFramework(info.id.value, stream_id, info)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_whatever_the_registry_admits_the_agent_runs_or_ends(data: st.DataObject) -> None:
    cluster = Cluster()
    framework = subscribe(cluster, data.draw(st.sampled_from(FRAMEWORK_IDS)))
    if framework is None:
        return
    agent = cluster.agent(RESOURCES)
    host = Host(cluster, agent)
    for _ in range(data.draw(st.integers(1, 2))):
        available = cluster.registry.state.agents[agent.id].available
        if not available:
            break  # a call was refused, and its offer stands
        offer = cluster.offer(framework, agent, str(available))
        cluster.call(framework, call(data, offer))
        host.deliver([one.message for one in cluster.effects if isinstance(one, SendToAgent)])
    check_that_each_task_runs_or_has_ended(cluster, host, framework.id)


def check_that_each_task_runs_or_has_ended(cluster: Cluster, host: Host, framework_id: str) -> None:
    cluster.registry.validate()
    here = host.core.state.frameworks.get(framework_id)
    for known in cluster.registry.state.frameworks[framework_id].tasks.values():
        if known.state in TERMINAL:
            continue
        assert here is not None
        there = here.tasks[known.id]
        assert there.executor is not None
        # One that waits for its executor waits for one that is being started.
        assert there.phase is not Phase.QUEUED or there.executor.container_id in host.core.state.containers


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_no_call_of_a_framework_breaks_the_registry(data: st.DataObject) -> None:
    cluster = Cluster()
    agent, framework = cluster.agent(RESOURCES), cluster.framework()
    offer = cluster.offer(framework, agent)
    made = call(data, offer)
    for _ in range(data.draw(st.integers(1, 3))):
        spoil(data, made)
    cluster.call(framework, made)
    cluster.registry.validate()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_no_message_of_a_registry_breaks_an_agent(data: st.DataObject) -> None:
    """Also of one that checked nothing but that the message is whole."""
    cluster = Cluster()
    agent, framework = cluster.agent(RESOURCES), cluster.framework()
    host = Host(cluster, agent)
    offer = cluster.offer(framework, agent)
    update = agent_session.FrameworkUpdate(framework_info=framework.info)
    host.deliver([agent_session.RegistryMessage(framework_update=update)])
    message: Any = agent_session.RegistryMessage()
    run = message.run_task
    run.framework_id.value = framework.id
    run.task.CopyFrom(task(data, offer, "t0", executor=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 3))):
        spoil(data, run)
    assume(run.HasField("framework_id") and run.HasField("task") and message.IsInitialized())
    try:
        host.deliver([message])
    except MezzoError as error:
        raise AssertionError("the core raised instead of ending the task") from error
