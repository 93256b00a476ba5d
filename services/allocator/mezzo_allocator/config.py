"""Decides who is offered what of a cluster.

An allocator answers the leading registry; it keeps nothing on disk. Run one beside each registry: with --zk they elect
one that leads, and another takes over when it goes.
"""

from __future__ import annotations

from dataclasses import dataclass

from mezzo.resources import ResourceError, parse_quantities
from mezzo_allocator.core.frameworks import Minimum
from mezzo_allocator.core.policy import Sorter
from mezzo_chassis.config import boolean, flag, interval, one_of, port
from mezzo_chassis.leadership import ZooKeeperUrl
from mezzo_chassis.log import FORMATS, LEVELS

THOUSANDTHS = 1000
"""In what amounts are counted."""


def minimum(text: str) -> Minimum:
    """`cpus:0.01|mem:32`: alternatives, of which an offer must contain one; the empty text asks for none."""
    alternatives = []
    for alternative in filter(None, (part.strip() for part in text.split("|"))):
        try:
            amounts = parse_quantities(alternative)
        except ResourceError as error:
            raise ValueError(f"{alternative!r}: {error}") from None
        alternatives.append(tuple(sorted(amounts.items())))
    return tuple(alternatives)


def minimum_text(alternatives: Minimum) -> str:
    """What `minimum` reads."""
    return "|".join(
        ";".join(f"{name}:{amount / THOUSANDTHS:g}" for name, amount in alternative) for alternative in alternatives
    )


def names(text: str) -> frozenset[str]:
    """Names with commas between them."""
    return frozenset(filter(None, (name.strip() for name in text.split(","))))


def sorter(text: str) -> Sorter:
    """`drf` or `random`."""
    try:
        return Sorter(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither drf nor random") from None


def zookeeper(text: str) -> ZooKeeperUrl | None:
    """`zk://host:port,…/path`, or nothing."""
    return ZooKeeperUrl.parse(text) if text else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every flag. Where Mesos has it, it is called as there."""

    ip: str = flag("0.0.0.0", "The address to listen on.")
    grpc_port: int = flag("5061", "Where the registry finds it; 0 picks a free port.", parse=port)
    metrics_port: int = flag("9061", "Where Prometheus finds its metrics; 0 picks a free port.", parse=port)
    hostname: str = flag("", "The name under which registries reach it; the host's own if not set.")
    advertise_ip: str = flag("", "The address under which registries reach it, instead of a name.")
    zk: ZooKeeperUrl | None = flag(  # noqa: RUF009 - makes a field
        "", "Where allocators elect a leader; without it this one leads.", parse=zookeeper
    )
    zk_session_timeout: float = flag("10secs", "After what silence ZooKeeper gives a leader up.", parse=interval)
    allocation_interval: float = flag(
        "1secs", "How often all agents are looked at; changes are answered at once in any case.", parse=interval
    )
    min_allocatable_resources: Minimum = flag(  # noqa: RUF009 - makes a field
        "cpus:0.01|mem:32", "An offer contains at least one of these amounts.", parse=minimum, show=minimum_text
    )
    fair_sharing_excluded_resource_names: frozenset[str] = flag(
        "",
        "Resources that do not count in shares, with commas between them.",
        parse=names,
        show=lambda excluded: ",".join(sorted(excluded)),
    )
    filter_gpu_resources: bool = flag(
        "true", "Whether agents with GPUs are kept for frameworks with GPU_RESOURCES.", parse=boolean
    )
    role_sorter: Sorter = flag(  # noqa: RUF009 - makes a field
        "drf",
        "In what order roles are served: drf, the least share first; or random, by weight.",
        parse=sorter,
    )
    framework_sorter: Sorter = flag(  # noqa: RUF009 - makes a field
        "drf", "In what order the frameworks of a role are served: drf or random.", parse=sorter
    )
    compile_inner_loop: bool = flag(
        "true", "Whether decisions are compiled to machine code, some seconds after the first start.", parse=boolean
    )
    log_level: str = flag("info", "debug, info, warning or error.", parse=one_of(*LEVELS))
    log_format: str = flag("auto", "json, console, or auto: console on a terminal.", parse=one_of(*FORMATS))
