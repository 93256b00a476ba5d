"""What the machine has to offer, as far as --resources does not say."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from mesos.v1 import mesos_pb2 as mesos
from mezzo import attributes as attribute_texts
from mezzo.errors import MezzoError
from mezzo.resources import Resources, parse
from mezzo_agent.config import Config
from mezzo_chassis.errors import Exit, StartupError

T = TypeVar("T")

MIB = 1 << 20
MEM_LEFT_TO_SYSTEM_MIB = 1024
DISK_LEFT_TO_SYSTEM_MIB = 5 * 1024
DEFAULT_PORTS = "[31000-32000]"
"""As Mesos: half of the memory or disk is left where there is less than twice as much as these."""


def agent_info(config: Config) -> mesos.AgentInfo:
    """Describe the agent as it registers, without id and port.

    Raises:
        StartupError: a flag makes no sense; the error names it.
    """
    info = mesos.AgentInfo(hostname=hostname(config))
    info.resources.extend(_checked("--resources", lambda: total(config)).messages())
    info.attributes.extend(_checked("--attributes", lambda: attribute_texts.parse(config.attributes)))
    if config.domain is not None:
        info.domain.CopyFrom(config.domain)
    return info


def _checked(flag: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except MezzoError as error:
        raise StartupError(Exit.BAD_CONFIGURATION, f"{flag}: {error}") from None


def hostname(config: Config) -> str:
    if config.hostname:
        return config.hostname
    return config.ip if config.ip not in ("0.0.0.0", "::") else socket.getfqdn()


def reachable_ip(config: Config) -> str:
    """The address that executors are told."""
    if config.advertise_ip:
        return config.advertise_ip
    if config.ip not in ("0.0.0.0", "::"):
        return config.ip
    try:
        return socket.gethostbyname(hostname(config))
    except OSError:
        return "127.0.0.1"


def total(config: Config) -> Resources:
    """What --resources says, and what it does not speak of as detected."""
    given = parse(config.resources, config.default_role) if config.resources else Resources.EMPTY
    found = {
        "cpus": str(len(os.sched_getaffinity(0))),
        "mem": str(_without_reserve(psutil.virtual_memory().total // MIB, MEM_LEFT_TO_SYSTEM_MIB)),
        "disk": str(_without_reserve(_disk_mib(config.work_dir), DISK_LEFT_TO_SYSTEM_MIB)),
        "ports": DEFAULT_PORTS,
    }
    missing = ";".join(f"{name}:{amount}" for name, amount in found.items() if name not in given.names())
    return given + parse(missing, config.default_role) if missing else given


def _without_reserve(mib: int, reserve_mib: int) -> int:
    return mib - reserve_mib if mib > 2 * reserve_mib else mib // 2


def _disk_mib(folder: Path) -> int:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).total // MIB
