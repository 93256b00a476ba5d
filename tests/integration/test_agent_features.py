"""What a command finds around itself, as whom it runs, and in how many ways it may end."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.scheduler import HttpTransport
from tests.cluster import Cluster
from tests.framework import Framework, Job
from tests.polling import eventually

NANOSECONDS = 1_000_000_000
HOUR_SECONDS = 3600

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may run tasks as other users")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """In a folder that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="mezzo-test-") as folder:
        Path(folder).chmod(0o755)
        with Cluster(Path(folder)) as running:
            yield running


@pytest.fixture
async def framework(cluster: Cluster) -> AsyncIterator[Framework]:
    async with Framework(HttpTransport(cluster.url)) as running:
        yield running


async def end_of(framework: Framework, job: Job) -> mesos.TaskStatus:
    await framework.until(lambda: job.end is not None)
    assert job.end is not None
    return job.end


async def output(cluster: Cluster, framework: Framework, job: Job) -> str:
    """What a job writes that has to finish."""
    end = await end_of(framework, job)
    assert end.state == mesos.TASK_FINISHED, end.message
    return (sandbox(cluster, framework, job) / "stdout").read_text()


def sandbox(cluster: Cluster, framework: Framework, job: Job) -> Path:
    return cluster.sandbox(framework.client.framework_id, job.task_id)


async def written(cluster: Cluster, framework: Framework, job: Job, name: str) -> str:
    """The content of a file in the sandbox of a running job, once it is there and has an end of line."""
    await framework.job_is(job, mesos.TASK_RUNNING)
    file = sandbox(cluster, framework, job) / name

    async def content() -> str:
        text = file.read_text() if file.exists() else ""
        return text if text.endswith("\n") else ""

    return await eventually(content, f"{name} in the sandbox of {job.name}")


# ----------------------------------------------------------------------------------------------- what is around it


async def test_a_command_finds_its_sandbox_its_ids_and_its_own_variables(
    cluster: Cluster, framework: Framework
) -> None:
    def shape(task: mesos.TaskInfo) -> None:
        task.command.environment.variables.add(name="GREETING", value="good morning; $HOME")
        secret = task.command.environment.variables.add(name="PASSWORD", type=mesos.Environment.Variable.SECRET)
        secret.secret.type = mesos.Secret.VALUE
        secret.secret.value.data = b"open sesame"

    job = framework.add("pwd; env", shape=shape)
    folder, *lines = (await output(cluster, framework, job)).splitlines()
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    assert folder == str(sandbox(cluster, framework, job).resolve())
    assert variables["MESOS_SANDBOX"] == variables["MESOS_DIRECTORY"] == folder
    assert variables["MESOS_TASK_ID"] == job.task_id
    assert variables["MESOS_FRAMEWORK_ID"] == framework.client.framework_id
    assert variables["MESOS_AGENT_ENDPOINT"] == cluster.agent().http
    assert variables["GREETING"] == "good morning; $HOME"
    assert variables["PASSWORD"] == "open sesame"
    assert not [name for name in variables if name.startswith("MEZZO_AGENT_")]


async def test_arguments_reach_a_program_as_they_are_where_no_shell_is_wanted(
    cluster: Cluster, framework: Framework
) -> None:
    def shape(task: mesos.TaskInfo) -> None:
        task.command.shell = False
        task.command.value = "/usr/bin/printf"
        task.command.arguments.extend(["printf", "<%s>", "two words", "$HOME", "*", ""])

    job = framework.add("", shape=shape)
    assert await output(cluster, framework, job) == "<two words><$HOME><*><>"


async def test_a_program_that_is_not_there_fails_its_task_by_name(framework: Framework) -> None:
    def shape(task: mesos.TaskInfo) -> None:
        task.command.shell = False
        task.command.value = "/no/such/program"

    end = await end_of(framework, framework.add("", shape=shape))
    assert end.state == mesos.TASK_FAILED
    assert "/no/such/program" in end.message


