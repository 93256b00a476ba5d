"""The metrics that every service has.

Names are `mezzo_<service>_<what>_<unit>`, in base units; labels are bounded: never the id of a task,
framework or agent.
"""

from __future__ import annotations

import asyncio
import gc
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from mezzo_chassis import outbox

LOOP_LAG_INTERVAL_SECONDS = 0.5
# Of the garbage collector.
GENERATIONS = 3
HTTP_DROP_REASONS = (
    "total_limit",
    "peer_limit",
    "head_timeout",
    "head_size",
    "body_timeout",
    "pipelined",
    "unread_answer",
)
"""Why a server refuses or ends a connection of its own accord."""
LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ProcessMetrics:
    """How the process itself is doing: build, event loop, garbage collection, and the usual of the process."""

    def __init__(self, registry: CollectorRegistry, service: str, version: str) -> None:
        ProcessCollector(registry=registry)
        registry.register(_Streams(service))
        prefix = f"mezzo_{service}"
        Gauge(f"{prefix}_build_info", "Always 1; which version this is.", ["version"], registry=registry).labels(
            version
        ).set(1)
        self._lag = Histogram(
            f"{prefix}_event_loop_lag_seconds",
            "How much later than asked for the event loop came back.",
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        pauses = Histogram(
            f"{prefix}_gc_pause_seconds",
            "How long garbage collections stopped the process, by generation.",
            ["generation"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self._pauses = [pauses.labels(generation) for generation in range(GENERATIONS)]
        self._collections: deque[tuple[int, float]] = deque()
        self._gc_started = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        gc.callbacks.append(self._collected)
        try:
            while True:
                before = time.perf_counter()
                await asyncio.sleep(LOOP_LAG_INTERVAL_SECONDS)
                self._lag.observe(max(0.0, time.perf_counter() - before - LOOP_LAG_INTERVAL_SECONDS))
                self._observe_collections()
        finally:
            gc.callbacks.remove(self._collected)

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        # A collection starts wherever something is allocated, also where a metric is being read and its lock is held:
        # whoever waits for that lock here waits for itself. So this only notes what is observed later.
        if phase == "start":
            self._gc_started = time.perf_counter()
        else:
            self._collections.append((info["generation"], time.perf_counter() - self._gc_started))

    def _observe_collections(self) -> None:
        while self._collections:
            generation, seconds = self._collections.popleft()
            self._pauses[generation].observe(seconds)


class _Streams(Collector):
    """What waits to be sent to whom: see `mezzo_chassis.outbox`."""

    def __init__(self, service: str) -> None:
        self._prefix = f"mezzo_{service}_stream"

    def collect(self) -> Iterator[Metric]:
        labels = ["peer"]
        streams = GaugeMetricFamily(f"{self._prefix}s", "Streams that are open, by kind of peer.", labels=labels)
        waiting = GaugeMetricFamily(
            f"{self._prefix}_queue_items", "Messages that wait to be sent, on all streams together.", labels=labels
        )
        longest = GaugeMetricFamily(
            f"{self._prefix}_longest_queue_items", "Messages that wait on the stream with the most.", labels=labels
        )
        overflows = CounterMetricFamily(
            f"{self._prefix}_overflows", "Streams cut off because their peers did not keep up.", labels=labels
        )
        for peer, lengths in outbox.lengths():
            streams.add_metric([peer], len(lengths))
            waiting.add_metric([peer], sum(lengths))
            longest.add_metric([peer], max(lengths, default=0))
            overflows.add_metric([peer], outbox.overflows[peer])
        yield from (streams, waiting, longest, overflows)


DEFECTS_WITHOUT_EVENT = ("validate", "outcome", "timer")
"""Of the label `event`: the state contradicts itself; what a spawned task raised, or a timer, has no event."""


class EngineMetrics(Collector):
    """The turns of a service's engine, and its defects: see `mezzo_chassis.engine`.

    Turns are counted by hand: there are thousands a second.
    """

    def __init__(
        self, registry: CollectorRegistry, service: str, kinds: Iterable[str] = (), *, events: bool = True
    ) -> None:
        """`kinds`: the kinds of events that may turn out to be defects; their counts begin at 0, not absent.

        Without `events` the service counts its events itself.
        """
        self._prefix = f"mezzo_{service}"
        self._counts_events = events
        self._events = 0
        self._seconds = 0.0
        self._buckets = [0] * (len(LATENCY_BUCKETS_SECONDS) + 1)
        self._refused = dict.fromkeys(kinds, 0)
        self._defects = dict.fromkeys((*self._refused, *DEFECTS_WITHOUT_EVENT), 0)
        self._defects_without_culprit = 0
        registry.register(self)

    def turn(self, events: int, seconds: float) -> None:
        """Count a turn: how many events it handled, and how long it took."""
        self._events += events
        self._seconds += seconds
        self._buckets[bisect_left(LATENCY_BUCKETS_SECONDS, seconds)] += 1

    def defect(self, kind: str, *, has_culprit: bool = True) -> None:
        """Count an engine that was ended by a defect, by the kind of the event that was being handled.

        Without a culprit nobody is refused for it, and the next incarnation may meet it again.
        """
        self._defects[kind] = self._defects.get(kind, 0) + 1
        self._defects_without_culprit += not has_culprit

    def add_defects(self, counts: Mapping[str, int]) -> None:
        """Count those of earlier processes, which nobody could scrape any more."""
        for kind, count in counts.items():
            self._defects[kind] = self._defects.get(kind, 0) + count

    def refuse(self, kind: str) -> None:
        """Count an event that was refused, since one like it had ended an engine."""
        self._refused[kind] = self._refused.get(kind, 0) + 1

    def collect(self) -> Iterator[Metric]:
        """The metrics, now."""
        if self._counts_events:
            events = CounterMetricFamily(f"{self._prefix}_events", "Events that the core handled.")
            events.add_metric([], self._events)
            yield events
        turns = HistogramMetricFamily(
            f"{self._prefix}_turn_duration_seconds",
            "How long a turn took: decide, make durable what has to be, act.",
        )
        turns.add_metric([], cumulated(LATENCY_BUCKETS_SECONDS, self._buckets), self._seconds)
        yield turns
        for name, help_text, counts in (
            ("defects", "Defects that ended an incarnation, by the event that was being handled.", self._defects),
            ("defects_refused", "Events refused since one like them had ended an incarnation.", self._refused),
        ):
            family = CounterMetricFamily(f"{self._prefix}_{name}", help_text, labels=["event"])
            for kind, count in sorted(counts.items()):
                family.add_metric([kind], count)
            yield family
        unblamed = CounterMetricFamily(
            f"{self._prefix}_defects_without_culprit",
            "Defects for which nobody can be refused: the next incarnation may meet them again.",
        )
        unblamed.add_metric([], self._defects_without_culprit)
        yield unblamed


def cumulated(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """The buckets of a histogram, as Prometheus shows them; the last count is of what lies beyond all bounds."""
    return list(zip((*map(floatToGoString, bounds), "+Inf"), accumulate(counts), strict=True))


class RpcMetrics:
    """Rate, errors and duration of the calls that a gRPC server answers."""

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        prefix = f"mezzo_{service}_rpc"
        self.handled = Counter(
            f"{prefix}_handled_total", "Calls answered.", ["rpc_service", "method", "code"], registry=registry
        )
        self.duration = Histogram(
            f"{prefix}_duration_seconds",
            "How long calls took; streams for as long as they lasted.",
            ["rpc_service", "method"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self.active = Gauge(
            f"{prefix}_active", "Calls that are being answered now.", ["rpc_service", "method"], registry=registry
        )


class HttpMetrics:
    """The connections of a service's HTTP server."""

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        prefix = f"mezzo_{service}_http"
        self.connections = Gauge(f"{prefix}_connections", "HTTP connections that are open.", registry=registry)
        self.dropped = Counter(
            f"{prefix}_connections_dropped_total",
            "HTTP connections refused or ended by a limit: on their number, on time, or on bytes.",
            ["reason"],
            registry=registry,
        )
        for reason in HTTP_DROP_REASONS:
            self.dropped.labels(reason)
