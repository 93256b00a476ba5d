"""Every metric of the agent: for Prometheus, and under Mesos' names for /metrics/snapshot."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1.agent_session_pb2 import RegistryMessage
from mezzo.resources import Resources
from mezzo_agent.containers.containerizer import ContainerCounts, PosixContainerizer
from mezzo_agent.core import Agent, event_names
from mezzo_agent.core.holdings import held
from mezzo_agent.core.model import Executor, ExecutorKind, ExecutorState
from mezzo_agent.ports import Containerizer
from mezzo_chassis.metrics import LATENCY_BUCKETS_SECONDS, EngineMetrics, HttpMetrics, ProcessMetrics, RpcMetrics

Numbers = dict[str, float]

_RESOURCES = ("cpus", "gpus", "mem", "disk")
_LIVE_STATES = (mesos.TASK_STAGING, mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_KILLING)
_ENDED_STATES = (mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_KILLED, mesos.TASK_LOST, mesos.TASK_GONE)
_MEBIBYTE = 1 << 20


def _word(state: mesos.TaskState.ValueType) -> str:
    return mesos.TaskState.Name(state).removeprefix("TASK_").lower()


# Ours, Mesos' in /metrics/snapshot, and what it means.
_GAUGES = (
    ("registered", "slave/registered", "1 while the registry knows this agent."),
    ("frameworks", "slave/frameworks_active", "Frameworks that have something running here."),
    ("recovery_seconds", "slave/recovery_time_secs", "How long the recovery at the start took."),
    ("sandboxes_pending_removal", "gc/path_removals_pending", "Sandboxes that wait to be removed."),
    ("fetcher_cache_bytes", "containerizer/fetcher/cache_size_used_bytes", "What the fetcher's cache holds."),
    ("fetcher_cache_limit_bytes", "containerizer/fetcher/cache_size_total_bytes", "What it may hold."),
)
_COUNTERS = (
    ("container_destroy_errors", "containerizer/mesos/container_destroy_errors", "Containers that left processes."),
    ("recovery_errors", "slave/recovery_errors", "Damage that was found, and passed over, at the start."),
    ("executors_terminated", "slave/executors_terminated", "Executors, and commands without one, that have ended."),
    ("container_launch_errors", "slave/container_launch_errors", "Containers that could not be launched."),
)
# The same, with the name of the label, and Mesos' name for each of its values.
_LABELLED_GAUGES = (
    (
        "executors",
        "state",
        "Executors, and commands without one, that have not ended.",
        {state: f"slave/executors_{state}" for state in ("registering", "running", "terminating")},
    ),
    (
        "tasks",
        "state",
        "Tasks that have not ended.",
        {_word(state): f"slave/tasks_{_word(state)}" for state in _LIVE_STATES},
    ),
)
_LABELLED_COUNTERS = (
    (
        "tasks_ended",
        "state",
        "Tasks that have ended since the agent started.",
        {_word(state): f"slave/tasks_{_word(state)}" for state in _ENDED_STATES},
    ),
    (
        "status_updates",
        "outcome",
        "Updates of tasks, by whether they made sense.",
        {validity: f"slave/{validity}_status_updates" for validity in ("valid", "invalid")},
    ),
    (
        "framework_messages",
        "outcome",
        "Messages between executors and frameworks, by whether they made sense.",
        {validity: f"slave/{validity}_framework_messages" for validity in ("valid", "invalid")},
    ),
    (
        "fetches",
        "outcome",
        "Tasks for which URIs were fetched.",
        {outcome: f"containerizer/fetcher/task_fetches_{outcome}" for outcome in ("succeeded", "failed")},
    ),
    (
        "sandbox_removals",
        "outcome",
        "Sandboxes removed, by age or for want of disk.",
        {outcome: f"gc/path_removals_{outcome}" for outcome in ("succeeded", "failed")},
    ),
)


class AgentMetrics:
    """What the shell counts; what the core knows is asked for when somebody scrapes."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self.process = ProcessMetrics(self.registry, "agent", version)
        self.rpc = RpcMetrics(self.registry, "agent")
        self.http = HttpMetrics(self.registry, "agent")
        self.engine = EngineMetrics(self.registry, "agent", event_names.names())
        self._dropped = Counter(
            "mezzo_agent_registry_messages_dropped_total",
            "Messages of the registry that could not be applied, by kind.",
            ["message"],
            registry=self.registry,
        )
        for kind in RegistryMessage.DESCRIPTOR.oneofs_by_name["message"].fields:
            self._dropped.labels(kind.name)
        launches = self._seconds(
            "container_launch", "From the order to launch a container to its program, fetching included.", "outcome"
        )
        # There from the start, or the first of a kind would be no increase.
        self._launched, self._failed_to_launch = (launches.labels(outcome) for outcome in ("started", "failed"))
        self._destroys = self._seconds("container_destroy", "From the order to destroy a container to its end.")
        self.disk_used = Gauge(
            "mezzo_agent_disk_used_ratio",
            "How full the disk of --work_dir is, from 0 to 1, as it was last looked at.",
            registry=self.registry,
        )

    def _seconds(self, name: str, help_: str, *labels: str) -> Histogram:
        return Histogram(
            f"mezzo_agent_{name}_seconds", help_, labels, buckets=LATENCY_BUCKETS_SECONDS, registry=self.registry
        )

    def drop(self, kind: str) -> None:
        """A message of the registry was not applied; `kind` is its field in the wire's oneof."""
        self._dropped.labels(kind).inc()

    def launched(self, seconds: float, *, failed: bool) -> None:
        """A container was launched, or could not be."""
        (self._failed_to_launch if failed else self._launched).observe(seconds)

    def destroyed(self, seconds: float) -> None:
        """A container was destroyed."""
        self._destroys.observe(seconds)

    def follow(self, numbers: Callable[[], Numbers]) -> None:
        """Tell Prometheus what `numbers` measures, too."""
        self.registry.register(SnapshotCollector(numbers))