async def test_limits_of_the_system_are_set_for_a_command(cluster: Cluster, framework: Framework) -> None:
    def shape(task: mesos.TaskInfo) -> None:
        task.container.type = mesos.ContainerInfo.MESOS
        limit = task.container.rlimit_info.rlimits.add(type=mesos.RLimitInfo.RLimit.RLMT_NOFILE)
        limit.soft, limit.hard = 200, 300

    job = framework.add("ulimit -Sn; ulimit -Hn", shape=shape)
    assert await output(cluster, framework, job) == "200\n300\n"


def with_image(task: mesos.TaskInfo) -> None:
    task.container.type = mesos.ContainerInfo.MESOS
    task.container.mesos.image.type = mesos.Image.DOCKER
    task.container.mesos.image.docker.name = "alpine"


def with_docker(task: mesos.TaskInfo) -> None:
    task.container.type = mesos.ContainerInfo.DOCKER
    task.container.docker.image = "alpine"


def with_volume(task: mesos.TaskInfo) -> None:
    task.container.type = mesos.ContainerInfo.MESOS
    task.container.volumes.add(container_path="data", host_path="/srv", mode=mesos.Volume.RO)


def with_secret_elsewhere(task: mesos.TaskInfo) -> None:
    variable = task.command.environment.variables.add(name="PASSWORD", type=mesos.Environment.Variable.SECRET)
    variable.secret.type = mesos.Secret.REFERENCE
    variable.secret.reference.name = "vault"


@pytest.mark.parametrize(
    ("shape", "field"),
    [
        (with_image, "container.mesos.image"),
        (with_docker, "container.type"),
        (with_volume, "container.volumes"),
        (with_secret_elsewhere, "environment.variables[0].secret"),
    ],
)
async def test_what_the_agent_cannot_give_is_an_error_and_not_left_out(
    shape: Callable[[mesos.TaskInfo], None], field: str, framework: Framework
) -> None:
    end = await end_of(framework, framework.add("true", shape=shape))
    assert (end.state, end.reason) == (mesos.TASK_ERROR, mesos.TaskStatus.REASON_TASK_INVALID)
    assert field in end.message


# -------------------------------------------------------------------------------------------------------- as whom


def as_user(name: str) -> Callable[[mesos.TaskInfo], None]:
    def shape(task: mesos.TaskInfo) -> None:
        task.command.user = name

    return shape


@needs_root
async def test_a_command_runs_as_its_user_who_owns_its_sandbox(cluster: Cluster, framework: Framework) -> None:
    job = framework.add("id -un; touch own; stat -c %U . own stdout; cat /etc/shadow", shape=as_user("nobody"))
    end = await end_of(framework, job)
    assert end.message == "Command exited with status 1"
    folder = sandbox(cluster, framework, job)
    assert (folder / "stdout").read_text().split() == ["nobody"] * 4
    assert "Permission denied" in (folder / "stderr").read_text()


@needs_root
async def test_a_user_whom_the_agent_does_not_know_fails_the_task_by_name(framework: Framework) -> None:
    end = await end_of(framework, framework.add("true", shape=as_user("nobody-of-this-name")))
    assert end.state == mesos.TASK_FAILED
    assert "nobody-of-this-name" in end.message


# ------------------------------------------------------------------------------------------------- how it may end


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("exit 255", "Command exited with status 255"),
        ("kill -SEGV $$", "Command terminated with signal Segmentation fault"),
        ("kill -KILL $$", "Command terminated with signal Killed"),
        ("no-such-command", "Command exited with status 127"),
    ],
)
async def test_a_message_says_how_a_command_ended(command: str, message: str, framework: Framework) -> None:
    end = await end_of(framework, framework.add(command))
    assert end.state == mesos.TASK_FAILED
    assert end.message.removesuffix(" (core dumped)") == message
    assert end.source == mesos.TaskStatus.SOURCE_EXECUTOR


