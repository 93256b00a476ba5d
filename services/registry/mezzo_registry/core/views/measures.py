"""The registry in numbers, under the names that Mesos' master gave them in /metrics/snapshot."""

from collections import Counter
from itertools import islice

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Quantities
from mezzo_registry.core.context import Context
from mezzo_registry.core.state import consumption, framework_metrics, sums
from mezzo_registry.core.state.cluster import ClusterState
from mezzo_registry.core.state.transitions import STATE_NAMES, AgentState, FrameworkState

COUNTED = (
    "dropped_messages",
    "http_cache_hits",
    "invalid_executor_to_framework_messages",
    "invalid_framework_to_executor_messages",
    "invalid_operation_status_update_acknowledgements",
    "invalid_operation_status_updates",
    "invalid_status_update_acknowledgements",
    "invalid_status_updates",
    "messages_authenticate",
    "messages_deactivate_framework",
    "messages_decline_offers",
    "messages_executor_to_framework",
    "messages_exited_executor",
    "messages_framework_to_executor",
    "messages_kill_task",
    "messages_launch_tasks",
    "messages_operation_status_update",
    "messages_operation_status_update_acknowledgement",
    "messages_reconcile_operations",
    "messages_reconcile_tasks",
    "messages_register_framework",
    "messages_register_slave",
    "messages_reregister_framework",
    "messages_reregister_slave",
    "messages_resource_request",
    "messages_revive_offers",
    "messages_status_update",
    "messages_status_update_acknowledgement",
    "messages_suppress_offers",
    "messages_unregister_framework",
    "messages_unregister_slave",
    "messages_update_slave",
    "offers_accepted",
    "offers_declined",
    "offers_rescinded",
    "offers_sent",
    "offers_timed_out",
    "offers_withdrawn",
    "recovery_slave_removals",
    "slave_registrations",
    "slave_removals",
    "slave_removals/reason_registered",
    "slave_removals/reason_unhealthy",
    "slave_removals/reason_unregistered",
    "slave_reregistrations",
    "slave_shutdowns_canceled",
    "slave_shutdowns_completed",
    "slave_shutdowns_scheduled",
    "slave_unreachable_canceled",
    "slave_unreachable_completed",
    "slave_unreachable_scheduled",
    "tasks_dropped",
    "tasks_error",
    "tasks_failed",
    "tasks_finished",
    "tasks_gone",
    "tasks_gone_by_operator",
    "tasks_killed",
    "tasks_lost",
    "valid_executor_to_framework_messages",
    "valid_framework_to_executor_messages",
    "valid_operation_status_update_acknowledgements",
    "valid_operation_status_updates",
    "valid_status_update_acknowledgements",
    "valid_status_updates",
)
"""Counters that are shown even while they are zero; some always are, since nobody sends such messages here."""

ROLES_MAX = 1000
"""Roles whose quota, consumption, share or filters are published; of each the first so many."""
ROLES_OMITTED = "allocator/mesos/quota/roles_without_metrics"
"""How many roles are left out for that, in consumption and in quota."""
QUOTA = "allocator/mesos/quota/roles/"
FILTERS = "allocator/mesos/offer_filters/roles/"
_OUTCOMES = (
    "total",
    "pending",
    "recovering",
    "unreachable",
    "finished",
    "failed",
    "error",
    "dropped",
    "gone_by_operator",
)
_OPERATIONS = (
    "reserve/", "unreserve/", "create/", "destroy/", "grow_volume/", "shrink_volume/", "create_disk/", "destroy_disk/",
)  # fmt: skip
OPERATIONS = tuple(f"operations/{kind}{outcome}" for kind in ("", *_OPERATIONS) for outcome in _OUTCOMES)
"""Counters of offer operations other than launches."""
THOUSANDTHS = 1000
RESOURCES = ("cpus", "gpus", "mem", "disk")
ACTIVE_STATES = (mesos.TASK_STAGING, mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_KILLING)


def measure(context: Context, *, in_full: bool = False) -> dict[str, float]:
    """Return all metrics, by name; with those of single frameworks, roles and kinds of operations if `in_full`.

    Walks the agents and frameworks, but no tasks.
    """
    cluster = context.state
    numbers = {f"master/{name}": 0.0 for name in (*COUNTED, *(OPERATIONS if in_full else ()))}
    for name, count in context.counters.items():
        numbers[f"master/{name}"] = float(count)
    numbers["master/elected"] = 1.0
    numbers["master/uptime_secs"] = max(0.0, context.now - context.identity.started_at)
    numbers["master/outstanding_offers"] = float(len(cluster.offers))
    numbers["master/operator_event_stream_subscribers"] = float(len(cluster.observers))
    numbers.update(_agents(cluster))
    numbers.update(_frameworks(cluster))
    numbers.update(_tasks(cluster))
    numbers.update(_resources(cluster))
    if in_full:
        numbers.update(_quotas(cluster))
        # The allocator names the roles that have some.
        numbers.update((f"{FILTERS}{role}/active", 0.0) for role in islice(cluster.roles, ROLES_MAX))
        if context.settings.publish_per_framework_metrics:
            numbers.update(framework_metrics.measure(cluster))
    return numbers


