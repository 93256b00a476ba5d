"""What a task is at, in plain sentences: its state, its last update, and what it waits for.

The sentences are made of a task (`mesos.v1.Task`) and of what is known of its agent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mezzo import jsonpb
from mezzo.operator.wording import duration
from mezzo.task_reasons import reason
from mezzo.task_states import TERMINAL
from mezzo_gateway.explanations.allocations import finite

NANOSECONDS = 1e9


class AgentState(StrEnum):
    """How the agent of a task stands."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    # Known from the store alone: it has not come back since the registry was elected.
    RECOVERED = "recovered"
    UNREACHABLE = "unreachable"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """A task, and what is known besides."""

    task: mesos.Task
    framework_name: str
    # Of its agent; the id where the host name is not known any more.
    host: str
    agent: AgentState
    # It stands among the tasks that have ended, or whose framework has.
    completed: bool


# States in words; and what comes next, or has to. Terminal states wait for nothing.
STATES: Mapping[mesos.TaskState.ValueType, tuple[str, str]] = {
    mesos.TASK_STAGING: ("is launched, and {host} has not reported it yet", "the agent has to accept it"),
    mesos.TASK_STARTING: ("is accepted by {host}, and does not run yet", "its executor has to start it"),
    mesos.TASK_RUNNING: ("runs on {host}", ""),
    mesos.TASK_KILLING: ("is being killed on {host}", "it has to end within its grace period, or is killed"),
    mesos.TASK_UNREACHABLE: (
        "is unreachable with {host}, and may run on",
        "the agent has to come back; then its state is reported",
    ),
    mesos.TASK_UNKNOWN: ("is unknown", ""),
    mesos.TASK_FINISHED: ("has finished", ""),
    mesos.TASK_FAILED: ("has failed", ""),
    mesos.TASK_KILLED: ("was killed", ""),
    mesos.TASK_ERROR: ("was refused", ""),
    mesos.TASK_LOST: ("is lost", ""),
    mesos.TASK_DROPPED: ("was never started", ""),
    mesos.TASK_GONE: ("is gone with its agent", ""),
    mesos.TASK_GONE_BY_OPERATOR: ("is gone with its agent, which an operator marked gone", ""),
}

# What stands in the way while the agent cannot be talked to.
AWAY: Mapping[AgentState, str] = {
    AgentState.DISCONNECTED: "agent {host} is disconnected; it has to connect again, or is marked unreachable",
    AgentState.RECOVERED: "agent {host} has not come back since the registry was elected; it has to register again",
    AgentState.UNREACHABLE: "agent {host} is unreachable",
    AgentState.REMOVED: "agent {host} was removed",
}


def document(facts: TaskFacts, now: float) -> dict[str, Any]:
    """The task as the v1 API shows it, its agent, and the sentences. `now` is in seconds since the epoch.

    A number that is none, which JSON cannot say, is null.
    """
    agent = {"id": facts.task.agent_id.value, "hostname": facts.host, "state": str(facts.agent)}
    return {
        "task": finite(jsonpb.to_dict(facts.task)),
        "framework_name": facts.framework_name,
        "agent": agent,
        "completed": facts.completed,
        "verdict": verdict(facts),
        "summary": summary(facts, now),
    }


def verdict(facts: TaskFacts) -> str:
    """The task's state in one sentence."""
    task = facts.task
    phrase = STATES.get(task.state, (f"is {mesos.TaskState.Name(task.state)}", ""))[0].format(host=facts.host)
    who = f"task {task.task_id.value} of {facts.framework_name or task.framework_id.value}"
    last = _last(task)
    if task.state in TERMINAL and last is not None and last.HasField("reason"):
        return f"{who} {phrase}: {reason(last.reason)}"
    if task.state == mesos.TASK_RUNNING and last is not None and last.HasField("healthy") and not last.healthy:
        return f"{who} {phrase}, and is not healthy"
    return f"{who} {phrase}"


def summary(facts: TaskFacts, now: float) -> list[str]:
    """Sentences, without full stops, on what was last said of it and what it waits for."""
    return [*_about_waiting(facts), *_about_last_word(facts.task, now)]


def _last(task: mesos.Task) -> mesos.TaskStatus | None:
    return task.statuses[-1] if task.statuses else None


def _about_waiting(facts: TaskFacts) -> Iterator[str]:
    task = facts.task
    if task.state in TERMINAL:
        if not facts.completed:
            yield "its end waits for the framework to acknowledge it; its resources are free already"
        return
    if facts.completed:
        yield "its framework has ended"
        return
    away = AWAY.get(facts.agent)
    if away:
        yield away.format(host=facts.host)
    next_step = STATES.get(task.state, ("", ""))[1]
    if next_step:
        yield next_step


def _about_last_word(task: mesos.Task, now: float) -> Iterator[str]:
    last = _last(task)
    if last is None:
        yield "no update has arrived yet"
        return
    if last.HasField("unreachable_time"):
        since = last.unreachable_time.nanoseconds / NANOSECONDS
        yield f"its agent has been unreachable for {duration(max(0.0, now - since))}"
    state = mesos.TaskState.Name(last.state)
    ago = f" {duration(max(0.0, now - last.timestamp))} ago" if last.HasField("timestamp") else ""
    because = f", because {reason(last.reason)}" if last.HasField("reason") else ""
    yield f"the last update was {state}{ago}{because}"
    if last.message:
        yield f"its message: {last.message}"
    if last.HasField("healthy"):
        yield "its health check " + ("passes" if last.healthy else "fails")
    addresses = [
        address.ip_address
        for network in last.container_status.network_infos
        for address in network.ip_addresses
        if address.ip_address
    ]
    if addresses and task.state == mesos.TASK_RUNNING:
        yield f"its address is {', '.join(dict.fromkeys(addresses))}"
