"""A custom executor, from its launch to its exit."""

from __future__ import annotations

from typing import Any

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as api
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.errors import Forbidden, InvalidRequest, Unauthorized, Unavailable
from mezzo.resources import parse
from mezzo_agent.core import events as happened
from mezzo_agent.core.effects import CloseExecutorStream, DestroyContainer, UpdateContainer
from mezzo_agent.core.events import TimerKind
from services.agent.tests.conftest import Conversation, Tasks

_Event = api.Event
_Status = mesos.TaskStatus
UUID = b"u" * 16
UUID2 = b"v" * 16


def types(agent: Conversation) -> list[str]:
    return [_Event.Type.Name(event.type) for event in agent.sent_to_executor()]


@pytest.fixture
def running(agent: Conversation, tasks: type[Tasks]) -> Conversation:
    """An executor that has subscribed and been told of task t1."""
    agent.run(tasks.executor())
    agent.container_id = agent.launched()[0].container_id
    agent.handle(happened.ContainerStarted(agent.container_id, 55))
    agent.subscribe()
    return agent


def test_executor_is_launched_once_and_its_tasks_wait_for_it(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.executor("t1"))
    (config,) = agent.launched()
    assert config.task_id is None
    assert config.resources == parse("cpus:1.1;mem:96").allocated_to("*")
    assert agent.timers() == {TimerKind.EXECUTOR_REGISTRATION: 60.0}
    agent.run(tasks.executor("t2"))
    assert agent.launched() == []
    agent.subscribe()
    assert types(agent) == ["SUBSCRIBED", "LAUNCH", "LAUNCH"]
    assert [event.launch.task.task_id.value for event in agent.sent_to_executor()[1:]] == ["t1", "t2"]
    assert TimerKind.EXECUTOR_REGISTRATION in agent.cancelled()


def test_subscribed_tells_an_executor_who_it_is(running: Conversation) -> None:
    subscribed = running.sent_to_executor()[0].subscribed
    assert subscribed.executor_info.executor_id.value == "E1"
    assert subscribed.executor_info.framework_id.value == "F1"
    assert subscribed.framework_info.id.value == "F1"
    assert subscribed.agent_info.id.value == "S0"
    assert subscribed.container_id.value == running.container_id


def test_executor_finds_everything_in_its_environment(new_agent: type[Conversation], tasks: type[Tasks]) -> None:
    agent = new_agent(
        domain_socket="/run/mezzo.sock", base_environment={"PATH": "/bin"}, executor_reregistration_timeout=1.5
    )
    agent.register()
    agent.add_framework("F1", checkpoint=True)
    task = tasks.executor()
    task.executor.command.environment.variables.add(name="MESOS_EXECUTOR_ID", value="forged")
    agent.run(task)
    (config,) = agent.launched()
    token = agent.agent.state.frameworks["F1"].executors["E1"].token
    expected = {
        "PATH": "/bin",
        "MESOS_FRAMEWORK_ID": "F1",
        "MESOS_EXECUTOR_ID": "E1",
        "MESOS_DIRECTORY": str(config.sandbox),
        "MESOS_SANDBOX": str(config.sandbox),
        "MESOS_AGENT_ENDPOINT": "10.0.0.1:5051",
        "MESOS_SLAVE_PID": "slave(1)@10.0.0.1:5051",
        "MESOS_SLAVE_ID": "S0",
        "MESOS_CHECKPOINT": "1",
        "MESOS_RECOVERY_TIMEOUT": "15mins",
        # An executor that pauses for longer would come too late to a restarted agent.
        "MESOS_SUBSCRIPTION_BACKOFF_MAX": "1500ms",
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs",
        "MESOS_EXECUTOR_AUTHENTICATION_TOKEN": token,
        "MESOS_DOMAIN_SOCKET": "/run/mezzo.sock",
        "MESOS_ALLOCATION_ROLE": "*",
        "MESOS_CONTAINER_IP": "10.0.0.1",
        "LIBPROCESS_IP": "10.0.0.1",
        "LIBPROCESS_PORT": "0",
    }
    assert config.environment == expected
    assert len(token) == 64