def with_grace_period(seconds: float) -> Callable[[mesos.TaskInfo], None]:
    def shape(task: mesos.TaskInfo) -> None:
        task.kill_policy.grace_period.nanoseconds = round(seconds * NANOSECONDS)

    return shape


POLITE = "trap 'echo bye; exit 5' TERM; echo ready > ready; while :; do sleep 0.02; done"
DEAF = "trap '' TERM; echo ready > ready; while :; do sleep 0.02; done"


async def test_a_task_may_end_by_itself_within_the_grace_period(cluster: Cluster, framework: Framework) -> None:
    job = framework.add(POLITE, shape=with_grace_period(HOUR_SECONDS))
    await written(cluster, framework, job, "ready")
    await framework.client.kill(job.task_id)
    end = await end_of(framework, job)
    assert (end.state, end.message) == (mesos.TASK_KILLED, "Command exited with status 5")
    assert (sandbox(cluster, framework, job) / "stdout").read_text() == "bye\n"


async def test_a_task_that_does_not_is_killed_after_it(cluster: Cluster, framework: Framework) -> None:
    job = framework.add(DEAF, shape=with_grace_period(0.1))
    await written(cluster, framework, job, "ready")
    await framework.client.kill(job.task_id)
    end = await end_of(framework, job)
    assert (end.state, end.message) == (mesos.TASK_KILLED, "Command terminated with signal Killed")


async def test_the_grace_period_of_a_kill_counts_before_the_tasks_own(cluster: Cluster, framework: Framework) -> None:
    job = framework.add(DEAF, shape=with_grace_period(HOUR_SECONDS))
    await written(cluster, framework, job, "ready")
    # The second one takes back the patience of the first.
    await framework.client.kill(job.task_id)
    await framework.client.kill(job.task_id, grace_period_seconds=0.1)
    end = await end_of(framework, job)
    assert (end.state, end.message) == (mesos.TASK_KILLED, "Command terminated with signal Killed")


async def test_nothing_that_a_task_started_outlives_it(cluster: Cluster, framework: Framework) -> None:
    # A child, a daemon with a session of its own, and one that hears no SIGTERM.
    job = framework.add(
        "sleep 1000 & echo $! >> children; setsid sleep 1000 & echo $! >> children;"
        " (trap '' TERM; exec sleep 1000) & echo $! >> children; cp children all; wait"
    )
    children = [int(line) for line in (await written(cluster, framework, job, "all")).split()]
    assert len(children) == 3
    await framework.client.kill(job.task_id)
    await end_of(framework, job)
    assert not [pid for pid in children if psutil.pid_exists(pid)]


async def test_a_task_that_takes_too_long_fails_for_that_reason(framework: Framework) -> None:
    def shape(task: mesos.TaskInfo) -> None:
        task.max_completion_time.nanoseconds = NANOSECONDS // 5

    end = await end_of(framework, framework.add("exec sleep 1000", shape=shape))
    assert (end.state, end.reason) == (mesos.TASK_FAILED, mesos.TaskStatus.REASON_MAX_COMPLETION_TIME_REACHED)
    assert "max_completion_time" in end.message
    assert end.message.endswith("Command terminated with signal Terminated")


async def test_a_task_that_is_quick_enough_never_hears_of_its_max_completion_time(framework: Framework) -> None:
    def shape(task: mesos.TaskInfo) -> None:
        task.max_completion_time.nanoseconds = HOUR_SECONDS * NANOSECONDS

    end = await end_of(framework, framework.add("true", shape=shape))
    assert end.state == mesos.TASK_FINISHED


async def test_killing_a_task_that_has_ended_changes_nothing(framework: Framework) -> None:
    job = framework.add("true")
    await end_of(framework, job)
    other = framework.add("exec sleep 1000")
    await framework.job_is(other, mesos.TASK_RUNNING)
    await framework.client.kill(job.task_id)
    await framework.client.kill(other.task_id)
    assert (await end_of(framework, other)).state == mesos.TASK_KILLED
    assert [status.state for status in job.statuses if status.uuid][-1] == mesos.TASK_FINISHED
