"""What Prometheus finds, beside Mesos' names for the same numbers."""

from prometheus_client import CollectorRegistry

from mezzo_registry.metrics import CoreCollector
from mezzo_registry.testing import Cluster


def told(cluster: Cluster, name: str, **labels: str) -> float | None:
    """A metric of the registry, as it is scraped now."""
    scraped = CollectorRegistry()
    scraped.register(CoreCollector(lambda: cluster.registry.measure(now=cluster.now)))
    return scraped.get_sample_value(f"mezzo_registry_{name}", labels)


def test_tasks_are_told_by_state_and_their_ends_by_reason(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:4;mem:4096"), cluster.framework()
    cluster.running(framework, agent, "t1")
    offer = cluster.offer(framework, agent, "cpus:1")
    cluster.accept(framework, [offer], cluster.task_info(offer, "t2", "cpus:2"))
    assert told(cluster, "tasks", state="running") == 1
    assert told(cluster, "tasks_ended_total", state="error") == 1
    reason = {"state": "error", "source": "master", "reason": "task_invalid"}
    assert told(cluster, "task_reasons_total", **reason) == 1
    assert told(cluster, "offers_ended_total", outcome="accepted") == 2


def test_memory_is_told_in_bytes(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:4;mem:4096"), cluster.framework()
    cluster.launched(framework, agent, "t1", "cpus:1.5;mem:128")
    assert told(cluster, "resource_capacity", resource="mem") == 4096 * 1024 * 1024
    assert told(cluster, "resource_allocated", resource="mem") == 128 * 1024 * 1024
    assert told(cluster, "resource_allocated", resource="cpus") == 1.5


def test_nothing_is_told_while_nobody_leads() -> None:
    assert not list(CoreCollector(dict).collect())