def test_update_is_forwarded_and_acknowledged_to_the_executor(running: Conversation) -> None:
    running.executor_update("t1", "TASK_RUNNING", UUID)
    (update,) = running.updates()
    assert update.uuid == UUID
    assert (update.agent_id.value, update.executor_id.value) == ("S0", "E1")
    assert update.source == _Status.SOURCE_EXECUTOR
    assert update.container_status.container_id.value == running.container_id
    (acknowledged,) = running.sent_to_executor()
    assert (acknowledged.acknowledged.task_id.value, acknowledged.acknowledged.uuid) == ("t1", UUID)


def test_what_an_executor_says_of_its_container_is_not_passed_on(running: Conversation) -> None:
    call = api.Call(type=api.Call.UPDATE)
    call.framework_id.value, call.executor_id.value = "F1", "E1"
    status = call.update.status
    status.task_id.value, status.state, status.uuid = "t1", mesos.TASK_RUNNING, UUID
    parent = status.container_status.container_id
    for _ in range(90):
        parent.value = "deep"
        parent = parent.parent
    parent.value = "deepest"
    running.handle(happened.ExecutorCalled(call, None))
    (update,) = running.updates()
    assert update.container_status.container_id == mesos.ContainerID(value=running.container_id)


def test_update_sent_twice_is_entered_once_and_acknowledged_twice(running: Conversation) -> None:
    running.executor_update("t1", "TASK_RUNNING", UUID)
    running.acknowledge(running.updates()[0])
    running.executor_update("t1", "TASK_RUNNING", UUID)
    assert running.updates() == []
    assert types(running) == ["ACKNOWLEDGED"]


def test_update_sent_twice_before_it_is_acknowledged_is_entered_once(running: Conversation) -> None:
    running.executor_update("t1", "TASK_RUNNING", UUID)
    (update,) = running.updates()
    running.executor_update("t1", "TASK_RUNNING", UUID)
    assert running.updates() == []
    assert types(running) == ["ACKNOWLEDGED"]
    running.acknowledge(update)
    assert running.updates() == []
    assert not running.task("t1").pending
    running.executor_update("t1", "TASK_FINISHED", UUID2)
    assert [status.state for status in running.updates()] == [mesos.TASK_FINISHED]


def test_resources_of_an_ended_task_are_taken_from_the_executor(running: Conversation) -> None:
    running.executor_update("t1", "TASK_FINISHED", UUID)
    (update,) = running.of(UpdateContainer)
    assert update.resources == parse("cpus:0.1;mem:32").allocated_to("*")


def test_update_after_the_last_one_is_acknowledged_and_dropped(running: Conversation) -> None:
    running.executor_update("t1", "TASK_FINISHED", UUID)
    running.executor_update("t1", "TASK_RUNNING", UUID2)
    assert running.updates() == []
    assert types(running) == ["ACKNOWLEDGED"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"task_id": "nonesuch"}, "update.status.task_id"),
        ({"uuid": b"short"}, "update.status.uuid"),
        ({"state": "TASK_STAGING"}, "update.status.state"),
        ({"agent_id": mesos.AgentID(value="S9")}, "update.status.agent_id"),
        ({"executor_id": mesos.ExecutorID(value="E9")}, "update.status.executor_id"),
        ({"source": "SOURCE_MASTER"}, "update.status.source"),
    ],
)
def test_wrong_update_is_refused_by_the_name_of_the_field_and_changes_nothing(
    running: Conversation, fields: dict[str, Any], named: str
) -> None:
    before = running.agent.checkpoint()
    with pytest.raises(InvalidRequest) as refused:
        running.executor_update(**{"task_id": "t1", "state": "TASK_RUNNING", "uuid": UUID, **fields})
    assert refused.value.field == named
    assert running.agent.checkpoint() == before


