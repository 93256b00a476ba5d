"""Every metric of the registry: for Prometheus, and for Mesos' own /metrics/snapshot."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, Protocol, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo_chassis.engine import kind_of
from mezzo_chassis.leadership.metrics import LeadershipMetrics
from mezzo_chassis.metrics import LATENCY_BUCKETS_SECONDS, EngineMetrics, ProcessMetrics, RpcMetrics, cumulated
from mezzo_registry.core import events
from mezzo_registry.core.records import Write
from mezzo_registry.core.state.offer_ages import BOUNDS_SECONDS, OfferAges
from mezzo_registry.core.views import measures as core_measures
from mezzo_registry.ports import Tables

EVENT_KINDS = tuple(sorted(kind_of(event.__name__) for event in get_args(events.Event)))
SAMPLES_MAX = 1000
"""How many recent samples the percentiles of /metrics/snapshot are taken from."""
PERCENTILES = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999), ("p9999", 0.9999))


class Leading(Protocol):
    """What leads here, and knows nothing while nobody does: a `CurrentTerm`."""

    def measures(self) -> dict[str, float]:
        """Return the core's metrics, under Mesos' names."""
        ...

    def offer_ages(self) -> Mapping[str, OfferAges]:
        """Return the ages of offers when they ended, by outcome."""
        ...

    def oldest_offer_seconds(self) -> float:
        """Return the age of the oldest outstanding offer."""
        ...


class Samples:
    """Recent samples of a duration in milliseconds, told as Mesos tells its timers."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._recent: deque[float] = deque(maxlen=SAMPLES_MAX)
        self._count = 0

    def add(self, seconds: float) -> None:
        """Add a sample."""
        self._recent.append(seconds * 1000)
        self._count += 1

    def numbers(self) -> dict[str, float]:
        """The newest sample, and count, min, max and percentiles of the recent ones."""
        if not self._recent:
            return {}
        ordered = sorted(self._recent)
        numbers = {
            self._name: self._recent[-1],
            f"{self._name}/count": float(self._count),
            f"{self._name}/min": ordered[0],
            f"{self._name}/max": ordered[-1],
        }
        for name, part in PERCENTILES:
            numbers[f"{self._name}/{name}"] = ordered[min(len(ordered) - 1, int(part * len(ordered)))]
        return numbers


