"""Which program this is, in the terms that clients of Mesos ask in."""

from __future__ import annotations

import time
from pathlib import Path

from mesos.v1.mesos_pb2 import VersionInfo
from mezzo_agent import __version__

MESOS_VERSION = "1.11.0"
"""What clients compare with Mesos' own releases: dotted integers, no suffix."""
BUILD_USER = "mezzo"
BUILD_TIME = Path(__file__).stat().st_mtime


def build_date() -> str:
    """As Mesos writes it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(BUILD_TIME))


def document() -> dict[str, object]:
    """The answer of `/version`, and the first keys of `/state`."""
    return {
        "build_date": build_date(),
        "build_time": BUILD_TIME,
        "build_user": BUILD_USER,
        "mezzo_version": __version__,
        "version": MESOS_VERSION,
    }


def message() -> VersionInfo:
    """The answer of GET_VERSION."""
    return VersionInfo(
        version=MESOS_VERSION,
        build_date=build_date(),
        build_time=BUILD_TIME,
        build_user=BUILD_USER,
        git_tag=f"mezzo-{__version__}",
    )
