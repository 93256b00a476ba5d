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
"""Flags of Mesos' master that cannot be set here, and what they would say: tools ask for them."""
_RATE = re.compile(r"\s*(\d+)\s*/\s*(.+)\Z")


def rate_limit(text: str) -> RateLimit:
    """Parse a rate like `1/10mins`."""
    matched = _RATE.match(text)
    if matched is None or int(matched[1]) < 1:
        raise ValueError(f"{text!r} is not a rate like 1/10mins")
    return RateLimit(int(matched[1]), duration(matched[2]))


def positive(text: str) -> int:
    """Parse a whole number from 1."""
    number = count(text)
    if number < 1:
        raise ValueError(f"{number} is less than 1")
    return number


def whitelist_file(text: str) -> Path | None:
    """Parse a path, or Mesos' `*` for none."""
    return None if text == "*" else folder(text.removeprefix("file://"))


def role_weights(text: str) -> tuple[tuple[str, float], ...]:
    """Parse weights like `role=2,other/role=0.5`."""
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

    ip: str = flag(
        "0.0.0.0", "The IP address on which the registry listens, for gRPC and metrics.", heading="Addresses"
    )
    grpc_port: int = flag(
        "5060", "The port of the gRPC server: agents, frameworks, gateways and operators.", parse=port
    )
    metrics_port: int = flag("9060", "The port of the HTTP server with the metrics for Prometheus.", parse=port)
    hostname: str = flag(
        "", "The host name under which agents and gateways reach this registry; by default --ip, or the machine's name."
    )
    advertise_ip: str = flag(
        "",
        "The IPv4 address of a gateway's HTTP API, for clients that look for the leader; by default the registry's.",
        parse=ipv4,
    )
    advertise_port: int = flag(
        "5050", "The port of a gateway's HTTP API, for clients that look for the leader.", parse=port
    )
    zk: ZooKeeperUrl | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "ZooKeeper, as zk://[user:password@]host:port,…/path, where the registry stands for election and keeps its "
        "state; by default the registry leads alone, and keeps its state in --work_dir.",
        parse=ZooKeeperUrl.parse,
        heading="Election and store",
    )
    zk_session_timeout: float = flag(
        "10secs",
        "The time-out of the session with ZooKeeper: without a sign of life for so long, ZooKeeper ends it.",
        parse=interval,
    )
    allocator: tuple[str, int] = flag(
        "127.0.0.1:5061",
        "The allocator's gRPC server, as host:port, where there is no --zk to detect it.",
        parse=address,
    )
    work_dir: Path = flag(  # noqa: RUF009  fields are made by it
        "/var/lib/mezzo/registry", "The folder of the SQLite store, where there is no --zk.", parse=folder
    )
    agent_ping_timeout: float = flag(
        "15secs",
        "The time between heartbeats of a session with an agent, in both directions.",
        parse=interval,
        heading="Agents",
    )
    max_agent_ping_timeouts: int = flag(
        "5", "How many --agent_ping_timeout without a message from an agent make the agent unreachable.", parse=positive
    )
    agent_reregister_timeout: float = flag(
        "10mins",
        "The time that agents have to re-register after an election before they are unreachable.",
        parse=duration,
    )
    agent_removal_rate_limit: RateLimit | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "The maximum rate at which agents become unreachable, like 1/10mins; by default there is none.",
        parse=rate_limit,
        show=lambda limit: f"{limit.permits}/{durations.text_of(limit.per_seconds)}",
    )
    # Longer than any framework holds offers on purpose (Aurora: 5 to 6 minutes), short enough that one that hangs does
    # not keep them from the others for long. Mesos has no limit of its own.
    offer_timeout: float = flag(
        "10mins",
        "The time after which an offer that its framework has not answered is rescinded; 0 for never.",
        parse=duration,
        heading="Frameworks",
    )
    scheduler_heartbeat_interval: float = flag(
        "15secs", "The time between HEARTBEAT events on a framework's event stream.", parse=interval
    )
    max_completed_frameworks: int = flag(
        "50",
        "The maximum number of completed frameworks that are kept; the oldest are forgotten.",
        parse=count,
        heading="What is remembered",
    )
    max_completed_tasks_per_framework: int = flag(
        "1000",
        "The maximum number of completed tasks that are kept of each framework; the oldest are forgotten.",
        parse=count,
    )
    max_unreachable_tasks_per_framework: int = flag(
        "1000",
        "The maximum number of unreachable tasks that are kept of each framework; the oldest are forgotten.",
        parse=count,
    )
    registry_gc_interval: float = flag(
        "15mins", "The time between removals of unreachable agents that are too old or too many.", parse=interval
    )
    registry_max_agent_age: float = flag(
        "2weeks", "The time after which an unreachable agent is forgotten.", parse=duration
    )
    offer_constraints_re2_max_mem: int = flag(
        "4096", "The maximum memory of a regular expression in offer constraints, in bytes.", parse=byte_count
    )
    offer_constraints_re2_max_program_size: int = flag(
        "100",
        "The maximum number of instructions of a compiled regular expression in offer constraints.",
        parse=positive,
    )
    registry_max_agent_count: int = flag(
        "102400", "The maximum number of unreachable agents that are kept; the oldest are forgotten.", parse=count
    )
    domain: DomainInfo | None = flag(  # noqa: RUF009  fields are made by it
        None,
        f"The registry's fault domain: region/zone, JSON like {domains.EXAMPLE}, or a file with it; by default none.",
        parse=domains.parse,
        heading="Cluster",
    )
    whitelist: Path | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "A file with the host names of the agents that may be offered, one a line, which is read again when it "
        "changes; by default all agents may be offered.",
        parse=whitelist_file,
    )
    require_agent_domain: bool = flag(False, "Refuse agents without a fault domain (their --domain).")
    weights: tuple[tuple[str, float], ...] = flag(
        "",
        "The weights of roles, like role=2,other/role=0.5, while the store has none; operators change those by calls.",
        parse=role_weights,
        show=lambda weights: ",".join(f"{role}={weight:g}" for role, weight in weights),
    )
    publish_per_framework_metrics: bool = flag(
        True,
        "Include the metrics of each framework in /metrics/snapshot. Prometheus' metrics never include them.",
        heading="Metrics and logs",
    )
    log_level: str = flag(
        "info", "The lowest level that is logged: debug, info, warning or error.", parse=one_of(*LEVELS)
    )
    log_format: str = flag(
        "auto",
        "The format of log lines: json, console, or auto, which is console on a terminal and json elsewhere.",
        parse=one_of(*FORMATS),
    )

    def as_mesos_flags(self) -> dict[str, str]:
        """Return every flag as text, and the flags of Mesos' master that cannot be set here."""
        return {
            **UNCHANGEABLE,
            "logging_level": self.log_level.upper(),
            "registry": "sqlite" if self.zk is None else "zookeeper",
            **as_text(self),
        }

    def settings(self) -> Settings:
        """Return the flags that decisions of the core depend on."""
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
