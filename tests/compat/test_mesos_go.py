"""The examples of mesos-go, unmodified: a framework whose executor is fetched from it, and a watcher of events."""

import asyncio
import os
import pwd
import re
import subprocess
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.compat.environments import REPOSITORY, SECONDS_MAX
from tests.polling import eventually

EXAMPLES = REPOSITORY / ".cache" / "mesos-go" / "bin"
TASKS = 5

pytestmark = pytest.mark.skipif(
    not (EXAMPLES / "example-scheduler").exists(),
    reason="mesos-go's examples are not built: scripts/install-test-programs.sh builds them where Go is installed",
)


def run_framework(cluster: Cluster, *options: object) -> list[str]:
    """What the framework logs of its tasks: their ids and states."""
    command = [EXAMPLES / "example-scheduler", "-url", f"{cluster.url}/api/v1/scheduler"]
    command += ["-executor", EXAMPLES / "example-executor", "-user", pwd.getpwuid(os.getuid()).pw_name]
    command += ["-tasks", TASKS, "-cpu", 0.1, "-memory", 32, "-metrics.port", 0, "-failoverTimeout", "0s", "-verbose"]
    done = subprocess.run(
        [*map(str, command), *map(str, options)], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    # It always ends with status 1: it cancels its own subscription.
    assert "mission accomplished" in done.stderr, done.stderr[-4000:]
    return re.findall(r"Task (\d+ is in state \w+)", done.stderr)


@pytest.mark.parametrize("codec", ["protobuf", "json"])
def test_a_framework_of_mesos_go_runs_tasks_on_its_executor(codec: str, cluster: Cluster) -> None:
    states = run_framework(cluster, "-codec", codec, "-compression")
    finished = [state for state in states if state.endswith("TASK_FINISHED")]
    assert sorted(finished) == [f"{number + 1} is in state TASK_FINISHED" for number in range(TASKS)]


async def test_mesos_go_watches_the_events_of_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    output = tmp_path / "events"
    host, _, port = cluster.gateway().http.partition(":")
    with output.open("w") as file:
        watcher = await asyncio.create_subprocess_exec(EXAMPLES / "mwatch", "-master", host, "-port", port, stdout=file)

    async def watched() -> bool:
        """Whether it saw all of a framework. It does not say when it has subscribed: one may have come too early."""
        await asyncio.to_thread(run_framework, cluster)
        events = output.read_text()
        kinds = ("FRAMEWORK_ADDED", "TASK_ADDED", "TASK_UPDATED", "FRAMEWORK_REMOVED")
        return all(kind in events for kind in kinds) and events.count("TASK_FINISHED") >= TASKS

    try:
        await eventually(watched, "the events of a framework and its tasks")
    finally:
        watcher.kill()
        await watcher.wait()
