"""The agent dies, and another process goes on from its journal."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Any

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor.executor_pb2 import Event
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo_agent.core import events as happened
from mezzo_agent.core.effects import (
    DestroyContainer,
    EndAgent,
    ForgetContainer,
    KillContainer,
    LaunchContainer,
    WatchContainer,
)
from mezzo_agent.core.events import TimerKind
from mezzo_agent.ports import RecoveredContainer, RecoveredState, Termination
from services.agent.tests.conftest import Conversation, Tasks

_Status = mesos.TaskStatus
UUID = b"u" * 16


def found(container_id: str, state: RecoveredState, **more: Any) -> happened.ContainersRecovered:
    return happened.ContainersRecovered({container_id: RecoveredContainer(container_id, state, **more)})


def names(statuses: Iterable[mesos.TaskStatus]) -> list[str]:
    return [mesos.TaskState.Name(status.state) for status in statuses]


def test_running_task_goes_on(agent: Conversation) -> None:
    container_id = agent.run_command()
    again = agent.restart()
    assert again.agent.containers() == [container_id]
    again.handle(found(container_id, RecoveredState.RUNNING, pid=77))
    assert again.of(WatchContainer) == [WatchContainer(container_id)]
    again.register()
    assert again.acknowledge_all()
    again.end(container_id)
    assert again.states() == ["TASK_FINISHED"]


def test_task_that_runs_under_the_name_of_an_earlier_one_keeps_its_own_sandbox(agent: Conversation) -> None:
    agent.end(agent.run_command())
    for status in list(agent.task("t1").pending):
        agent.acknowledge(status)
    assert agent.agent.state.task("F1", "t1") is None
    container_id = agent.run_command()
    sandboxes = agent.agent.sandboxes()
    again = agent.restart()
    assert again.agent.containers() == [container_id]
    assert again.agent.sandboxes() == sandboxes


def test_exit_status_of_a_task_that_ended_meanwhile_is_reported(agent: Conversation) -> None:
    container_id = agent.run_command()
    again = agent.restart()
    again.handle(found(container_id, RecoveredState.ENDED, termination=Termination(3 << 8)))
    again.register()
    seen = again.acknowledge_all()
    assert names(seen) == ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]
    assert seen[-1].message == "Command exited with status 3"


def test_task_that_had_not_been_started_is_started(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.command())
    (config,) = agent.launched()
    again = agent.restart()
    again.handle(found(config.container_id, RecoveredState.UNKNOWN))
    assert [type(effect) for effect in again.effects] == [ForgetContainer, LaunchContainer]
    assert again.launched()[0].environment == config.environment
    again.register()
    assert again.states() == ["TASK_STARTING"]


def test_nothing_is_launched_from_a_damaged_journal_since_it_may_have_run_and_ended(
    agent: Conversation, tasks: type[Tasks]
) -> None:
    agent.run(tasks.command("t1"))
    agent.run(tasks.executor("t2"))
    again = agent.restart()
    assert len(again.agent.containers()) == 2
    again.handle(happened.ContainersRecovered({}, intact=False))
    assert again.launched() == []
    assert again.agent.containers() == []
    again.register()
    last = {status.task_id.value: (status.state, status.reason) for status in again.acknowledge_all()}
    assert last == {
        "t1": (mesos.TASK_FAILED, _Status.REASON_AGENT_RESTARTED),
        "t2": (mesos.TASK_FAILED, _Status.REASON_EXECUTOR_TERMINATED),
    }


def test_task_started_in_the_last_moment_is_reported_as_running(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.command())
    container_id = agent.launched()[0].container_id
    again = agent.restart()
    again.handle(found(container_id, RecoveredState.RUNNING, pid=77))
    again.register()
    assert names(again.acknowledge_all()) == ["TASK_STARTING", "TASK_RUNNING"]


def test_running_task_without_a_trace_has_failed(agent: Conversation) -> None:
    container_id = agent.run_command()
    again = agent.restart()
    again.handle(happened.ContainersRecovered({}))
    assert container_id not in again.agent.containers()
    again.register()
    last = again.acknowledge_all()[-1]
    assert (last.state, last.reason) == (mesos.TASK_FAILED, _Status.REASON_AGENT_RESTARTED)
    assert last.message == "Abnormal executor termination: unknown container"


@pytest.mark.parametrize("acknowledged", [0, 1, 2, 3])
def test_unacknowledged_updates_survive_in_order_and_acknowledged_ones_do_not_come_again(
    agent: Conversation, acknowledged: bool
) -> None:
    container_id = agent.run_command()
    agent.end(container_id)
    statuses = list(agent.task("t1").pending)
    for status in statuses[:acknowledged]:
        agent.acknowledge(status)
    again = agent.restart()
    again.handle(happened.ContainersRecovered({}))
    again.register()
    assert [status.uuid for status in again.acknowledge_all()] == [status.uuid for status in statuses[acknowledged:]]
    assert again.agent.state.task("F1", "t1") is None


def test_kill_goes_on_after_the_restart(agent: Conversation) -> None:
    container_id = agent.run_command()
    agent.kill(policy=mesos.KillPolicy(grace_period=mesos.DurationInfo(nanoseconds=9_000_000_000)))
    again = agent.restart()
    again.handle(found(container_id, RecoveredState.RUNNING, pid=77))
    assert again.of(KillContainer) == [KillContainer(container_id, signal.SIGTERM)]
    assert again.timers()[TimerKind.KILL_GRACE] == 9.0
    again.end(container_id, signal.SIGTERM)
    assert again.task("t1").state == mesos.TASK_KILLED


def test_task_killed_while_the_agent_was_away_is_killed_not_failed(agent: Conversation) -> None:
    container_id = agent.run_command()
    agent.kill()
    again = agent.restart()
    again.handle(found(container_id, RecoveredState.ENDED, termination=Termination(signal.SIGTERM)))
    assert again.task("t1").state == mesos.TASK_KILLED


def test_completion_time_counts_from_the_start_of_the_task(agent: Conversation) -> None:
    container_id = agent.run_command(max_completion_time=mesos.DurationInfo(nanoseconds=60_000_000_000))
    again = agent.restart()
    again.now = agent.now + 45
    again.handle(found(container_id, RecoveredState.RUNNING, pid=77))
    assert again.timers()[TimerKind.MAX_COMPLETION] == 15.0


def test_agent_registers_with_its_id_and_everything_that_runs(agent: Conversation) -> None:
    container_id = agent.run_command()
    again = agent.restart()
    again.handle(found(container_id, RecoveredState.RUNNING, pid=77))
    again.handle(happened.SessionOpened())
    (register,) = again.sent("register")
    assert register.agent_info.id.value == "S0"
    assert [task.task_id.value for task in register.tasks] == ["t1"]
    assert [framework.id.value for framework in register.frameworks] == ["F1"]


def test_agent_registers_a_task_with_its_labels(agent: Conversation) -> None:
    labels = mesos.Labels(labels=[mesos.Label(key="tier", value="web")])
    agent.run_command("t1", labels=labels)
    agent.run_command("t2")
    agent.handle(happened.SessionOpened())
    (register,) = agent.sent("register")
    labelled, plain = register.tasks
    assert labelled.labels == labels
    assert not plain.HasField("labels")


def test_shortened_journal_leads_to_the_same_state(
    agent: Conversation, new_agent: type[Conversation], tasks: type[Tasks]
) -> None:
    agent.end(agent.run_command("t0"))
    for status in list(agent.task("t0").pending):
        agent.acknowledge(status)
    agent.run_command("t1")
    agent.acknowledge(agent.task("t1").pending[0])
    agent.kill("t1")
    agent.run(tasks.executor("t2"))
    agent.subscribe()
    agent.executor_update("t2", "TASK_RUNNING", UUID)
    agent.run(tasks.command("a/b"))
    short = agent.agent.checkpoint()
    one, other = new_agent(agent.journal), new_agent(short)
    assert one.agent.checkpoint() == other.agent.checkpoint() == short
    assert len(short) < len(agent.journal)


def test_journal_cut_after_any_record_can_be_gone_on_from(
    agent: Conversation, new_agent: type[Conversation], tasks: type[Tasks]
) -> None:
    container_id = agent.run_command("t1")
    agent.run(tasks.executor("t2"))
    agent.subscribe()
    agent.executor_update("t2", "TASK_RUNNING", UUID)
    agent.end(container_id)
    agent.acknowledge_all()
    agent.run(tasks.command("a/b"))
    for length in range(len(agent.journal) + 1):
        again = new_agent(agent.journal[:length])
        again.handle(happened.ContainersRecovered({}))
        again.register()
        again.acknowledge_all()


# --- executors


@pytest.fixture
def executor(agent: Conversation, tasks: type[Tasks]) -> Conversation:
    agent.run(tasks.executor())
    agent.container_id = agent.launched()[0].container_id
    agent.handle(happened.ContainerStarted(agent.container_id, 55))
    agent.subscribe()
    return agent


def test_executor_that_comes_back_goes_on(executor: Conversation, tasks: type[Tasks]) -> None:
    executor.executor_update("t1", "TASK_RUNNING", UUID)
    token = executor.agent.state.frameworks["F1"].executors["E1"].token
    again = executor.restart(authenticate_executors=True)
    again.handle(found(executor.container_id, RecoveredState.RUNNING, pid=55))
    assert again.timers() == {TimerKind.EXECUTOR_REREGISTRATION: 2.0}
    again.run(tasks.executor("t2"))  # no session yet, but it could be
    again.subscribe("c9", token=token)
    assert TimerKind.EXECUTOR_REREGISTRATION in again.cancelled()
    assert [event.type for event in again.sent_to_executor()] == [Event.SUBSCRIBED, Event.LAUNCH]


def test_executor_that_does_not_come_back_is_ended(executor: Conversation) -> None:
    again = executor.restart()
    again.handle(found(executor.container_id, RecoveredState.RUNNING, pid=55))
    again.register()
    again.fire(TimerKind.EXECUTOR_REREGISTRATION, "E1")
    assert again.of(DestroyContainer) == [DestroyContainer(executor.container_id)]
    again.end(executor.container_id, signal.SIGKILL)
    (status,) = again.updates()
    assert (status.state, status.reason) == (mesos.TASK_FAILED, _Status.REASON_EXECUTOR_REREGISTRATION_TIMEOUT)
    assert status.message == "Executor did not reregister within 2secs"


def test_executor_that_ended_meanwhile_takes_its_tasks_along(executor: Conversation) -> None:
    again = executor.restart()
    again.handle(found(executor.container_id, RecoveredState.ENDED, termination=Termination(1 << 8)))
    again.register()
    assert again.states() == ["TASK_FAILED"]


def test_executor_that_had_not_been_started_is_started(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.executor())
    container_id = agent.launched()[0].container_id
    again = agent.restart()
    again.handle(found(container_id, RecoveredState.UNKNOWN))
    assert again.of(ForgetContainer) == [ForgetContainer(container_id)]
    assert again.launched()[0].container_id == container_id
    again.subscribe()
    assert [event.type for event in again.sent_to_executor()] == [Event.SUBSCRIBED, Event.LAUNCH]


def test_executor_without_tasks_whose_container_is_gone_is_not_started_again(executor: Conversation) -> None:
    executor.executor_update("t1", "TASK_FINISHED", UUID)
    executor.acknowledge_all()
    again = executor.restart()
    again.handle(found(executor.container_id, RecoveredState.UNKNOWN))  # as after the machine's restart
    assert again.launched() == []
    assert [framework for framework in again.agent.state.frameworks.values() if framework.executors] == []


# --- who the agent is


def test_agent_that_is_told_to_shut_down_ends_everything_and_forgets_who_it_was(agent: Conversation) -> None:
    container_id = agent.run_command()
    agent.receive(shutdown=session.Shutdown(reason="it was marked gone"))
    assert agent.of(KillContainer) == [KillContainer(container_id, signal.SIGTERM)]
    assert agent.of(EndAgent) == []
    agent.end(container_id, signal.SIGTERM)
    assert agent.of(EndAgent) == [EndAgent("it was marked gone", forget=True)]
    assert agent.sent("leave")


def test_agent_with_nothing_to_end_leaves_at_once(agent: Conversation) -> None:
    agent.handle(happened.RemovalOrdered("told to leave"))
    assert agent.of(EndAgent) == [EndAgent("told to leave", forget=True)]


def test_agent_that_is_given_another_id_keeps_its_tasks_and_ends(agent: Conversation) -> None:
    container_id = agent.run_command()
    again = agent.restart()
    again.handle(found(container_id, RecoveredState.RUNNING, pid=77))
    again.register("S9")
    (end,) = again.of(EndAgent)
    assert not end.forget
    assert again.agent.state.agent_id == "S0"


def test_agent_with_nothing_to_lose_takes_another_id(agent: Conversation) -> None:
    again = agent.restart()
    again.handle(happened.ContainersRecovered({}))
    again.register("S9")
    assert again.agent.state.agent_id == "S9"
    assert again.restart().agent.state.agent_id == "S9"


def test_journal_without_any_one_record_can_be_gone_on_from(
    agent: Conversation, new_agent: type[Conversation], tasks: type[Tasks]
) -> None:
    """As a damaged one is, of which all is read that can be."""
    agent.run_command("t1")
    agent.run(tasks.executor("t2"))
    agent.subscribe()
    agent.executor_update("t2", "TASK_RUNNING", UUID)
    for missing in range(len(agent.journal)):
        records = [record for number, record in enumerate(agent.journal) if number != missing]
        again = new_agent(records)
        known = again.agent.containers()
        again.handle(
            happened.ContainersRecovered(
                {each: RecoveredContainer(each, RecoveredState.RUNNING, pid=77) for each in known}
            )
        )
        again.agent.validate()
