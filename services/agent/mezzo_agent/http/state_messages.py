"""The agent's books in the messages of the v1 operator API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.agent import agent_pb2 as agent_api
from mezzo import jsonpb
from mezzo.confidential import withhold
from mezzo_agent.core.books import Books
from mezzo_agent.core.model import Executor, Framework, Phase, Task
from mezzo_agent.core.registration import task_message

_Response = agent_api.Response


def get_tasks(books: Books) -> _Response.GetTasks:
    answer = _Response.GetTasks()
    for task in _unretired(books):
        if task.phase is Phase.QUEUED:
            answer.queued_tasks.append(task_message(books, task))
        elif task.phase is Phase.ENDED:
            answer.terminated_tasks.append(task_message(books, task))
        else:
            answer.launched_tasks.append(task_message(books, task))
    for framework in _all(books):
        for executor in (*framework.executors.values(), *framework.completed_executors):
            answer.completed_tasks.extend(task_message(books, task) for task in executor.completed_tasks)
    return answer


def get_executors(books: Books) -> _Response.GetExecutors:
    return _Response.GetExecutors(
        executors=_executors(each for framework in _all(books) for each in framework.executors.values()),
        completed_executors=_executors(each for framework in _all(books) for each in framework.completed_executors),
    )


def get_frameworks(books: Books) -> _Response.GetFrameworks:
    active = [each.info for each in books.frameworks.values() if each.executors]
    idle = [each for each in books.frameworks.values() if not each.executors and each.completed_executors]
    ended = [each.info for each in (*idle, *books.completed_frameworks)]
    return _Response.GetFrameworks(frameworks=_frameworks(active), completed_frameworks=_frameworks(ended))


def get_state(books: Books) -> _Response.GetState:
    return _Response.GetState(
        get_tasks=get_tasks(books), get_executors=get_executors(books), get_frameworks=get_frameworks(books)
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


def _unretired(books: Books) -> Iterator[Task]:
    for framework in books.frameworks.values():
        yield from framework.tasks.values()


def _all(books: Books) -> list[Framework]:
    return [*books.frameworks.values(), *books.completed_frameworks]


def _executors(executors: Iterable[Executor]) -> list[_Response.GetExecutors.Executor]:
    told = [_Response.GetExecutors.Executor(executor_info=each.info) for each in executors]
    for each in told:
        withhold(each.executor_info)
    return told


def _frameworks(infos: Iterable[mesos.FrameworkInfo]) -> list[_Response.GetFrameworks.Framework]:
    return [_Response.GetFrameworks.Framework(framework_info=info) for info in infos]
