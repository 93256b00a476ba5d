"""Programs that others wrote, unmodified, against a real cluster."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mezzo_chassis.testing import ZooKeeperServer
from tests.cluster import Cluster

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = REPOSITORY / ".cache" / "clients" / "bin" / "python"
PROGRAMS = Path(__file__).parent / "programs"
SECONDS_MAX = 120

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="the clients are not installed: `make test` installs them")


def run(program: str, *arguments: object) -> Any:
    """The JSON that a program prints."""
    command = [str(PYTHON), str(PROGRAMS / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def needs(module: str) -> None:
    done = subprocess.run([str(PYTHON), "-c", f"import {module}"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"{module} cannot be imported here: {done.stderr.decode().splitlines()[-1]}")


def finished(prefix: str, count: int) -> dict[str, list[str]]:
    return {f"{prefix}-{number}": ["TASK_FINISHED"] for number in range(count)}


def test_pymesos_runs_commands(cluster: Cluster) -> None:
    needs("pymesos")
    outcome = run("pymesos_tasks.py", cluster.gateway().http, 20)
    assert outcome["ended"] == finished("pymesos", 20)
    assert outcome["version"] == "1.11.0"
    # Without MULTI_ROLE nothing tells of roles.
    assert "allocation_info" not in outcome["offer_keys"]


def test_pymesos_runs_tasks_on_an_executor_of_its_own(cluster: Cluster) -> None:
    needs("pymesos")
    command = f"{PYTHON} {PROGRAMS / 'pymesos_executor.py'}"
    outcome = run("pymesos_executor_tasks.py", cluster.gateway().http, 3, command)
    assert outcome["ended"] == finished("echo", 3)
    assert outcome["data"] == {f"echo-{number}": f"did echo-{number}" for number in range(3)}
    assert outcome["messages"] == ["heard a word"]


def test_pymesos_asks_as_an_operator(cluster: Cluster) -> None:
    needs("pymesos")
    answers = run("pymesos_operator.py", cluster.gateway().http, cluster.agent().http)
    assert answers["master getMaster"] == ["get_master", "type"]
    assert answers["master getState"] == answers["agent getState"] == ["get_state", "type"]
    assert answers["agent getContainers"] == ["get_containers", "type"]
    assert len(answers) == 20


def test_pymesos_finds_the_master_through_zookeeper(zookeeper: ZooKeeperServer, tmp_path: Path) -> None:
    needs("pymesos")
    with Cluster(tmp_path / "cluster", zookeeper=zookeeper):
        outcome = run("pymesos_tasks.py", zookeeper.url(), 5)
    assert outcome["ended"] == finished("pymesos", 5)


@pytest.mark.parametrize("module", ["avmesos", "mesoshttp"])
def test_mesos_client_runs_commands(module: str, cluster: Cluster) -> None:
    needs(f"{module}.client")
    outcome = run("mesos_client_tasks.py", module, cluster.url, 10)
    assert outcome["ended"] == finished(module, 10)
