"""Toil, unmodified: its batch system is a framework, and runs jobs on an executor of its own."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.compat.environments import PROGRAMS, Environment

TOIL = Environment("toil")
pytestmark = pytest.mark.slow("Toil asks for what became of its jobs at intervals of its own")


def workflow(cluster: Cluster, folder: Path, *options: object) -> Any:
    """What a workflow returns. Its script lies in a folder of its own: Toil sends the whole folder to its workers."""
    script = folder / "script" / "toil_workflow.py"
    script.parent.mkdir()
    script.write_bytes((PROGRAMS / script.name).read_bytes())
    (folder / "work").mkdir()
    command = [TOIL.python, "-W", "ignore", script, "--batchSystem", "mesos", "--mesosEndpoint", cluster.gateway().http]
    command += ["--workDir", folder / "work", "--coordinationDir", folder / "work", "--statePollingWait", 1]
    command += [*options, f"file:{folder / 'store'}"]
    # Toil names its executor by its whole path only when it is told that it lives in a virtual environment.
    variables = {"HOME": str(folder), "TOIL_CHECK_ENV": "True"}
    return json.loads(TOIL.run(*command, variables=variables).splitlines()[-1])


def completed(cluster: Cluster, name: str) -> Any:
    with urllib.request.urlopen(f"{cluster.url}/state", timeout=30) as response:
        frameworks = json.load(response)["completed_frameworks"]
    return next(framework for framework in frameworks if framework["name"] == name)


def test_toil_runs_a_workflow_on_its_own_executor(cluster: Cluster, tmp_path: Path) -> None:
    TOIL.needs("toil.batchSystems.mesos.batchSystem")
    # Toil sends the role as a lone string, for an array of them.
    answers = workflow(cluster, tmp_path, "--mesosName", "roles", "--mesosRole", "science")
    assert [answer["number"] for answer in answers] == [0, 1, 2]
    framework = completed(cluster, "roles")
    assert framework["roles"] == ["science"]
    executors = {task["executor_id"] for task in framework["completed_tasks"]}
    assert {answer["executor"] for answer in answers} == executors
    assert len(executors) == 1
    assert executors.pop().startswith("toil-")
    assert {task["state"] for task in framework["completed_tasks"]} == {"TASK_FINISHED"}
