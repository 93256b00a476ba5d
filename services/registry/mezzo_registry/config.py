"""The registry: owns the truth about agents, frameworks, tasks and offers of a Mezzo cluster."""

import re
from dataclasses import dataclass
from pathlib import Path

from mesos.v1.mesos_pb2 import DomainInfo, WeightInfo
from mezzo import domains, durations
from mezzo.errors import InvalidRequest
from mezzo.offer_constraints import RegexLimits
from mezzo_chassis.config import (
    address,
    as_text,
    byte_count,
    count,
    duration,
    flag,
    folder,
    interval,
    ipv4,
    one_of,
    port,
)
from mezzo_chassis.leadership import ZooKeeperUrl
from mezzo_chassis.log import FORMATS, LEVELS
from mezzo_registry.core import RateLimit, Settings
from mezzo_registry.core.validation.quota import check_weights

UNCHANGEABLE = {
    "authenticate_agents": "false",
    "authenticate_frameworks": "false",
    "authenticate_http_frameworks": "false",
    "authenticate_http_readonly": "false",
    "authenticate_http_readwrite": "false",
    # Of how many masters a majority must live, which PaaSTA compares with those that ZooKeeper names: one leads alone.
    "quorum": "1",
    "recovery_agent_removal_limit": "100%",
    "root_submissions": "true",
}
"""What flags of Mesos' master would say that are none here: told, since tools ask for it, and not to be set."""
_RATE = re.compile(r"\s*(\d+)\s*/\s*(.+)\Z")


def rate_limit(text: str) -> RateLimit:
    """`1/10mins`: so many in each so much time."""
    matched = _RATE.match(text)
    if matched is None or int(matched[1]) < 1:
        raise ValueError(f"{text!r} is not a rate like 1/10mins")
    return RateLimit(int(matched[1]), duration(matched[2]))


def positive(text: str) -> int:
    """A whole number from 1."""
    number = count(text)
    if number < 1:
        raise ValueError(f"{number} is less than 1")
    return number


def whitelist_file(text: str) -> Path | None:
    """A path, or Mesos' `*` for none."""
    return None if text == "*" else folder(text.removeprefix("file://"))


