"""The gateway: HTTP for everything that speaks HTTP.

Serves Mesos' v1 scheduler and operator APIs and its legacy endpoints for a cluster whose leading registry it finds
through --master.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mezzo_chassis.config import byte_count, count, duration, flag, folder, interval, one_of
from mezzo_chassis.config import port as port_number
from mezzo_chassis.http.browsers import host_names
from mezzo_chassis.leadership import ZooKeeperUrl, master, master_text
from mezzo_chassis.log import FORMATS, LEVELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a gateway can be told."""

    ip: str = flag("0.0.0.0", "The address to listen on.")
    port: int = flag(5050, "Where HTTP is served; 0 picks a free port.", parse=port_number)
    ssl_cert_file: Path | None = flag(  # noqa: RUF009  fields are made by it
        None, "A certificate in PEM, and those that vouch for it: --port then serves HTTPS alone.", parse=folder
    )
    ssl_key_file: Path | None = flag(  # noqa: RUF009  fields are made by it
        None, "The private key of --ssl_cert_file, in PEM.", parse=folder
    )
    grpc_port: int = flag(5055, "Where gRPC health and reflection are served.", parse=port_number)
    metrics_port: int = flag(9062, "Where Prometheus metrics are served.", parse=port_number)
    hostname: str = flag("", "The host name that stands for this gateway; by default the address it listens on.")
    advertise_ip: str = flag("", "The address under which this gateway is reached, where it is another than --ip.")
    advertise_port: int = flag(
        0, "The port under which this gateway is reached, where it is another than --port.", parse=port_number
    )
    master: ZooKeeperUrl | tuple[str, int] = flag(  # noqa: RUF009  fields are made by it
        "127.0.0.1:5060",
        "Where the leading registry is found: its gRPC address, or zk://[user:password@]host:port,…/path.",
        parse=master,
        show=master_text,
    )
    zk_session_timeout: float = flag(
        "10secs", "How long ZooKeeper keeps a session without a sign of life.", parse=interval
    )
    heartbeat_interval: float = flag("15secs", "Pause between heartbeats on operators' event streams.", parse=interval)
    max_body_size: int = flag(
        "16MB",
        "The largest request body that is read, decompressed. Small messages in protobuf take 25 times that of memory.",
        parse=byte_count,
    )
    max_total_body_size: int = flag(
        "64MB",
        "The bodies of all requests that are being answered may have so many bytes together; more get 503.",
        parse=byte_count,
    )
    allowed_hosts: tuple[str, ...] = flag(
        "",
        "Names by which clients reach this gateway beside its own, with commas between: mezzo.example, .example for "
        "all below it, or * for any. Requests to other public names get 421; pages from these hosts may change things.",
        parse=host_names,
        show=",".join,
    )
    max_connections: int = flag(10_000, "HTTP connections that may be open at once; more get 503.", parse=count)
    max_connections_per_peer: int = flag(
        5_000, "HTTP connections that one address may have open at once; more get 503.", parse=count
    )
    max_operator_event_stream_subscribers: int = flag(
        1000, "How many operators' event streams may be open at once.", parse=count
    )
    agent_timeout: float = flag("10secs", "How long an agent may take to begin an answer about files.", parse=duration)
    log_level: str = flag("info", "debug, info, warning or error.", parse=one_of(*LEVELS))
    log_format: str = flag("auto", "json, console, or auto: console on a terminal.", parse=one_of(*FORMATS))
