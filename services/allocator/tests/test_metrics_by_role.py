"""How the metrics of roles and resources follow the cluster; `test_metrics.py` has the rest."""

from __future__ import annotations

from mezzo_allocator.core.policy import Policy
from mezzo_allocator.metrics import AllocatorMetrics
from mezzo_allocator.testing import CAPABILITY, Conversation


def watched(cluster: Conversation) -> AllocatorMetrics:
    metrics = AllocatorMetrics("1.0")
    metrics.watch(cluster.core, clock=lambda: cluster.now)
    return metrics


def sample(metrics: AllocatorMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"mezzo_allocator_{name}", labels)


def test_dominant_shares_are_told_by_role_with_weights_applied() -> None:
    cluster = Conversation()
    cluster.framework("f1", "eng/backend")
    cluster.framework("f2", "ops")
    cluster.role("eng", weight=2.0)
    holdings = {("f1", "eng/backend"): "cpus:4", ("f2", "ops"): "mem:25"}
    cluster.agent("a", "cpus:10;mem:100", holdings=holdings, active=False)
    metrics = watched(cluster)
    assert sample(metrics, "dominant_share", role="eng/backend") == 0.4
    assert sample(metrics, "dominant_share", role="eng") == 0.2
    assert sample(metrics, "dominant_share", role="ops") == 0.25
    cluster.recover("f2", "a", "mem:25", role="ops")
    assert sample(metrics, "dominant_share", role="ops") == 0
    cluster.remove_framework("f2")
    assert sample(metrics, "dominant_share", role="ops") is None


def test_dominant_shares_leave_out_what_is_excluded_from_them() -> None:
    cluster = Conversation(Policy(excluded_from_shares=frozenset(["gpus"])))
    cluster.framework("f", "eng", capabilities=[CAPABILITY.GPU_RESOURCES])
    cluster.agent("a", "cpus:10;mem:100;gpus:2", holdings={("f", "eng"): "cpus:1;gpus:2"}, active=False)
    assert sample(watched(cluster), "dominant_share", role="eng") == 0.1


def test_quota_and_what_is_laid_away_for_it_are_told_by_resource() -> None:
    cluster = Conversation()
    cluster.framework("q", "quota")
    cluster.role("quota", guarantees={"cpus": 4, "mem": 512})
    cluster.agent("a", "cpus:10;mem:100", holdings={("q", "quota"): "cpus:1"}, active=False)
    metrics = watched(cluster)
    assert sample(metrics, "quota_guarantee", role="quota", resource="cpus") == 4
    assert sample(metrics, "quota_consumed", role="quota", resource="cpus") == 1
    assert sample(metrics, "headroom", resource="cpus") == 3
    assert sample(metrics, "headroom", resource="mem") == 512 << 20
    cluster.role("quota")
    assert sample(metrics, "quota_guarantee", role="quota", resource="cpus") is None
    assert sample(metrics, "headroom", resource="cpus") is None


def test_refusals_are_told_by_role_until_they_end() -> None:
    cluster = Conversation()
    cluster.framework("f", "eng")
    metrics = watched(cluster)
    for name in ("a", "b"):
        cluster.agent(name, "cpus:1;mem:64")
        (allocation,) = cluster.cycle()
        cluster.decline(allocation, seconds=60.0)
    assert sample(metrics, "filters", role="eng") == 2
    cluster.framework("f2", "eng")
    cluster.framework("g", "ops")
    for _ in range(2):
        for allocation in cluster.cycle():
            cluster.decline(allocation, seconds=60.0)
    assert (sample(metrics, "filters", role="eng"), sample(metrics, "filters", role="ops")) == (4, 2)
    cluster.remove_framework("f2")
    cluster.remove_framework("g")
    assert sample(metrics, "filters", role="ops") is None
    cluster.remove_agent("b")
    assert sample(metrics, "filters", role="eng") == 1
    cluster.cycle(after=61.0)
    assert sample(metrics, "filters", role="eng") is None


def test_resources_are_told_as_they_are_and_as_they_are_given_out() -> None:
    cluster = Conversation()
    metrics = watched(cluster)
    assert sample(metrics, "resources", resource="cpus") is None
    assert sample(metrics, "resources_allocated", resource="cpus") is None
    cluster.agent("a", "cpus:2;mem:1024")
    assert sample(metrics, "resources", resource="cpus") == 2
    assert sample(metrics, "resources_allocated", resource="mem") is None
    cluster.framework("f")
    cluster.cycle()
    assert sample(metrics, "resources_allocated", resource="mem") == 1024 << 20
    cluster.remove_agent("a")
    assert sample(metrics, "resources", resource="cpus") is None
    assert sample(metrics, "resources_allocated", resource="cpus") is None
