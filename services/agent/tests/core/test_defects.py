"""After a defect: what it was about is refused, or ended by the recovery, and everything else goes on."""

from __future__ import annotations

from typing import Any

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as api
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo_agent.core import event_names, subjects
from mezzo_agent.core import events as happened
from mezzo_agent.core.effects import CancelTimer, LaunchContainer, Persist, StartTimer, WatchContainer
from mezzo_agent.core.events import Timer, TimerKind
from mezzo_agent.core.subjects import Subject
from mezzo_agent.ports import RecoveredContainer, RecoveredState, Termination
from services.agent.tests.conftest import Conversation, Tasks

_Status = mesos.TaskStatus
REASON = "the agent ended on a defect while handling run_task: ValueError: boom"
UUID = b"u" * 16
FRAMEWORK_ID = mesos.FrameworkID(value="F1")


def run_task(task: mesos.TaskInfo) -> session.RegistryMessage:
    return session.RegistryMessage(run_task=session.RunTask(framework_id=FRAMEWORK_ID, task=task))


def run_task_group(tasks: type[Tasks], *task_ids: str) -> session.RegistryMessage:
    executor = mesos.ExecutorInfo(type=mesos.ExecutorInfo.DEFAULT, executor_id=mesos.ExecutorID(value="P1"))
    group = mesos.TaskGroupInfo(tasks=[tasks.command(task_id) for task_id in task_ids])
    run = session.RunTaskGroup(framework_id=FRAMEWORK_ID, executor=executor, task_group=group)
    return session.RegistryMessage(run_task_group=run)


def recovered(agent: Conversation) -> dict[str, mesos.TaskStatus]:
    """Every container that it knows runs; and it is registered, with everything acknowledged."""
    found = {each: RecoveredContainer(each, RecoveredState.RUNNING, pid=77) for each in agent.agent.containers()}
    agent.handle(happened.ContainersRecovered(found))
    agent.register()
    return {status.task_id.value: status for status in agent.acknowledge_all()}


# --- launches


def test_launch_that_is_refused_ends_its_task_in_error_and_the_refusal_is_kept_until_acknowledged(
    agent: Conversation, tasks: type[Tasks]
) -> None:
    agent.handle(happened.LaunchRefused(run_task(tasks.command()), REASON))
    (status,) = agent.updates()
    assert (status.state, status.reason) == (mesos.TASK_ERROR, _Status.REASON_TASK_INVALID)
    assert status.message == REASON
    assert agent.of(LaunchContainer) == []
    again = agent.restart()
    again.handle(happened.ContainersRecovered({}))
    again.register()
    assert again.states() == ["TASK_ERROR"]
    again.acknowledge_all()
    assert again.agent.state.task("F1", "t1") is None


