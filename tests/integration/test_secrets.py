"""Nothing secret is told: a cluster that was given secrets wherever there is a place for one, logging all it can."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import aiohttp
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.scheduler import HttpTransport
from mezzo_chassis.testing import ZooKeeperServer, zookeeper_missing
from tests.cluster import Cluster
from tests.framework import Framework

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(zookeeper_missing() is not None, reason=zookeeper_missing() or ""),
]

# Each in its own place, so that the one that is found says where it came from.
ZOOKEEPER_PASSWORD = "swordfish-of-zookeeper"
TASK_VARIABLE = "swordfish-of-a-task"
TASK_SECRET = "swordfish-of-a-secret"
EXECUTOR_SECRET = "swordfish-of-an-executor"
EVERY_TASKS_VARIABLE = "swordfish-of-every-task"
FETCH_PASSWORD = "swordfish-of-a-uri"
AUTHORIZATION = "swordfish-of-a-header"
ANYTHING = "swordfish-of-"

SERVICES = ("registry", "allocator", "gateway", "agent")
OF_THE_GATEWAY = ("state", "slaves", "frameworks", "tasks", "flags", "state-summary", "roles", "metrics/snapshot")
OF_THE_AGENT = ("state", "flags", "containers", "metrics/snapshot")
CALLS = ("GET_STATE", "GET_FLAGS", "GET_TASKS", "GET_EXECUTORS", "GET_FRAMEWORKS")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    flags: dict[str, dict[str, object]] = {
        service: {"log_format": "json", "log_level": "debug"} for service in SERVICES
    }
    flags["agent"]["executor_environment_variables"] = json.dumps(
        {"PATH": "/usr/bin:/bin", "EVERYWHERE": EVERY_TASKS_VARIABLE}
    )
    with ZooKeeperServer(folder / "zookeeper") as zookeeper:
        address = f"zk://mezzo:{ZOOKEEPER_PASSWORD}@{zookeeper.hosts}/mezzo"
        for service in SERVICES:
            flags[service]["master" if service in ("gateway", "agent") else "zk"] = address
        with Cluster(folder, zookeeper=zookeeper, flags=flags) as running:
            yield running


def add_secret(command: mesos.CommandInfo, value: str) -> None:
    variable = command.environment.variables.add(name="A_SECRET", type=mesos.Environment.Variable.SECRET)
    variable.secret.type = mesos.Secret.VALUE
    variable.secret.value.data = value.encode()


def with_variables(task: mesos.TaskInfo) -> None:
    task.command.environment.variables.add(name="A_VARIABLE", value=TASK_VARIABLE)
    add_secret(task.command, TASK_SECRET)
    task.health_check.type = mesos.HealthCheck.COMMAND
    task.health_check.command.value = "true"
    add_secret(task.health_check.command, TASK_SECRET)


def with_a_uri(task: mesos.TaskInfo) -> None:
    # Nobody listens on port 1.
    task.command.uris.add(value=f"http://me:{FETCH_PASSWORD}@127.0.0.1:1/file")


def with_an_executor(task: mesos.TaskInfo) -> None:
    """One that never subscribes."""
    task.ClearField("command")
    executor = task.executor
    executor.executor_id.value = "idle"
    executor.type = mesos.ExecutorInfo.CUSTOM
    executor.command.value = "sleep 1000"
    add_secret(executor.command, EXECUTOR_SECRET)


async def answers(cluster: Cluster) -> dict[str, str]:
    """Everything that the cluster tells over HTTP, by where it was asked; errors among it."""
    told = {}
    headers = {"Authorization": f"Bearer {AUTHORIZATION}", "Accept": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as http:
        for where, paths in ((cluster.gateway().http, OF_THE_GATEWAY), (cluster.agent().http, OF_THE_AGENT)):
            for path in (*paths, "no/such/path"):
                async with http.get(f"http://{where}/{path}") as response:
                    told[f"{where}/{path}"] = await response.text()
            for call in (*CALLS, "NO_SUCH_CALL"):
                async with http.post(f"http://{where}/api/v1", json={"type": call}) as response:
                    told[f"{where} {call}"] = await response.text()
    return told


async def test_no_secret_is_in_a_log_or_in_what_is_told_of_the_cluster(cluster: Cluster) -> None:
    async with Framework(HttpTransport(cluster.url)) as framework:
        seen = 'test "$A_VARIABLE" = {} && test "$A_SECRET" = {} && test "$EVERYWHERE" = {}'
        given = framework.add(seen.format(TASK_VARIABLE, TASK_SECRET, EVERY_TASKS_VARIABLE), shape=with_variables)
        unfetched = framework.add("true", shape=with_a_uri)
        framework.add("", "cpus:0.2;mem:64", shape=with_an_executor)
        await framework.until(lambda: given.end is not None and unfetched.end is not None)
        assert given.end is not None
        assert unfetched.end is not None
        # The task has what everybody else is not told.
        assert mesos.TaskState.Name(given.end.state) == "TASK_FINISHED"
        assert "cannot fetch 'http://127.0.0.1:1/file'" in unfetched.end.message
        told = await until_it_tells_of(cluster, '"idle"')
    for node in (cluster.gateway(), cluster.agent()):
        assert "A_SECRET" in told[f"{node.http} GET_EXECUTORS"]
        assert "zk://127.0.0.1:" in told[f"{node.http}/flags"]
    assert "EVERYWHERE" in told[f"{cluster.agent().http}/flags"]
    forms = [ANYTHING, *(base64.b64encode(b"-" * skipped + ANYTHING.encode()).decode()[4:-4] for skipped in range(3))]
    logs = {service: (cluster.folder / f"{service}-0.log").read_text() for service in SERVICES}
    assert all(logs.values())
    leaks = [
        f"{where}: …{text[max(0, text.find(form) - 80) : text.find(form) + 40]}…"
        for where, text in (told | logs).items()
        for form in forms
        if form in text
    ]
    assert leaks == []


async def until_it_tells_of(cluster: Cluster, word: str) -> dict[str, str]:
    """What the cluster tells, once both the gateway's state and the agent's have this word in them."""
    while True:
        told = await answers(cluster)
        if all(word in told[f"{node.http}/state"] for node in (cluster.gateway(), cluster.agent())):
            return told


async def test_every_line_at_debug_level_is_one_event(cluster: Cluster) -> None:
    for service in SERVICES:
        whole = (cluster.folder / f"{service}-0.log").read_text().rpartition("\n")[0]
        events = [json.loads(line) for line in whole.splitlines()]
        assert {"debug", "info"} & {event["level"] for event in events}
        assert {event["service"] for event in events} == {service}
