"""Programs that others wrote, unmodified, against a real cluster."""

from pathlib import Path

import pytest

from mezzo_chassis.testing import ZooKeeperServer
from tests.cluster import Cluster
from tests.compat.environments import PROGRAMS, Environment

CLIENTS = Environment("clients")


def finished(prefix: str, count: int) -> dict[str, list[str]]:
    return {f"{prefix}-{number}": ["TASK_FINISHED"] for number in range(count)}


def test_pymesos_runs_commands(cluster: Cluster) -> None:
    CLIENTS.needs("pymesos")
    outcome = CLIENTS.answer("pymesos_tasks.py", cluster.gateway().http, 20)
    assert outcome["ended"] == finished("pymesos", 20)
    assert outcome["version"] == "1.11.0"
    # Without MULTI_ROLE nothing tells of roles.
    assert "allocation_info" not in outcome["offer_keys"]


def test_pymesos_runs_tasks_on_an_executor_of_its_own(cluster: Cluster) -> None:
    CLIENTS.needs("pymesos")
    command = f"{CLIENTS.python} {PROGRAMS / 'pymesos_executor.py'}"
    outcome = CLIENTS.answer("pymesos_executor_tasks.py", cluster.gateway().http, 3, command)
    assert outcome["ended"] == finished("echo", 3)
    assert outcome["data"] == {f"echo-{number}": f"did echo-{number}" for number in range(3)}
    assert outcome["messages"] == ["heard a word"]


def test_pymesos_asks_as_an_operator(cluster: Cluster) -> None:
    CLIENTS.needs("pymesos")
    answers = CLIENTS.answer("pymesos_operator.py", cluster.gateway().http, cluster.agent().http)
    assert answers["master getMaster"] == ["get_master", "type"]
    assert answers["master getState"] == answers["agent getState"] == ["get_state", "type"]
    assert answers["agent getContainers"] == ["get_containers", "type"]
    assert len(answers) == 20


def test_pymesos_finds_the_master_through_zookeeper(zookeeper: ZooKeeperServer, tmp_path: Path) -> None:
    CLIENTS.needs("pymesos")
    with Cluster(tmp_path / "cluster", zookeeper=zookeeper):
        outcome = CLIENTS.answer("pymesos_tasks.py", zookeeper.url(), 5)
    assert outcome["ended"] == finished("pymesos", 5)


@pytest.mark.parametrize("module", ["avmesos", "mesoshttp"])
def test_mesos_client_runs_commands(module: str, cluster: Cluster) -> None:
    CLIENTS.needs(f"{module}.client")
    outcome = CLIENTS.answer("mesos_client_tasks.py", module, cluster.url, 10)
    assert outcome["ended"] == finished(module, 10)
