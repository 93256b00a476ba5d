"""What every container uses, and what is known of it: for `/containers`, `/monitor/statistics` and GET_CONTAINERS."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.agent import agent_pb2 as agent_api
from mezzo import jsonpb
from mezzo.errors import NotFound
from mezzo_agent.core.books import Books
from mezzo_agent.core.model import Executor, ExecutorKind
from mezzo_agent.ports import ContainerId, Containerizer

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Container:
    """One that runs, whoever runs in it."""

    executor: Executor
    id: ContainerId
    # The pod in which it is, if it is in one.
    parent: ContainerId | None
    status: mesos.ContainerStatus
    statistics: mesos.ResourceStatistics | None


def running(books: Books, *, nested: bool) -> Iterator[tuple[Executor, ContainerId, ContainerId | None]]:
    """Executor, container and parent of each; the tasks of pods only if `nested`."""
    for framework in books.frameworks.values():
        for executor in framework.executors.values():
            if executor.kind is not ExecutorKind.POD:
                yield executor, executor.container_id, None
            elif nested:
                for task in executor.live_tasks():
                    if task.container_id is not None:
                        yield executor, task.container_id, executor.container_id


async def measure(books: Books, containerizer: Containerizer, *, nested: bool = True) -> list[Container]:
    """All of them, at once. One that ends meanwhile is left out."""
    known = list(running(books, nested=nested))
    found = await asyncio.gather(*(_measure(containerizer, *each) for each in known))
    return [container for container in found if container is not None]


async def _measure(
    containerizer: Containerizer, executor: Executor, container_id: ContainerId, parent: ContainerId | None
) -> Container | None:
    try:
        status = await containerizer.status(container_id)
    except NotFound:
        return None
    try:
        statistics = await containerizer.usage(container_id)
    except NotFound:
        statistics = None  # it is being started, or has ended just now
    status.container_id.value = container_id
    if parent is not None:
        status.container_id.parent.value = parent
    return Container(executor, container_id, parent, status, statistics)


def document(container: Container, *, with_status: bool) -> Document:
    """The form of `/containers`; without status that of `/monitor/statistics`."""
    executor = container.executor
    answer: Document = {
        "executor_id": executor.id,
        "executor_name": executor.info.name,
        "framework_id": executor.framework_id,
        "source": executor.info.source,
    }
    if container.statistics is not None:
        answer["statistics"] = jsonpb.to_dict(container.statistics)
    if with_status:
        answer["container_id"] = container.id
        answer["status"] = jsonpb.to_dict(container.status)
    return answer


def message(container: Container) -> agent_api.Response.GetContainers.Container:
    """The form of GET_CONTAINERS."""
    executor = container.executor
    answer = agent_api.Response.GetContainers.Container(
        framework_id=executor.info.framework_id,
        executor_id=executor.info.executor_id,
        executor_name=executor.info.name,
        container_id=container.status.container_id,
        container_status=container.status,
    )
    if container.statistics is not None:
        answer.resource_statistics.CopyFrom(container.statistics)
    return answer
