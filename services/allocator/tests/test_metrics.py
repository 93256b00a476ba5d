"""The metrics, and that their number stays bounded."""

from __future__ import annotations

import re

import pytest
from prometheus_client import generate_latest

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo_allocator import metrics as service_metrics
from mezzo_allocator.adapters.translation import Translator
from mezzo_allocator.core import events as ev
from mezzo_allocator.metrics import AllocatorMetrics
from mezzo_allocator.testing import Conversation


class Dashboard:
    """Scrapes the metrics of a cluster's allocator."""

    def __init__(self, cluster: Conversation) -> None:
        self._cluster = cluster
        self._metrics = AllocatorMetrics("1.0")
        self._metrics.watch(cluster.core, clock=lambda: cluster.now)

    def cycle(self) -> None:
        """Runs a cycle as the session does."""
        (outcome,) = self._cluster.say(ev.CycleStarted())
        assert isinstance(outcome, ev.Allocated)
        self._metrics.count_cycle(wire.Cycle(duration_seconds=0.001, latency_seconds=0.002), outcome)

    def scrape(self) -> str:
        return generate_latest(self._metrics.registry).decode()

    def value(self, name: str, **labels: str) -> float | None:
        return self._metrics.registry.get_sample_value(f"mezzo_allocator_{name}", labels)

    def roles(self, name: str) -> set[str]:
        return set(re.findall(rf'^mezzo_allocator_{name}{{.*role="([^"]*)"', self.scrape(), re.MULTILINE))


def test_cycles_are_timed_and_their_allocations_counted_by_role() -> None:
    cluster = Conversation()
    dashboard = Dashboard(cluster)
    cluster.framework("f", "eng")
    cluster.agent("a", "cpus:1;mem:64")
    cluster.agent("b", "cpus:1;mem:64", unavailable=1000)
    dashboard.cycle()
    assert dashboard.value("cycle_duration_seconds_count") == 1
    assert dashboard.value("cycle_duration_seconds_sum") == 0.001
    assert dashboard.value("cycle_latency_seconds_sum") == 0.002
    assert dashboard.value("allocations_total", role="eng") == 2
    assert dashboard.value("inverse_allocations_total") == 1
    assert dashboard.value("inverse_offers") == 1
    assert dashboard.value("maintenance_agents") == 1


def test_agents_and_frameworks_are_counted_and_those_that_take_part() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.framework("gone", active=False)
    cluster.agent("a", "cpus:1;mem:64")
    cluster.agent("draining", "cpus:1;mem:64", active=False)
    cluster.agent("deactivated", "cpus:1;mem:64", active=False)
    dashboard = Dashboard(cluster)
    counts = [dashboard.value(name) for name in ("agents", "agents_active", "frameworks", "frameworks_active")]
    assert counts == [3, 1, 2, 1]


def test_quota_is_told_with_its_use_and_the_headroom_for_it() -> None:
    cluster = Conversation()
    cluster.framework("f", "eng")
    cluster.role("eng", guarantees={"cpus": 4, "mem": 1024}, limits={"cpus": 8})
    cluster.agent("a", "cpus:1;mem:2048")
    cluster.offers()
    dashboard = Dashboard(cluster)
    of_cpus = {"role": "eng", "resource": "cpus"}
    assert dashboard.value("quota_guarantee", **of_cpus) == 4
    assert dashboard.value("quota_limit", **of_cpus) == 8
    assert dashboard.value("quota_consumed", **of_cpus) == 1
    assert dashboard.value("headroom", resource="cpus") == 3
    assert dashboard.value("resources", resource="mem") == 2048 << 20
    assert dashboard.value("resources_allocated", resource="cpus") == 1
    assert dashboard.value("resources_allocated", resource="mem") == 2048 << 20


def test_starvation_counts_from_the_last_offer_while_somebody_wants_one() -> None:
    cluster = Conversation()
    dashboard = Dashboard(cluster)
    cluster.framework("waits", "eng")
    cluster.now += 10.0
    assert dashboard.value("starvation_seconds", role="eng") == 10.0
    cluster.agent("a", "cpus:1;mem:64")
    cluster.offers()
    assert dashboard.value("starvation_seconds", role="eng") == 0.0
    cluster.framework("waits too", "eng")
    cluster.now += 5.0
    assert dashboard.value("starvation_seconds", role="eng") == 5.0
    for name in ("waits", "waits too"):
        cluster.suppress(name)
    assert dashboard.value("starvation_seconds", role="eng") is None


def test_roles_beyond_a_bound_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_metrics, "ROLES_MAX", 2)
    cluster = Conversation()
    dashboard = Dashboard(cluster)
    for number in range(5):
        cluster.framework(f"f{number}", f"role{number}")
        cluster.role(f"role{number}", limits={"cpus": number})
        cluster.agent(f"a{number}", "cpus:1;mem:1000")
    dashboard.cycle()
    for name in ("allocations_total", "dominant_share", "starvation_seconds", "quota_limit"):
        assert len(dashboard.roles(name)) <= 3, name
    assert dashboard.value("quota_limit", role="all others", resource="cpus") == 2 + 3 + 4
    shares = [dashboard.value("dominant_share", role=role) for role in ("role0", "role1", "all others")]
    assert max(filter(None, shares)) >= 0.2


def test_inverse_offers_are_counted_by_how_they_ended() -> None:
    answers = wire.InverseOfferAnswered
    metrics = AllocatorMetrics("1.0")
    for answer in (
        answers.ANSWER_ACCEPTED,
        answers.ANSWER_DECLINED,
        answers.ANSWER_DECLINED,
        answers.ANSWER_UNSPECIFIED,
    ):
        message = wire.RegistryMessage(inverse_offer_answered=answers(framework=1, agent=1, answer=answer))
        event = Translator().event(message)
        assert event is not None
        metrics.count_event(event)
    name = "mezzo_allocator_inverse_offers_ended_total"
    counts = {
        answer: metrics.registry.get_sample_value(name, {"answer": answer})
        for answer in service_metrics.ANSWERS.values()
    }
    assert counts == {"accepted": 1, "declined": 2, "none": 1}


def test_every_metric_is_named_by_the_rules_of_prometheus() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:64")
    lines = [line for line in Dashboard(cluster).scrape().splitlines() if line.startswith("# TYPE mezzo_allocator")]
    assert lines
    for line in lines:
        _, _, name, kind = line.split()
        assert re.fullmatch(r"mezzo_allocator_[a-z_]+", name)
        assert name.endswith("_total") == (kind == "counter"), name


def test_what_nested_roles_hold_is_counted_once() -> None:
    cluster = Conversation()
    dashboard = Dashboard(cluster)
    cluster.framework("f", "eng/backend/db")
    cluster.agent("a", "cpus:4;mem:64", holdings={("f", "eng/backend/db"): "cpus:1;mem:32"})
    assert dashboard.value("resources_allocated", resource="cpus") == 1
    assert dashboard.value("resources_allocated", resource="mem") == 32 << 20
