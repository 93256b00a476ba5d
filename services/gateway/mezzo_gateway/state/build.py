"""Which program this is, in the terms that clients of Mesos ask in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mesos.v1.mesos_pb2 import VersionInfo

# What clients compare with Mesos' own releases: Mezzo speaks the API of this one. Dotted integers, no suffix.
MESOS_VERSION = "1.11.0"


@dataclass(frozen=True, slots=True)
class Build:
    """Mezzo's version, and when its files were installed (seconds since the epoch)."""

    mezzo_version: str
    build_time: float

    @staticmethod
    def installed() -> Build:
        """The build that is running."""
        return Build(version("mezzo-gateway"), Path(__file__).stat().st_mtime)

    def build_date(self) -> str:
        """The time of the build as Mesos writes it."""
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.build_time))

    def model(self) -> dict[str, object]:
        """The answer of `/version`; the first keys of `/state`."""
        return {
            "build_date": self.build_date(),
            "build_time": self.build_time,
            "build_user": "mezzo",
            "mezzo_version": self.mezzo_version,
            "version": MESOS_VERSION,
        }

    def message(self) -> VersionInfo:
        """The answer of GET_VERSION."""
        return VersionInfo(
            version=MESOS_VERSION,
            build_date=self.build_date(),
            build_time=self.build_time,
            build_user="mezzo",
            git_tag=f"mezzo-{self.mezzo_version}",
        )
