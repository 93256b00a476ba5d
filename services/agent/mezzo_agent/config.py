"""The agent: runs tasks on one machine, and keeps their updates until they are acknowledged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mesos.v1.mesos_pb2 import DomainInfo
from mezzo import domains, durations
from mezzo.confidential import SECRET
from mezzo_chassis.config import as_text, byte_count, count, duration, flag, folder, fraction, interval, ipv4, one_of
from mezzo_chassis.config import port as port_number
from mezzo_chassis.http.browsers import host_names
from mezzo_chassis.leadership import ZooKeeperUrl, master, master_text
from mezzo_chassis.log import FORMATS, LEVELS

EXECUTOR_HEARTBEAT_INTERVAL_SECONDS = 30.0
RECOVER = ("reconnect", "cleanup")
UNCHANGEABLE = {
    "authenticate_http_readonly": "false",
    "authenticate_http_readwrite": "false",
    "containerizers": "mesos",
    "enforce_container_disk_quota": "false",
    "frameworks_home": "",
    "http_heartbeat_interval": durations.text_of(EXECUTOR_HEARTBEAT_INTERVAL_SECONDS),
    "launcher": "posix",
}
"""What flags of Mesos' agent would say that are none here: told, since tools ask for it, and not to be set."""


def recover(text: str) -> str:
    """`reconnect` or `cleanup`."""
    if text not in RECOVER:
        raise ValueError(f"{text!r} is neither of {', '.join(RECOVER)}")
    return text


