"""The events that the allocator handles, and the effects that follow.

Agents and frameworks go by the small numbers that the registry chose for the session. Resources that somebody holds
are `allocated_to` a role; totals are not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mesos.v1.mesos_pb2 import AgentInfo, DomainInfo, FrameworkInfo, Unavailability
from mezzo.resources import Resources
from mezzo_allocator.core.constraints import NO_CONSTRAINTS, Constraints


@dataclass(frozen=True, slots=True)
class SessionBegun:
    """A registry leads and describes its cluster; everything known before is void."""

    registry_id: str
    domain: DomainInfo | None = None


@dataclass(frozen=True, slots=True)
class SnapshotEnded:
    """The cluster has been described; decisions may begin."""


@dataclass(frozen=True, slots=True)
class AgentChanged:
    """An agent is new, or all that was known of it is replaced.

    `cycle` is the number of the last cycle whose allocations the registry had seen when it said so; what later cycles
    gave out on this agent is not in `holdings` yet. None: `holdings` is complete.
    """

    agent: int
    info: AgentInfo
    total: Resources
    holdings: Sequence[tuple[int, Resources]] | None
    """Who holds what of it. None: as before."""
    active: bool
    capabilities: frozenset[int] = frozenset()
    cycle: int | None = None
    unavailability: Unavailability | None = None
    """When maintenance is planned for; None: none is."""


@dataclass(frozen=True, slots=True)
class AgentRemoved:
    """An agent is gone, with all that was held of it."""

    agent: int


@dataclass(frozen=True, slots=True)
class FrameworkChanged:
    """A framework is new, or all that was known of it but its holdings and filters is replaced."""

    framework: int
    info: FrameworkInfo
    suppressed_roles: frozenset[str]
    active: bool
    constraints: Mapping[str, Constraints] = field(default_factory=lambda: NO_CONSTRAINTS)


@dataclass(frozen=True, slots=True)
class FrameworkRemoved:
    """A framework is gone; what it held was recovered before, and what is on its way to it comes to nothing."""

    framework: int


@dataclass(frozen=True, slots=True)
class ResourcesRecovered:
    """Resources are free again. With `refuse_seconds` they were declined for so long.

    `unanswered`: they were offered, and nobody answered in time.
    """

    framework: int
    agent: int
    resources: Resources
    refuse_seconds: float | None = None
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class ResourcesAllocated:
    """Resources were given to a framework by somebody else."""

    framework: int
    agent: int
    resources: Resources


@dataclass(frozen=True, slots=True)
class InverseOfferAnswered:
    """An inverse offer is no longer out. With `refuse_seconds` the framework is not asked again for so long.

    What the framework said makes no difference to that; `accepted` is None where it said nothing.
    """

    framework: int
    agent: int
    refuse_seconds: float | None = None
    accepted: bool | None = None


@dataclass(frozen=True, slots=True)
class OffersRevived:
    """A framework wants offers again in these roles (none named: in all), refusals forgotten.

    `in_vain`: it has launched nothing since it last did.
    """

    framework: int
    roles: Collection[str] = ()
    in_vain: bool = False


@dataclass(frozen=True, slots=True)
class OffersSuppressed:
    """A framework wants no offers in these roles (none named: in any)."""

    framework: int
    roles: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class ResourcesRequested:
    """A framework hinted at what it needs: amounts in thousandths by name, each of which would do.

    Decisions do not listen to hints, as in Mesos; explanations tell whether anything free is as large.
    """

    framework: int
    amounts: Sequence[Mapping[str, int]] = ()


@dataclass(frozen=True, slots=True)
class RoleConfigured:
    """Operators set a role's weight and quota; amounts by resource name."""

    role: str
    weight: float
    guarantees: Mapping[str, float]
    limits: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FullPassWanted:
    """All agents are to be looked at in the next cycle: the interval is over, or somebody asked for it."""


@dataclass(frozen=True, slots=True)
class CycleStarted:
    """A cycle over what has changed is due; it looks at `agents_max` agents at most."""

    agents_max: int = 10_000


Event = (
    SessionBegun
    | SnapshotEnded
    | AgentChanged
    | AgentRemoved
    | FrameworkChanged
    | FrameworkRemoved
    | ResourcesRecovered
    | ResourcesAllocated
    | InverseOfferAnswered
    | OffersRevived
    | OffersSuppressed
    | ResourcesRequested
    | RoleConfigured
    | FullPassWanted
    | CycleStarted
)


class Allocation(NamedTuple):
    """Advice to offer resources of an agent, slice by slice, to a framework in a role."""

    framework: int
    agent: int
    role: str
    resources: tuple[Resources, ...]


class InverseAllocation(NamedTuple):
    """Advice to ask a framework to leave an agent before it is unavailable."""

    framework: int
    agent: int
    unavailability: Unavailability


@dataclass(frozen=True, slots=True)
class Ready:
    """The snapshot is taken in."""


@dataclass(frozen=True, slots=True)
class Allocated:
    """The outcome of a cycle. `number` counts from 1 within a session."""

    number: int
    allocations: Sequence[Allocation]
    agents_considered: int
    inverse: Sequence[InverseAllocation] = ()


Effect = Ready | Allocated
