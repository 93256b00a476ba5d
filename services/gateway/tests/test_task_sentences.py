"""What a task is at, in sentences."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.task_reasons import REASONS, reason
from mezzo_gateway.explanations.tasks import STATES, AgentState, TaskFacts, document, summary, verdict

NOW = 1_000_000.0
Status = mesos.TaskStatus


def facts(
    state: mesos.TaskState.ValueType,
    *,
    agent: AgentState = AgentState.CONNECTED,
    completed: bool = False,
    **status: Any,
) -> TaskFacts:
    """A task whose last status, a minute and a half old, says this."""
    task = mesos.Task(name="t", state=state)
    task.task_id.value, task.framework_id.value, task.agent_id.value = "t1", "F", "S0"
    if status:
        last = task.statuses.add(state=state, timestamp=NOW - 90, **status)
        last.task_id.value = "t1"
    return TaskFacts(task, "spark", "host1", agent, completed)


@pytest.mark.parametrize("state", sorted(set(mesos.TaskState.values())))
def test_every_state_is_told(state: mesos.TaskState.ValueType) -> None:
    assert state in STATES
    assert verdict(facts(state)).startswith("task t1 of spark ")


def test_a_task_that_its_agent_has_not_reported_waits_for_the_agent() -> None:
    told = facts(mesos.TASK_STAGING)
    assert verdict(told) == "task t1 of spark is launched, and host1 has not reported it yet"
    assert summary(told, NOW) == ["the agent has to accept it", "no update has arrived yet"]
    away = facts(mesos.TASK_STAGING, agent=AgentState.DISCONNECTED)
    assert summary(away, NOW)[0] == ("agent host1 is disconnected; it has to connect again, or is marked unreachable")


def test_a_task_out_of_reach_is_told_since_when() -> None:
    since = mesos.TimeInfo(nanoseconds=int((NOW - 600) * 1e9))
    told = facts(mesos.TASK_UNREACHABLE, agent=AgentState.UNREACHABLE, unreachable_time=since)
    assert summary(told, NOW)[:3] == [
        "agent host1 is unreachable",
        "the agent has to come back; then its state is reported",
        "its agent has been unreachable for 10 min",
    ]


@pytest.mark.parametrize(("healthy", "word"), [(True, "passes"), (False, "fails")])
def test_health_is_told_of_a_task_that_is_checked(healthy: bool, word: str) -> None:
    told = facts(mesos.TASK_RUNNING, healthy=healthy)
    assert f"its health check {word}" in summary(told, NOW)
    assert verdict(told).endswith("is not healthy") is not healthy
    assert not any("health" in sentence for sentence in summary(facts(mesos.TASK_RUNNING, message="up"), NOW))


def test_the_end_of_a_task_is_told_with_its_reason_and_its_message() -> None:
    told = facts(
        mesos.TASK_FAILED,
        completed=True,
        reason=Status.REASON_CONTAINER_LIMITATION_MEMORY,
        message="32 MB used of 32 MB",
    )
    assert verdict(told) == "task t1 of spark has failed: it used more memory than it was given"
    assert summary(told, NOW) == [
        "the last update was TASK_FAILED 90 s ago, because it used more memory than it was given",
        "its message: 32 MB used of 32 MB",
    ]


def test_an_end_that_is_not_acknowledged_waits_for_the_framework() -> None:
    assert summary(facts(mesos.TASK_FINISHED), NOW)[0].startswith("its end waits for the framework to acknowledge it")


def test_every_reason_has_words() -> None:
    for value in set(Status.Reason.values()):
        assert "REASON" not in reason(value)
    assert Status.REASON_GC_ERROR not in REASONS
    assert reason(Status.REASON_GC_ERROR) == "gc error"


def test_the_document_has_the_task_as_the_v1_api_shows_it() -> None:
    made = document(facts(mesos.TASK_RUNNING, message="up"), NOW)
    assert made["task"]["statuses"][0]["message"] == "up"
    assert made["agent"] == {"id": "S0", "hostname": "host1", "state": "connected"}
    assert (made["framework_name"], made["completed"]) == ("spark", False)
    assert set(made) == {"task", "framework_name", "agent", "completed", "verdict", "summary"}


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_the_document_is_json_whatever_an_agent_said(number: float) -> None:
    told = facts(mesos.TASK_RUNNING, message="up")
    told.task.statuses[0].timestamp = number
    told.task.resources.add(name="cpus", type=mesos.Value.SCALAR).scalar.value = number
    made = document(told, NOW)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["task"]["statuses"][0]["timestamp"] == (None if math.isnan(number) else "Infinity")