def environment(text: str) -> dict[str, str]:
    """A JSON object of names and values, both strings."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError("expected a JSON object whose values are strings")
    return value


def names_alone(environment: dict[str, str]) -> str:
    """What is told of an environment: its values may be secrets."""
    return json.dumps(dict.fromkeys(environment, SECRET))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every flag of the agent. Those that Mesos' agent has too have its names and defaults."""

    master: ZooKeeperUrl | tuple[str, int] = flag(  # noqa: RUF009  fields are made by it
        "127.0.0.1:5060",
        "host:port of the registry's gRPC server, or zk://host:port,…/path.",
        parse=master,
        show=master_text,
    )
    zk_session_timeout: float = flag("10secs", "After how much silence ZooKeeper ends a session.", parse=interval)
    ip: str = flag("0.0.0.0", "The address to listen on.")
    port: int = flag("5051", "Where HTTP is served: executors, operators, the older endpoints.", parse=port_number)
    grpc_port: int = flag("5056", "Where the executor API is served by gRPC.", parse=port_number)
    metrics_port: int = flag("9063", "Where Prometheus finds the metrics.", parse=port_number)
    allowed_hosts: tuple[str, ...] = flag(
        "",
        "Names by which clients reach this agent beside its own, with commas between: mezzo.example, .example for "
        "all below it, or * for any. Requests to other public names get 421; pages from these hosts may change things.",
        parse=host_names,
        show=",".join,
    )
    max_connections: int = flag(10_000, "HTTP connections that may be open at once; more get 503.", parse=count)
    max_connections_per_peer: int = flag(
        5_000, "HTTP connections that one address may have open at once; more get 503.", parse=count
    )
    hostname: str = flag("", "The name under which others reach this machine; its own name when empty.")
    advertise_ip: str = flag(
        "", "The IPv4 address that executors and the registry are told; --ip when empty.", parse=ipv4
    )
    advertise_port: int | None = flag(None, "The port that they are told; --port when not set.", parse=port_number)
    domain_socket: Path | None = flag(  # noqa: RUF009  fields are made by it
        None, "Serve executors on this Unix socket as well.", parse=folder
    )
    work_dir: Path = flag(  # noqa: RUF009  fields are made by it
        "/var/lib/mezzo/agent", "Sandboxes, and what the agent has to know after a restart.", parse=folder
    )
    runtime_dir: Path | None = flag(  # noqa: RUF009  fields are made by it
        None, "What has to outlive the agent, but not the machine's restart; <work_dir>/run when not set.", parse=folder
    )
    resources: str = flag("", "As JSON or like cpus:8;mem(ads):4096;ports:[31000-32000]. The rest is detected.")
    attributes: str = flag("", "Like rack:r2;level:10.")
    default_role: str = flag("*", "The role of resources that name none.")
    domain: DomainInfo | None = flag(  # noqa: RUF009  fields are made by it
        None,
        f"Where this machine stands: region/zone, JSON like {domains.EXAMPLE}, or a file with it.",
        parse=domains.parse,
    )
    isolation: str = flag("posix/cpu,posix/mem", "The isolators to use, with commas between.")
    switch_user: bool = flag(True, "Run tasks as their own users; only root can.")
    frameworks_home: Path | None = flag(  # noqa: RUF009  fields are made by it
        None, "Where relative URIs of executors are looked for.", parse=folder
    )
    fetcher_cache_dir: Path | None = flag(  # noqa: RUF009  fields are made by it
        None, "Where fetched files are kept; <work_dir>/fetch when not set.", parse=folder
    )
    fetcher_cache_size: int = flag("2GB", "How much of the disk they may take.", parse=byte_count)
    fetcher_stall_timeout: float = flag("1mins", "A download without progress for so long has failed.", parse=interval)
    max_stdout_size: int = flag("10MB", "A task's stdout is rotated when it is larger.", parse=byte_count)
    max_stderr_size: int = flag("10MB", "A task's stderr is rotated when it is larger.", parse=byte_count)
    max_stdout_files: int = flag("2", "How many rotated files of stdout are kept.", parse=count)
    max_stderr_files: int = flag("2", "How many rotated files of stderr are kept.", parse=count)
    gc_delay: float = flag("1weeks", "How long sandboxes are kept at most.", parse=duration)
    gc_disk_headroom: float = flag("0.1", "The part of the disk that sandboxes leave free.", parse=fraction)
    disk_watch_interval: float = flag("1mins", "How often the disk is looked at.", parse=interval)
    executor_environment_variables: dict[str, str] | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "A JSON object of variables for every task and executor. They get nothing of the agent's own environment: "
        "PATH, unless it is named here, is /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin.",
        parse=environment,
        show=names_alone,
    )
    executor_registration_timeout: float = flag("1mins", "How long an executor has to subscribe.", parse=duration)
    executor_reregistration_timeout: float = flag("2secs", "The same, after the agent's restart.", parse=duration)
    executor_shutdown_grace_period: float = flag("5secs", "How long an executor has to end.", parse=duration)
    recovery_timeout: float = flag("15mins", "How long executors wait for an agent that is away.", parse=duration)
    authenticate_http_executors: bool = flag(False, "Refuse executors that do not send their token.")
    registration_backoff_factor: float = flag("1secs", "The longest pause between two registrations.", parse=interval)
    max_completed_executors_per_framework: int = flag("150", "How many are remembered.", parse=count)
    recover: str = flag("reconnect", "reconnect to what runs; or cleanup: end it all, and exit.", parse=recover)
    strict: bool = flag(True, "Refuse to start with a damaged journal.")
    log_level: str = flag("info", "debug, info, warning or error.", parse=one_of(*LEVELS))
    log_format: str = flag("auto", "json, console, or auto: console on a terminal.", parse=one_of(*FORMATS))

    def as_mesos_flags(self) -> dict[str, str]:
        """Every flag as text, and what is so here, and cannot be set, under the names of the flags of Mesos' agent."""
        return {
            **UNCHANGEABLE,
            "fetcher_cache_dir": str(self.work_dir / "fetch"),
            "http_executor_domain_sockets": str(self.domain_socket is not None).lower(),
            "logging_level": self.log_level.upper(),
            "runtime_dir": str(self.work_dir / "run"),
            **as_text(self),
        }
