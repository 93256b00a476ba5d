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
"""Flags of Mesos' agent that cannot be set here, with what holds instead: shown in /flags, since tools read them."""


def recover(text: str) -> str:
    """`reconnect` or `cleanup`."""
    if text not in RECOVER:
        raise ValueError(f"{text!r} must be one of {', '.join(RECOVER)}")
    return text


def environment(text: str) -> dict[str, str]:
    """A JSON object of names and values, both strings."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"must be JSON: {error}") from None
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError("must be a JSON object whose values are strings")
    return value


def names_alone(environment: dict[str, str]) -> str:
    """What is shown of an environment: its values may be secrets."""
    return json.dumps(dict.fromkeys(environment, SECRET))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every flag of the agent. Those that Mesos' agent has too have its names and defaults."""

    master: ZooKeeperUrl | tuple[str, int] = flag(  # noqa: RUF009  fields are made by it
        "127.0.0.1:5060",
        "The registry: host:port of its gRPC server, or zk://host:port,…/path to detect the leading one.",
        parse=master,
        show=master_text,
        heading="Cluster",
    )
    zk_session_timeout: float = flag(
        "10secs",
        "The time-out of the session with ZooKeeper: without a sign of life for so long, ZooKeeper ends it.",
        parse=interval,
    )
    ip: str = flag(
        "0.0.0.0", "The IP address on which the agent listens, for HTTP, gRPC and metrics.", heading="Addresses"
    )
    port: int = flag(
        "5051", "The port of the HTTP server: executor API, operator API, Mesos' legacy endpoints.", parse=port_number
    )
    grpc_port: int = flag("5056", "The port of the gRPC server: executor API.", parse=port_number)
    metrics_port: int = flag("9063", "The port of the HTTP server with the metrics for Prometheus.", parse=port_number)
    allowed_hosts: tuple[str, ...] = flag(
        "",
        "Host names, separated by commas, by which clients reach this agent beside its own: mezzo.example, .example "
        "for all below it, or * for any. Requests to other public names get 421; web pages from these hosts may send "
        "requests that change something.",
        parse=host_names,
        show=",".join,
    )
    max_connections: int = flag(
        10_000, "The maximum number of open HTTP connections; a further one gets 503.", parse=count
    )
    max_connections_per_peer: int = flag(
        5_000, "The maximum number of open HTTP connections of one IP address; a further one gets 503.", parse=count
    )
    hostname: str = flag("", "The host name under which the agent registers; by default that of the machine.")
    advertise_ip: str = flag(
        "", "The IPv4 address under which executors and the registry reach the agent; by default --ip.", parse=ipv4
    )
    advertise_port: int | None = flag(
        None,
        "The port under which executors and the registry reach the agent's HTTP server; by default --port.",
        parse=port_number,
    )
    domain_socket: Path | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "The path of a Unix socket on which the executor API is served as well; by default there is none.",
        parse=folder,
    )
    work_dir: Path = flag(  # noqa: RUF009  fields are made by it
        "/var/lib/mezzo/agent",
        "The folder of the agent's persistent files: sandboxes, and the journal from which it recovers.",
        parse=folder,
        heading="Folders",
    )
    runtime_dir: Path | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "The folder of runtime files of containers, which a reboot may remove; by default <work_dir>/run.",
        parse=folder,
    )
    resources: str = flag(
        "",
        "The agent's resources, as JSON or like cpus:8;mem(ads):4096;ports:[31000-32000], mem and disk in MB. Of cpus, "
        "mem, disk and ports, those that are not named are detected.",
        heading="Resources",
    )
    attributes: str = flag("", "The agent's attributes, like rack:r2;level:10; by default it has none.")
    default_role: str = flag("*", "The role of the resources in --resources that name no role.")
    domain: DomainInfo | None = flag(  # noqa: RUF009  fields are made by it
        None,
        f"The agent's fault domain: region/zone, JSON like {domains.EXAMPLE}, or a file with it; by default none.",
        parse=domains.parse,
    )
    isolation: str = flag(
        "posix/cpu,posix/mem", "The isolators of containers, separated by commas.", heading="Containers"
    )
    switch_user: bool = flag(
        True, "Run each task as its own user, for which the agent has to be root; otherwise as the agent's user."
    )
    frameworks_home: Path | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "The folder that relative URIs of a command are resolved in; by default they are refused.",
        parse=folder,
        heading="Fetching",
    )
    fetcher_cache_dir: Path | None = flag(  # noqa: RUF009  fields are made by it
        None, "The folder of the cache of fetched files; by default <work_dir>/fetch.", parse=folder
    )
    fetcher_cache_size: int = flag("2GB", "The maximum size of the cache of fetched files, like 2GB.", parse=byte_count)
    fetcher_stall_timeout: float = flag(
        "1mins", "The time without progress after which a download fails.", parse=interval
    )
    max_stdout_size: int = flag(
        "10MB",
        "The size at which the file stdout of a sandbox is rotated, like 10MB.",
        parse=byte_count,
        heading="Sandboxes",
    )
    max_stderr_size: int = flag(
        "10MB", "The size at which the file stderr of a sandbox is rotated, like 10MB.", parse=byte_count
    )
    max_stdout_files: int = flag("2", "The maximum number of rotated files of stdout in a sandbox.", parse=count)
    max_stderr_files: int = flag("2", "The maximum number of rotated files of stderr in a sandbox.", parse=count)
    gc_delay: float = flag(
        "1weeks",
        "The maximum age of sandboxes of ended executors; fuller disks shorten it (--gc_disk_headroom).",
        parse=duration,
    )
    gc_disk_headroom: float = flag(
        "0.1",
        "The fraction of the disk to keep free, from 0 to 1: the fuller the disk, the sooner sandboxes are removed.",
        parse=fraction,
    )
    disk_watch_interval: float = flag(
        "1mins",
        "The interval between measurements of the disk's usage, each followed by the removal of old sandboxes.",
        parse=interval,
    )
    executor_environment_variables: dict[str, str] | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "A JSON object of environment variables for every task and executor, who get nothing of the agent's own "
        "environment. PATH, unless it is named here, is /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin.",
        parse=environment,
        show=names_alone,
        heading="Executors",
    )
    executor_registration_timeout: float = flag(
        "1mins", "The time within which a launched executor has to subscribe; otherwise it is killed.", parse=duration
    )
    executor_reregistration_timeout: float = flag(
        "2secs",
        "The time within which an executor has to subscribe again after the agent restarted; otherwise it is killed.",
        parse=duration,
    )
    executor_shutdown_grace_period: float = flag(
        "5secs", "The time that an executor has to end after SHUTDOWN; then it is killed.", parse=duration
    )
    recovery_timeout: float = flag(
        "15mins",
        "The time for which executors of checkpointing frameworks are asked to wait for a disconnected agent.",
        parse=duration,
        heading="Recovery and registration",
    )
    authenticate_http_executors: bool = flag(
        False, "Require of executors the token that they find in MESOS_EXECUTOR_AUTHENTICATION_TOKEN."
    )
    registration_backoff_factor: float = flag(
        "1secs", "The maximum pause between two attempts to register.", parse=interval
    )
    max_completed_executors_per_framework: int = flag(
        "150", "The maximum number of completed executors of a framework that /state shows.", parse=count
    )
    recover: str = flag(
        "reconnect",
        "What to do with containers of an earlier agent: reconnect, or cleanup to end them all and exit.",
        parse=recover,
    )
    strict: bool = flag(
        True, "Refuse to start with a damaged journal, rather than to recover its intact records alone."
    )
    restart_on_defect: bool = flag(
        False,
        "After a defect, start the agent again in the same process rather than exit with code 7. For a container of "
        "Docker, in which tasks would end with its first process.",
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