def test_launch_of_a_group_is_refused_as_one(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.handle(happened.LaunchRefused(run_task_group(tasks, "a", "b"), REASON))
    assert {(status.task_id.value, status.state, status.reason) for status in agent.updates()} == {
        (task_id, mesos.TASK_ERROR, _Status.REASON_TASK_GROUP_INVALID) for task_id in "ab"
    }


def test_refused_launch_that_is_sent_twice_is_refused_once(agent: Conversation, tasks: type[Tasks]) -> None:
    for _ in range(2):
        agent.handle(happened.LaunchRefused(run_task(tasks.command()), REASON))
    assert agent.updates() == []


def test_refused_launch_of_a_framework_that_ends_is_lost(new_agent: type[Conversation], tasks: type[Tasks]) -> None:
    agent = new_agent()
    agent.register()
    agent.handle(happened.LaunchRefused(run_task(tasks.command()), REASON))
    assert agent.states() == ["TASK_LOST"]


def test_declined_launch_is_answered_and_nothing_of_it_is_kept(agent: Conversation, tasks: type[Tasks]) -> None:
    agent.handle(happened.LaunchDeclined(run_task(tasks.command()), REASON))
    (status,) = agent.updates()
    assert (status.state, status.message) == (mesos.TASK_ERROR, REASON)
    assert not status.HasField("uuid")
    assert agent.of(Persist) == []
    assert agent.agent.state.task("F1", "t1") is None


# --- what the recovery ends


@pytest.fixture
def busy(agent: Conversation, tasks: type[Tasks]) -> Conversation:
    """A command, two tasks of a custom executor, a pod of two tasks, and a task that nothing happens to."""
    agent.run_command("command")
    agent.run_command("other")
    agent.run(tasks.executor("e1"))
    agent.handle(happened.ContainerStarted(agent.launched()[0].container_id, 55))
    agent.subscribe()
    agent.executor_update("e1", "TASK_RUNNING", UUID)
    agent.run(tasks.executor("e2"))
    agent.handle(happened.RegistryMessageReceived(run_task_group(tasks, "p1", "p2")))
    for config in agent.launched():
        agent.handle(happened.ContainerStarted(config.container_id, 66))
    return agent


@pytest.mark.parametrize(
    ("subject", "ended"),
    [
        (Subject("timer_kill_grace", "F1", task_ids=("command",)), {"command"}),
        (Subject("run_task", "F1", task_ids=("command",)), {"command"}),
        (Subject("kill_task", "F1", task_ids=("command",)), {"command"}),
        (Subject("executor_update", "F1", "E1"), {"e1", "e2"}),
        (Subject("shutdown_executor", "F1", "E1"), {"e1", "e2"}),
        (Subject("timer_update_retry", "F1", task_ids=("e1",)), {"e1", "e2"}),
        (Subject("journal_record", "F1", task_ids=("p1",)), {"p1", "p2"}),
        (Subject("run_task_group", "F1", task_ids=("p1", "p2")), {"p1", "p2"}),
        (Subject("containers_recovered", "F1", "P1"), {"p1", "p2"}),
        (Subject("journal_record", "F1"), {"command", "other", "e1", "e2", "p1", "p2"}),
        # What can be refused alone, or is found out anew, ends nothing.
        (Subject("acknowledge_update", "F1", task_ids=("command",)), set()),
        (Subject("framework_message", "F1", "E1"), set()),
        (Subject("container_ended", "F1", task_ids=("command",)), set()),
        (Subject("session_opened"), set()),
        (Subject("timer_kill_grace", "F1", task_ids=("long gone",)), set()),
        (Subject("timer_kill_grace", "F2", task_ids=("command",)), set()),
    ],
    ids=lambda value: value.event if isinstance(value, Subject) else "",
)
def test_whom_a_defect_was_about_ends_and_everything_else_runs_on(
    busy: Conversation, subject: Subject, ended: set[str]
) -> None:
    before = busy.agent.state.containers
    again = busy.restart({subject: REASON})
    gone = set(before) - set(again.agent.containers())
    assert bool(gone) == bool(ended)
    last = recovered(again)
    for task_id in ended:
        status = last[task_id]
        assert (status.state, status.reason) == (mesos.TASK_FAILED, _Status.REASON_EXECUTOR_TERMINATED)
        assert status.message == REASON
    running = {task.id for task in again.agent.state.frameworks["F1"].tasks.values()}
    assert running == {"command", "other", "e1", "e2", "p1", "p2"} - ended


def test_running_containers_of_others_are_watched(busy: Conversation) -> None:
    again = busy.restart({Subject("executor_update", "F1", "E1"): REASON})
    found = {each: RecoveredContainer(each, RecoveredState.RUNNING, pid=77) for each in again.agent.containers()}
    again.handle(happened.ContainersRecovered(found))
    assert {effect.container_id for effect in again.of(WatchContainer)} == set(found)
    assert len(found) == 4


def test_task_that_had_ended_is_reported_as_it_ended(agent: Conversation) -> None:
    agent.end(agent.run_command())
    last = recovered(agent.restart({Subject("timer_update_retry", "F1", task_ids=("t1",)): REASON}))
    assert last["t1"].state == mesos.TASK_FINISHED


def test_task_that_was_acknowledged_is_not_reported_again(agent: Conversation) -> None:
    agent.end(agent.run_command())
    agent.effects = []
    for status in list(agent.task("t1").pending):
        agent.acknowledge(status)
    assert recovered(agent.restart({Subject("timer_update_retry", "F1", task_ids=("t1",)): REASON})) == {}


def test_framework_that_was_to_be_shut_down_is_told_nothing(busy: Conversation) -> None:
    assert recovered(busy.restart({Subject("shutdown_framework", "F1"): REASON})) == {}


def test_report_that_was_a_defect_is_not_tried_again(busy: Conversation) -> None:
    about = [Subject(event, "F1", task_ids=("command",)) for event in ("condemned", "kill_task")]
    again = busy.restart(dict.fromkeys(about, REASON))
    assert "command" not in recovered(again)
    assert again.agent.state.task("F1", "command") is None


def test_rewritten_journal_does_without_what_was_ended(busy: Conversation, new_agent: type[Conversation]) -> None:
    again = busy.restart({Subject("executor_update", "F1", "E1"): REASON})
    assert again.agent.ends_condemned
    again.handle(happened.ContainersRecovered({}))
    after = new_agent(again.agent.checkpoint())
    assert not after.agent.ends_condemned
    assert "E1" not in after.agent.state.frameworks["F1"].executors
    assert after.task("e1").state == mesos.TASK_FAILED


def test_journal_that_was_not_rewritten_leads_to_the_same_end(busy: Conversation) -> None:
    defects = {Subject("executor_update", "F1", "E1"): REASON}
    again = busy.restart(defects)
    again.handle(happened.ContainersRecovered({}))
    last = recovered(again.restart(defects))
    assert {last[task_id].message for task_id in ("e1", "e2")} == {REASON}


# --- whom an event is about


def _call(type_: str, **fields: Any) -> api.Call:
    return api.Call(
        type=api.Call.Type.Value(type_),
        framework_id=mesos.FrameworkID(value="F1"),
        executor_id=mesos.ExecutorID(value="E1"),
        **fields,
    )


def _message(**message: Any) -> happened.RegistryMessageReceived:
    return happened.RegistryMessageReceived(session.RegistryMessage(**message))


IDS = {"framework_id": {"value": "F1"}, "task_id": {"value": "t1"}}
EXECUTOR = {"framework_id": {"value": "F1"}, "executor_id": {"value": "E1"}}


@pytest.mark.parametrize(
    ("event", "subject"),
    [
        (happened.SessionOpened(), Subject("session_opened")),
        (happened.SessionClosed(), Subject("session_closed")),
        (happened.RemovalOrdered("why"), Subject("removal_ordered")),
        (_message(kill_task=IDS), Subject("kill_task", "F1", task_ids=("t1",))),
        (_message(acknowledge_update=IDS), Subject("acknowledge_update", "F1", task_ids=("t1",))),
        (_message(shutdown_executor=EXECUTOR), Subject("shutdown_executor", "F1", "E1")),
        (_message(framework_message=EXECUTOR), Subject("framework_message", "F1", "E1")),
        (_message(shutdown_framework={"framework_id": {"value": "F1"}}), Subject("shutdown_framework", "F1")),
        (_message(shutdown={"reason": "why"}), Subject("shutdown")),
        (_message(registered={"agent_id": {"value": "S0"}}), Subject("registered")),
        (happened.ExecutorCalled(_call("UPDATE"), None), Subject("executor_update", "F1", "E1")),
        (happened.ExecutorCalled(_call("MESSAGE"), None), Subject("executor_message", "F1", "E1")),
        (happened.ExecutorCalled(_call("UNKNOWN"), None), Subject("executor_message", "F1", "E1")),
        (happened.ExecutorSubscribed(_call("SUBSCRIBE"), None, "c"), Subject("executor_subscribe", "F1", "E1")),
        (
            happened.TimerFired(Timer(TimerKind.KILL_GRACE, "F1", "t1")),
            Subject("timer_kill_grace", "F1", task_ids=("t1",)),
        ),
        (
            happened.TimerFired(Timer(TimerKind.EXECUTOR_SHUTDOWN, "F1", "E1")),
            Subject("timer_executor_shutdown", "F1", "E1"),
        ),
        (happened.ContainersRecovered({}), Subject("containers_recovered")),
        (happened.ContainerStarted("unknown", 1), Subject("container_started")),
    ],
    ids=lambda value: f"{value.event}" if isinstance(value, Subject) else "",
)
def test_event_names_whom_it_is_about(agent: Conversation, event: happened.Event, subject: Subject) -> None:
    assert subjects.of_event(event, agent.agent.state) == subject
    assert subject.event in event_names.names()


def test_launch_names_its_tasks(agent: Conversation, tasks: type[Tasks]) -> None:
    one, several = run_task(tasks.command()), run_task_group(tasks, "a", "b")
    launches: list[tuple[happened.Event, Subject]] = [
        (happened.RegistryMessageReceived(one), Subject("run_task", "F1", task_ids=("t1",))),
        (happened.LaunchRefused(one, "why"), Subject("launch_refused", "F1", task_ids=("t1",))),
        (happened.LaunchDeclined(several, "why"), Subject("launch_declined", "F1", task_ids=("a", "b"))),
        (happened.RegistryMessageReceived(several), Subject("run_task_group", "F1", task_ids=("a", "b"))),
    ]
    for event, subject in launches:
        assert subjects.of_event(event, agent.agent.state) == subject
        assert subject.event in event_names.names()


def test_container_and_stream_are_named_by_whose_they_are(busy: Conversation) -> None:
    state = busy.agent.state
    of = {entity.id: container_id for container_id, entity in state.containers.items()}
    ended = happened.ContainerEnded(of["command"], Termination(0))
    assert subjects.of_event(ended, state) == Subject("container_ended", "F1", task_ids=("command",))
    started = happened.ContainerStarted(of["E1"], 1)
    assert subjects.of_event(started, state) == Subject("container_started", "F1", "E1")
    gone = happened.ExecutorDisconnected("c1")
    assert subjects.of_event(gone, state) == Subject("executor_disconnected", "F1", "E1")


@pytest.mark.parametrize(
    ("event", "broken", "name"),
    [
        (happened.SessionOpened(), "mezzo_agent.core.registration.task_message", "session_opened"),
        (_message(registered={"agent_id": {"value": "S0"}}), "mezzo_agent.core.updates.Updates._send", "registered"),
        (
            happened.ContainersRecovered({}),
            "mezzo_agent.core.recovery.Reconnection.task",
            "containers_recovered",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "." not in value else "",
)
def test_event_about_several_is_about_whom_it_had_come_to_when_it_failed(
    agent: Conversation, monkeypatch: pytest.MonkeyPatch, event: happened.Event, broken: str, name: str
) -> None:
    agent.run_command()

    def fail(*_args: Any, **_fields: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(broken, fail)
    with pytest.raises(RuntimeError):
        agent.agent.handle(event, now=agent.now)
    assert subjects.of_event(event, agent.agent.state) == Subject(name, "F1", task_ids=("t1",))
    monkeypatch.undo()
    agent.agent.handle(happened.SessionClosed(), now=agent.now)
    assert subjects.of_event(event, agent.agent.state) == Subject(name)


def test_container_that_failed_to_be_ended_is_still_known_by_its_task(
    agent: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = happened.ContainerEnded(agent.run_command(), Termination(0))
    again = agent.restart()
    recovered(again)

    def fail(*_args: Any, **_fields: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("mezzo_agent.core.updates.Updates.report", fail)
    with pytest.raises(RuntimeError):
        again.agent.handle(event, now=agent.now)
    assert subjects.of_event(event, again.agent.state) == Subject("container_ended", "F1", task_ids=("t1",))


def test_record_that_cannot_be_applied_names_whom_it_is_about(
    busy: Conversation, monkeypatch: pytest.MonkeyPatch, new_agent: type[Conversation]
) -> None:
    def fail(*_args: Any) -> None:
        raise RuntimeError("boom")

    again = new_agent()
    monkeypatch.setattr("mezzo_agent.core.recovery.command_executor", fail)
    with pytest.raises(RuntimeError):
        again.agent.restore(busy.journal)
    assert subjects.of_record(again.agent.state) == Subject("journal_record", "F1", task_ids=("command",))


def test_effect_of_a_recovery_names_whom_it_is_about(agent: Conversation) -> None:
    container_id = agent.run_command()
    event, state = happened.ContainersRecovered({}), agent.agent.state
    watch = WatchContainer(container_id)
    assert subjects.of_effect(event, watch, state) == Subject("containers_recovered", "F1", task_ids=("t1",))


def test_event_about_several_is_about_whom_the_effect_is_for_that_failed(
    agent: Conversation, tasks: type[Tasks]
) -> None:
    agent.run(tasks.command("t1"))
    (command,) = agent.of(LaunchContainer)
    agent.run(tasks.executor("e1"))
    (executor,) = agent.of(LaunchContainer)
    state = agent.agent.state
    of_all = happened.ContainersRecovered({})
    assert subjects.of_effect(of_all, command, state) == Subject("containers_recovered", "F1", task_ids=("t1",))
    assert subjects.of_effect(of_all, executor, state) == Subject("containers_recovered", "F1", "E1")
    timer = Timer(TimerKind.EXECUTOR_SHUTDOWN, "F1", "E1")
    for effect in (StartTimer(timer, 1.0), CancelTimer(timer)):
        assert subjects.of_effect(of_all, effect, state) == Subject("containers_recovered", "F1", "E1")
    # Whose event it is by itself stays so, whatever came of it.
    of_another = happened.TimerFired(Timer(TimerKind.KILL_GRACE, "F1", "t2"))
    assert subjects.of_effect(of_another, executor, state) == Subject("timer_kill_grace", "F1", task_ids=("t2",))
