"""The registry in numbers: what is counted as it happens is what is there."""

from mesos.v1.master import master_pb2 as master
from mezzo_registry.core import Registry
from mezzo_registry.testing import Cluster

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
    numbers = cluster.registry.measure(now=cluster.now)
    of_quota = {name.removeprefix(QUOTA): value for name, value in numbers.items() if name.startswith(QUOTA)}
    assert of_quota == {
        "cpus/guarantee": 2.0,
        "cpus/offered_or_allocated": 2.5,
        "mem/limit": 64.0,
        "mem/offered_or_allocated": 0.0,
    }
