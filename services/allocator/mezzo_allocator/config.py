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
        raise ValueError(f"{text!r} must be drf or random") from None


def zookeeper(text: str) -> ZooKeeperUrl | None:
    """`zk://host:port,…/path`, or nothing."""
    return ZooKeeperUrl.parse(text) if text else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every flag. Where Mesos has it, it is called as there."""

    ip: str = flag(
        "0.0.0.0", "The IP address on which the allocator listens, for gRPC and metrics.", heading="Addresses"
    )
    grpc_port: int = flag(
        "5061", "The port of the gRPC server, to which the leading registry connects; 0 picks a free one.", parse=port
    )
    metrics_port: int = flag(
        "9061", "The port of the HTTP server with the metrics for Prometheus; 0 picks a free one.", parse=port
    )
    hostname: str = flag(
        "", "The host name under which registries reach the allocator; by default that of the machine."
    )
    advertise_ip: str = flag(
        "", "The IP address under which registries reach the allocator; by default its --hostname is used."
    )
    zk: ZooKeeperUrl | None = flag(  # noqa: RUF009 - makes a field
        "",
        "The ZooKeeper in which allocators elect a leader: zk://[user:password@]host:port,…/path; by default "
        "there is no election, and this allocator leads.",
        parse=zookeeper,
        heading="Election",
    )
    zk_session_timeout: float = flag(
        "10secs",
        "The time-out of the session with ZooKeeper: without a sign of life for so long, ZooKeeper ends it.",
        parse=interval,
    )
    allocation_interval: float = flag(
        "1secs",
        "The time between two allocations over all agents; a change leads to one over the agents that it concerns "
        "at once.",
        parse=interval,
        heading="Allocation",
    )
    min_allocatable_resources: Minimum = flag(  # noqa: RUF009 - makes a field
        "cpus:0.01|mem:32",
        "The minimum resources of an offer: alternatives separated by |, of which it contains at least one; mem "
        "and disk in MB.",
        parse=minimum,
        show=minimum_text,
    )
    fair_sharing_excluded_resource_names: frozenset[str] = flag(
        "",
        "The resources, separated by commas, that do not count in dominant shares; by default all do.",
        parse=names,
        show=lambda excluded: ",".join(sorted(excluded)),
    )
    filter_gpu_resources: bool = flag(
        "true",
        "Whether agents with GPUs are offered only to frameworks with the capability GPU_RESOURCES.",
        parse=boolean,
    )
    role_sorter: Sorter = flag(  # noqa: RUF009 - makes a field
        "drf",
        "The order in which roles are served: drf, the lowest dominant share first; or random, by weight.",
        parse=sorter,
    )
    framework_sorter: Sorter = flag(  # noqa: RUF009 - makes a field
        "drf", "The order in which the frameworks of a role are served: drf or random.", parse=sorter
    )
    compile_inner_loop: bool = flag(
        "true",
        "Whether the allocation loop is compiled to machine code, which the first start on a machine takes some "
        "seconds for; interpreted, it is about 100 times slower.",
        parse=boolean,
    )
    log_level: str = flag(
        "info",
        "The lowest level that is logged: debug, info, warning or error.",
        parse=one_of(*LEVELS),
        heading="Logs",
    )
    log_format: str = flag(
        "auto",
        "The format of log lines: json, console, or auto, which is console on a terminal and json elsewhere.",
        parse=one_of(*FORMATS),
    )
