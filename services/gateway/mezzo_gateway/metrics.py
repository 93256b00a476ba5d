"""Every Prometheus metric of the gateway."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mezzo.operator.v1.operator_pb2 import StateChange
from mezzo_chassis.metrics import HttpMetrics

# Seconds. The fast end is where scheduler calls and /health belong.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """The metrics of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.http = HttpMetrics(self.registry, "gateway")
        self.requests = Counter(
            "mezzo_gateway_http_requests_total",
            "HTTP requests answered. Streams are counted when they end.",
            ("endpoint", "method", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "mezzo_gateway_http_request_seconds",
            "From the head of a request to the end of its answer; streams left out.",
            ("endpoint",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.connected = Gauge(
            "mezzo_gateway_registry_connected",
            "1 while the state of a leading registry is followed.",
            registry=self.registry,
        )
        self.changes = Counter(
            "mezzo_gateway_state_changes_total",
            "Changes of the cluster's state that were applied to the copy.",
            registry=self.registry,
        )
        self.dropped = Counter(
            "mezzo_gateway_state_changes_dropped_total",
            "Changes of the cluster's state that could not be applied to the copy, by kind.",
            ("change",),
            registry=self.registry,
        )
        for kind in StateChange.DESCRIPTOR.oneofs_by_name["change"].fields:
            self.dropped.labels(kind.name)
        self.framework_streams = Gauge(
            "mezzo_gateway_framework_streams",
            "Event streams of frameworks that are open.",
            registry=self.registry,
        )
        self.operator_streams = Gauge(
            "mezzo_gateway_operator_streams",
            "Event streams of operators that are open.",
            registry=self.registry,
        )
        self.events = Counter(
            "mezzo_gateway_framework_events_total",
            "Events sent to frameworks.",
            registry=self.registry,
        )
