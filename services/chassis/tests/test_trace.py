"""Hops of a task are written while a launch is traced, and nothing otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo_chassis import trace


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    yield
    trace.end()


def hops(folder: Path) -> list[tuple[str, str, str]]:
    lines = (folder / "agent.hops").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == sorted(line.split("\t")[0] for line in lines)
    return [(name, what, whose) for _, name, what, whose in (line.split("\t") for line in lines)]


def accept(*task_ids: str) -> scheduler.Call:
    call = scheduler.Call(type=scheduler.Call.ACCEPT)
    for task_id in task_ids:
        operation = call.accept.operations.add(type=mesos.Offer.Operation.LAUNCH)
        operation.launch.task_infos.add(name="t", task_id=mesos.TaskID(value=task_id))
    return call


def finished(task_id: str) -> mesos.TaskStatus:
    return mesos.TaskStatus(task_id=mesos.TaskID(value=task_id), state=mesos.TASK_FINISHED)


def test_nothing_is_traced_unless_the_environment_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(trace.FOLDER_VARIABLE, raising=False)
    trace.begin("agent")
    trace.hop("received", accept("a"))
    assert trace.file_of("launcher") == ""
    assert list(tmp_path.iterdir()) == []


def test_each_task_of_a_message_is_traced_with_what_is_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(trace.FOLDER_VARIABLE, str(tmp_path))
    trace.begin("agent")
    task = mesos.TaskInfo(name="t", task_id=mesos.TaskID(value="a"))
    trace.hop("parsed", accept("a", "b"))
    trace.hop("received", session.RegistryMessage(run_task=session.RunTask(task=task)))
    trace.hop("on disk", checkpoint.CheckpointRecord(update=checkpoint.UpdateRecord(status=finished("a"))))
    trace.hop("sent", session.AgentMessage(task_update=session.TaskUpdate(status=finished("a"))))
    trace.hop("heard", scheduler.Event(update=scheduler.Event.Update(status=finished("a"))))
    trace.hop("launch begins", "container-1")
    assert hops(tmp_path) == [
        ("parsed", "ACCEPT", "a"),
        ("parsed", "ACCEPT", "b"),
        ("received", "RUN_TASK", "a"),
        ("on disk", "TASK_FINISHED", "a"),
        ("sent", "TASK_FINISHED", "a"),
        ("heard", "TASK_FINISHED", "a"),
        ("launch begins", "", "container-1"),
    ]


def test_messages_about_no_task_leave_no_hop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trace.FOLDER_VARIABLE, str(tmp_path))
    trace.begin("agent")
    trace.hop("received", scheduler.Call(type=scheduler.Call.DECLINE))
    trace.hop("received", scheduler.Event(type=scheduler.Event.HEARTBEAT))
    trace.hop("received", session.AgentMessage(heartbeat=session.Heartbeat()))
    trace.hop("received", mesos.OfferID(value="o"))
    assert hops(tmp_path) == []
