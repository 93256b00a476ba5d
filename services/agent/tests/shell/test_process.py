"""The agent as a process, with real containers: killed at the worst moments, it loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo_chassis.errors import Exit
from mezzo_chassis.testing import ServiceProcess, free_ports
from services.agent.tests.conftest import Tasks
from services.agent.tests.shell.conftest import ScriptedRegistry

KILLS = 6
START_SECONDS_MAX = 60.0


class AgentProcess(ServiceProcess):
    """Also knows its flags, and where the sandboxes of framework F1 are."""

    flags: dict[str, Any]
    sandboxes: Path


@pytest.fixture
def process(tmp_path: Path, registry: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentProcess]:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the agent's")
    port, grpc_port, metrics_port = free_ports(3)
    flags = {
        "master": f"127.0.0.1:{registry.port}",
        "ip": "127.0.0.1",
        "port": port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "work_dir": tmp_path / "work",
        "resources": "cpus:64;mem:4096;disk:1024",
        "registration_backoff_factor": "200ms",
        "log_format": "json",
    }
    agent = AgentProcess.service("agent", flags, folder=tmp_path, grpc_port=grpc_port)
    agent.sandboxes = tmp_path / "work" / "slaves" / "S0" / "frameworks" / "F1" / "executors"
    agent.flags = flags
    yield agent
    agent.stop()


async def start(process: AgentProcess, registry: ScriptedRegistry) -> None:
    before = len(registry.registrations())
    process.start()
    await registry.until(lambda: len(registry.registrations()) > before)
    registry.add_framework("F1", checkpoint=True)


@pytest.fixture
async def running(process: AgentProcess, registry: ScriptedRegistry) -> AgentProcess:
    await start(process, registry)
    return process


async def restart(process: AgentProcess, registry: ScriptedRegistry) -> None:
    process.kill()
    await start(process, registry)


def command(tasks: type[Tasks], task_id: str, line: str, **fields: Any) -> mesos.TaskInfo:
    task = tasks.command(task_id, line, **fields)
    task.command.user = ""
    return task


async def test_command_runs_and_its_output_is_in_the_sandbox(
    running: AgentProcess, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    registry.run(command(tasks, "t1", "echo $MESOS_TASK_ID in $(pwd); exit 3"))
    await registry.until_state("t1", "TASK_FAILED")
    assert registry.states("t1") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]
    sandbox = (running.sandboxes / "t1" / "runs" / "latest").resolve()
    assert (sandbox / "stdout").read_text() == f"t1 in {sandbox}\n"
    (last,) = [
        each.task_update.status
        for each in registry.received
        if each.HasField("task_update") and each.task_update.status.state == mesos.TASK_FAILED
    ]
    assert last.message == "Command exited with status 3"


async def test_command_has_what_mesos_documents_in_its_environment_and_nothing_else(
    running: AgentProcess, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    task = command(tasks, "t1", "/usr/bin/env")
    task.command.shell = False
    task.command.arguments.append("env")
    task.command.environment.variables.add(name="GREETING", value="hello")
    registry.run(task)
    await registry.until_state("t1", "TASK_FINISHED")
    output = (running.sandboxes / "t1" / "runs" / "latest" / "stdout").read_text()
    names = {line.partition("=")[0] for line in output.splitlines()}
    assert names == {
        *("PATH", "GREETING", "MESOS_TASK_ID", "MESOS_EXECUTOR_ID", "MESOS_FRAMEWORK_ID", "MESOS_ALLOCATION_ROLE"),
        *("MESOS_DIRECTORY", "MESOS_SANDBOX", "MESOS_CONTAINER_IP", "MESOS_CHECKPOINT"),
        *("MESOS_SLAVE_ID", "MESOS_SLAVE_PID", "MESOS_AGENT_ENDPOINT"),
    }
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n" in output


async def test_command_that_cannot_be_fetched_fails_with_the_reason(
    running: AgentProcess, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    task = command(tasks, "t1", "true")
    task.command.uris.add(value="/no/such/file")
    registry.run(task)
    await registry.until_state("t1", "TASK_FAILED")
    assert registry.states("t1") == ["TASK_STARTING", "TASK_FAILED"]


async def test_what_follows_from_a_launch_carries_its_cause(
    running: AgentProcess, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    good, bad = command(tasks, "good", "true"), command(tasks, "bad", "true")
    bad.command.uris.add(value="/no/such/file")
    framework_id = mesos.FrameworkID(value="F1")
    for task in (good, bad):
        order = session.RunTask(framework_id=framework_id, task=task)
        registry.send(run_task=order, cause=f"call-{task.name}")
    await registry.until_state("good", "TASK_FINISHED")
    await registry.until_state("bad", "TASK_FAILED")
    causes: dict[str, list[str]] = {"good": [], "bad": []}
    for message in registry.received:
        if message.HasField("task_update"):
            causes[message.task_update.status.task_id.value].append(message.cause)
    assert causes == {"good": ["call-good"] * 3, "bad": ["call-bad"] * 2}
    lines = [json.loads(line) for line in running.log.read_text().splitlines() if line.startswith("{")]
    assert {line["cause"] for line in lines if line["event"] == "launch failed"} == {"call-bad"}
    assert {line["cause"] for line in lines if line["event"] == "task ended"} == {"call-good", "call-bad"}


async def test_kill_is_polite_and_then_not(
    running: AgentProcess, registry: ScriptedRegistry, tasks: type[Tasks], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "deaf")
    registry.run(command(tasks, "polite", "sleep 1000"))
    policy = mesos.KillPolicy(grace_period=mesos.DurationInfo(nanoseconds=100_000_000))
    registry.run(
        command(
            tasks, "deaf", f"trap '' TERM; echo > {tmp_path}/deaf; while :; do sleep 1000; done", kill_policy=policy
        )
    )
    for task_id in ("polite", "deaf"):
        await registry.until_state(task_id, "TASK_RUNNING")
    await asyncio.to_thread((tmp_path / "deaf").read_text)
    for task_id in ("polite", "deaf"):
        registry.kill(task_id)
    for task_id in ("polite", "deaf"):
        await registry.until_state(task_id, "TASK_KILLED")
    messages = {
        each.task_update.status.task_id.value: each.task_update.status.message
        for each in registry.received
        if each.HasField("task_update") and each.task_update.status.state == mesos.TASK_KILLED
    }
    assert messages == {
        "polite": "Command terminated with signal Terminated",
        "deaf": "Command terminated with signal Killed",
    }


async def test_task_runs_on_without_the_agent_and_its_exit_status_is_not_lost(
    running: AgentProcess, registry: ScriptedRegistry, tasks: type[Tasks], tmp_path: Path
) -> None:
    registry.run(command(tasks, "stays", "sleep 1000"))
    registry.run(command(tasks, "ends", f"cat {os.devnull}; read line < {tmp_path}/fifo; exit 7"))
    os.mkfifo(tmp_path / "fifo")
    for task_id in ("stays", "ends"):
        await registry.until_state(task_id, "TASK_RUNNING")
    running.kill()
    await asyncio.to_thread((tmp_path / "fifo").write_text, "go\n")
    await start(running, registry)
    await registry.until_state("ends", "TASK_FAILED")
    (register,) = registry.registrations()[1:]
    assert register.agent_info.id.value == "S0"
    assert {task.task_id.value for task in register.tasks} >= {"stays"}
    registry.kill("stays")
    await registry.until_state("stays", "TASK_KILLED")


async def test_agent_killed_again_and_again_loses_no_task_and_no_update(
    running: AgentProcess, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    """Each task ends exactly once, with the right state, whatever instant the agent was killed in."""
    random.seed(7)
    ids = [f"t{number}" for number in range(60)]
    orders = {task_id: command(tasks, task_id, f"exit {number % 3}") for number, task_id in enumerate(ids)}
    sent = 0
    for _ in range(KILLS):
        for task_id in ids[sent : sent + 10]:
            registry.run(orders[task_id])
        sent += 10
        await asyncio.sleep(random.random() * 0.15)
        await restart(running, registry)
        known = {task.task_id.value for task in registry.registrations()[-1].tasks}
        for task_id in ids[:sent]:
            # As the registry does: what the agent has never spoken of is sent again.
            if task_id not in known and not registry.states(task_id):
                registry.run(orders[task_id])
    for number, task_id in enumerate(ids):
        await registry.until_state(task_id, "TASK_FAILED" if number % 3 else "TASK_FINISHED")
    for task_id in ids:
        states = registry.states(task_id)
        ends = [state for state in states if state in ("TASK_FINISHED", "TASK_FAILED")]
        assert states[0] == "TASK_STARTING"
        assert len(ends) == 1
        assert states[-1] == ends[0]


async def test_stopped_agent_leaves_tasks_running(
    running: AgentProcess, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    registry.run(command(tasks, "t1", "sleep 1000"))
    await registry.until_state("t1", "TASK_RUNNING")
    assert running.stop() == 0
    await start(running, registry)
    registry.kill("t1")
    await registry.until_state("t1", "TASK_KILLED")


async def test_agent_that_is_told_to_leave_ends_its_tasks_and_says_so(
    running: AgentProcess, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    registry.run(command(tasks, "t1", "sleep 1000"))
    await registry.until_state("t1", "TASK_RUNNING")
    running.send(signal.SIGUSR1)
    assert await asyncio.to_thread(running.wait, 20) == 0
    assert any(each.HasField("leave") for each in registry.received)


@pytest.mark.parametrize(
    ("flag", "value", "code", "named"),
    [
        ("resources", "cpus:many", 2, "--resources"),
        ("isolation", "cgroups/sky", 2, "--isolation"),
        ("executor_environment_variables", "[]", 2, "executor_environment_variables"),
        ("port", "http", 2, "--port"),
        ("master", "nowhere", 2, "--master"),
    ],
)
async def test_flag_that_makes_no_sense_is_named(
    process: AgentProcess, flag: str, value: str, code: int, named: str
) -> None:
    process.command = [part for part in process.command if not part.startswith(f"--{flag}=")]
    process.command.append(f"--{flag}={value}")
    process.start()
    assert await asyncio.to_thread(process.wait, 20) == code
    assert named in process.tail()
    assert "Traceback" not in process.tail()


async def test_port_in_use_is_named(running: AgentProcess, tmp_path: Path) -> None:
    other = AgentProcess.service(
        "agent", {**running.flags, "work_dir": tmp_path / "other"}, folder=tmp_path, name="other"
    )
    other.start()
    assert await asyncio.to_thread(other.wait, 20) == 3
    assert f"127.0.0.1:{running.flags['port']} is in use" in other.tail()


@pytest.mark.parametrize("once", [True, False], ids=["once", "every-time"])
@pytest.mark.parametrize(
    ("event", "state", "restarts"),
    [("run_task", "TASK_ERROR", 0), ("timer_kill_grace", "TASK_FAILED", 0), ("containers_recovered", "TASK_FAILED", 1)],
    ids=["launch", "timer", "recovery"],
)
async def test_agent_that_ends_on_a_defect_recovers_and_only_whom_it_was_about_ends(
    process: AgentProcess,
    registry: ScriptedRegistry,
    tasks: type[Tasks],
    tmp_path: Path,
    event: str,
    state: str,
    restarts: int,
    once: bool,
) -> None:
    """Real processes: the other's is the same all the time, and that of the task in question is gone."""
    process.module = "services.agent.tests.shell.defective_agent"
    process.environment["MEZZO_TEST_DEFECT"] = f"{event} bad" + (f" {tmp_path / 'met'}" if once else "")
    registry.resyncs = True
    registry.frameworks["F1"] = mesos.FrameworkInfo(user="root", name="f", id=mesos.FrameworkID(value="F1"))
    process.start()
    await registry.until(registry.registrations)
    pids = {}
    for task_id in ("other", "bad"):
        os.mkfifo(tmp_path / task_id)
        line = f"trap '' TERM; echo $$ > {tmp_path / task_id}; while :; do sleep 0.1; done"
        registry.run(command(tasks, task_id, line))
        if task_id == "other" or event != "run_task":
            pids[task_id] = int(await asyncio.to_thread((tmp_path / task_id).read_text))
            await registry.until_state(task_id, "TASK_RUNNING")
    if event == "timer_kill_grace":
        registry.kill("bad", grace_seconds=0.0)
    elif event == "containers_recovered":
        process.kill()
    for _ in range(restarts):
        process.start()
    assert await asyncio.to_thread(process.wait, 20) == Exit.DEFECT
    assert "mezzo agent: ended on a defect" in process.tail()
    process.start()
    await registry.until_state("bad", state)
    assert "ZeroDivisionError: a mistake of ours" in registry.last("bad").message
    assert {task_id for task_id, pid in pids.items() if psutil.pid_exists(pid)} == {"other"}
    registry.kill("other", grace_seconds=0.0)
    await registry.until_state("other", "TASK_KILLED")
    assert process.running


async def test_agent_whose_tasks_would_end_with_its_process_starts_again_in_the_same_one(
    process: AgentProcess, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    flags = [*process.command[3:], "--restart_on_defect=true"]
    process.command = [sys.executable, "-m", "services.agent.tests.shell.defective_agent", *flags]
    process.module = ""  # as a program of its own: that is what starts again
    process.environment["MEZZO_TEST_DEFECT"] = "run_task bad"
    registry.resyncs = True
    registry.frameworks["F1"] = mesos.FrameworkInfo(user="root", name="f", id=mesos.FrameworkID(value="F1"))
    process.start()
    await asyncio.to_thread(process.wait_healthy)
    registry.run(command(tasks, "other", "sleep 1000"))
    await registry.until_state("other", "TASK_RUNNING")
    pid = process.pid
    registry.run(command(tasks, "bad", "true"))
    await registry.until_state("bad", "TASK_ERROR", START_SECONDS_MAX)
    assert process.running
    assert process.pid == pid
    registry.kill("other")
    await registry.until_state("other", "TASK_KILLED")
    assert registry.states("other") == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]
    assert process.stop() == 0
