"""docs/frameworks.md: the framework that it shows runs as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def test_the_framework_of_the_page_runs_its_task(cluster: Cluster, tmp_path: Path) -> None:
    program = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
    (tmp_path / "hello.py").write_text(program)
    ended = subprocess.run(
        [sys.executable, tmp_path / "hello.py"],
        env={**os.environ, "GATEWAY": cluster.url},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    told = [line.split()[:2] for line in ended.stdout.splitlines()]
    assert told == [["hello-1", f"TASK_{state}"] for state in ("STARTING", "RUNNING", "FINISHED")]