class RegistryMetrics:
    """What the shell counts; what the core knows is asked for when somebody scrapes."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self.process = ProcessMetrics(self.registry, "registry", version)
        self.rpc = RpcMetrics(self.registry, "registry")
        self.leadership = LeadershipMetrics(self.registry, "registry")
        self.engine = EngineMetrics(self.registry, "registry", EVENT_KINDS)
        self._writes = Counter(
            "mezzo_registry_store_writes_total",
            "Records written to the store, deletions included.",
            registry=self.registry,
        )
        self._store = Histogram(
            "mezzo_registry_store_transaction_duration_seconds",
            "Duration of a transaction of the store.",
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._state_store = Samples("registrar/state_store_ms")
        self._runs = Samples("allocator/mesos/allocation_run_ms")
        self._latencies = Samples("allocator/mesos/allocation_run_latency_ms")
        self._cycles = 0
        self._filters: dict[str, int] = {}
        self._shares: dict[str, float] = {}
        self._fetch_ms = 0.0
        self._sizes: dict[tuple[str, str], int] = {}
        self._bytes = 0

    def stored(self, groups: Sequence[Sequence[Write]], seconds: float) -> None:
        """Count writes that are durable."""
        for write in (one for group in groups for one in group):
            self._writes.inc()
            where = (write.table, write.key)
            self._bytes -= self._sizes.pop(where, 0)
            if write.value is not None:
                self._sizes[where] = len(write.value)
                self._bytes += len(write.value)
        self._store.observe(seconds)
        self._state_store.add(seconds)

    def fetched(self, tables: Tables, seconds: float) -> None:
        """Record what was read from the store at the beginning of a term."""
        self._fetch_ms = seconds * 1000
        self._sizes = {(table, key): len(value) for table, records in tables.items() for key, value in records.items()}
        self._bytes = sum(self._sizes.values())

    def cycle(self, cycle: allocator.Cycle) -> None:
        """Record a cycle of the allocator."""
        self._cycles += 1
        self._runs.add(cycle.duration_seconds)
        self._latencies.add(cycle.latency_seconds)
        self._filters = dict(cycle.active_filters)
        self._shares = dict(cycle.dominant_shares)

    def numbers(self, events_waiting: int, writes_waiting: int) -> dict[str, float]:
        """What the shell knows, under Mesos' names."""
        numbers = {
            "allocator/mesos/allocation_runs": float(self._cycles),
            "allocator/event_queue_dispatches": 0.0,
            "allocator/mesos/event_queue_dispatches": 0.0,
            "master/event_queue_dispatches": float(events_waiting),
            "master/event_queue_messages": float(events_waiting),
            "master/event_queue_http_requests": 0.0,
            "registrar/queued_operations": float(writes_waiting),
            "registrar/registry_size_bytes": float(self._bytes),
            "registrar/state_fetch_ms": self._fetch_ms,
        }
        for samples in (self._state_store, self._runs, self._latencies):
            numbers.update(samples.numbers())
        return numbers

    def by_role(self) -> dict[str, float]:
        """Return what the allocator reported last of each role, under Mesos' names; at most `ROLES_MAX` roles."""
        omitted = sum(max(0, len(each) - core_measures.ROLES_MAX) for each in (self._filters, self._shares))
        numbers = {"allocator/mesos/roles_without_metrics": float(omitted)}
        for role, count in islice(self._filters.items(), core_measures.ROLES_MAX):
            numbers[f"{core_measures.FILTERS}{role}/active"] = float(count)
        for role, share in islice(self._shares.items(), core_measures.ROLES_MAX):
            numbers[f"allocator/mesos/roles/{role}/shares/dominant"] = share
        return numbers

    def follow(self, leading: Leading) -> None:
        """Export the metrics of the leading core."""
        self.registry.register(CoreCollector(leading))


MEBIBYTE = 1 << 20


class Family(NamedTuple):
    """A metric with one label, and where its values stand among Mesos' names: a prefix, and the label's value."""

    name: str
    label: str
    help: str
    prefix: str
    values: tuple[str, ...]


GAUGES = (
    Family("agents", "state", "Agents, by state.", "master/slaves_", ("connected", "disconnected", "unreachable")),
    Family(
        "frameworks",
        "state",
        "Frameworks that are not completed, by state.",
        "master/frameworks_",
        ("connected", "disconnected"),
    ),
    Family(
        "tasks",
        "state",
        "Tasks that are not terminal, by state.",
        "master/tasks_",
        ("staging", "starting", "running", "killing", "unreachable"),
    ),
)
SINGLE_GAUGES = (
    ("outstanding_offers", "Outstanding offers.", "master/outstanding_offers"),
    ("events_waiting", "Events in the core's inbox.", "master/event_queue_dispatches"),
    ("store_writes_waiting", "Groups of writes that wait to be stored.", "registrar/queued_operations"),
    ("store_bytes", "Size of the records in the store, without their keys.", "registrar/registry_size_bytes"),
    ("observers", "Gateways and operators that watch the cluster state.", "master/operator_event_stream_subscribers"),
)
COUNTERS = (
    Family(
        "tasks_ended",
        "state",
        "Tasks that became terminal in this term, by state.",
        "master/tasks_",
        ("finished", "failed", "killed", "error", "lost", "dropped", "gone", "gone_by_operator"),
    ),
    Family(
        "offers_ended",
        "outcome",
        "Offers that ended in this term, by outcome.",
        "master/offers_",
        ("accepted", "declined", "rescinded", "timed_out", "withdrawn"),
    ),
    Family(
        "agents_admitted",
        "how",
        "Agents that registered or re-registered in this term.",
        "master/slave_",
        ("registrations", "reregistrations"),
    ),
    Family(
        "agents_removed",
        "reason",
        "Agents that were removed in this term, by reason: replaced at their address, unreachable, or unregistered.",
        "master/slave_removals/reason_",
        ("registered", "unhealthy", "unregistered"),
    ),
    Family(
        "agents_unreachable",
        "step",
        "Steps of marking silent agents unreachable in this term: scheduled, canceled by a message, completed.",
        "master/slave_unreachable_",
        ("scheduled", "canceled", "completed"),
    ),
    Family(
        "messages",
        "kind",
        "Messages received from frameworks and agents in this term, by kind.",
        "master/messages_",
        tuple(name.removeprefix("messages_") for name in core_measures.COUNTED if name.startswith("messages_")),
    ),
)
CHECKED = (
    "framework_to_executor_messages",
    "executor_to_framework_messages",
    "status_updates",
    "status_update_acknowledgements",
)
TASK_REASON = re.compile(r"master/task_(\w+)/source_(\w+)/reason_(\w+)")


