"""A command task, from RunTask to the acknowledgement of its last update."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Any

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo_agent.core import events as happened
from mezzo_agent.core.effects import (
    DestroyContainer,
    DiscardSandbox,
    ForgetContainer,
    KillContainer,
    LaunchContainer,
    Persist,
)
from services.agent.tests.conftest import Conversation, Tasks

_Status = mesos.TaskStatus
EXITED_3 = 3 << 8


def names(statuses: Iterable[mesos.TaskStatus]) -> list[str]:
    return [mesos.TaskState.Name(status.state) for status in statuses]


def test_task_is_written_down_before_it_is_launched(agent: Conversation, tasks: type[Tasks]) -> None:
    effects = agent.run(tasks.command())
    kinds = [type(effect) for effect in effects]
    task = next(e for e in effects if isinstance(e, Persist) and e.record.HasField("task"))
    assert effects.index(task) < kinds.index(LaunchContainer)
    assert agent.states() == ["TASK_STARTING"]


def test_updates_come_in_order_and_wait_for_acknowledgements(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.command())
    starting = agent.updates()
    container_id = agent.launched()[0].container_id
    agent.handle(happened.ContainerStarted(container_id, 77))
    assert agent.updates() == []
    agent.end(container_id)
    assert agent.updates() == []
    assert names(agent.acknowledge_all()) == []
    agent.acknowledge(starting[0])
    assert names(agent.acknowledge_all()) == ["TASK_RUNNING", "TASK_FINISHED"]
    assert agent.agent.state.frameworks["F1"].idle


def test_an_update_tells_of_a_newer_one_that_waits(agent: Conversation) -> None:
    agent.run_command()
    agent.handle(happened.SessionOpened())
    agent.receive(registered=session.Registered(agent_id=mesos.AgentID(value="S0")))
    (update,) = agent.sent("task_update")
    assert (update.status.state, update.latest.state) == (mesos.TASK_STARTING, mesos.TASK_RUNNING)


@pytest.mark.parametrize(
    ("wait_status", "state", "message"),
    [
        (0, "TASK_FINISHED", "Command exited with status 0"),
        (EXITED_3, "TASK_FAILED", "Command exited with status 3"),
        (signal.SIGTERM, "TASK_FAILED", "Command terminated with signal Terminated"),
        (signal.SIGSEGV | 0x80, "TASK_FAILED", "Command terminated with signal Segmentation fault (core dumped)"),
    ],
)
def test_exit_status_decides_the_last_state(
    agent: Conversation, tasks: type[Tasks], wait_status: int, state: str, message: str
) -> None:
    agent.run(tasks.command())
    seen = [agent.updates()[0]]
    container_id = agent.launched()[0].container_id
    agent.acknowledge(seen[0])
    agent.handle(happened.ContainerStarted(container_id, 77))
    agent.acknowledge(agent.updates()[0])
    agent.end(container_id, wait_status)
    (last,) = agent.updates()
    assert (mesos.TaskState.Name(last.state), last.message) == (state, message)
    assert last.source == _Status.SOURCE_EXECUTOR
    assert not last.HasField("reason")


def test_update_carries_what_recorded_updates_carry(agent: Conversation) -> None:
    container_id = agent.run_command()
    running = agent.task("t1").statuses[-1]
    assert running.agent_id.value == "S0"
    assert running.executor_id.value == "t1"
    assert len(running.uuid) == 16
    assert running.timestamp == agent.now
    assert running.container_status.container_id.value == container_id
    assert running.container_status.executor_pid == 77
    address = running.container_status.network_infos[0].ip_addresses[0]
    assert (address.protocol, address.ip_address) == (mesos.NetworkInfo.IPv4, "10.0.0.1")


def test_environment_and_sandbox_are_those_of_mesos(agent: Conversation, tasks: type[Tasks]) -> None:
    task = tasks.command()
    task.command.environment.variables.add(name="GREETING", value="hello")
    agent.run(task)
    (config,) = agent.launched()
    assert config.sandbox.match(f"slaves/S0/frameworks/F1/executors/t1/runs/{config.container_id}")
    expected = {
        "MESOS_SANDBOX": str(config.sandbox),
        "MESOS_TASK_ID": "t1",
        "MESOS_FRAMEWORK_ID": "F1",
        "MESOS_EXECUTOR_ID": "t1",
        "MESOS_SLAVE_ID": "S0",
        "MESOS_SLAVE_PID": "slave(1)@10.0.0.1:5051",
        "MESOS_AGENT_ENDPOINT": "10.0.0.1:5051",
        "MESOS_ALLOCATION_ROLE": "*",
        "MESOS_CONTAINER_IP": "10.0.0.1",
        "GREETING": "hello",
    }
    assert expected.items() <= config.environment.items()
    assert "MESOS_EXECUTOR_AUTHENTICATION_TOKEN" not in config.environment
    assert config.user == "u"


def test_kill_is_polite_first_and_final_after_the_grace_period(agent: Conversation) -> None:
    container_id = agent.run_command()
    agent.kill(policy=mesos.KillPolicy(grace_period=mesos.DurationInfo(nanoseconds=7_000_000_000)))
    assert agent.of(KillContainer) == [KillContainer(container_id, signal.SIGTERM)]
    assert agent.timers()[happened.TimerKind.KILL_GRACE] == 7.0
    agent.fire(happened.TimerKind.KILL_GRACE)
    assert agent.of(DestroyContainer) == [DestroyContainer(container_id)]
    agent.end(container_id, signal.SIGKILL)
    last = agent.task("t1").statuses[-1]
    assert (last.state, last.message) == (mesos.TASK_KILLED, "Command terminated with signal Killed")


def test_kill_uses_the_tasks_own_policy_and_then_the_default(
    agent: Conversation, new_agent: type[Conversation], tasks: type[Tasks]
) -> None:
    own = mesos.KillPolicy(grace_period=mesos.DurationInfo(nanoseconds=2_500_000_000))
    agent.run_command("t1", kill_policy=own)
    agent.kill("t1")
    assert agent.timers()[happened.TimerKind.KILL_GRACE] == 2.5
    agent.run_command("t2")
    agent.kill("t2")
    assert agent.timers()[happened.TimerKind.KILL_GRACE] == agent.settings.kill_grace_period


@pytest.mark.parametrize(
    ("capabilities", "states"),
    [
        (["TASK_KILLING_STATE"], ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]),
        ([], ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]),
    ],
    ids=["knows", "does not know"],
)
def test_task_killing_is_reported_only_to_frameworks_that_know_it(
    new_agent: type[Conversation], capabilities: list[str], states: list[str]
) -> None:
    agent = new_agent()
    agent.register()
    agent.add_framework("F1", *capabilities)
    container_id = agent.run_command()
    agent.kill()
    agent.end(container_id, signal.SIGTERM)
    assert names(agent.task("t1").pending) == states


def test_second_kill_shortens_the_grace_period(agent: Conversation) -> None:
    agent.run_command()
    agent.kill()
    agent.kill(policy=mesos.KillPolicy(grace_period=mesos.DurationInfo(nanoseconds=0)))
    assert agent.timers()[happened.TimerKind.KILL_GRACE] == 0.0


def test_task_that_was_told_to_end_and_succeeds_is_killed(agent: Conversation) -> None:
    container_id = agent.run_command()
    agent.kill()
    agent.end(container_id, 0)
    assert agent.task("t1").state == mesos.TASK_KILLED


def test_kill_during_launch_destroys_and_reports_killed(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.command())
    container_id = agent.launched()[0].container_id
    agent.kill()
    assert agent.of(DestroyContainer) == [DestroyContainer(container_id)]
    agent.handle(happened.ContainerNotStarted(container_id, _Status.REASON_CONTAINER_LAUNCH_FAILED, "it was destroyed"))
    last = agent.task("t1").statuses[-1]
    assert (last.state, last.reason) == (mesos.TASK_KILLED, _Status.REASON_TASK_KILLED_DURING_LAUNCH)
    assert last.message == "Killed before delivery to the executor"


def test_kill_of_an_unknown_task_changes_nothing(agent: Conversation) -> None:
    assert agent.kill("nonesuch") == []


def test_failed_launch_is_reported_with_its_reason(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.command())
    starting = agent.updates()
    container_id = agent.launched()[0].container_id
    agent.handle(
        happened.ContainerNotStarted(container_id, _Status.REASON_CONTAINER_LAUNCH_FAILED, "no such file: x.tgz")
    )
    assert agent.of(DiscardSandbox)
    agent.acknowledge(starting[0])
    (last,) = agent.updates()
    assert (last.state, last.reason) == (mesos.TASK_FAILED, _Status.REASON_CONTAINER_LAUNCH_FAILED)
    assert last.message == "Failed to launch container: no such file: x.tgz"
    assert last.source == _Status.SOURCE_AGENT
    assert agent.agent.state.counts.container_launch_errors == 1


def test_task_that_runs_for_too_long_fails(agent: Conversation) -> None:
    limit = mesos.DurationInfo(nanoseconds=60_000_000_000)
    container_id = agent.run_command("t1", max_completion_time=limit)
    assert agent.timers()[happened.TimerKind.MAX_COMPLETION] == 60.0
    agent.fire(happened.TimerKind.MAX_COMPLETION)
    assert agent.of(KillContainer) == [KillContainer(container_id, signal.SIGTERM)]
    agent.end(container_id, signal.SIGTERM)
    last = agent.task("t1").statuses[-1]
    assert (last.state, last.reason) == (mesos.TASK_FAILED, _Status.REASON_MAX_COMPLETION_TIME_REACHED)


def test_limitation_is_passed_on(agent: Conversation) -> None:
    container_id = agent.run_command()
    agent.end(container_id, 9, reason=_Status.REASON_CONTAINER_LIMITATION_MEMORY, message="used 65 MB of 64")
    last = agent.task("t1").statuses[-1]
    assert last.reason == _Status.REASON_CONTAINER_LIMITATION_MEMORY
    assert last.message == "Command terminated with signal Killed: used 65 MB of 64"


def test_container_is_forgotten_and_sandbox_discarded_when_the_command_has_ended(agent: Conversation) -> None:
    container_id = agent.run_command()
    effects = agent.end(container_id)
    assert agent.of(ForgetContainer) == [ForgetContainer(container_id)]
    assert agent.discarded()[0].name == container_id
    terminal = next(e for e in effects if isinstance(e, Persist) and e.record.HasField("update"))
    assert effects.index(terminal) >= 0


def test_update_is_sent_again_with_growing_pauses_until_acknowledged(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.command())
    delays = [agent.timers()[happened.TimerKind.UPDATE_RETRY]]
    for _ in range(8):
        agent.fire(happened.TimerKind.UPDATE_RETRY)
        assert agent.states() == ["TASK_STARTING"]
        delays.append(agent.timers()[happened.TimerKind.UPDATE_RETRY])
    assert delays == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_acknowledgement_of_something_else_is_ignored(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.command())
    (starting,) = agent.updates()
    agent.handle(happened.ContainerStarted(agent.agent.containers()[0], 77))
    other = mesos.TaskStatus(task_id=starting.task_id, state=mesos.TASK_RUNNING, uuid=b"x" * 16)
    assert agent.acknowledge(other) == []
    agent.acknowledge(starting)
    (running,) = agent.updates()
    assert agent.acknowledge(starting) == []  # once more
    assert agent.task("t1").pending[0].uuid == running.uuid


def test_task_sent_twice_is_launched_once(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.command())
    assert agent.run(tasks.command()) == []


def test_task_of_an_unknown_framework_is_lost(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.command(), framework_id="F9")
    (status,) = agent.updates()
    assert (status.state, status.reason) == (mesos.TASK_LOST, _Status.REASON_INVALID_FRAMEWORKID)
    assert not status.HasField("uuid")


def test_task_that_cannot_run_is_refused_and_the_refusal_is_kept_until_acknowledged(
    agent: Conversation, tasks: type[Tasks]
) -> None:
    agent.run(tasks.command("a/b"))
    (status,) = agent.updates()
    assert (status.state, status.reason) == (mesos.TASK_ERROR, _Status.REASON_TASK_INVALID)
    assert status.message.startswith("task.task_id.value: ")
    assert agent.launched() == []
    again = agent.restart()
    again.handle(happened.ContainersRecovered({}))
    again.register()
    assert again.states() == ["TASK_ERROR"]


@pytest.mark.parametrize(
    ("container", "field"),
    [
        ({"type": "DOCKER", "docker": {"image": "alpine"}}, "task.container.type"),
        ({"type": "MESOS", "mesos": {"image": {"type": "DOCKER"}}}, "task.container.mesos.image"),
        ({"type": "MESOS", "volumes": [{"mode": "RO", "container_path": "/x"}]}, "task.container.volumes"),
        ({"type": "MESOS", "network_infos": [{"name": "net"}]}, "task.container.network_infos"),
    ],
)
def test_task_is_not_run_without_the_container_it_asks_for(
    agent: Conversation, tasks: type[Tasks], container: dict[str, Any], field: str
) -> None:
    agent.run(tasks.command(container=mesos.ContainerInfo(**container)))
    (status,) = agent.updates()
    assert status.state == mesos.TASK_ERROR
    assert status.message.startswith(f"{field}: ")
    assert agent.launched() == []


def test_secret_is_resolved_by_value_and_refused_by_reference(agent: Conversation, tasks: type[Tasks]) -> None:
    task = tasks.command("t1")
    secret = mesos.Secret(type=mesos.Secret.VALUE, value=mesos.Secret.Value(data=b"s3cret"))
    task.command.environment.variables.add(name="PASSWORD", type="SECRET", secret=secret)
    agent.run(task)
    assert agent.launched()[0].environment["PASSWORD"] == "s3cret"
    other = tasks.command("t2")
    reference = mesos.Secret(type=mesos.Secret.REFERENCE, reference=mesos.Secret.Reference(name="vault"))
    other.command.environment.variables.add(name="PASSWORD", type="SECRET", secret=reference)
    agent.run(other)
    (status,) = agent.updates()
    assert (status.state, status.message.partition(":")[0]) == (
        mesos.TASK_ERROR,
        "task.command.environment.variables[0].secret",
    )


def test_framework_that_ends_takes_its_tasks_along_and_nobody_is_told(agent: Conversation) -> None:
    container_id = agent.run_command()
    agent.receive(shutdown_framework=session.ShutdownFramework(framework_id=mesos.FrameworkID(value="F1")))
    assert agent.of(KillContainer) == [KillContainer(container_id, signal.SIGTERM)]
    agent.end(container_id, signal.SIGTERM)
    assert agent.updates() == []
    assert "F1" not in agent.agent.state.frameworks
    assert [framework.id for framework in agent.agent.state.completed_frameworks] == ["F1"]


def test_without_a_session_nothing_is_sent_and_everything_comes_with_the_next(
    agent: Conversation, tasks: type[Tasks]
) -> None:
    agent.run(tasks.command())
    agent.handle(happened.SessionClosed())
    container_id = agent.agent.containers()[0]
    agent.handle(happened.ContainerStarted(container_id, 77))
    agent.end(container_id)
    assert agent.updates() == []
    agent.handle(happened.SessionOpened())
    (register,) = agent.sent("register")
    (task,) = register.tasks
    assert (task.state, task.status_update_state) == (mesos.TASK_FINISHED, mesos.TASK_STARTING)
    assert register.agent_info.id.value == "S0"
    assert register.pid == "slave(1)@10.0.0.1:5051"
    assert not register.executors
    agent.receive(registered=session.Registered(agent_id=mesos.AgentID(value="S0")))
    assert names(agent.acknowledge_all()) == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


def test_container_that_was_given_up_is_destroyed_if_it_starts_after_all_and_forgotten_when_it_ends(
    agent: Conversation,
) -> None:
    agent.handle(happened.ContainerStarted("given up", 77))
    assert agent.effects == [DestroyContainer("given up")]
    agent.end("given up")
    assert agent.effects == [ForgetContainer("given up")]
