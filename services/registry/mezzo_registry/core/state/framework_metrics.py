"""What each framework does, in numbers, under the names that Mesos gave them in /metrics/snapshot.

Counting costs an addition where something happens; the names are made when somebody asks.
Source: src/master/metrics.cpp (FrameworkMetrics) and docs/monitoring.md of apache/mesos.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.task_states import TERMINAL

if TYPE_CHECKING:
    from mezzo_registry.core.state.cluster import ClusterState
    from mezzo_registry.core.state.entities import Framework

FRAMEWORKS_MAX: Final = 200
"""Frameworks whose metrics are published: 60 or so each, about 1 MB of JSON in all. The oldest come first, and those
that have ended last.
"""
ROLES_PER_FRAMEWORK_MAX: Final = 50
"""Roles of one framework whose metrics are published."""
NAME_CHARACTERS_MAX: Final = 255
"""Of a framework's name, which stands in every metric of it, once for each; the id tells those apart that are cut."""
OMITTED: Final = "master/frameworks_without_metrics"
"""How many frameworks are left out for the first limit."""


def _names(values: Mapping[str, int], prefix: str, *, without: str = "UNKNOWN") -> dict[int, str]:
    """Return the last part of a metric's name by the number of the enum's value."""
    return {number: f"{prefix}{name.lower()}" for name, number in values.items() if name != without}


CALLS: Final = _names(dict(scheduler.Call.Type.items()), "calls/")
EVENTS: Final = _names(dict(scheduler.Event.Type.items()), "events/")
OPERATIONS: Final = _names(dict(mesos.Offer.Operation.Type.items()), "operations/")
TASKS: Final = {
    number: f"tasks/{'terminal' if number in TERMINAL else 'active'}/{name.lower()}"
    for name, number in mesos.TaskState.items()
}


class FrameworkCounts:
    """What one framework has done and was sent in this term of leadership. Lists are indexed by numbers of enums."""

    __slots__ = (
        "calls",
        "events",
        "offers_accepted",
        "offers_declined",
        "offers_rescinded",
        "offers_sent",
        "operations",
        "tasks",
    )

    def __init__(self) -> None:
        self.calls = [0] * (max(CALLS) + 1)
        self.events = [0] * (max(EVENTS) + 1)
        self.operations = [0] * (max(OPERATIONS) + 1)
        self.tasks = [0] * (max(TASKS) + 1)
        """In a state that is not terminal: how many are in it now; in one that is: how many have ended so."""
        self.offers_sent = 0
        self.offers_accepted = 0
        self.offers_declined = 0
        self.offers_rescinded = 0


def measure(cluster: ClusterState) -> dict[str, float]:
    """Return the metrics of frameworks, completed ones among them; at most `FRAMEWORKS_MAX`."""
    known = len(cluster.frameworks) + len(cluster.completed)
    numbers = {OMITTED: float(max(0, known - FRAMEWORKS_MAX))}
    for framework in islice(chain(cluster.frameworks.values(), reversed(cluster.completed.values())), FRAMEWORKS_MAX):
        prefix = prefix_of(framework.info)
        for name, value in _of_framework(framework):
            numbers[prefix + name] = float(value)
    return numbers


def prefix_of(info: mesos.FrameworkInfo) -> str:
    """`master/frameworks/<name>/<id>/`, the name percent-encoded as Mesos does it, and cut where it is very long."""
    name = quote(info.name[:NAME_CHARACTERS_MAX], safe="!'()*").replace("~", "%7E")
    return f"master/frameworks/{name}/{info.id.value}/"


def _of_framework(framework: Framework) -> Iterator[tuple[str, int]]:
    counts = framework.counts
    yield "subscribed", framework.connected
    yield "offers/sent", counts.offers_sent
    yield "offers/accepted", counts.offers_accepted
    yield "offers/declined", counts.offers_declined
    yield "offers/rescinded", counts.offers_rescinded
    for total, names, counted in (
        ("calls", CALLS, counts.calls),
        ("events", EVENTS, counts.events),
        ("operations", OPERATIONS, counts.operations),
    ):
        yield total, sum(counted)
        for number, name in names.items():
            yield name, counted[number]
    unreachable = len(framework.unreachable) if framework.partition_aware else 0
    for number, name in TASKS.items():
        yield name, unreachable if number == mesos.TASK_UNREACHABLE else counts.tasks[number]
    for role in framework.roles[:ROLES_PER_FRAMEWORK_MAX]:
        yield f"roles/{role}/suppressed", role in framework.suppressed
