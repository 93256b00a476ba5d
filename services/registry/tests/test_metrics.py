"""What Prometheus finds, beside Mesos' names for the same numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from mesos.v1.scheduler.scheduler_pb2 import Call
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo_registry.core import events
from mezzo_registry.core.state.offer_ages import OfferAges
from mezzo_registry.core.views import measures
from mezzo_registry.metrics import CoreCollector, RegistryMetrics
from mezzo_registry.shell.current_term import CurrentTerm
from mezzo_registry.testing import Cluster


@dataclass(frozen=True)
class Led:
    """A current term that is a played cluster's."""

    cluster: Cluster

    def measures(self) -> dict[str, float]:
        return self.cluster.registry.measure(now=self.cluster.now)

    def offer_ages(self) -> Mapping[str, OfferAges]:
        return self.cluster.registry.offer_ages

    def oldest_offer_seconds(self) -> float:
        return self.cluster.registry.oldest_offer_seconds(now=self.cluster.now)


def metric(cluster: Cluster, name: str, **labels: str) -> float | None:
    """A metric of the registry, as it is scraped now."""
    scraped = CollectorRegistry()
    scraped.register(CoreCollector(Led(cluster)))
    return scraped.get_sample_value(f"mezzo_registry_{name}", labels)


def test_tasks_are_told_by_state_and_their_ends_by_reason(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:4;mem:4096"), cluster.framework()
    cluster.running(framework, agent, "t1")
    offer = cluster.offer(framework, agent, "cpus:1")
    cluster.accept(framework, [offer], cluster.task_info(offer, "t2", "cpus:2"))
    assert metric(cluster, "tasks", state="running") == 1
    assert metric(cluster, "tasks_ended_total", state="error") == 1
    reason = {"state": "error", "source": "master", "reason": "task_invalid"}
    assert metric(cluster, "task_reasons_total", **reason) == 1
    assert metric(cluster, "offers_ended_total", outcome="accepted") == 2


def test_memory_is_told_in_bytes(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:4;mem:4096"), cluster.framework()
    cluster.launched(framework, agent, "t1", "cpus:1.5;mem:128")
    assert metric(cluster, "resource_capacity", resource="mem") == 4096 * 1024 * 1024
    assert metric(cluster, "resource_allocated", resource="mem") == 128 * 1024 * 1024
    assert metric(cluster, "resource_allocated", resource="cpus") == 1.5


def test_offers_are_told_by_how_old_they_are_and_were(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:4;mem:4096"), cluster.framework()
    assert metric(cluster, "oldest_offer_age_seconds") == 0
    offer = cluster.offer(framework, agent, "cpus:1")
    cluster.now += 5
    assert metric(cluster, "oldest_offer_age_seconds") == 5
    decline = Call(type=Call.DECLINE)
    decline.decline.offer_ids.append(offer.id)
    cluster.call(framework, decline)
    declined = {"outcome": "declined"}
    assert metric(cluster, "offer_age_seconds_bucket", le="1.0", **declined) == 0
    assert metric(cluster, "offer_age_seconds_bucket", le="10.0", **declined) == 1
    assert metric(cluster, "offer_age_seconds_sum", **declined) == 5


def test_agents_are_told_by_how_they_came_and_went(cluster: Cluster) -> None:
    agent = cluster.agent()
    assert metric(cluster, "agents_admitted_total", how="registrations") == 1
    cluster.handle(events.AgentLeaving(agent.session, ""))
    assert metric(cluster, "agents_removed_total", reason="unregistered") == 1


def test_messages_are_told_by_kind_and_by_whether_they_made_sense(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:4;mem:4096"), cluster.framework()
    cluster.running(framework, agent, "t1")
    assert metric(cluster, "messages_total", kind="status_update") == 1
    assert metric(cluster, "checked_messages_total", kind="status_updates", outcome="valid") == 1
    assert metric(cluster, "checked_messages_total", kind="status_updates", outcome="invalid") == 0


def test_what_the_allocator_says_of_roles_is_told_up_to_a_number_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "ROLES_MAX", 2)
    metrics = RegistryMetrics("0.1.0")
    shares = {"a": 0.25, "b": 0.5, "c": 1.0}
    metrics.cycle(allocator.Cycle(active_filters={"a": 3}, dominant_shares=shares))
    numbers = metrics.by_role()
    assert numbers["allocator/mesos/offer_filters/roles/a/active"] == 3
    of_roles = {name: value for name, value in numbers.items() if name.endswith("/shares/dominant")}
    assert len(of_roles) == 2
    assert all(shares[name.split("/")[3]] == value for name, value in of_roles.items())
    assert numbers["allocator/mesos/roles_without_metrics"] == 1
    assert not [name for name in metrics.numbers(0, 0) if "/roles/" in name], (
        "Prometheus' exporter asks for these alone"
    )


def test_prometheus_finds_nothing_of_single_frameworks(cluster: Cluster) -> None:
    framework = cluster.framework()
    scraped = CollectorRegistry()
    scraped.register(CoreCollector(Led(cluster)))
    samples = [str(sample) for metric in scraped.collect() for sample in metric.samples]
    assert samples
    assert not [sample for sample in samples if framework.id in sample]


def test_nothing_is_told_while_nobody_leads() -> None:
    assert not list(CoreCollector(CurrentTerm()).collect())
