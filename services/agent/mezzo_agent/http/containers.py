"""What every container uses, and what is known of it: for `/containers`, `/monitor/statistics` and GET_CONTAINERS.

As in Mesos there is one container for each executor; those of a pod's tasks are nested in the pod's own, and shown to
who asks for nested ones. A pod has no process besides its tasks': what it uses is what they use together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.agent import agent_pb2 as agent_api
from mezzo import jsonpb
from mezzo.errors import NotFound
from mezzo_agent.core.model import Executor, ExecutorKind
from mezzo_agent.core.state import AgentState
from mezzo_agent.ports import ContainerId, Containerizer

Document = dict[str, Any]

_Summed = Literal[
    "cpus_user_time_secs",
    "cpus_system_time_secs",
    "cpus_soft_limit",
    "cpus_limit",
    "mem_rss_bytes",
    "mem_soft_limit_bytes",
    "mem_limit_bytes",
]
_SUMMED: tuple[_Summed, ...] = get_args(_Summed)


@dataclass(frozen=True, slots=True)
class Container:
    """One that runs, whoever runs in it."""

    executor: Executor
    id: ContainerId
    parent: ContainerId | None
    """The pod in which it is, if it is in one."""
    status: mesos.ContainerStatus
    statistics: mesos.ResourceStatistics | None


def running(state: AgentState, *, nested: bool) -> Iterator[tuple[Executor, ContainerId, ContainerId | None]]:
    """Executor, container and parent of each; the tasks of pods only if `nested`."""
    for framework in state.frameworks.values():
        for executor in framework.executors.values():
            yield executor, executor.container_id, None
            if nested and executor.kind is ExecutorKind.POD:
                for container_id in _of_tasks(executor):
                    yield executor, container_id, executor.container_id


async def measure(
    state: AgentState, containerizer: Containerizer, *, nested: bool = False, only: ContainerId | None = None
) -> list[Container]:
    """All of them, or `only` one, at once. One that ends meanwhile is left out."""
    known = [each for each in running(state, nested=nested) if only is None or each[1] == only]
    found = await asyncio.gather(*(_measure(containerizer, *each) for each in known))
    return [container for container in found if container is not None]


async def _measure(
    containerizer: Containerizer, executor: Executor, container_id: ContainerId, parent: ContainerId | None
) -> Container | None:
    if executor.kind is ExecutorKind.POD and parent is None:
        return await _measure_pod(containerizer, executor)
    try:
        status = await containerizer.status(container_id)
    except NotFound:
        return None
    statistics = await _usage(containerizer, container_id)
    status.container_id.value = container_id
    if parent is not None:
        status.container_id.parent.value = parent
    return Container(executor, container_id, parent, status, statistics)


async def _measure_pod(containerizer: Containerizer, executor: Executor) -> Container:
    tasks = await asyncio.gather(*(_usage(containerizer, each) for each in _of_tasks(executor)))
    status = mesos.ContainerStatus(container_id=mesos.ContainerID(value=executor.container_id))
    return Container(executor, executor.container_id, None, status, together([each for each in tasks if each]))


async def _usage(containerizer: Containerizer, container_id: ContainerId) -> mesos.ResourceStatistics | None:
    try:
        return await containerizer.usage(container_id)
    except NotFound:
        return None  # it is being started, or has ended just now


def _of_tasks(executor: Executor) -> list[ContainerId]:
    return [task.container_id for task in executor.live_tasks() if task.container_id is not None]


def together(several: Sequence[mesos.ResourceStatistics]) -> mesos.ResourceStatistics | None:
    """The sum of what containers use; None of none. A limit is left out unless each of them has one."""
    if not several:
        return None
    total = mesos.ResourceStatistics(timestamp=max(each.timestamp for each in several))
    for name in _SUMMED:
        if all(each.HasField(name) for each in several):
            setattr(total, name, sum(getattr(each, name) for each in several))
    return total


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
