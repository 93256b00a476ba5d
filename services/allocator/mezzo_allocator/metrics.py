"""Every metric of the allocator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.resources import from_thousandths
from mezzo_allocator.core import measures
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.core.events import Allocation
from mezzo_chassis.metrics import LATENCY_BUCKETS_SECONDS, ProcessMetrics, RpcMetrics

ROLES_MAX = 1000
"""How many roles are told one by one; a cluster with more of them is not asked about each by a dashboard."""


class AllocatorMetrics:
    """What the shell counts. What the core knows is asked for when somebody scrapes: see `watch`."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self.process = ProcessMetrics(self.registry, "allocator", version)
        self.rpc = RpcMetrics(self.registry, "allocator")
        self.sessions = Counter(
            "mezzo_allocator_sessions_total", "Sessions that registries began.", registry=self.registry
        )
        self.events = Counter(
            "mezzo_allocator_events_total", "Events that the core handled.", ["event"], registry=self.registry
        )
        self.leading = Gauge("mezzo_allocator_leading", "1 while this allocator leads.", registry=self.registry)
        self.compiled = Gauge(
            "mezzo_allocator_inner_loop_compiled", "1 once the compiled inner loop is in use.", registry=self.registry
        )
        self._durations = self._histogram("cycle_duration_seconds", "How long decisions took.")
        self._latencies = self._histogram("cycle_latency_seconds", "From the first change to the decision about it.")
        self._considered = Counter(
            "mezzo_allocator_agents_considered_total", "Agents that cycles looked at.", registry=self.registry
        )
        self._allocations = Counter(
            "mezzo_allocator_allocations_total", "Allocations made, by role.", ["role"], registry=self.registry
        )

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"mezzo_allocator_{name}", text, buckets=LATENCY_BUCKETS_SECONDS, registry=self.registry)

    def cycle(self, cycle: wire.Cycle, allocations: Sequence[Allocation]) -> None:
        """Counts a cycle and what came of it."""
        self._durations.observe(cycle.duration_seconds)
        if cycle.latency_seconds:
            self._latencies.observe(cycle.latency_seconds)
        self._considered.inc(cycle.agents_considered)
        by_role: dict[str, int] = {}
        for allocation in allocations:
            by_role[allocation.role] = by_role.get(allocation.role, 0) + 1
        for role, count in by_role.items():
            self._allocations.labels(role).inc(count)

    def watch(self, core: Allocator, clock: Callable[[], float] = time.monotonic) -> None:
        """Has the core's own numbers told at each scrape."""
        self.registry.register(_CoreCollector(core, clock))


class _CoreCollector(Collector):
    """Numbers by role."""

    def __init__(self, core: Allocator, clock: Callable[[], float]) -> None:
        self._core = core
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        books = self._core.books
        yield GaugeMetricFamily("mezzo_allocator_agents", "Agents known.", value=len(books.agents.by_number))
        yield GaugeMetricFamily(
            "mezzo_allocator_frameworks", "Frameworks known.", value=len(books.frameworks.by_number)
        )
        yield self._by_role("filters", "Refusals in force, by role.", measures.active_filters(books))
        yield self._by_role(
            "dominant_share", "Dominant share, weight applied, by role.", measures.dominant_shares(books)
        )
        yield self._by_role(
            "starvation_seconds",
            "For how long somebody in the role has taken part without being offered anything.",
            measures.starvation(books, self._clock()),
        )
        yield self._by_resource("quota_consumed", "What counts against quota.", measures.quota_consumed(books))
        yield self._by_resource("quota_guarantee", "What is guaranteed.", measures.quota_guarantees(books))
        headroom = GaugeMetricFamily(
            "mezzo_allocator_headroom", "What is kept free for guarantees.", labels=["resource"]
        )
        for name, amount in books.quota.headroom().items():
            headroom.add_metric([name], from_thousandths(amount))
        yield headroom

    @staticmethod
    def _by_role(name: str, text: str, values: dict[str, int] | dict[str, float]) -> Metric:
        family = GaugeMetricFamily(f"mezzo_allocator_{name}", text, labels=["role"])
        for role in sorted(values)[:ROLES_MAX]:
            family.add_metric([role], values[role])
        return family

    @staticmethod
    def _by_resource(name: str, text: str, values: dict[str, dict[str, int]]) -> Metric:
        family = GaugeMetricFamily(f"mezzo_allocator_{name}", text, labels=["role", "resource"])
        for role in sorted(values)[:ROLES_MAX]:
            for resource, amount in values[role].items():
                family.add_metric([role, resource], from_thousandths(amount))
        return family
