"""Task groups on the default executor: the agent supervises each task itself, and they live and die together."""

from __future__ import annotations

import signal

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo_agent.core import events as happened
from mezzo_agent.core.effects import KillContainer
from services.agent.tests.conftest import Conversation, Tasks


def pod(tasks: type[Tasks], *task_ids: str, executor_id: str = "P1") -> session.RunTaskGroup:
    executor = mesos.ExecutorInfo(type=mesos.ExecutorInfo.DEFAULT, executor_id=mesos.ExecutorID(value=executor_id))
    group = mesos.TaskGroupInfo(tasks=[tasks.command(task_id) for task_id in task_ids])
    return session.RunTaskGroup(framework_id=mesos.FrameworkID(value="F1"), executor=executor, task_group=group)


@pytest.fixture
def running(agent: Conversation, tasks: type[Tasks]) -> Conversation:
    agent.receive(run_task_group=pod(tasks, "a", "b", "c"))
    agent.configs = agent.launched()
    for number, config in enumerate(agent.configs):
        agent.handle(happened.ContainerStarted(config.container_id, 100 + number))
    return agent


def state_of(agent: Conversation, task_id: str) -> str:
    return mesos.TaskState.Name(agent.task(task_id).state)


def test_each_task_has_a_container_inside_the_pod(running: Conversation) -> None:
    sandboxes = [config.sandbox for config in running.configs]
    assert len({config.container_id for config in running.configs}) == 3
    (parent,) = {sandbox.parent.parent for sandbox in sandboxes}
    assert parent.match("slaves/S0/frameworks/F1/executors/P1/runs/*")
    assert [state_of(running, each) for each in "abc"] == ["TASK_RUNNING"] * 3


def test_status_tells_the_container_inside_the_pod(running: Conversation) -> None:
    pod = running.agent.state.frameworks["F1"].executors["P1"]
    for task_id, config in zip("abc", running.configs, strict=True):
        expected = mesos.ContainerID(value=config.container_id, parent=mesos.ContainerID(value=pod.container_id))
        (container_id,) = {
            status.container_status.container_id.SerializeToString() for status in running.task(task_id).statuses
        }
        assert mesos.ContainerID.FromString(container_id) == expected


def test_task_that_succeeds_leaves_the_others_alone(running: Conversation) -> None:
    running.end(running.configs[0].container_id)
    assert running.of(KillContainer) == []
    assert state_of(running, "a") == "TASK_FINISHED"


def test_task_that_fails_takes_the_others_along(running: Conversation) -> None:
    running.end(running.configs[0].container_id, 1 << 8)
    killed = [config.container_id for config in running.configs[1:]]
    assert running.of(KillContainer) == [KillContainer(each, signal.SIGTERM) for each in killed]
    for container_id in killed:
        running.end(container_id, signal.SIGTERM)
    assert [state_of(running, each) for each in "abc"] == ["TASK_FAILED", "TASK_KILLED", "TASK_KILLED"]
    assert not running.agent.state.frameworks["F1"].executors


def test_kill_of_one_kills_all(running: Conversation) -> None:
    running.kill("b")
    assert {effect.container_id for effect in running.of(KillContainer)} == {
        config.container_id for config in running.configs
    }


def test_groups_of_one_executor_do_not_die_of_each_other(running: Conversation, tasks: type[Tasks]) -> None:
    running.receive(run_task_group=pod(tasks, "d"))
    (config,) = running.launched()
    running.handle(happened.ContainerStarted(config.container_id, 9))
    running.end(config.container_id, 1 << 8)
    assert running.of(KillContainer) == []


def test_pod_is_discarded_when_its_last_task_has_ended(running: Conversation) -> None:
    for config in running.configs:
        running.end(config.container_id)
    (sandbox,) = running.discarded()
    assert running.configs[0].sandbox.is_relative_to(sandbox)


def test_registry_is_told_that_a_pod_holds_nothing_any_more(running: Conversation) -> None:
    for config in running.configs[:-1]:
        running.end(config.container_id)
    assert running.sent("executor_exited") == []
    running.end(running.configs[-1].container_id)
    (exited,) = running.sent("executor_exited")
    assert (exited.framework_id.value, exited.executor_id.value, exited.wait_status) == ("F1", "P1", 0)


