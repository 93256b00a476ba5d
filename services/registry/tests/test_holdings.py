"""What the allocator is told that frameworks hold, when they, agents or the leader come back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler.scheduler_pb2 import Call
from mezzo.resources import Resources, parse
from mezzo_registry.core import events
from mezzo_registry.testing import Cluster, FakeAgent

MakeCluster = Callable[..., Cluster]


def held(cluster: Cluster) -> list[str]:
    """What a new allocator is told that is held of agents, framework by framework."""
    cluster.allocator()
    return [
        str(Resources.of(holding.resources).unallocated())
        for message in cluster.to_allocator()
        for holding in message.agent_update.holdings
    ]


def test_what_a_task_uses_is_held_while_its_framework_fails_over(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:3;mem:1024"), cluster.framework(failover_timeout=10.0)
    cluster.running(framework, agent)
    cluster.close(framework)
    assert cluster.recovered() == []
    assert held(cluster) == ["cpus:1; mem:128"]
    cluster.resubscribe(framework)
    assert cluster.recovered() == []
    assert held(cluster) == ["cpus:1; mem:128"]
    cluster.call(framework, Call(type=Call.TEARDOWN))
    assert cluster.recovered() == ["cpus(allocated: *):1; mem(allocated: *):128"]
    assert held(cluster) == []


@pytest.mark.parametrize("first", ["framework", "agent"])
def test_after_a_change_of_leader_what_tasks_use_is_held_whoever_comes_back_first(
    make_cluster: MakeCluster, first: str
) -> None:
    info = mesos.AgentInfo(hostname="node")
    info.id.value = "old-S0"
    cluster = make_cluster(elected=events.Elected(admitted=(info,)))
    agent = FakeAgent(0, "old-S0", cluster.register_message("cpus:2;mem:1024", id="old-S0"))
    framework = cluster.framework_info(id=mesos.FrameworkID(value="old-0000"))
    task = mesos.Task(name="t1", state=mesos.TASK_RUNNING)
    task.task_id.value, task.framework_id.value, task.agent_id.value = "t1", "old-0000", "old-S0"
    task.resources.extend(parse("cpus:1;mem:500").allocated_to("*").messages())
    if first == "framework":
        cluster.subscribe(framework)
        assert held(cluster) == []
    cluster.come_back(agent, tasks=[task], frameworks=[framework])
    assert held(cluster) == ["cpus:1; mem:500"]
    if first == "agent":
        cluster.subscribe(framework)
        assert held(cluster) == ["cpus:1; mem:500"]
    assert cluster.registry.state.frameworks["old-0000"].connected