def test_update_for_the_task_of_another_executor_is_forbidden(running: Conversation, tasks: type[Tasks]) -> None:
    running.run(tasks.executor("t2", "E2"))
    with pytest.raises(Forbidden, match=r"update\.status\.task_id: .*t2"):
        running.executor_update("t2", "TASK_FINISHED", UUID)
    assert running.task("t2").state == mesos.TASK_STAGING


def test_update_before_subscribing_is_forbidden(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.executor())
    with pytest.raises(Forbidden, match="not subscribed"):
        agent.executor_update("t1", "TASK_RUNNING", UUID)


def test_update_after_the_subscription_broke_is_for_later(running: Conversation) -> None:
    running.handle(happened.ExecutorDisconnected("c1"))
    with pytest.raises(Unavailable, match="not subscribed"):
        running.executor_update("t1", "TASK_RUNNING", UUID)


def test_executor_is_told_where_grpc_is_served(new_agent: type[Conversation], tasks: type[Tasks]) -> None:
    agent = new_agent(grpc_port=5056)
    agent.register()
    agent.add_framework("F1")
    agent.run(tasks.executor())
    (config,) = agent.launched()
    assert config.environment["MEZZO_AGENT_GRPC_ENDPOINT"] == "10.0.0.1:5056"


def test_unknown_executor_and_framework_are_refused_by_name(running: Conversation) -> None:
    with pytest.raises(InvalidRequest) as refused:
        running.executor_call("HEARTBEAT", executor_id="E9")
    assert refused.value.field == "executor_id"
    call = api.Call(type=api.Call.HEARTBEAT, executor_id=mesos.ExecutorID(value="E1"))
    call.framework_id.value = "F9"
    with pytest.raises(InvalidRequest, match="unknown framework 'F9'") as refused:
        running.handle(happened.ExecutorCalled(call, None))
    assert refused.value.field == "framework_id"


