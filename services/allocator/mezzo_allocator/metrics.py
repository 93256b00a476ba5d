"""Every metric of the allocator."""

from __future__ import annotations

import enum
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.resources import from_thousandths
from mezzo_allocator.core import measures
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.core.events import Allocated, Event, InverseOfferAnswered
from mezzo_chassis.leadership.metrics import LeadershipMetrics
from mezzo_chassis.metrics import LATENCY_BUCKETS_SECONDS, EngineMetrics, ProcessMetrics, RpcMetrics

ROLES_MAX = 1000
"""How many roles have metrics of their own; no dashboard shows each role of a cluster that has more."""

ALL_OTHERS = "all others"
"""What the roles beyond that are called together: no role has a space in its name."""

MEBIBYTE = 1 << 20
UNITS = "Memory and disk in bytes."
ANSWERS = {True: "accepted", False: "declined", None: "none"}


class Dropped(enum.Enum):
    """Why a message of the registry was not applied."""

    INVALID = "invalid"
    """A field of it makes no sense."""
    UNANNOUNCED = "unannounced"
    """It names somebody who was never announced."""
    INCOMPLETE = "incomplete"
    """It changes a description that was dropped itself."""
    SUSPECT = "suspect"
    """A session ended while the same was being applied."""


class AllocatorMetrics:
    """What the shell counts. What the core knows is collected at each scrape: see `watch`."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self.process = ProcessMetrics(self.registry, "allocator", version)
        self.rpc = RpcMetrics(self.registry, "allocator")
        kinds = [kind.name for kind in wire.RegistryMessage.DESCRIPTOR.oneofs_by_name["message"].fields]
        self.engine = EngineMetrics(
            self.registry, "allocator", (*kinds, "withheld", "full_pass_wanted", "cycle_started"), events=False
        )
        self.sessions = Counter(
            "mezzo_allocator_sessions_total", "Sessions that registries began.", registry=self.registry
        )
        self._events = Counter(
            "mezzo_allocator_events_total", "Events that the core handled.", ["event"], registry=self.registry
        )
        self._dropped = Counter(
            "mezzo_allocator_messages_dropped_total",
            "Messages of the registry that could not be applied, by kind and reason.",
            ["message", "reason"],
            registry=self.registry,
        )
        for kind in kinds:
            self._dropped.labels(kind, Dropped.INVALID.value)
        self.leadership = LeadershipMetrics(self.registry, "allocator")
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
        self._inverse = Counter(
            "mezzo_allocator_inverse_allocations_total", "Inverse offers advised.", registry=self.registry
        )
        answers = Counter(
            "mezzo_allocator_inverse_offers_ended_total",
            "Inverse offers that ended, by answer.",
            ["answer"],
            registry=self.registry,
        )
        # There from the start, or the first of a kind would be no increase.
        self._answers = {accepted: answers.labels(answer) for accepted, answer in ANSWERS.items()}
        self._roles: set[str] = set()

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"mezzo_allocator_{name}", text, buckets=LATENCY_BUCKETS_SECONDS, registry=self.registry)

    def count_event(self, event: Event) -> None:
        """Count an event of the registry."""
        self._events.labels(type(event).__name__).inc()
        if isinstance(event, InverseOfferAnswered):
            self._answers[event.accepted].inc()

    def count_dropped(self, kind: str, reason: Dropped) -> None:
        """Count a message of the registry that was not applied; `kind` is its field in the wire's oneof."""
        self._dropped.labels(kind, reason.value).inc()

    def count_cycle(self, cycle: wire.Cycle, outcome: Allocated) -> None:
        """Count a cycle and what came of it."""
        self._durations.observe(cycle.duration_seconds)
        if cycle.latency_seconds:
            self._latencies.observe(cycle.latency_seconds)
        self._considered.inc(cycle.agents_considered)
        by_role: dict[str, int] = {}
        for allocation in outcome.allocations:
            by_role[allocation.role] = by_role.get(allocation.role, 0) + 1
        for role, count in by_role.items():
            self._allocations.labels(self._label(role)).inc(count)
        self._inverse.inc(len(outcome.inverse))

    def _label(self, role: str) -> str:
        if len(self._roles) < ROLES_MAX:
            self._roles.add(role)
        return role if role in self._roles else ALL_OTHERS

    def watch(self, core: Allocator, clock: Callable[[], float] = time.monotonic) -> None:
        """Collect the core's own numbers at each scrape."""
        self.registry.register(_CoreCollector(core, clock))


