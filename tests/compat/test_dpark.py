"""DPark, unmodified: `drun`, and a job whose stages run on DPark's own executor."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.compat.environments import PROGRAMS, Environment, under_another_name

DPARK = Environment("dpark")
NEEDED = ("-c", 0.1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One whose agent runs the tasks of any user as itself: root's other name is unknown to it."""
    DPARK.needs("dpark.schedule")
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        pytest.skip("DPark's executors connect to this machine's name, which does not resolve")
    folder = tmp_path_factory.mktemp("dpark")
    with Cluster(folder, flags={"agent": {"switch_user": "false"}}) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """DPark's own configuration: what it writes stays in the test's folder."""
    file = tmp_path / "dpark.conf"
    file.write_text(f"DPARK_WORK_DIR = {str(tmp_path / 'work')!r}\n")
    return {"DPARK_CONF": str(file)}


def test_drun_runs_commands_and_prints_what_they_print(
    cluster: Cluster, settings: dict[str, str], tmp_path: Path
) -> None:
    command = [DPARK.bin / "drun", "-s", cluster.gateway().http, "-n", 3, *NEEDED, "-m", 32]
    command += ["sh", "-c", "echo $DRUN_RANK of $DRUN_SIZE"]
    lines = DPARK.run(*command, prefix=under_another_name(tmp_path), variables=settings).splitlines()
    host = socket.gethostname()
    printed = sorted(line for line in lines if line.startswith("["))
    assert printed == [f"[{number}-0@{host}] {number} of 3" for number in range(3)]


def test_dpark_counts_words(cluster: Cluster, settings: dict[str, str], tmp_path: Path) -> None:
    command = [DPARK.python, PROGRAMS / "dpark_words.py", "-m", cluster.gateway().http, *NEEDED, "-M", 32]
    printed = DPARK.run(*command, prefix=under_another_name(tmp_path), variables=settings)
    counts = json.loads(printed.splitlines()[-1])
    assert counts == {"to": 2, "be": 2, "or": 1, "not": 1, "that": 1, "is": 1, "the": 1, "question": 1}
