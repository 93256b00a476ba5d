"""The agent's state in the messages of the v1 operator API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.agent import agent_pb2 as agent_api
from mezzo import jsonpb
from mezzo.confidential import withhold
from mezzo_agent.core.model import Executor, Framework, Phase, Task
from mezzo_agent.core.registration import task_message
from mezzo_agent.core.state import AgentState

_Response = agent_api.Response


def get_tasks(state: AgentState) -> _Response.GetTasks:
    answer = _Response.GetTasks()
    for task in _unretired(state):
        if task.phase is Phase.QUEUED:
            answer.queued_tasks.append(task_message(state, task))
        elif task.phase is Phase.ENDED:
            answer.terminated_tasks.append(task_message(state, task))
        else:
            answer.launched_tasks.append(task_message(state, task))
    for framework in _all(state):
        for executor in (*framework.executors.values(), *framework.completed_executors):
            answer.completed_tasks.extend(task_message(state, task) for task in executor.completed_tasks)
    return answer


def get_executors(state: AgentState) -> _Response.GetExecutors:
    return _Response.GetExecutors(
        executors=_executors(each for framework in _all(state) for each in framework.executors.values()),
        completed_executors=_executors(each for framework in _all(state) for each in framework.completed_executors),
    )


def get_frameworks(state: AgentState) -> _Response.GetFrameworks:
    active = [each.info for each in state.frameworks.values() if each.executors]
    idle = [each for each in state.frameworks.values() if not each.executors and each.completed_executors]
    ended = [each.info for each in (*idle, *state.completed_frameworks)]
    return _Response.GetFrameworks(frameworks=_frameworks(active), completed_frameworks=_frameworks(ended))


def get_state(state: AgentState) -> _Response.GetState:
    return _Response.GetState(
        get_tasks=get_tasks(state), get_executors=get_executors(state), get_frameworks=get_frameworks(state)
    )


_ALWAYS = {
    "get_tasks": ("pending_tasks", "queued_tasks", "launched_tasks", "terminated_tasks", "completed_tasks"),
    "get_executors": ("executors", "completed_executors"),
    "get_frameworks": ("frameworks", "completed_frameworks"),
}


def document(response: agent_api.Response) -> dict[str, Any]:
    """A response as JSON: lists of tasks, executors and frameworks are there even when they are empty, as in Mesos."""
    answer = jsonpb.to_dict(response)
    for holder in (answer, answer.get("get_state", {})):
        for member, lists in _ALWAYS.items():
            if member in holder:
                holder[member] = {name: [] for name in lists} | holder[member]
    return answer


def _unretired(state: AgentState) -> Iterator[Task]:
    for framework in state.frameworks.values():
        yield from framework.tasks.values()


def _all(state: AgentState) -> list[Framework]:
    return [*state.frameworks.values(), *state.completed_frameworks]


def _executors(executors: Iterable[Executor]) -> list[_Response.GetExecutors.Executor]:
    told = [_Response.GetExecutors.Executor(executor_info=each.info) for each in executors]
    for each in told:
        withhold(each.executor_info)
    return told


def _frameworks(infos: Iterable[mesos.FrameworkInfo]) -> list[_Response.GetFrameworks.Framework]:
    return [_Response.GetFrameworks.Framework(framework_info=info) for info in infos]