def test_registry_is_told_of_a_pod_that_ended_between_the_snapshot_and_registered(running: Conversation) -> None:
    running.handle(happened.SessionClosed())
    running.handle(happened.SessionOpened())
    (register,) = running.sent("register")
    assert [executor.executor_id.value for executor in register.executors] == ["P1"]
    for config in running.configs:
        running.end(config.container_id)
    assert running.sent("executor_exited") == []
    running.receive(registered=session.Registered(agent_id=mesos.AgentID(value="S0")))
    assert [exited.executor_id.value for exited in running.sent("executor_exited")] == ["P1"]


def test_pod_that_ended_while_there_was_no_session_is_not_in_the_snapshot(running: Conversation) -> None:
    running.handle(happened.SessionClosed())
    for config in running.configs:
        running.end(config.container_id)
    running.handle(happened.SessionOpened())
    (register,) = running.sent("register")
    assert not register.executors
    running.receive(registered=session.Registered(agent_id=mesos.AgentID(value="S0")))
    assert running.sent("executor_exited") == []


def test_registry_is_told_of_a_pod_whose_tasks_could_not_be_started(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.receive(run_task_group=pod(tasks, "a", "b"))
    reason = mesos.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED
    for config in agent.launched():
        agent.handle(happened.ContainerNotStarted(config.container_id, reason, "no such image"))
    assert [exited.executor_id.value for exited in agent.sent("executor_exited")] == ["P1"]


def test_registry_is_told_that_the_executor_of_a_refused_group_was_not_started(
    agent: Conversation, tasks: type[Tasks]
) -> None:
    message = pod(tasks, "a", "b")
    message.task_group.tasks[1].ClearField("command")
    agent.receive(run_task_group=message)
    (exited,) = agent.sent("executor_exited")
    assert (exited.executor_id.value, exited.wait_status) == ("P1", -1)


def test_executor_that_runs_is_not_reported_when_another_group_is_refused(
    running: Conversation, tasks: type[Tasks]
) -> None:
    message = pod(tasks, "d")
    message.task_group.tasks[0].ClearField("command")
    running.receive(run_task_group=message)
    assert running.sent("executor_exited") == []


def test_group_that_lists_a_task_twice_is_refused_as_a_whole(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.receive(run_task_group=pod(tasks, "a", "b", "a"))
    assert agent.launched() == []
    refused = {status.task_id.value: (status.state, status.reason, status.message) for status in agent.updates()}
    message = "task_group.tasks[2].task_id.value: 'a' is listed twice in the group"
    assert refused == dict.fromkeys("ab", (mesos.TASK_ERROR, mesos.TaskStatus.REASON_TASK_GROUP_INVALID, message))
    assert len(agent.updates()) == 2


def test_group_of_which_one_task_makes_no_sense_is_refused_as_a_whole(agent: Conversation, tasks: type[Tasks]) -> None:
    message = pod(tasks, "a", "b")
    message.task_group.tasks[1].ClearField("command")
    agent.receive(run_task_group=message)
    assert agent.states() == ["TASK_ERROR", "TASK_ERROR"]
    assert agent.launched() == []


def test_pod_survives_the_agent(running: Conversation, tasks: type[Tasks]) -> None:
    from mezzo_agent.ports import RecoveredContainer, RecoveredState

    again = running.restart()
    found = {
        config.container_id: RecoveredContainer(config.container_id, RecoveredState.RUNNING, 5)
        for config in running.configs
    }
    again.handle(happened.ContainersRecovered(found))
    again.register()
    again.end(running.configs[0].container_id, 1 << 8)
    assert len(again.of(KillContainer)) == 2


def test_task_that_cannot_be_started_takes_the_others_along(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.receive(run_task_group=pod(tasks, "a", "b"))
    first, second = agent.launched()
    agent.handle(happened.ContainerStarted(second.container_id, 101))
    reason = mesos.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED
    agent.handle(happened.ContainerNotStarted(first.container_id, reason, "no such image"))
    assert agent.of(KillContainer) == [KillContainer(second.container_id, signal.SIGTERM)]
    agent.end(second.container_id, signal.SIGTERM)
    assert [state_of(agent, each) for each in "ab"] == ["TASK_FAILED", "TASK_KILLED"]
