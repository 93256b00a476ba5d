"""Which commit is running. Images write it below the environment they install; elsewhere nobody knows it."""

from __future__ import annotations

import sys
from pathlib import Path

REVISION_FILE = Path("share/mezzo/revision")
"""Below `sys.prefix`."""


def revision() -> str | None:
    """The commit that this installation was built from."""
    try:
        return (Path(sys.prefix) / REVISION_FILE).read_text().strip() or None
    except FileNotFoundError:
        return None


def described(version: str) -> str:
    """`0.1.0`, or `0.1.0 (commit 3f2a…)` where the commit is known."""
    commit = revision()
    return version if commit is None else f"{version} (commit {commit})"
