"""Asks a cluster through paasta_tools' Mesos client, as PaaSTA's operators do. Prints what it learned, as JSON.

Usage: paasta_operator.py FRAMEWORK_ID RUNNING_TASK_ID FINISHED_TASK_ID; PAASTA_SYSTEM_CONFIG_DIR names the cluster.
The framework is torn down at the end.
"""

import asyncio
import json
import sys

from paasta_tools import mesos_tools
from paasta_tools.async_utils import aiter_to_list
from paasta_tools.mesos.cluster import get_files_for_tasks

METRICS = ("master/cpus_total", "master/gpus_total", "master/tasks_running", "master/slaves_active")


async def ask(framework_id, running_id, finished_id):
    master = mesos_tools.get_mesos_master()
    running = await mesos_tools.get_task(running_id)
    (finished,) = mesos_tools.select_tasks_by_id(await mesos_tools.get_non_running_tasks_from_frameworks(), finished_id)
    agent = await running.slave()
    framework = await master.framework(framework_id)
    metrics = await master.metrics_snapshot()
    counts = await mesos_tools.get_mesos_task_count_by_slave(await master.state_summary())
    files = await aiter_to_list(get_files_for_tasks([running], ["stdout", "stderr", "nothing"], 5))
    zookeeper = mesos_tools.get_zookeeper_config(await master.state())
    return {
        "leader": master.host,
        "quorum": await mesos_tools.get_mesos_quorum(),
        "zookeeper": "zk://{hosts}/{path}".format(**zookeeper),
        "agents' ip": mesos_tools.slave_pid_to_ip(agent["pid"]),
        "agents' frameworks": [each["id"] for each in await agent.frameworks()],
        "frameworks": await mesos_tools.list_framework_ids(active_only=True),
        "framework": [framework.name, framework.active, framework.cpu_allocated],
        "counts": [each["task_counts"].count for each in counts],
        "tasks of the agent": [
            each["id"] for each in await mesos_tools.get_tasks_from_app_id(running_id, agent["hostname"])
        ],
        "state": (await master.task(running_id))["state"],
        "orphans": await master.orphan_tasks(),
        "metrics": {name: metrics[name] for name in METRICS},
        "mem limit": await running.mem_limit(),
        "rss": await running.rss(),
        "files": sorted(each.path for each in files),
        "missing file": await (await finished.file("nothing")).exists(),
        "tails": await mesos_tools.get_tail_lines_for_mesos_task(finished, str, 3),
        "lines": [line async for line in (await finished.file("stdout"))._readlines()],
    }


async def teardown(framework_id):
    return (await mesos_tools.get_mesos_master().teardown(framework_id)).status


def main():
    framework_id, running_id, finished_id = sys.argv[1:]
    hosts = mesos_tools.get_zookeeper_host_path()
    status = mesos_tools.status_mesos_tasks_verbose("", str)
    answers = {
        **asyncio.run(ask(framework_id, running_id, finished_id)),
        "masters": mesos_tools.get_number_of_mesos_masters(hosts.host, hosts.path),
        "agents": [each["pid"].partition("@")[2] for each in mesos_tools.get_slaves()],
        "status": [task_id in status for task_id in (running_id, finished_id)],
        "teardown": asyncio.run(teardown(framework_id)),
    }
    print(json.dumps(answers))


main()