def _agents(cluster: ClusterState) -> dict[str, float]:
    states = Counter(agent.state for agent in cluster.agents.values())
    connected = float(states[AgentState.CONNECTED])
    disconnected = float(states[AgentState.DISCONNECTED])
    return {
        "master/slaves_active": connected,
        "master/slaves_connected": connected,
        "master/slaves_inactive": disconnected,
        "master/slaves_disconnected": disconnected,
        "master/slaves_unreachable": float(len(cluster.unreachable)),
    }


def _frameworks(cluster: ClusterState) -> dict[str, float]:
    states = Counter(framework.state for framework in cluster.frameworks.values())
    connected = float(states[FrameworkState.CONNECTED])
    away = float(states[FrameworkState.DISCONNECTED] + states[FrameworkState.RECOVERED])
    return {
        "master/frameworks_active": connected,
        "master/frameworks_connected": connected,
        "master/frameworks_inactive": away,
        "master/frameworks_disconnected": away,
    }


def _tasks(cluster: ClusterState) -> dict[str, float]:
    numbers = {f"master/tasks_{STATE_NAMES[state]}": float(cluster.task_states[state]) for state in ACTIVE_STATES}
    numbers["master/tasks_unreachable"] = float(sum(len(one.unreachable) for one in cluster.frameworks.values()))
    return numbers


def _resources(cluster: ClusterState) -> dict[str, float]:
    total, revocable_total = _totals(cluster)
    used, offered = cluster.used.total(), cluster.offered.total()
    numbers: dict[str, float] = {}
    for kind, of_all, of_used in (("", total, used), ("_revocable", revocable_total, cluster.used.revocable)):
        for name in RESOURCES:
            numbers[f"master/{name}{kind}_total"] = of_all[name] / THOUSANDTHS
            numbers[f"master/{name}{kind}_used"] = of_used[name] / THOUSANDTHS
            numbers[f"master/{name}{kind}_percent"] = of_used[name] / of_all[name] if of_all[name] else 0.0
    for name in ("cpus", "mem", "disk"):
        held = used[name] + offered[name] + cluster.offered.revocable[name]
        numbers[f"allocator/mesos/resources/{name}/total"] = total[name] / THOUSANDTHS
        numbers[f"allocator/mesos/resources/{name}/offered_or_allocated"] = held / THOUSANDTHS
    return numbers


def _quotas(cluster: ClusterState) -> dict[str, float]:
    """By role and resource: what it consumes; and of a role with quota what it is guaranteed, what it may have and what
    it has or is offered. At most `ROLES_MAX` of each.
    """
    consumed, quotas = consumption.consumptions(cluster), cluster.configuration.quotas
    numbers = {ROLES_OMITTED: float(max(0, len(consumed) - ROLES_MAX) + max(0, len(quotas) - ROLES_MAX))}
    for role, amounts in islice(consumed.items(), ROLES_MAX):
        for name, amount in amounts.items():
            numbers[f"{QUOTA}{role}/resources/{name}/consumed"] = amount / THOUSANDTHS
    if not quotas:
        return numbers
    used, offered = sums.roll_up(cluster.used.nonrevocable), sums.roll_up(cluster.offered.nonrevocable)
    for role, one in islice(quotas.items(), ROLES_MAX):
        held = used.get(role, Quantities.EMPTY) + offered.get(role, Quantities.EMPTY)
        for kind, bounds in (("guarantee", one.guarantees), ("limit", one.limits)):
            for name, amount in bounds.items():
                prefix = f"{QUOTA}{role}/resources/{name}"
                numbers[f"{prefix}/{kind}"] = amount / THOUSANDTHS
                numbers[f"{prefix}/offered_or_allocated"] = held.get(name) / THOUSANDTHS
    return numbers


def _totals(cluster: ClusterState) -> tuple[Counter[str], Counter[str]]:
    """Return thousandths by name of all that agents have: not revocable, and revocable. Most agents are alike."""
    total, revocable = Counter[str](), Counter[str]()
    alike = Counter(agent.total for agent in cluster.agents.values() if agent.registered_at is not None)
    for resources, agents in alike.items():
        for counter, of_one in zip((total, revocable), sums.amounts(resources), strict=True):
            for name, amount in of_one:
                counter[name] += agents * amount
    return total, revocable
