"""What clients of Mesos compare with, word for word; here once more, so that nobody rewords it unseen."""

from collections.abc import Callable

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo_registry.core import Settings, effects, events
from mezzo_registry.testing import START, Cluster, FakeAgent, FakeFramework

Call = scheduler.Call
MakeCluster = Callable[..., Cluster]


def messages(cluster: Cluster, framework: FakeFramework) -> list[str]:
    return [status.message for status in cluster.statuses(framework)]


def errors(cluster: Cluster, stream_id: str) -> list[str]:
    return [event.error.message for event in cluster.on_stream(stream_id) if event.type == scheduler.Event.ERROR]


# --- frameworks that come back ----------------------------------------------------------------------------------------


def torn_down(cluster: Cluster) -> FakeFramework:
    framework = cluster.framework()
    cluster.call(framework, Call(type=Call.TEARDOWN))
    return framework


def test_removed_framework_that_subscribes_is_told_so(cluster: Cluster) -> None:
    framework = torn_down(cluster)
    cluster.resubscribe(framework)
    assert errors(cluster, framework.stream_id) == ["Framework has been removed"]
    assert framework.stream_id in [effect.stream_id for effect in cluster.of(effects.CloseFrameworkStream)]


def test_framework_whose_failover_timeout_ran_out_is_told_so(cluster: Cluster) -> None:
    framework = cluster.framework(failover_timeout=60.0)
    cluster.close(framework)
    cluster.advance(61)
    cluster.resubscribe(framework)
    assert errors(cluster, framework.stream_id) == ["Framework has been removed"]


def test_removed_framework_is_told_so_whatever_else_is_wrong_with_its_subscription(cluster: Cluster) -> None:
    framework = torn_down(cluster)
    stream_id = cluster.subscribe(framework.info, suppressed_roles=["not its own"])
    assert errors(cluster, stream_id) == ["Framework has been removed"]


def test_removed_framework_that_nobody_remembers_is_taken_for_one_from_before_the_election(
    make_cluster: MakeCluster,
) -> None:
    """As in Mesos: what is completed is remembered by number, and not over a fail-over."""
    cluster = make_cluster(Settings(max_completed_frameworks=1))
    cluster.allocator()
    first = torn_down(cluster)
    torn_down(cluster)
    after_failover = make_cluster()
    for leader in (cluster, after_failover):
        leader.resubscribe(first)
        assert leader.on_stream(first.stream_id)[0].subscribed.framework_id.value == first.id


def test_scheduler_whose_framework_subscribes_elsewhere_is_told_so(cluster: Cluster) -> None:
    framework = cluster.framework()
    former = framework.stream_id
    cluster.resubscribe(framework)
    assert errors(cluster, former) == ["Framework failed over"]


def test_call_of_a_framework_without_a_stream_is_told_so(cluster: Cluster) -> None:
    framework = cluster.framework(failover_timeout=60.0)
    cluster.close(framework)
    cluster.call(framework, Call(type=Call.REVIVE))
    assert cluster.refusal() == "Forbidden: Framework is not subscribed"


# --- reconciliation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        ("its own", "Reconciliation: Task is unknown to the agent"),
        ("far-S1", "Reconciliation: Task is unreachable"),
        ("gone-S1", "Reconciliation: Task is gone"),
        ("", "Reconciliation: Task is unknown"),
    ],
)
def test_reconciled_task_that_nobody_knows(make_cluster: MakeCluster, agent: str, message: str) -> None:
    cluster = make_cluster(elected=events.Elected(gone={"gone-S1": START}, unreachable={"far-S1": START}))
    framework, known = cluster.framework(), cluster.agent()
    assert cluster.reconcile(framework, "t9", agent_id=known.id if agent == "its own" else agent) == [
        ("t9", "TASK_LOST")
    ]
    assert messages(cluster, framework) == [message]


def test_reconciled_task_that_is_known(cluster: Cluster) -> None:
    framework, agent = cluster.framework(), cluster.agent()
    cluster.running(framework, agent)
    cluster.reconcile(framework)
    assert messages(cluster, framework) == ["Reconciliation: Latest task state"]


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        ("its own", "Reconciliation: Operation is unknown"),
        ("far-S1", "Reconciliation: Agent is unreachable"),
        ("gone-S1", "Reconciliation: Agent marked gone by operator"),
        ("S9", "Reconciliation: Both operation and agent are unknown"),
        ("", "Reconciliation: Operation is unknown and no 'agent_id' was provided"),
    ],
)
def test_reconciled_operation(make_cluster: MakeCluster, agent: str, message: str) -> None:
    cluster = make_cluster(elected=events.Elected(gone={"gone-S1": START}, unreachable={"far-S1": START}))
    framework, known = cluster.framework(), cluster.agent()
    call = Call(type=Call.RECONCILE_OPERATIONS)
    operation = call.reconcile_operations.operations.add()
    operation.operation_id.value = "o1"
    if agent:
        operation.agent_id.value = known.id if agent == "its own" else agent
    cluster.call(framework, call)
    (event,) = cluster.to_framework(framework)
    assert event.update_operation_status.status.message == message


