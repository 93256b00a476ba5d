"""What mesos_exporter reads of /metrics/snapshot is there under the same names, where it has a meaning here.

Not there, as docs/metrics.md says: the replicated logs, what is about images, and what Mesos does not tell either.
"""

from __future__ import annotations

import aiohttp

from mezzo.http import JSON
from mezzo.scheduler import HttpTransport
from tests.cluster import Cluster
from tests.framework import Framework
from tests.polling import eventually

RESOURCES = ("cpus", "gpus", "mem", "disk")
PARTS = ("total", "used", "percent")
SUMMARY = ("", "/min", "/max", "/p50", "/p90", "/p95", "/p99", "/p999", "/p9999")
CHECKED = (
    "framework_to_executor_messages",
    "executor_to_framework_messages",
    "status_update_acknowledgements",
    "status_updates",
)
MESSAGES = (
    *("authenticate", "deactivate_framework", "decline_offers", "executor_to_framework", "exited_executor"),
    *("framework_to_executor", "kill_task", "launch_tasks", "reconcile_tasks", "register_framework", "register_slave"),
    *("reregister_framework", "reregister_slave", "resource_request", "revive_offers", "status_update"),
    *("status_update_acknowledgement", "suppress_offers", "unregister_framework", "unregister_slave", "update_slave"),
)
MASTER = {
    *(f"master/{name}{kind}_{part}" for name in RESOURCES for kind in ("", "_revocable") for part in PARTS),
    *("master/elected", "master/uptime_secs", "master/outstanding_offers", "master/dropped_messages"),
    *("master/slave_registrations", "master/slave_reregistrations", "master/slave_removals"),
    *(f"master/slave_removals/reason_{reason}" for reason in ("registered", "unhealthy", "unregistered")),
    *("master/recovery_slave_removals", "master/slaves_unreachable"),
    *(f"master/slave_{what}_{step}" for what in ("shutdowns", "unreachable") for step in ("scheduled", "canceled")),
    *("master/slave_shutdowns_completed", "master/slave_unreachable_completed"),
    *(f"master/{who}_{state}" for who in ("slaves", "frameworks") for state in ("active", "inactive", "disconnected")),
    *(f"master/tasks_{state}" for state in ("dropped", "error", "failed", "finished", "gone", "gone_by_operator")),
    *(f"master/tasks_{state}" for state in ("killed", "lost", "staging", "starting", "running", "killing")),
    "master/tasks_unreachable",
    *(f"master/messages_{kind}" for kind in MESSAGES),
    *(f"master/{outcome}_{kind}" for outcome in ("valid", "invalid") for kind in CHECKED),
    *(f"master/event_queue_{kind}" for kind in ("dispatches", "http_requests", "messages")),
    *("allocator/event_queue_dispatches", "allocator/mesos/event_queue_dispatches"),
    *("allocator/mesos/allocation_runs", "allocator/mesos/allocation_run_latency_ms/count"),
    *(f"allocator/mesos/allocation_run{what}{part}" for what in ("_ms", "_latency_ms") for part in SUMMARY),
    *(
        f"allocator/mesos/resources/{name}/{part}"
        for name in ("cpus", "mem", "disk")
        for part in ("total", "offered_or_allocated")
    ),
    *("registrar/registry_size_bytes", "registrar/queued_operations", "registrar/state_fetch_ms"),
    *(f"registrar/state_store_ms{part}" for part in SUMMARY),
}
OF_THE_ROLE = {
    *("allocator/mesos/offer_filters/roles/watched/active", "allocator/mesos/roles/watched/shares/dominant"),
    *(f"allocator/mesos/quota/roles/watched/resources/cpus/{part}" for part in ("guarantee", "offered_or_allocated")),
}
AGENT = {
    *(f"slave/{name}{kind}_{part}" for name in RESOURCES for kind in ("", "_revocable") for part in PARTS),
    *("slave/registered", "slave/uptime_secs", "slave/frameworks_active", "slave/recovery_errors"),
    *("slave/recovery_time_secs", "slave/executor_directory_max_allowed_age_secs", "slave/container_launch_errors"),
    *(f"slave/executors_{state}" for state in ("registering", "running", "terminating", "terminated", "preempted")),
    *(f"slave/tasks_{state}" for state in ("failed", "finished", "gone", "killed", "lost")),
    *(f"slave/tasks_{state}" for state in ("staging", "starting", "running", "killing")),
    *(f"slave/{outcome}_framework_messages" for outcome in ("valid", "invalid")),
    *(f"slave/{outcome}_status_updates" for outcome in ("valid", "invalid")),
    *(f"gc/path_removals_{outcome}" for outcome in ("pending", "succeeded", "failed")),
    *("containerizer/mesos/container_destroy_errors", "containerizer/mesos/provisioner/remove_container_errors"),
    *(f"containerizer/fetcher/task_fetches_{outcome}" for outcome in ("succeeded", "failed")),
    *(f"containerizer/fetcher/cache_size_{part}_bytes" for part in ("total", "used")),
}


async def snapshot(address: str) -> dict[str, float]:
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}/metrics/snapshot") as response:
        assert response.status == 200
        answer: dict[str, float] = await response.json()
        return answer


async def test_what_it_reads_of_a_master_is_there(cluster: Cluster) -> None:
    quota = {
        "role": "watched",
        "guarantee": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}],
        "force": True,
    }
    async with aiohttp.ClientSession(cluster.url) as http, http.post("/quota", json=quota) as response:
        assert response.status == 200, await response.text()
    async with Framework(HttpTransport(cluster.url, JSON)) as framework:
        framework.client.framework_info.role = "watched"
        framework.add("true")
        await framework.finish()

        async def all_told() -> bool:
            missing = (MASTER | OF_THE_ROLE) - (await snapshot(cluster.gateway().http)).keys()
            print("missing:", *sorted(missing))
            return not missing

        # It declines what it does not use; the registry hears of that from the allocator after its next cycle.
        await eventually(all_told, "all that mesos_exporter reads")


async def test_what_it_reads_of_an_agent_is_there(cluster: Cluster) -> None:
    assert AGENT - (await snapshot(cluster.agent().http)).keys() == set()