def role_weights(text: str) -> tuple[tuple[str, float], ...]:
    """Pairs like `role=2,other/role=0.5`."""
    infos = []
    for pair in filter(None, (one.strip() for one in text.split(","))):
        role, equals, weight = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} is not like role=weight")
        infos.append(WeightInfo(role=role.strip(), weight=float(weight)))
    try:
        return tuple(check_weights(infos, "weights").items())
    except InvalidRequest as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every flag of the registry. Those that Mesos' master has too have its names and defaults."""

    ip: str = flag("0.0.0.0", "The address to listen on.")
    grpc_port: int = flag("5060", "Where agents, frameworks, gateways and operators are served by gRPC.", parse=port)
    metrics_port: int = flag("9060", "Where Prometheus finds the metrics.", parse=port)
    hostname: str = flag("", "The name under which others reach this machine; its own name when empty.")
    advertise_ip: str = flag("", "The IPv4 address of the HTTP API that clients are told, a gateway's.", parse=ipv4)
    advertise_port: int = flag("5050", "The port of the HTTP API that clients are told, a gateway's.", parse=port)
    zk: ZooKeeperUrl | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "zk://[user:password@]host:port,…/path: stand for election there, and store there.",
        parse=ZooKeeperUrl.parse,
    )
    zk_session_timeout: float = flag("10secs", "After how much silence ZooKeeper ends a session.", parse=interval)
    allocator: tuple[str, int] = flag("127.0.0.1:5061", "Where the allocator is, without --zk.", parse=address)
    work_dir: Path = flag(  # noqa: RUF009  fields are made by it
        "/var/lib/mezzo/registry", "Where the SQLite store is, without --zk.", parse=folder
    )
    agent_ping_timeout: float = flag("15secs", "How often agents and registry give a sign of life.", parse=interval)
    max_agent_ping_timeouts: int = flag("5", "An agent silent for so many of these is unreachable.", parse=positive)
    agent_reregister_timeout: float = flag(
        "10mins", "How long agents have to come back after an election.", parse=duration
    )
    agent_removal_rate_limit: RateLimit | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "At most so many agents become unreachable in so much time, like 1/10mins.",
        parse=rate_limit,
        show=lambda limit: f"{limit.permits}/{durations.text_of(limit.per_seconds)}",
    )
    # Longer than any framework holds offers on purpose (Aurora: 5 to 6 minutes), short enough that one that hangs does
    # not keep them from the others for long. Mesos has no limit of its own.
    offer_timeout: float = flag(
        "10mins", "Offers that nobody answers for so long are rescinded; 0 for never.", parse=duration
    )
    scheduler_heartbeat_interval: float = flag("15secs", "How often frameworks get a HEARTBEAT.", parse=interval)
    max_completed_frameworks: int = flag("50", "How many completed frameworks are remembered.", parse=count)
    max_completed_tasks_per_framework: int = flag("1000", "How many completed tasks of each.", parse=count)
    max_unreachable_tasks_per_framework: int = flag("1000", "How many unreachable tasks of each.", parse=count)
    registry_gc_interval: float = flag("15mins", "How often unreachable agents are forgotten.", parse=interval)
    registry_max_agent_age: float = flag("2weeks", "Unreachable agents older than this are forgotten.", parse=duration)
    offer_constraints_re2_max_mem: int = flag(
        "4096", "Memory in bytes for each regular expression in offer constraints.", parse=byte_count
    )
    offer_constraints_re2_max_program_size: int = flag(
        "100", "The most instructions of a compiled regular expression in offer constraints.", parse=positive
    )
    domain: DomainInfo | None = flag(  # noqa: RUF009  fields are made by it
        None,
        f"Where this registry stands: region/zone, JSON like {domains.EXAMPLE}, or a file with it.",
        parse=domains.parse,
    )
    whitelist: Path | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "A file with the host names of the agents that may be offered, one a line; read again when it changes.",
        parse=whitelist_file,
    )
    require_agent_domain: bool = flag(False, "Refuse agents that do not say in which region and zone they are.")
    weights: tuple[tuple[str, float], ...] = flag(
        "",
        "Weights of roles, like role=2,other/role=0.5, where the store has none. Operators change them as it runs.",
        parse=role_weights,
        show=lambda weights: ",".join(f"{role}={weight:g}" for role, weight in weights),
    )
    publish_per_framework_metrics: bool = flag(
        True, "Whether /metrics/snapshot has the metrics of each framework. Prometheus never finds these."
    )
    registry_max_agent_count: int = flag("102400", "Of more unreachable agents the oldest are forgotten.", parse=count)
    log_level: str = flag("info", "debug, info, warning or error.", parse=one_of(*LEVELS))
    log_format: str = flag("auto", "json, console, or auto: console on a terminal.", parse=one_of(*FORMATS))

    def as_mesos_flags(self) -> dict[str, str]:
        """Every flag as text, and what is so here, and cannot be set, under the names of the flags of Mesos' master."""
        return {
            **UNCHANGEABLE,
            "logging_level": self.log_level.upper(),
            "registry": "sqlite" if self.zk is None else "zookeeper",
            **as_text(self),
        }

    def settings(self) -> Settings:
        """What the core is told of it."""
        return Settings(
            agent_ping_timeout=self.agent_ping_timeout,
            max_agent_ping_timeouts=self.max_agent_ping_timeouts,
            agent_reregister_timeout=self.agent_reregister_timeout,
            agent_removal_rate_limit=self.agent_removal_rate_limit,
            offer_timeout=self.offer_timeout or None,
            scheduler_heartbeat_interval=self.scheduler_heartbeat_interval,
            max_completed_frameworks=self.max_completed_frameworks,
            max_completed_tasks_per_framework=self.max_completed_tasks_per_framework,
            max_unreachable_tasks_per_framework=self.max_unreachable_tasks_per_framework,
            registry_gc_interval=self.registry_gc_interval,
            registry_max_agent_age=self.registry_max_agent_age,
            weights=dict(self.weights),
            offer_constraints=RegexLimits(
                self.offer_constraints_re2_max_mem, self.offer_constraints_re2_max_program_size
            ),
            require_agent_domain=self.require_agent_domain,
            publish_per_framework_metrics=self.publish_per_framework_metrics,
            registry_max_agent_count=self.registry_max_agent_count,
        )
