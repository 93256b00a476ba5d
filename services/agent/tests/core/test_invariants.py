"""Nothing that contradicts itself goes unnoticed: each index is corrupted in turn, and each wrong step refused."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from itertools import product

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo_agent.core import events as happened
from mezzo_agent.core.failures import InvalidTransition, InvariantViolation
from mezzo_agent.core.model import Executor, ExecutorState, Framework, Phase, Task
from mezzo_agent.core.state import AgentState
from mezzo_agent.core.transitions import EXECUTOR_TRANSITIONS, TASK_TRANSITIONS
from services.agent.tests.conftest import Conversation, command_task, executor_task

SECRET = "swordfish"


EXECUTOR_STEPS = list(product(ExecutorState, ExecutorState))


def f1(state: AgentState) -> Framework:
    return state.frameworks["F1"]


def command(state: AgentState) -> Task:
    return f1(state).tasks["t1"]


def ended(state: AgentState) -> Task:
    return f1(state).tasks["t0"]


def custom(state: AgentState) -> Executor:
    return f1(state).executors["E1"]


@pytest.fixture
def busy() -> Conversation:
    """t0 has ended, and waits for its acknowledgement; t1 is a command that runs; E1 runs t2, and has completed t3."""
    agent = Conversation()
    agent.register()
    agent.add_framework()
    agent.end(agent.run_command("t0"))
    agent.run_command("t1")
    agent.run(executor_task("t2"))
    agent.handle(happened.ContainerStarted(agent.launched()[0].container_id, 55))
    agent.subscribe()
    agent.run(executor_task("t3"))
    agent.executor_update("t3", "TASK_FINISHED", b"u" * 16)
    agent.acknowledge(agent.updates()[0])
    return agent


def f2(*, shutting_down: bool = False) -> Framework:
    """With nothing in it."""
    info = mesos.FrameworkInfo(id=mesos.FrameworkID(value="F2"))
    return Framework(info, deque(), shutting_down=shutting_down)


def copied(task: Task) -> Task:
    """Another of the same name."""
    return copy.copy(task)


CORRUPTIONS: dict[str, tuple[Callable[[AgentState], object], str]] = {
    "registered without an id": (lambda s: s.agent_info.ClearField("id"), "registered without an id"),
    "frameworks, by id": (lambda s: s.frameworks.update(F9=s.frameworks.pop("F1")), "framework F1 is kept under F9"),
    "frameworks, journal": (lambda s: setattr(f1(s), "persisted", False), "is not in the journal"),
    "frameworks, shut down": (
        lambda s: s.frameworks.update(F2=f2(shutting_down=True)),
        "framework F2 is shut down, and still in the state",
    ),
    "frameworks, of an agent that is removed": (lambda s: setattr(s, "removal_reason", "x"), "framework F1 goes on"),
    "executors, by id": (lambda s: f1(s).executors.update(E9=f1(s).executors.pop("E1")), "is kept under E9 of F1"),
    "executors, of their framework": (lambda s: setattr(custom(s), "framework_id", "F9"), "executor E1 of F9 is kept"),
    "executors, terminated": (
        lambda s: setattr(custom(s), "state", ExecutorState.TERMINATED),
        "F1 is TERMINATED",
    ),
    "executors, no process": (
        lambda s: setattr(f1(s).executors["t1"], "state", ExecutorState.TERMINATING),
        "executor t1 of F1 is no process, and terminating",
    ),
    "executors, of a command": (lambda s: f1(s).executors["t1"].tasks.clear(), "stands for a command"),
    "executors, of nothing": (
        lambda s: setattr(command(s), "phase", Phase.ENDED),
        "t1 of F1 has no live task",
    ),
    "executors, their tasks": (lambda s: custom(s).tasks.update(t9=copied(custom(s).tasks["t2"])), "has task t9"),
    "executors, another's task": (lambda s: setattr(command(s), "executor", custom(s)), "t1, which is another's"),
    "tasks, by id": (lambda s: f1(s).tasks.update(t9=f1(s).tasks.pop("t1")), "task t1 of F1 is kept under t9 of F1"),
    "tasks, of their framework": (
        lambda s: setattr(command(s), "framework_id", "F9"),
        "t1 of F9 is kept under t1",
    ),
    "tasks, of their group": (lambda s: setattr(command(s), "group", 7), "task t1 of F1 is of group 7, of 0"),
    "tasks, phase": (lambda s: setattr(ended(s), "phase", Phase.RUNNING), "t0 of F1 is running, and its state"),
    "tasks, state": (lambda s: setattr(command(s), "state", mesos.TASK_STARTING), "and its newest status is of"),
    "tasks, statuses": (
        lambda s: command(s).statuses.append(command(s).statuses[-1]),
        "task t1 of F1 has two statuses of one state",
    ),
    "tasks, acknowledged": (lambda s: ended(s).pending.clear(), "task t0 of F1 has ended and is acknowledged"),
    "tasks, pending twice": (lambda s: ended(s).pending.append(ended(s).pending[0]), "t0 of F1 has an update twice"),
    "tasks, pending for nobody": (lambda s: setattr(f1(s), "shutting_down", True), "for a framework that is gone"),
    "tasks, without executor": (lambda s: setattr(command(s), "executor", None), "has no executor, and has not ended"),
    "tasks, not with their executor": (lambda s: custom(s).tasks.clear(), "task t2 of F1 is not known to its executor"),
    "tasks, executor gone": (lambda s: f1(s).executors.pop("E1"), "runs, and its executor is not in the state"),
    "containers, missing": (lambda s: s.containers.popitem(), "the index of containers is wrong about"),
    "containers, unknown": (lambda s: s.containers.update(odd=command(s)), "is wrong about ['odd']"),
    "containers, whose": (
        lambda s: s.containers.update({command(s).container_id or "": custom(s)}),
        "is wrong about who uses them",
    ),
    "containers, shared": (
        lambda s: setattr(command(s), "container_id", custom(s).container_id),
        "two run in container",
    ),
    "connections": (lambda s: setattr(f1(s).executors["t1"], "connection", "c1"), "connection c1 is there 2 times"),
    "completed tasks, not ended": (
        lambda s: setattr(custom(s).completed_tasks[0], "state", mesos.TASK_RUNNING),
        "task t3 of F1 is completed, and has not ended",
    ),
    "completed tasks, in the state": (lambda s: custom(s).completed_tasks.append(ended(s)), "t0 of F1 is completed"),
    "completed executors, in the state": (
        lambda s: f1(s).completed_executors.append(custom(s)),
        "executor E1 of F1 is completed, and still in the state",
    ),
    "completed executors, with tasks": (
        lambda s: setattr(f1(s).completed_executors[0].tasks["t0"], "phase", Phase.RUNNING),
        "executor t0 of F1 is completed, and has live tasks",
    ),
    "completed frameworks, in the state": (
        lambda s: s.completed_frameworks.append(f1(s)),
        "framework F1 is completed, and still in the state",
    ),
    "completed frameworks, busy": (lambda s: s.completed_frameworks.append(f1(s)), "has executors or tasks"),
    "completed frameworks, twice": (
        lambda s: s.completed_frameworks.extend([f1(s), f1(s)]),
        "completed framework F1 is there 2 times",
    ),
    "completed frameworks, of nothing": (
        lambda s: s.completed_frameworks.append(f2()),
        "framework F2 is completed, and never had executors",
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_is_corrupted_is_found(busy: Conversation, name: str) -> None:
    corrupt, complaint = CORRUPTIONS[name]
    busy.agent.validate()
    corrupt(busy.agent.state)
    with pytest.raises(InvariantViolation) as found:
        busy.agent.validate()
    assert complaint in str(found.value)


def test_a_violation_tells_what_happened_before(busy: Conversation) -> None:
    busy.agent.state.containers.clear()
    with pytest.raises(InvariantViolation) as found:
        busy.agent.validate()
    rows = str(found.value).split("What happened before:\n")[1].splitlines()
    assert "1000.000 run_task: F1/t1 queued -> launching" in rows
    assert rows[-1] == "1000.000 acknowledge_update: F1/t3 TASK_FINISHED is acknowledged"


@pytest.mark.parametrize(("before", "after"), list(product(Phase, Phase)), ids=lambda phase: phase.value)
def test_a_task_enters_only_what_the_table_has(busy: Conversation, before: Phase, after: Phase) -> None:
    task = command(busy.agent.state)
    task.phase = before
    if (before, after) in TASK_TRANSITIONS:
        busy.agent.state.move_task(task, after)
        assert task.phase is after
        return
    with pytest.raises(InvalidTransition) as refused:
        busy.agent.state.move_task(task, after)
    assert task.phase is before
    first, *story = str(refused.value).splitlines()
    assert first == f"task t1 of F1 cannot go from {before} to {after}"
    assert story[-1].strip() == "1000.000 container_started: F1/t1 TASK_RUNNING"


@pytest.mark.parametrize(
    ("before", "after"), list(product(ExecutorState, ExecutorState)), ids=lambda state: state.value
)
def test_an_executor_enters_only_what_the_table_has(
    busy: Conversation, before: ExecutorState, after: ExecutorState
) -> None:
    executor = custom(busy.agent.state)
    executor.state = before
    if (before, after) in EXECUTOR_TRANSITIONS:
        busy.agent.state.move_executor(executor, after)
        assert executor.state is after
        return
    with pytest.raises(InvalidTransition, match=f"executor E1 of F1 cannot go from {before} to {after}"):
        busy.agent.state.move_executor(executor, after)
    assert executor.state is before


def test_a_container_that_starts_twice_is_a_defect_with_its_story(agent: Conversation) -> None:
    container_id = agent.run_command("t1")
    with pytest.raises(InvalidTransition) as refused:
        agent.handle(happened.ContainerStarted(container_id, 78))
    assert str(refused.value).splitlines() == [
        "task t1 of F1 cannot go from running to running",
        "  1000.000 run_task: F1/t1 queued -> launching",
        "  1000.000 run_task: F1/t1 TASK_STARTING",
        "  1000.000 container_started: F1/t1 launching -> running",
        "  1000.000 container_started: F1/t1 TASK_RUNNING",
    ]


def test_no_story_holds_a_secret_nor_a_message(agent: Conversation) -> None:
    info = command_task("t1", f"echo {SECRET}", labels={"labels": [{"key": SECRET, "value": SECRET}]})
    variable = info.command.environment.variables.add(name="PASSWORD", type="SECRET")
    variable.secret.type = mesos.Secret.VALUE
    variable.secret.value.data = SECRET.encode()
    agent.run(info)
    agent.handle(happened.ContainerStarted(agent.launched()[0].container_id, 77))
    agent.kill("t1")
    agent.acknowledge_all()
    rows = list(agent.agent.state.story)
    assert {row.key for row in rows} >= {("F1",), ("F1", "t1")}
    assert all(SECRET not in str(row) for row in rows)
    assert all(type(each) is str for row in rows for each in (row.event, *row.key, row.what))


def test_a_story_forgets_what_is_old(agent: Conversation) -> None:
    story = agent.agent.state.story
    for number in range(5_000):
        story.record(float(number), "event", ("F1", "t1"), "happened")
    assert [len(story.of(("F1", "t1"))), len(story.last()), len(list(story))] == [50, 50, 2_000]
