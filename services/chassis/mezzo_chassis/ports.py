"""Ports: whether one is free, and who holds it where it is not."""

from __future__ import annotations

import errno
import socket

import psutil

from mezzo_chassis.errors import Exit, StartupError


def check_port_is_free(host: str, port: int) -> None:
    """Raise a `StartupError` that names whoever holds the port: gRPC's own error names nobody."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise cannot_listen(host, port, error) from None


def cannot_listen(host: str, port: int, error: OSError) -> StartupError:
    """What keeps a server from listening: a port that another has, or an address that is wrong here."""
    if error.errno != errno.EADDRINUSE:
        return StartupError(Exit.BAD_CONFIGURATION, f"cannot listen on {host}:{port}: {error.strerror}")
    holder = holder_of(port)
    return StartupError(Exit.PORT_IN_USE, f"{host}:{port} is in use{f' by {holder}' if holder else ''}")


def holder_of(port: int) -> str | None:
    """`name (process 123)` of whoever listens on a port, where this user may know it."""
    try:
        for connection in psutil.net_connections("tcp"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and local and local[1] == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return None
    return None
