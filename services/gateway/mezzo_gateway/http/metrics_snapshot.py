"""`/metrics/snapshot`: what the registry counts, under the names that Mesos gave, and how this machine is doing."""

from __future__ import annotations

import asyncio
import os
import time

import psutil

from mesos.v1.master.master_pb2 import Call
from mezzo.errors import Unavailable
from mezzo_gateway.adapters.registry import Registry

# Dashboards ask often and all at once; the registry is asked at most this often.
KEPT_SECONDS = 1.0
TIMEOUT_SECONDS = 10.0


class MetricsSnapshot:
    """The metrics of the cluster by name."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._asked = asyncio.Lock()
        self._kept: dict[str, float] = {}
        self._kept_at = float("-inf")

    async def read(self, timeout_seconds: float | None = None) -> dict[str, float]:
        """All metrics; those that have come, where a time is given and it was too short for all.

        Raises NotLeading while no registry can be reached, and Unavailable if it takes too long.
        """
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds), self._asked:
                await self._refresh()
        except TimeoutError:
            if timeout_seconds is None:
                raise Unavailable(f"the registry sent no metrics within {TIMEOUT_SECONDS:g} s") from None
        return dict(sorted({**self._kept, **_system_metrics()}.items()))

    async def _refresh(self) -> None:
        if time.monotonic() - self._kept_at <= KEPT_SECONDS and self._registry.connected:
            return
        call = Call(type=Call.GET_METRICS)
        call.get_metrics.SetInParent()
        response = await self._registry.operator_call(call)
        self._kept = {metric.name: metric.value for metric in response.get_metrics.metrics}
        self._kept_at = time.monotonic()


def system_stats() -> dict[str, float]:
    """`/system/stats.json`: load, processors and memory of this machine."""
    load = os.getloadavg()
    memory = psutil.virtual_memory()
    return {
        "avg_load_1min": load[0],
        "avg_load_5min": load[1],
        "avg_load_15min": load[2],
        "cpus_total": os.cpu_count() or 1,
        "mem_total_bytes": memory.total,
        "mem_free_bytes": memory.available,
    }


def _system_metrics() -> dict[str, float]:
    stats = system_stats()
    return {f"system/{name.removeprefix('avg_')}": float(value) for name, value in stats.items()}