class CoreCollector(Collector):
    """The core's numbers as Prometheus gauges and counters, taken when somebody scrapes."""

    def __init__(self, leading: Leading) -> None:
        self._leading = leading

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as they are now; none while nobody leads here."""
        numbers = self._leading.measures()
        if not numbers:
            return
        for name, text, key in SINGLE_GAUGES:
            yield GaugeMetricFamily(f"mezzo_registry_{name}", text, numbers.get(key, 0.0))
        for family in GAUGES:
            gauges = GaugeMetricFamily(f"mezzo_registry_{family.name}", family.help, labels=[family.label])
            for value in family.values:
                gauges.add_metric([value], numbers.get(family.prefix + value, 0.0))
            yield gauges
        for family in COUNTERS:
            counters = CounterMetricFamily(f"mezzo_registry_{family.name}", family.help, labels=[family.label])
            for value in family.values:
                counters.add_metric([value], numbers.get(family.prefix + value, 0.0))
            yield counters
        yield _reasons(numbers)
        yield _checked(numbers)
        yield GaugeMetricFamily(
            "mezzo_registry_oldest_offer_age_seconds",
            "Age of the oldest outstanding offer.",
            self._leading.oldest_offer_seconds(),
        )
        yield _ages(self._leading.offer_ages())
        yield from _resources(numbers)


def _reasons(numbers: dict[str, float]) -> Metric:
    family = CounterMetricFamily(
        "mezzo_registry_task_reasons",
        "Tasks that became terminal in this term for a reason, by state, source and reason.",
        labels=["state", "source", "reason"],
    )
    for name, count in numbers.items():
        found = TASK_REASON.fullmatch(name)
        if found is not None:
            family.add_metric(list(found.groups()), count)
    return family


def _checked(numbers: dict[str, float]) -> Metric:
    family = CounterMetricFamily(
        "mezzo_registry_checked_messages",
        "Messages, status updates and acknowledgements checked in this term: valid, or invalid and dropped.",
        labels=["kind", "outcome"],
    )
    for kind in CHECKED:
        for outcome in ("valid", "invalid"):
            family.add_metric([kind, outcome], numbers[f"master/{outcome}_{kind}"])
    return family


def _ages(by_outcome: Mapping[str, OfferAges]) -> Metric:
    family = HistogramMetricFamily(
        "mezzo_registry_offer_age_seconds",
        "Age of offers when they ended in this term, by outcome.",
        labels=["outcome"],
    )
    for outcome, ages in by_outcome.items():
        family.add_metric([outcome], cumulated(BOUNDS_SECONDS, ages.counts), ages.seconds)
    return family


def _resources(numbers: dict[str, float]) -> Iterator[Metric]:
    for what, kind, text in (("", "", "not revocable"), ("revocable_", "_revocable", "revocable")):
        for part, suffix in (("capacity", "total"), ("allocated", "used")):
            help_ = f"Resources that are {text}, {suffix}: processors, GPUs, and bytes of memory and disk."
            family = GaugeMetricFamily(f"mezzo_registry_resource_{what}{part}", help_, labels=["resource"])
            for name, unit in (("cpus", 1), ("gpus", 1), ("mem", MEBIBYTE), ("disk", MEBIBYTE)):
                family.add_metric([name], numbers[f"master/{name}{kind}_{suffix}"] * unit)
            yield family
