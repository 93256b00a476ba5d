"""The registry in numbers: what is counted as it happens is what is there."""

from collections.abc import Callable

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler.scheduler_pb2 import Call
from mezzo_registry.core import Registry, Settings, events
from mezzo_registry.core.state import framework_metrics
from mezzo_registry.core.views import measures
from mezzo_registry.testing import Cluster, FakeFramework

MakeCluster = Callable[..., Cluster]

QUOTA = "allocator/mesos/quota/roles/web/resources/"


def numbers_of(cluster: Cluster, *names: str) -> list[float]:
    registry: Registry = cluster.registry
    numbers = registry.measure(now=cluster.now)
    return [numbers[f"master/{name}"] for name in names]


def test_tasks_are_counted_by_state(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework("PARTITION_AWARE", failover_timeout=1000.0)
    names = ("tasks_staging", "tasks_running", "tasks_killing", "tasks_finished", "tasks_unreachable")
    cluster.launched(framework, agent, "t1")
    cluster.running(framework, agent, "t2")
    assert numbers_of(cluster, *names) == [1, 1, 0, 0, 0]
    cluster.update(framework, agent, "t2", "TASK_KILLING")
    cluster.update(framework, agent, "t1", "TASK_FINISHED")
    assert numbers_of(cluster, *names) == [0, 0, 1, 1, 0]
    cluster.advance(76.0)
    assert numbers_of(cluster, *names) == [0, 0, 0, 1, 1]


def test_resources_are_counted_as_total_used_and_offered(cluster: Cluster) -> None:
    agents = [cluster.agent("cpus:4;mem:4096") for _ in range(2)]
    framework = cluster.framework()
    cluster.launched(framework, agents[0], "t1", "cpus:1.5;mem:128")
    cluster.offer(framework, agents[1], "cpus:2")
    assert numbers_of(cluster, "cpus_total", "cpus_used", "cpus_percent", "mem_used") == [8, 1.5, 1.5 / 8, 128]
    numbers = cluster.registry.measure(now=cluster.now)
    assert numbers["allocator/mesos/resources/cpus/total"] == 8
    assert numbers["allocator/mesos/resources/cpus/offered_or_allocated"] == 3.5
    cluster.update(framework, agents[0], "t1", "TASK_FAILED")
    cluster.disconnect(agents[1])
    assert numbers_of(cluster, "cpus_total", "cpus_used", "mem_used") == [8, 0, 0]


def test_resources_are_zero_where_there_are_none(cluster: Cluster) -> None:
    def resources() -> dict[str, float]:
        numbers = cluster.registry.measure(now=cluster.now)
        prefix = "allocator/mesos/resources/"
        return {name.removeprefix(prefix): value for name, value in numbers.items() if name.startswith(prefix)}

    nothing = {f"{name}/{what}": 0 for name in ("cpus", "mem", "disk") for what in ("total", "offered_or_allocated")}
    assert resources() == nothing
    agent, framework = cluster.agent("cpus:2;mem:1024"), cluster.framework()
    assert resources() == nothing | {"cpus/total": 2, "mem/total": 1024}
    cluster.offer(framework, agent, "cpus:2;mem:1024")
    held = {"cpus/offered_or_allocated": 2, "mem/offered_or_allocated": 1024}
    assert resources() == nothing | {"cpus/total": 2, "mem/total": 1024} | held
    cluster.handle(events.AgentLeaving(agent.session, "drained"))
    assert resources() == nothing


def test_quota_that_changes_is_measured_as_it_is_and_no_more_once_it_is_none(cluster: Cluster) -> None:
    def of_quota() -> dict[str, float]:
        numbers = cluster.registry.measure(now=cluster.now, in_full=True)
        ends = ("/guarantee", "/limit")
        return {name.removeprefix(QUOTA): value for name, value in numbers.items() if name.endswith(ends)}

    def update(guarantees: dict[str, float], limits: dict[str, float]) -> None:
        call = master.Call(type=master.Call.UPDATE_QUOTA)
        config = call.update_quota.quota_configs.add(role="web")
        for amounts, stated in ((guarantees, config.guarantees), (limits, config.limits)):
            for name, amount in amounts.items():
                stated[name].value = amount
        call.update_quota.force = True
        cluster.operate(call)

    assert of_quota() == {}
    update({"cpus": 1}, {"mem": 1024})
    assert of_quota() == {"cpus/guarantee": 1, "mem/limit": 1024}
    update({"cpus": 2}, {"mem": 1024})
    assert of_quota() == {"cpus/guarantee": 2, "mem/limit": 1024}
    update({}, {})
    assert of_quota() == {}


def test_quota_is_measured_by_role_and_resource(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:4"), cluster.framework("MULTI_ROLE", roles=["web/a"])
    cluster.accept(
        framework,
        [offer := cluster.offer(framework, agent, "cpus:1", "web/a")],
        cluster.task_info(offer, "t1", "cpus:1"),
    )
    call = master.Call(type=master.Call.UPDATE_QUOTA)
    config = call.update_quota.quota_configs.add(role="web")
    config.guarantees["cpus"].value = 2
    config.limits["mem"].value = 64
    cluster.operate(call)
    cluster.offer(framework, agent, "cpus:1.5", "web/a")
    numbers = cluster.registry.measure(now=cluster.now, in_full=True)
    of_quota = {name.removeprefix(QUOTA): value for name, value in numbers.items() if name.startswith(QUOTA)}
    assert of_quota == {
        "cpus/consumed": 1.0,
        "cpus/guarantee": 2.0,
        "cpus/offered_or_allocated": 2.5,
        "mem/limit": 64.0,
        "mem/offered_or_allocated": 0.0,
    }


# ------------------------------------------------------------------------------------------------ of each framework

# As recorded from Apache Mesos 1.12, where the framework is subscribed in the role `*` alone.
RECORDED_OF_A_FRAMEWORK = """
    calls calls/accept calls/accept_inverse_offers calls/acknowledge calls/acknowledge_operation_status
    calls/decline calls/decline_inverse_offers calls/kill calls/message calls/reconcile calls/reconcile_operations
    calls/request calls/revive calls/shutdown calls/subscribe calls/suppress calls/teardown calls/update_framework
    events events/error events/failure events/heartbeat events/inverse_offers events/message events/offers
    events/rescind events/rescind_inverse_offer events/subscribed events/update events/update_operation_status
    offers/accepted offers/declined offers/rescinded offers/sent operations operations/create operations/create_disk
    operations/destroy operations/destroy_disk operations/grow_volume operations/launch operations/launch_group
    operations/reserve operations/shrink_volume operations/unreserve roles/*/suppressed subscribed
    tasks/active/task_killing tasks/active/task_running tasks/active/task_staging tasks/active/task_starting
    tasks/active/task_unknown tasks/active/task_unreachable tasks/terminal/task_dropped tasks/terminal/task_error
    tasks/terminal/task_failed tasks/terminal/task_finished tasks/terminal/task_gone
    tasks/terminal/task_gone_by_operator tasks/terminal/task_killed tasks/terminal/task_lost
"""


def of_framework(cluster: Cluster, framework: FakeFramework, name: str = "test") -> dict[str, float]:
    """What is published of a framework, by the last part of its names."""
    prefix = f"master/frameworks/{name}/{framework.id}/"
    numbers = cluster.registry.measure(now=cluster.now, in_full=True)
    return {name.removeprefix(prefix): value for name, value in numbers.items() if name.startswith(prefix)}


def metrics_of(cluster: Cluster, framework: FakeFramework) -> dict[str, float]:
    """The same without zeros."""
    return {name: value for name, value in of_framework(cluster, framework).items() if value}


def test_what_is_published_of_a_framework_is_what_mesos_publishes(cluster: Cluster) -> None:
    assert of_framework(cluster, cluster.framework()).keys() == set(RECORDED_OF_A_FRAMEWORK.split())


def test_a_frameworks_calls_events_offers_and_tasks_are_counted_as_they_happen(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    assert metrics_of(cluster, framework) == {
        "subscribed": 1, "calls": 1, "calls/subscribe": 1, "events": 2, "events/subscribed": 1, "events/heartbeat": 1,
    }  # fmt: skip
    cluster.running(framework, agent, "t1")
    counted = metrics_of(cluster, framework)
    assert (counted["offers/sent"], counted["offers/accepted"]) == (1, 1)
    assert (counted["operations"], counted["operations/launch"]) == (1, 1)
    assert (counted["tasks/active/task_running"], counted["calls/accept"]) == (1, 1)
    cluster.update(framework, agent, "t1", "TASK_FINISHED")
    offer = cluster.offer(framework, agent)
    decline = Call(type=Call.DECLINE)
    decline.decline.offer_ids.append(offer.id)
    cluster.call(framework, decline)
    cluster.call(framework, Call(type=Call.SUPPRESS))
    cluster.offer(framework, agent)
    cluster.disconnect(agent)
    counted = metrics_of(cluster, framework)
    assert "tasks/active/task_running" not in counted
    assert counted["tasks/terminal/task_finished"] == 1
    assert (counted["offers/sent"], counted["offers/declined"], counted["offers/rescinded"]) == (3, 1, 1)
    assert (counted["events/rescind"], counted["roles/*/suppressed"]) == (1, 1)
    for whole in ("calls", "events", "operations"):
        assert counted[whole] == sum(value for name, value in counted.items() if name.startswith(f"{whole}/"))


def test_tasks_that_never_were_and_calls_that_are_refused_are_not_the_frameworks(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:1"), cluster.framework()
    offer = cluster.offer(framework, agent, "cpus:1")
    cluster.accept(framework, [offer], cluster.task_info(offer, "t1", "cpus:2"))
    cluster.call(framework, Call(type=Call.KILL))
    counted = metrics_of(cluster, framework)
    assert not [name for name in counted if name.startswith("tasks/")]
    assert "calls/kill" not in counted


def test_tasks_out_of_reach_are_active_and_back_when_their_agent_is(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework("PARTITION_AWARE", failover_timeout=1000.0)
    cluster.running(framework, agent, "t1")
    cluster.advance(76.0)
    counted = metrics_of(cluster, framework)
    assert (counted.get("tasks/active/task_running"), counted["tasks/active/task_unreachable"]) == (None, 1)
    cluster.come_back(agent)
    assert "tasks/active/task_unreachable" not in metrics_of(cluster, framework)


def test_a_heartbeat_between_the_turns_is_counted(cluster: Cluster) -> None:
    framework = cluster.framework()
    before = metrics_of(cluster, framework)["events/heartbeat"]
    cluster.registry.heartbeat_sent(framework.stream_id)
    cluster.registry.heartbeat_sent("a stream that has ended")
    assert metrics_of(cluster, framework)["events/heartbeat"] == before + 1


def test_a_framework_that_has_ended_is_published_while_it_is_remembered(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Settings(max_completed_frameworks=1))
    first, second = cluster.framework(), cluster.framework()
    cluster.call(first, Call(type=Call.TEARDOWN))
    counted = metrics_of(cluster, first)
    assert (counted["calls/teardown"], counted.get("subscribed")) == (1, None)
    cluster.call(second, Call(type=Call.TEARDOWN))
    assert (metrics_of(cluster, first), metrics_of(cluster, second)["calls/teardown"]) == ({}, 1)


def test_frameworks_beyond_the_limit_are_left_out_and_counted(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framework_metrics, "FRAMEWORKS_MAX", 2)
    frameworks = [cluster.framework() for _ in range(3)]
    cluster.call(frameworks[0], Call(type=Call.TEARDOWN))
    assert [bool(of_framework(cluster, each)) for each in frameworks] == [False, True, True]
    assert cluster.registry.measure(now=cluster.now, in_full=True)["master/frameworks_without_metrics"] == 1


def test_of_frameworks_that_have_ended_the_last_are_published(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framework_metrics, "FRAMEWORKS_MAX", 2)
    frameworks = [cluster.framework() for _ in range(3)]
    for each in frameworks[:2]:
        cluster.call(each, Call(type=Call.TEARDOWN))
    assert [bool(of_framework(cluster, each)) for each in frameworks] == [False, True, True]


def test_roles_beyond_the_limit_are_left_out_and_counted(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "ROLES_MAX", 2)
    monkeypatch.setattr(framework_metrics, "ROLES_PER_FRAMEWORK_MAX", 2)
    roles = ["a", "b", "c"]
    agent, framework = cluster.agent("cpus:4"), cluster.framework("MULTI_ROLE", roles=roles)
    for role in roles:
        offer = cluster.offer(framework, agent, "cpus:1", role)
        cluster.accept(framework, [offer], cluster.task_info(offer, f"t-{role}", "cpus:1"))
    numbers = cluster.registry.measure(now=cluster.now, in_full=True)
    assert sum(name.endswith("/consumed") for name in numbers) == 2
    assert sum(name.endswith("/suppressed") for name in numbers) == 2
    assert numbers["allocator/mesos/quota/roles_without_metrics"] == 1


def test_a_role_without_refusals_has_none(cluster: Cluster) -> None:
    cluster.framework("MULTI_ROLE", roles=["a", "b"])
    numbers = cluster.registry.measure(now=cluster.now, in_full=True)
    filters = {name: value for name, value in numbers.items() if name.startswith(measures.FILTERS)}
    assert filters == {f"allocator/mesos/offer_filters/roles/{role}/active": 0.0 for role in ("a", "b")}


def test_single_frameworks_and_roles_are_told_when_asked_for_and_as_the_flag_says(make_cluster: MakeCluster) -> None:
    def names(cluster: Cluster, *, in_full: bool) -> list[str]:
        cluster.allocator()
        framework = cluster.framework()
        numbers = cluster.registry.measure(now=cluster.now, in_full=in_full)
        return [name for name in numbers if framework.id in name]

    assert names(make_cluster(), in_full=False) == []
    assert names(make_cluster(Settings(publish_per_framework_metrics=False)), in_full=True) == []
    assert len(names(make_cluster(), in_full=True)) == len(RECORDED_OF_A_FRAMEWORK.split())


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("mesos-execute instance", "mesos-execute%20instance"),  # as recorded
        ("", ""),
        ("a/b:c~d", "a%2Fb%3Ac%7Ed"),
        ("it's_(1)*.!-", "it's_(1)*.!-"),
        ("ü", "%C3%BC"),
        ("100%", "100%25"),
        ("x" * 10**6, "x" * framework_metrics.NAME_CHARACTERS_MAX),
    ],
)
def test_names_are_encoded_as_mesos_does(name: str, encoded: str) -> None:
    info = mesos.FrameworkInfo(name=name, user="u")
    info.id.value = "R-0001"
    assert framework_metrics.prefix_of(info) == f"master/frameworks/{encoded}/R-0001/"


def test_operations_are_counted_by_kind_and_by_what_came_of_them(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    numbers = cluster.registry.measure(now=cluster.now, in_full=True)
    assert sum(name.startswith("master/operations/") for name in numbers) == 81  # as recorded
    offer = cluster.offer(framework, agent)
    call = Call(type=Call.ACCEPT)
    call.accept.offer_ids.append(offer.id)
    operation = call.accept.operations.add(type=mesos.Offer.Operation.RESERVE)
    operation.reserve.resources.extend(offer.resources)
    cluster.call(framework, call)
    numbers = cluster.registry.measure(now=cluster.now, in_full=True)
    counted = {name.removeprefix("master/operations/"): value for name, value in numbers.items() if value}
    assert [counted[name] for name in ("total", "error", "reserve/total", "reserve/error")] == [1, 1, 1, 1]
    assert metrics_of(cluster, framework)["operations/reserve"] == 1
