"""paasta_tools' client of Mesos, unmodified, against a real cluster that ZooKeeper knows."""

import asyncio
import json
from pathlib import Path

from mesos.v1 import mesos_pb2 as mesos
from mezzo.scheduler import HttpTransport
from mezzo_chassis.testing import ZooKeeperServer
from tests.cluster import Cluster
from tests.compat.environments import Environment
from tests.framework import Framework

PAASTA = Environment("paasta")
# More than the 1,024 bytes that paasta_tools reads at once.
LINES = 1000


def configure(folder: Path, zookeeper: ZooKeeperServer) -> dict[str, str]:
    """What PaaSTA's own configuration says of a cluster, and the variable that names it."""
    folder.mkdir()
    client = folder / "client.json"
    client.write_text(json.dumps({"default": {"master": zookeeper.url(), "scheme": "http", "response_timeout": 30}}))
    (folder / "system.json").write_text(
        json.dumps({"mesos_config": {"path": str(client)}, "zookeeper": zookeeper.url()})
    )
    return {"PAASTA_SYSTEM_CONFIG_DIR": str(folder)}


async def test_paasta_reads_state_tasks_and_files_and_tears_a_framework_down(
    zookeeper: ZooKeeperServer, tmp_path: Path
) -> None:
    PAASTA.needs("paasta_tools.mesos_tools")
    variables = configure(tmp_path / "paasta", zookeeper)
    with Cluster(tmp_path / "cluster", zookeeper=zookeeper) as cluster:
        async with Framework(HttpTransport(cluster.url)) as framework:
            running = framework.add("sleep 1000")
            await framework.job_is(running, mesos.TASK_RUNNING)
            finished = framework.add(f"seq {LINES}")
            await framework.job_is(finished, mesos.TASK_FINISHED)
            framework_id = framework.client.framework_id
            arguments = (framework_id, running.task_id, finished.task_id)
            answers = await asyncio.to_thread(PAASTA.answer, "paasta_operator.py", *arguments, variables=variables)
    assert answers.pop("rss") > 0
    assert answers == {
        "leader": f"http://{cluster.gateway().http}",
        "masters": 1,
        "quorum": 1,
        "zookeeper": zookeeper.url(),
        "agents": [cluster.agent().http],
        "agents' ip": "127.0.0.1",
        "agents' frameworks": [framework_id],
        "frameworks": [framework_id],
        "framework": ["test", True, 0.1],
        "counts": [1],
        "tasks of the agent": [running.task_id],
        "state": "TASK_RUNNING",
        "orphans": [],
        "metrics": {
            "master/cpus_total": 4,
            "master/gpus_total": 0,
            "master/tasks_running": 1,
            "master/slaves_active": 1,
        },
        "mem limit": 32 * 2**20,
        "files": ["stderr", "stdout"],
        "missing file": False,
        "tails": {"stdout": [str(LINES - 1), str(LINES), ""], "stderr": [""]},
        "lines": [str(number + 1) for number in range(LINES)],
        "status": [True, True],
        "teardown": 200,
    }
