"""`mezzo --version`: which version this is, and of which commit."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

# Below `sys.prefix`, where images write it; the services read the same one.
REVISION_FILE = Path("share/mezzo/revision")


def show(wanted: bool) -> None:
    """Print the version and end, where that is wanted."""
    if wanted:
        typer.echo(f"mezzo {described()}")
        raise typer.Exit


def described() -> str:
    """`0.1.0`, or `0.1.0 (commit 3f2a…)` where the commit is known."""
    from importlib.metadata import version

    commit = _revision()
    return f"{version('mezzo')} (commit {commit})" if commit else version("mezzo")


def _revision() -> str:
    try:
        return (Path(sys.prefix) / REVISION_FILE).read_text().strip()
    except FileNotFoundError:
        return ""