class SnapshotCollector(Collector):
    """The numbers of /metrics/snapshot as Prometheus metrics, taken when somebody scrapes."""

    def __init__(self, numbers: Callable[[], Numbers]) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        """The metrics, now."""
        numbers = self._numbers()
        for name, key, help_ in _GAUGES:
            yield GaugeMetricFamily(f"mezzo_agent_{name}", help_, value=numbers[key])
        for name, key, help_ in _COUNTERS:
            yield CounterMetricFamily(f"mezzo_agent_{name}", help_, value=numbers[key])
        for name, label, help_, keys in _LABELLED_GAUGES:
            gauges = GaugeMetricFamily(f"mezzo_agent_{name}", help_, labels=[label])
            for value, key in keys.items():
                gauges.add_metric([value], numbers[key])
            yield gauges
        for name, label, help_, keys in _LABELLED_COUNTERS:
            counters = CounterMetricFamily(f"mezzo_agent_{name}", help_, labels=[label])
            for value, key in keys.items():
                counters.add_metric([value], numbers[key])
            yield counters
        for what, kind, text in (("", "", "not revocable"), ("revocable_", "_revocable", "revocable")):
            for part, suffix in (("capacity", "total"), ("allocated", "used")):
                help_ = f"Resources that are {text}, {suffix}: processors, GPUs, and bytes of memory and disk."
                resources = GaugeMetricFamily(f"mezzo_agent_resource_{what}{part}", help_, labels=["resource"])
                for resource in _RESOURCES:
                    unit = _MEBIBYTE if resource in ("mem", "disk") else 1
                    resources.add_metric([resource], numbers[f"slave/{resource}{kind}_{suffix}"] * unit)
                yield resources


def core_numbers(agent: Agent, started_at: float, recovery_seconds: float, recovery_errors: int) -> Numbers:
    """What the core knows, under Mesos' names."""
    state, counts = agent.state, agent.state.counts
    executors = [each for framework in state.frameworks.values() for each in framework.executors.values()]
    live = [task.state for executor in executors for task in executor.live_tasks()]
    numbers: Numbers = {
        "slave/registered": float(state.registered),
        "slave/uptime_secs": time.time() - started_at,
        "slave/recovery_errors": float(recovery_errors),
        "slave/recovery_time_secs": recovery_seconds,
        "slave/frameworks_active": float(sum(bool(each.executors) for each in state.frameworks.values())),
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
    for task_state in _LIVE_STATES:
        numbers[f"slave/tasks_{_word(task_state)}"] = float(live.count(task_state))
    for task_state in _ENDED_STATES:
        numbers[f"slave/tasks_{_word(task_state)}"] = float(counts.tasks[task_state])
    numbers |= _resource_numbers(Resources.of(state.agent_info.resources), held(state))
    return numbers


def _in_state(executors: list[Executor], state: ExecutorState) -> float:
    return float(sum(each.state is state for each in executors if each.kind is not ExecutorKind.POD or each.tasks))


def _resource_numbers(total: Resources, used: Resources) -> Numbers:
    numbers: Numbers = {}
    for suffix, part in (("", Resources.nonrevocable), ("_revocable", Resources.revocable)):
        for name in _RESOURCES:
            whole, taken = part(total).thousandths_of(name) / 1000, part(used).thousandths_of(name) / 1000
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
