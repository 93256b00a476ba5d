"""Every metric of the agent: for Prometheus, and under Mesos' names for /metrics/snapshot."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Resources
from mezzo_agent.containers.posix import ContainerCounts, PosixContainerizer
from mezzo_agent.core import Agent
from mezzo_agent.core.holdings import held
from mezzo_agent.core.model import Executor, ExecutorKind, ExecutorState
from mezzo_agent.ports import Containerizer
from mezzo_chassis.metrics import LATENCY_BUCKETS_SECONDS, ProcessMetrics, RpcMetrics

Numbers = dict[str, float]

_RESOURCES = ("cpus", "gpus", "mem", "disk")
_LIVE_STATES = (mesos.TASK_STAGING, mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_KILLING)
_ENDED_STATES = (mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_KILLED, mesos.TASK_LOST, mesos.TASK_GONE)


class AgentMetrics:
    """What the shell counts; what the core knows is asked for when somebody scrapes."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self.process = ProcessMetrics(self.registry, "agent", version)
        self.rpc = RpcMetrics(self.registry, "agent")
        self._events = Counter("mezzo_agent_events_total", "Events that the core handled.", registry=self.registry)
        self._turns = Histogram(
            "mezzo_agent_turn_duration_seconds",
            "How long a turn took: decide, write to disk, act.",
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )

    def turn(self, events: int, seconds: float) -> None:
        """A turn was taken."""
        self._events.inc(events)
        self._turns.observe(seconds)

    def follow(self, numbers: Callable[[], Numbers]) -> None:
        """Tell Prometheus what `numbers` measures, too."""
        self.registry.register(SnapshotCollector(numbers))


class SnapshotCollector(Collector):
    """The core's numbers as Prometheus metrics, taken when somebody scrapes."""

    def __init__(self, numbers: Callable[[], Numbers]) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        """The metrics, now."""
        numbers = self._numbers()
        yield self._gauge("registered", "1 while the registry knows this agent.", numbers["slave/registered"])
        yield self._gauge("executors", "Executors and commands that run.", numbers["slave/executors_running"])
        tasks = GaugeMetricFamily("mezzo_agent_tasks", "Tasks that have not ended, by state.", labels=["state"])
        for state in _LIVE_STATES:
            tasks.add_metric([_word(state)], numbers[f"slave/tasks_{_word(state)}"])
        yield tasks
        ended = CounterMetricFamily("mezzo_agent_tasks_ended", "Tasks that have ended, by state.", labels=["state"])
        for state in _ENDED_STATES:
            ended.add_metric([_word(state)], numbers[f"slave/tasks_{_word(state)}"])
        yield ended
        for which in ("total", "used"):
            help_ = f"Resources, {which}; memory and disk in mebibytes."
            family = GaugeMetricFamily(f"mezzo_agent_resources_{which}", help_, labels=["name"])
            for name in _RESOURCES:
                family.add_metric([name], numbers[f"slave/{name}_{which}"])
            yield family
        for name, key in (
            ("status_updates", "slave/valid_status_updates"),
            ("invalid_status_updates", "slave/invalid_status_updates"),
            ("container_launch_errors", "slave/container_launch_errors"),
        ):
            yield CounterMetricFamily(f"mezzo_agent_{name}", "Since the agent started.", value=numbers[key])

    @staticmethod
    def _gauge(name: str, help_: str, value: float) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"mezzo_agent_{name}", help_, value=value)


def core_numbers(agent: Agent, started_at: float, recovery_seconds: float, recovery_errors: int) -> Numbers:
    """What the core knows, under Mesos' names."""
    books, counts = agent.books, agent.books.counts
    executors = [each for framework in books.frameworks.values() for each in framework.executors.values()]
    live = [task.state for executor in executors for task in executor.live_tasks()]
    numbers: Numbers = {
        "slave/registered": float(books.registered),
        "slave/uptime_secs": time.time() - started_at,
        "slave/recovery_errors": float(recovery_errors),
        "slave/recovery_time_secs": recovery_seconds,
        "slave/frameworks_active": float(sum(bool(each.executors) for each in books.frameworks.values())),
        "slave/executors_registering": _in_state(executors, ExecutorState.REGISTERING),
        "slave/executors_running": _in_state(executors, ExecutorState.RUNNING),
        "slave/executors_terminating": _in_state(executors, ExecutorState.TERMINATING),
        "slave/executors_terminated": float(counts.executors_terminated),
        "slave/executors_preempted": 0.0,
        "slave/container_launch_errors": float(counts.container_launch_errors),
        "slave/valid_status_updates": float(counts.valid_status_updates),
        "slave/invalid_status_updates": float(counts.invalid_status_updates),
        "slave/valid_framework_messages": float(counts.valid_framework_messages),
        "slave/invalid_framework_messages": float(counts.invalid_framework_messages),
    }
    for state in _LIVE_STATES:
        numbers[f"slave/tasks_{_word(state)}"] = float(live.count(state))
    for state in _ENDED_STATES:
        numbers[f"slave/tasks_{_word(state)}"] = float(counts.tasks[state])
    numbers |= _resource_numbers(Resources.of(books.agent_info.resources), held(books))
    return numbers


def _in_state(executors: list[Executor], state: ExecutorState) -> float:
    return float(sum(each.state is state for each in executors if each.kind is not ExecutorKind.POD or each.tasks))


def _word(state: mesos.TaskState.ValueType) -> str:
    return mesos.TaskState.Name(state).removeprefix("TASK_").lower()


def _resource_numbers(total: Resources, used: Resources) -> Numbers:
    numbers: Numbers = {}
    for suffix, part in (("", Resources.nonrevocable), ("_revocable", Resources.revocable)):
        for name in _RESOURCES:
            whole, taken = part(total).get(name) / 1000, part(used).get(name) / 1000
            numbers[f"slave/{name}{suffix}_total"] = whole
            numbers[f"slave/{name}{suffix}_used"] = taken
            numbers[f"slave/{name}{suffix}_percent"] = taken / whole if whole else 0.0
    return numbers


def container_numbers(containerizer: Containerizer, fetcher_cache_bytes_max: int) -> Numbers:
    """What the containerizer knows, under Mesos' names; zeros where it does not count."""
    posix = containerizer if isinstance(containerizer, PosixContainerizer) else None
    counts = posix.counts if posix is not None else ContainerCounts()
    cached = posix.fetcher_cache_bytes_used if posix is not None else 0
    return {
        "containerizer/fetcher/cache_size_total_bytes": float(fetcher_cache_bytes_max),
        "containerizer/fetcher/cache_size_used_bytes": float(cached),
        "containerizer/fetcher/task_fetches_failed": float(counts.fetches_failed),
        "containerizer/fetcher/task_fetches_succeeded": float(counts.fetches_succeeded),
        "containerizer/mesos/container_destroy_errors": float(counts.destroy_errors),
        # There are no images yet, and no resource providers.
        "containerizer/mesos/provisioner/remove_container_errors": 0.0,
        "resource_provider_manager/events/disconnect": 0.0,
        "resource_provider_manager/events/subscribe": 0.0,
        "resource_provider_manager/subscribed": 0.0,
    }


def system_numbers() -> Numbers:
    """How the machine is doing."""
    one, five, fifteen = os.getloadavg()
    memory = psutil.virtual_memory()
    return {
        "system/cpus_total": float(os.cpu_count() or 1),
        "system/load_1min": one,
        "system/load_5min": five,
        "system/load_15min": fifteen,
        "system/mem_free_bytes": float(memory.available),
        "system/mem_total_bytes": float(memory.total),
    }
