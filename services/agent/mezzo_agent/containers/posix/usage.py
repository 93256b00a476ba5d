"""What containers use, read from /proc: one scan of the machine serves all containers that are asked about."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from mesos.v1.mesos_pb2 import ResourceStatistics
from mezzo.resources import Resources
from mezzo.resources.scalar import SCALAR_MAX
from mezzo_agent.containers.posix.processes import PAGE_BYTES, TICKS_PER_SECOND, Process, ProcessTable

MEGABYTE = 1 << 20
SCAN_AGE_SECS_MAX = 0.5
"""Two questions within this time are answered from the same scan."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a container was promised, and how far it may go above that (None: not said, or without bound).

    Nothing here enforces it.
    """

    cpus: float | None = None
    mem_bytes: int | None = None
    cpus_limit: float | None = None
    mem_limit_bytes: int | None = None

    @classmethod
    def of(cls, resources: Resources, limits: Mapping[str, float]) -> Self:
        """From a container's resources and its limits by name: mem in megabytes, infinity for no bound."""
        finite = {name: limit for name, limit in limits.items() if math.isfinite(limit)}
        mem = resources.mem
        mem_limit = finite.get("mem", None if "mem" in limits else mem)
        return cls(
            cpus=resources.cpus,
            mem_bytes=None if mem is None else _bytes(mem),
            cpus_limit=finite.get("cpus"),
            mem_limit_bytes=None if mem_limit is None else _bytes(mem_limit),
        )


def _bytes(megabytes: float) -> int:
    """Within the 64 bits of ResourceStatistics: admission refuses more, but an older agent's journal may hold it."""
    return int(min(max(0.0, megabytes), SCALAR_MAX) * MEGABYTE)


class UsageMeter:
    """Reads with a single scan what any number of callers want to know at the same time."""

    def __init__(
        self, *, cpu: bool = True, mem: bool = True, scan: Callable[[], ProcessTable] = ProcessTable.scan
    ) -> None:
        """`cpu` and `mem`: whether to say anything about them."""
        self._cpu = cpu
        self._mem = mem
        self._scan = scan
        self._lock = asyncio.Lock()
        self._table = ProcessTable(())
        self._scanned = float("-inf")
        self._timestamp = 0.0

    async def measure(self, monitor: int, allowance: Allowance) -> ResourceStatistics:
        """The statistics of the container below this monitor, with the keys that Mesos' POSIX isolators have."""
        table = await self._recent()
        statistics = ResourceStatistics(timestamp=self._timestamp)
        members = table.descendants(monitor)
        if self._cpu:
            _add_cpu(statistics, members, table.get(monitor))
            _set(statistics, cpus_soft_limit=allowance.cpus, cpus_limit=allowance.cpus_limit)
        if self._mem:
            statistics.mem_rss_bytes = sum(member.resident_pages for member in members) * PAGE_BYTES
            _set(statistics, mem_soft_limit_bytes=allowance.mem_bytes, mem_limit_bytes=allowance.mem_limit_bytes)
        return statistics

    async def _recent(self) -> ProcessTable:
        async with self._lock:
            if time.monotonic() - self._scanned > SCAN_AGE_SECS_MAX:
                self._table = await asyncio.to_thread(self._scan)
                self._scanned = time.monotonic()
                self._timestamp = time.time()
            return self._table


def _add_cpu(statistics: ResourceStatistics, members: list[Process], monitor: Process | None) -> None:
    """Every process counts for itself and for the children that it waited for; the monitor for these alone."""
    user = sum(member.user_ticks + member.waited_user_ticks for member in members)
    system = sum(member.system_ticks + member.waited_system_ticks for member in members)
    if monitor is not None:
        user += monitor.waited_user_ticks
        system += monitor.waited_system_ticks
    statistics.cpus_user_time_secs = user / TICKS_PER_SECOND
    statistics.cpus_system_time_secs = system / TICKS_PER_SECOND


def _set(statistics: ResourceStatistics, **values: float | None) -> None:
    for name, value in values.items():
        if value is not None:
            setattr(statistics, name, value)
