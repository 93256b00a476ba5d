"""What mesos_exporter asks of a Mesos cluster, and what it reads of the answers, is there under the same names."""

from __future__ import annotations

import aiohttp

from mezzo.http import JSON
from mezzo.scheduler import HttpTransport
from tests.cluster import Cluster
from tests.framework import Framework
from tests.polling import eventually

SUMMARIES = ("", "/min", "/max", "/p50", "/p90", "/p95", "/p99", "/p999", "/p9999")
RESOURCES = ("cpus", "mem", "disk")
MESSAGES = (
    "framework_to_executor_messages",
    "executor_to_framework_messages",
    "status_update_acknowledgements",
    "status_updates",
)
MASTER = {
    *(f"master/{name}{kind}_{part}" for name in RESOURCES for kind in ("", "_revocable") for part in ("total", "used")),
    *("master/elected", "master/uptime_secs", "master/outstanding_offers"),
    *("master/slave_registrations", "master/slave_reregistrations", "master/slave_removals"),
    *(f"master/slave_shutdowns_{step}" for step in ("scheduled", "canceled", "completed")),
    *(f"master/{who}_{state}" for who in ("slaves", "frameworks") for state in ("active", "inactive", "disconnected")),
    *(f"master/tasks_{state}" for state in ("error", "failed", "finished", "killed", "lost")),
    *(f"master/tasks_{state}" for state in ("staging", "starting", "running")),
    *(f"master/{outcome}_{kind}" for outcome in ("valid", "invalid") for kind in MESSAGES),
    *(f"master/event_queue_{kind}" for kind in ("dispatches", "http_requests", "messages")),
    *("allocator/mesos/allocation_runs", "allocator/mesos/event_queue_dispatches"),
    *(f"allocator/mesos/allocation_run_ms{part}" for part in SUMMARIES),
    *(f"allocator/mesos/allocation_run_latency_ms{part}" for part in SUMMARIES),
    *(f"allocator/mesos/resources/{name}/{part}" for name in RESOURCES for part in ("total", "offered_or_allocated")),
}
BY_ROLE = {
    "allocator/mesos/offer_filters/roles/watched/active",
    *(
        f"allocator/mesos/quota/roles/watched/resources/cpus/{part}"
        for part in ("guarantee", "limit", "offered_or_allocated")
    ),
}
AGENT = {
    *(
        f"slave/{name}{kind}_{part}"
        for name in (*RESOURCES, "gpus")
        for kind in ("", "_revocable")
        for part in ("total", "used")
    ),
    *("slave/registered", "slave/uptime_secs", "slave/frameworks_active"),
    *(f"slave/executors_{state}" for state in ("registering", "running", "terminating", "terminated", "preempted")),
    *(f"slave/tasks_{state}" for state in ("failed", "finished", "killed", "lost", "staging", "starting", "running")),
    *(f"slave/{outcome}_framework_messages" for outcome in ("valid", "invalid")),
    *(f"slave/{outcome}_status_updates" for outcome in ("valid", "invalid")),
}
"""But for `slave/tasks_error`, which Mesos' agents do not tell either."""


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
            missing = (MASTER | BY_ROLE) - (await snapshot(cluster.gateway().http)).keys()
            print("missing:", *sorted(missing))
            return not missing

        # It declines what it does not use; the registry hears of that from the allocator after its next cycle.
        await eventually(all_told, "all that mesos_exporter reads")


async def test_what_it_reads_of_an_agent_is_there(cluster: Cluster) -> None:
    assert AGENT - (await snapshot(cluster.agent().http)).keys() == set()
