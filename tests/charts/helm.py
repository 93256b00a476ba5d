"""helm as the tests call it: what it renders, and what it refuses. It talks to no cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CHART = ROOT / "charts" / "mezzo"
CASES = sorted([*(HERE / "cases").glob("*.yaml"), *(CHART / "profiles").glob("*.yaml")])
# The release is called like the chart: what Kubernetes makes of such names once went wrong elsewhere.
RELEASE = "mezzo"
NAMESPACE = "clusters"
# What charts are rendered for; helm without a cluster takes the version that it was built with.
KUBERNETES_VERSION = "1.31"
COMMAND_SECONDS_MAX = 60

Manifest = dict[str, Any]


def find_helm() -> str | None:
    """helm on PATH, or the one that scripts/install-helm.sh has built."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mezzo"
    return shutil.which("helm") or next((str(built) for built in sorted(cache.glob("helm-*/helm"), reverse=True)), None)


HELM = find_helm()
needs_helm = pytest.mark.skipif(HELM is None, reason="no helm: scripts/install-helm.sh builds it")


class Refused(Exception):
    """What helm says when it refuses."""


def helm(*arguments: object) -> str:
    """What helm prints. Raises `Refused` with what it says instead."""
    assert HELM is not None
    ended = subprocess.run(
        [HELM, *map(str, arguments)], capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False
    )
    if ended.returncode != 0:
        raise Refused(ended.stdout + ended.stderr)
    return ended.stdout


def template(*arguments: object, chart: Path = CHART, release: str = RELEASE) -> str:
    where = ("--namespace", NAMESPACE, "--kube-version", KUBERNETES_VERSION)
    return helm("template", release, chart, *where, *arguments)


def with_stand_ins(folder: Path) -> Path:
    """A copy of the chart whose rules and dashboards are small and never change."""
    copy = folder / CHART.name
    shutil.copytree(CHART, copy)
    for name in ("rules", "dashboards"):
        shutil.rmtree(copy / name, ignore_errors=True)
        shutil.copytree(HERE / "stand_ins" / name, copy / name)
    return copy
