"""Which program this is: Mezzo's version and commit, and the version of Mesos whose API it speaks.

Images write the commit below the environment they install; elsewhere nobody knows it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mesos.v1.mesos_pb2 import VersionInfo

MESOS_VERSION = "1.11.0"
"""Shown as `version` wherever Mesos shows its own. Clients compare it with Mesos' releases: integers and dots alone."""
REVISION_FILE = Path("share/mezzo/revision")
"""Below `sys.prefix`."""
UNKNOWN_REVISION = "unknown"
"""What an image has that was built outside of a checkout."""
BUILD_USER = "mezzo"


def revision() -> str | None:
    """The commit that this installation was built from."""
    try:
        text = (Path(sys.prefix) / REVISION_FILE).read_text().strip()
    except FileNotFoundError:
        return None
    return None if text in ("", UNKNOWN_REVISION) else text


def described(version: str) -> str:
    """`0.1.0`, or `0.1.0 (commit 3f2a…)` where the commit is known."""
    commit = revision()
    return version if commit is None else f"{version} (commit {commit})"


@dataclass(frozen=True, slots=True)
class Build:
    """Mezzo's version, when its files were installed (seconds since the epoch), and the commit where it is known."""

    mezzo_version: str
    build_time: float
    git_sha: str | None = None

    @classmethod
    def installed(cls, version: str) -> Build:
        """The build that is running."""
        return cls(version, Path(__file__).stat().st_mtime, revision())

    def build_date(self) -> str:
        """The time of the build as Mesos writes it."""
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.build_time))

    def document(self) -> dict[str, object]:
        """The answer of `/version`, and the first keys of `/state`. Without a commit, as in Mesos, no `git_sha`."""
        document: dict[str, object] = {
            "build_date": self.build_date(),
            "build_time": self.build_time,
            "build_user": BUILD_USER,
            "mezzo_version": self.mezzo_version,
            "version": MESOS_VERSION,
        }
        return document if self.git_sha is None else {**document, "git_sha": self.git_sha}

    def message(self) -> VersionInfo:
        """The answer of GET_VERSION."""
        return VersionInfo(
            version=MESOS_VERSION,
            build_date=self.build_date(),
            build_time=self.build_time,
            build_user=BUILD_USER,
            git_sha=self.git_sha,
            git_tag=f"mezzo-{self.mezzo_version}",
        )