# --- what the registry ends -------------------------------------------------------------------------------------------


def two(cluster: Cluster) -> tuple[FakeFramework, FakeAgent, mesos.TaskInfo]:
    framework, agent = cluster.framework(), cluster.agent(hostname="node-7")
    return framework, agent, cluster.running(framework, agent)


def test_task_of_an_agent_that_leaves(cluster: Cluster) -> None:
    framework, agent, _ = two(cluster)
    cluster.handle(events.AgentLeaving(agent.session, "scaled down"))
    assert messages(cluster, framework) == ["Agent node-7 removed: the agent unregistered"]


def test_task_of_an_agent_whose_address_a_new_one_has(cluster: Cluster) -> None:
    framework, old = cluster.framework(), cluster.agent(pid="slave(1)@10.0.0.1:5051", hostname="node-7")
    cluster.running(framework, old)
    cluster.disconnect(old)
    cluster.connect(cluster.register_message(pid="slave(1)@10.0.0.1:5051", hostname="node-7"))
    assert messages(cluster, framework) == ["Agent node-7 removed: a new agent registered at the same address"]


def test_task_of_an_agent_that_is_silent_and_comes_back(cluster: Cluster) -> None:
    framework, agent, task = two(cluster)
    cluster.disconnect(agent)
    cluster.advance(3600)
    assert messages(cluster, framework) == ["health check timed out"]
    cluster.come_back(agent, tasks=[cluster.snapshot_task(framework, agent, task)], frameworks=[framework.info])
    assert messages(cluster, framework) == ["Unreachable agent re-reregistered"]


def test_task_that_its_agent_lost(cluster: Cluster) -> None:
    framework, agent, _ = two(cluster)
    cluster.disconnect(agent)
    cluster.come_back(agent)
    assert messages(cluster, framework) == ["Reconciliation: task unknown to the agent"]


def test_task_of_a_framework_that_is_removed(cluster: Cluster) -> None:
    framework, _, _ = two(cluster)
    cluster.handle(events.ObserverJoined(1))
    cluster.call(framework, Call(type=Call.TEARDOWN))
    (updated,) = cluster.published("task_updated")
    assert updated.status.message == f"Framework {framework.id} removed"


# --- offers -----------------------------------------------------------------------------------------------------------


def test_launch_on_an_offer_that_is_no_longer_out(cluster: Cluster) -> None:
    framework, agent = cluster.framework(), cluster.agent()
    offer = cluster.offer(framework, agent)
    cluster.accept(framework, [offer], cluster.task_info(offer))
    cluster.accept(framework, [offer], cluster.task_info(offer, "t2"))
    assert messages(cluster, framework) == [
        f"Task launched with invalid offers: Offer {offer.id.value} is no longer valid"
    ]


def test_launch_on_no_offer_and_on_the_same_twice(cluster: Cluster) -> None:
    framework, agent = cluster.framework(), cluster.agent()
    offer = cluster.offer(framework, agent)
    cluster.accept(framework, [], cluster.task_info(offer))
    assert messages(cluster, framework) == ["Task launched with invalid offers: No offers specified"]
    cluster.accept(framework, [offer, offer], cluster.task_info(offer))
    assert messages(cluster, framework) == [
        f"Task launched with invalid offers: Duplicate offer {offer.id.value} in offer list"
    ]


def test_launch_on_offers_of_two_agents_of_two_roles_and_of_another_framework(cluster: Cluster) -> None:
    framework, other = cluster.framework("MULTI_ROLE", roles=["a", "b"]), cluster.framework()
    agent, far = cluster.agent(), cluster.agent()

    def refused(*offers: mesos.Offer) -> str:
        cluster.accept(framework, list(offers), cluster.task_info(agent))
        (message,) = messages(cluster, framework)
        return message.removeprefix("Task launched with invalid offers: ")

    first, second = cluster.offer(framework, agent, role="a"), cluster.offer(framework, far, role="a")
    assert refused(first, second) == (
        f"Aggregated offers must belong to one single agent. Offer {second.id.value} uses agent {far.id} and agent "
        f"{agent.id}"
    )
    first, second = cluster.offer(framework, agent, role="a"), cluster.offer(framework, agent, role="b")
    assert refused(first, second) == (
        f"Aggregated offers must be allocated to the same role. Offer {second.id.value} uses role 'b but another is "
        "using role 'a"
    )
    foreign = cluster.offer(other, agent)
    assert refused(foreign) == (
        f"Offer {foreign.id.value} has invalid framework {other.id} while framework {framework.id} is expected"
    )