@pytest.mark.parametrize("type_", ["SUBSCRIBE", "UPDATE", "MESSAGE"])
def test_call_without_its_member_is_refused_by_name(running: Conversation, type_: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        running.executor_call(type_)
    assert refused.value.field == type_.lower()


def test_call_with_text_that_is_no_text_is_refused_by_name(running: Conversation) -> None:
    status = mesos.TaskStatus(
        task_id=mesos.TaskID(value="t1"), state=mesos.TASK_RUNNING, uuid=UUID, message="not UTF-8"
    )
    call = api.Call(
        type=api.Call.UPDATE,
        framework_id=mesos.FrameworkID(value="F1"),
        executor_id=mesos.ExecutorID(value="E1"),
        update=api.Call.Update(status=status),
    )
    call = api.Call.FromString(call.SerializeToString().replace(b"not UTF-8", b"not UTF\xff8"))
    with pytest.raises(InvalidRequest, match=r"update.status.message: is not UTF-8"):
        running.handle(happened.ExecutorCalled(call, None))


def test_wrong_token_is_refused_and_the_right_one_taken(running: Conversation) -> None:
    token = running.agent.state.frameworks["F1"].executors["E1"].token
    with pytest.raises(Unauthorized):
        running.executor_call("HEARTBEAT", token="0" * 64)
    running.executor_call("HEARTBEAT", token=token)


def test_missing_token_is_refused_only_where_it_is_required(new_agent: type[Conversation], tasks: type[Tasks]) -> None:
    agent = new_agent(authenticate_executors=True)
    agent.register()
    agent.add_framework()
    agent.run(tasks.executor())
    with pytest.raises(Unauthorized):
        agent.subscribe()
    agent.subscribe(token=agent.agent.state.frameworks["F1"].executors["E1"].token)
    assert types(agent) == ["SUBSCRIBED", "LAUNCH"]


def test_messages_go_both_ways(running: Conversation) -> None:
    running.executor_call("MESSAGE", message=api.Call.Message(data=b"up"))
    (message,) = running.sent("executor_message")
    assert (message.executor_id.value, message.data) == ("E1", b"up")
    ids: dict[str, Any] = {"framework_id": mesos.FrameworkID(value="F1"), "executor_id": mesos.ExecutorID(value="E1")}
    running.receive(framework_message=session.FrameworkMessage(**ids, data=b"down"))
    (event,) = running.sent_to_executor()
    assert (event.type, event.message.data) == (_Event.MESSAGE, b"down")


def test_kill_is_passed_on_with_its_policy(running: Conversation) -> None:
    running.kill(policy=mesos.KillPolicy(grace_period=mesos.DurationInfo(nanoseconds=3_000_000_000)))
    (event,) = running.sent_to_executor()
    assert event.kill.task_id.value == "t1"
    assert event.kill.kill_policy.grace_period.nanoseconds == 3_000_000_000


def test_task_killed_before_its_executor_subscribed_never_reaches_it(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.executor())
    container_id = agent.launched()[0].container_id
    agent.kill()
    (status,) = agent.updates()
    assert (status.state, status.reason) == (mesos.TASK_KILLED, _Status.REASON_TASK_KILLED_DURING_LAUNCH)
    assert status.message == "Killed before delivery to the executor"
    assert agent.of(DestroyContainer) == [DestroyContainer(container_id)]


def test_executor_that_does_not_register_in_time_fails_its_tasks(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.executor())
    container_id = agent.launched()[0].container_id
    agent.fire(TimerKind.EXECUTOR_REGISTRATION, "E1")
    assert agent.of(DestroyContainer) == [DestroyContainer(container_id)]
    agent.end(container_id, 9)
    (status,) = agent.updates()
    assert (status.state, status.reason) == (mesos.TASK_FAILED, _Status.REASON_EXECUTOR_REGISTRATION_TIMEOUT)
    assert status.message == "Executor did not register within 1mins"


def test_executor_that_exits_takes_its_tasks_along(running: Conversation, tasks: type[Tasks]) -> None:
    running.executor_update("t1", "TASK_RUNNING", UUID)
    running.acknowledge(running.updates()[0])
    running.end(running.container_id, 1 << 8)
    (status,) = running.updates()
    assert (status.state, status.reason) == (mesos.TASK_FAILED, _Status.REASON_EXECUTOR_TERMINATED)
    assert status.message == "Executor exited with status 1"
    assert status.source == _Status.SOURCE_AGENT
    (exited,) = running.sent("executor_exited")
    assert (exited.executor_id.value, exited.wait_status) == ("E1", 1 << 8)
    assert running.of(CloseExecutorStream) == [CloseExecutorStream("c1")]
    # The next task of that executor starts another one, although an update still waits.
    running.run(tasks.executor("t2"))
    assert running.launched()[0].container_id != running.container_id


def test_executor_that_cannot_be_launched_fails_its_tasks(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.executor())
    container_id = agent.launched()[0].container_id
    agent.handle(happened.ContainerNotStarted(container_id, _Status.REASON_CONTAINER_LAUNCH_FAILED, "no ./executor"))
    (status,) = agent.updates()
    assert (status.state, status.reason) == (mesos.TASK_FAILED, _Status.REASON_CONTAINER_LAUNCH_FAILED)
    assert status.message == "Failed to launch container: no ./executor"
    assert agent.agent.state.counts.container_launch_errors == 1


def test_new_stream_ends_the_older_one_and_tells_again_what_was_not_heard(
    running: Conversation, tasks: type[Tasks]
) -> None:
    running.run(tasks.executor("t2"))
    running.kill("t2")
    running.subscribe("c2", unacknowledged_tasks=[tasks.executor("t1")])
    assert running.of(CloseExecutorStream) == [CloseExecutorStream("c1")]
    assert types(running) == ["SUBSCRIBED", "LAUNCH", "KILL"]
    assert running.sent_to_executor()[1].launch.task.task_id.value == "t2"
    # The end of the older stream is not taken for the end of the new one.
    running.handle(happened.ExecutorDisconnected("c1"))
    running.run(tasks.executor("t3"))
    assert types(running) == ["LAUNCH"]


def test_unacknowledged_updates_come_with_the_subscription(running: Conversation) -> None:
    running.handle(happened.ExecutorDisconnected("c1"))
    status = mesos.TaskStatus(task_id=mesos.TaskID(value="t1"), state=mesos.TASK_RUNNING, uuid=UUID)
    running.subscribe("c2", unacknowledged_updates=[api.Call.Update(status=status)])
    assert running.states() == ["TASK_RUNNING"]
    assert types(running) == ["SUBSCRIBED", "ACKNOWLEDGED"]


def test_shutdown_is_asked_for_and_then_enforced(running: Conversation) -> None:
    ids: dict[str, Any] = {"framework_id": mesos.FrameworkID(value="F1"), "executor_id": mesos.ExecutorID(value="E1")}
    running.receive(shutdown_executor=session.ShutdownExecutor(**ids))
    assert types(running) == ["SHUTDOWN"]
    assert running.timers() == {TimerKind.EXECUTOR_SHUTDOWN: 5.0}
    running.fire(TimerKind.EXECUTOR_SHUTDOWN, "E1")
    assert running.of(DestroyContainer) == [DestroyContainer(running.container_id)]


def test_task_for_an_executor_that_ends_is_lost_or_dropped(
    running: Conversation, new_agent: type[Conversation], tasks: type[Tasks]
) -> None:
    ids: dict[str, Any] = {"framework_id": mesos.FrameworkID(value="F1"), "executor_id": mesos.ExecutorID(value="E1")}
    running.receive(shutdown_executor=session.ShutdownExecutor(**ids))
    running.run(tasks.executor("t2"))
    (status,) = running.updates()
    assert (status.state, status.reason) == (mesos.TASK_LOST, _Status.REASON_EXECUTOR_TERMINATED)
    assert status.message == "Executor terminating"
    running.add_framework("F1", "PARTITION_AWARE")
    running.run(tasks.executor("t3"))
    assert running.states() == ["TASK_DROPPED"]


def test_framework_that_ends_asks_its_executors_to_end(running: Conversation) -> None:
    running.receive(shutdown_framework=session.ShutdownFramework(framework_id=mesos.FrameworkID(value="F1")))
    assert types(running) == ["SHUTDOWN"]
    running.end(running.container_id)
    assert "F1" not in running.agent.state.frameworks


def test_custom_executor_gets_a_task_group_in_one_piece(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.executor("t0"))
    agent.subscribe()
    group = mesos.TaskGroupInfo(tasks=[tasks.executor("t1"), tasks.executor("t2")])
    executor = tasks.executor().executor
    message = session.RunTaskGroup(framework_id=mesos.FrameworkID(value="F1"), executor=executor, task_group=group)
    agent.receive(run_task_group=message)
    (event,) = agent.sent_to_executor()
    assert event.type == _Event.LAUNCH_GROUP
    assert [task.task_id.value for task in event.launch_group.task_group.tasks] == ["t1", "t2"]


def test_executors_are_part_of_the_snapshot(running: Conversation) -> None:
    running.handle(happened.SessionOpened())
    (register,) = running.sent("register")
    assert [(each.executor_id.value, each.framework_id.value) for each in register.executors] == [("E1", "F1")]
    assert register.tasks[0].executor_id.value == "E1"


def test_pid_of_an_executor_is_known_once_its_container_has_started(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run(tasks.executor())
    executor = agent.agent.state.frameworks["F1"].executors["E1"]
    assert executor.pid is None
    agent.handle(happened.ContainerStarted(executor.container_id, 55))
    assert executor.pid == 55


def test_executor_with_the_id_of_a_running_command_is_refused(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.run_command("E1")
    agent.run(tasks.executor("t2", executor_id="E1"))
    (status,) = agent.updates()
    assert (status.state, status.reason) == (mesos.TASK_ERROR, _Status.REASON_TASK_INVALID)
    assert status.message.startswith("executor.executor_id.value: ")


def test_task_of_a_framework_whose_id_can_name_no_folder_is_refused(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.add_framework("€" * 200)
    agent.run(tasks.command("t1"), "€" * 200)
    (status,) = agent.updates()
    assert (status.state, status.message.partition(": ")[0]) == (mesos.TASK_ERROR, "framework_id.value")
