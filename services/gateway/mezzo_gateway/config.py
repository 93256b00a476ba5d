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

    ip: str = flag(
        "0.0.0.0",
        "The IP address on which the gateway listens, for HTTP, gRPC and metrics.",
        heading="Addresses and TLS",
    )
    port: int = flag(5050, "The port of the HTTP server; 0 picks a free one.", parse=port_number)
    ssl_cert_file: Path | None = flag(  # noqa: RUF009  fields are made by it
        None,
        "The file of the HTTPS server's certificate in PEM, followed by those that vouch for it; with it, --port "
        "serves HTTPS alone. By default it serves HTTP.",
        parse=folder,
    )
    ssl_key_file: Path | None = flag(  # noqa: RUF009  fields are made by it
        None, "The file of the private key of --ssl_cert_file, in PEM and not encrypted.", parse=folder
    )
    grpc_port: int = flag(5055, "The port of the gRPC server: health and reflection.", parse=port_number)
    metrics_port: int = flag(9062, "The port of the HTTP server with the metrics for Prometheus.", parse=port_number)
    hostname: str = flag("", "The host name under which clients reach the gateway; by default --ip.")
    advertise_ip: str = flag("", "The IP address under which clients reach the gateway; by default --ip.")
    advertise_port: int = flag(
        0, "The port under which clients reach the gateway; by default --port.", parse=port_number
    )
    master: ZooKeeperUrl | tuple[str, int] = flag(  # noqa: RUF009  fields are made by it
        "127.0.0.1:5060",
        "The registry: host:port of its gRPC server, or zk://[user:password@]host:port,…/path to detect the "
        "leading one.",
        parse=master,
        show=master_text,
        heading="Cluster",
    )
    zk_session_timeout: float = flag(
        "10secs",
        "The time-out of the session with ZooKeeper: without a sign of life for so long, ZooKeeper ends it.",
        parse=interval,
    )
    heartbeat_interval: float = flag(
        "15secs",
        "The time between two heartbeats on an operator event stream.",
        parse=interval,
        heading="HTTP",
    )
    max_body_size: int = flag(
        "16MB",
        "The maximum size of a request body, decompressed; a larger one gets 413. Small messages in protobuf take "
        "25 times that of memory.",
        parse=byte_count,
    )
    max_total_body_size: int = flag(
        "64MB",
        "The maximum size of the bodies of all requests in progress together, decompressed; beyond it requests "
        "get 503.",
        parse=byte_count,
    )
    allowed_hosts: tuple[str, ...] = flag(
        "",
        "Host names, separated by commas, by which clients reach this gateway beside its own: mezzo.example, .example "
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
    max_operator_event_stream_subscribers: int = flag(
        1000, "The maximum number of open operator event streams; a further SUBSCRIBE gets 503.", parse=count
    )
    agent_timeout: float = flag(
        "10secs",
        "The time within which an agent has to accept a connection, and within which the next bytes of its answer "
        "have to come.",
        parse=duration,
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