class _CoreCollector(Collector):
    """Numbers by role."""

    def __init__(self, core: Allocator, clock: Callable[[], float]) -> None:
        self._core = core
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        state = self._core.state
        frameworks = state.frameworks.by_number.values()
        yield _number("agents", "Agents known.", len(state.agents.by_number))
        yield _number("agents_active", "Agents that may be offered.", int(state.agents.active.sum()))
        yield _number("frameworks", "Frameworks known.", len(frameworks))
        yield _number("frameworks_active", "Frameworks that are connected.", sum(each.active for each in frameworks))
        yield _number("maintenance_agents", "Agents whose maintenance is planned.", state.maintenance.planned)
        yield _number("inverse_offers", "Inverse offers that are out.", state.maintenance.out)
        yield _by_role("filters", "Refusals in force, by role.", measures.active_filters(state), sum)
        yield _by_role(
            "dominant_share", "Dominant share, weight applied, by role.", measures.dominant_shares(state), max
        )
        yield _by_role(
            "starvation_seconds",
            "For how long somebody in the role has taken part without being offered anything.",
            measures.starvation(state, self._clock()),
            max,
        )
        yield _by_role_and_resource("quota_consumed", "What counts against quota.", measures.quota_consumed(state))
        yield _by_role_and_resource("quota_guarantee", "What is guaranteed.", measures.quota_guarantees(state))
        yield _by_role_and_resource("quota_limit", "What is the most that may be used.", measures.quota_limits(state))
        yield _by_resource("headroom", "What is kept free for guarantees.", state.quota.headroom())
        yield _by_resource("resources", "What all agents have together.", measures.totals(state))
        yield _by_resource("resources_allocated", "What is used or offered of it.", measures.allocated(state))


def _number(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"mezzo_allocator_{name}", text, value=value)


def _by_role(name: str, text: str, values: Mapping[str, float], fold: Callable[[Iterator[float]], float]) -> Metric:
    """`fold` makes one number of those of all roles beyond the first."""
    family = GaugeMetricFamily(f"mezzo_allocator_{name}", text, labels=["role"])
    roles = sorted(values)
    for role in roles[:ROLES_MAX]:
        family.add_metric([role], values[role])
    if roles[ROLES_MAX:]:
        family.add_metric([ALL_OTHERS], fold(values[role] for role in roles[ROLES_MAX:]))
    return family


def _base(resource: str, thousandths: int) -> float:
    """Bytes of memory and disk, which Mesos counts in MiB; others as they are counted."""
    return from_thousandths(thousandths) * (MEBIBYTE if resource in ("mem", "disk") else 1)


def _by_resource(name: str, text: str, amounts: Mapping[str, int]) -> Metric:
    """Amounts in thousandths, exported in base units."""
    family = GaugeMetricFamily(f"mezzo_allocator_{name}", f"{text} {UNITS}", labels=["resource"])
    for resource, amount in amounts.items():
        family.add_metric([resource], _base(resource, amount))
    return family


def _by_role_and_resource(name: str, text: str, values: Mapping[str, Mapping[str, int]]) -> Metric:
    """Amounts in thousandths; those of all roles beyond the first are added up."""
    family = GaugeMetricFamily(f"mezzo_allocator_{name}", f"{text} {UNITS}", labels=["role", "resource"])
    roles = sorted(values)
    for role in roles[:ROLES_MAX]:
        for resource, amount in values[role].items():
            family.add_metric([role, resource], _base(resource, amount))
    others: Counts[str] = Counts()
    for role in roles[ROLES_MAX:]:
        others.update(values[role])
    for resource, amount in others.items():
        family.add_metric([ALL_OTHERS, resource], _base(resource, amount))
    return family
