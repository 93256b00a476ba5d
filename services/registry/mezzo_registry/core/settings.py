"""What a term is given once: who leads, and the flags that decisions depend on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mesos.v1 import mesos_pb2 as mesos
from mezzo.offer_constraints import DEFAULT_LIMITS, RegexLimits

MINIMUM_GROUPS_MAX = 100
"""Most alternatives in `min_allocatable_resources` of one role."""

MINIMUM_QUANTITIES_MAX = 100
"""Most resources in one alternative. The allocator has a column for each name that it has ever seen."""

FAILOVER_TIMEOUT_SECONDS_MAX = 9_223_372_036.0
"""Mesos counts nanoseconds in 63 bits; a longer time-out is refused."""

ROLE_RECORDS_BYTES_MAX = 768 * 1024
"""Most that is stored about roles. All of it can be part of one transaction, and ZooKeeper refuses those from 1 MB."""

PLAN_BYTES_MAX = 512 * 1024
"""Most that is stored about planned maintenance: it is a part of one transaction."""

TIMER_SECONDS_MIN = 0.001
"""Offers that time out within so much time of each other do so together."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who leads: fixed for one term of leadership."""

    registry_id: str
    master_info: mesos.MasterInfo
    version: str = "0.0.0"
    started_at: float = 0.0
    """When the process started. Seconds since the epoch."""
    elected_at: float = 0.0
    flags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`permits` removals in each `per_seconds`."""

    permits: int
    per_seconds: float

    @property
    def seconds_between(self) -> float:
        """From one permit to the next."""
        return self.per_seconds / self.permits


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags that decisions depend on, under the names that Mesos gave them. Times in seconds."""

    agent_ping_timeout: float = 15.0
    max_agent_ping_timeouts: int = 5
    agent_reregister_timeout: float = 600.0
    agent_removal_rate_limit: RateLimit | None = None
    offer_timeout: float | None = None
    scheduler_heartbeat_interval: float = 15.0
    max_completed_frameworks: int = 50
    max_completed_tasks_per_framework: int = 1000
    max_unreachable_tasks_per_framework: int = 1000
    registry_gc_interval: float = 900.0
    registry_max_agent_age: float = 14 * 86_400.0
    registry_max_agent_count: int = 102_400
    offer_constraints: RegexLimits = DEFAULT_LIMITS
    """What a regular expression in offer constraints may cost."""
    require_agent_domain: bool = False
    publish_per_framework_metrics: bool = True
    weights: Mapping[str, float] = field(default_factory=dict)
    """Role → weight, where the store has no weights at all."""

    @property
    def agent_silence_limit(self) -> float:
        """After so many seconds without a word an agent is unreachable."""
        return self.agent_ping_timeout * self.max_agent_ping_timeouts
