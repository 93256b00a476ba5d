"""`/state`: the agent's state in the form of Mesos' older endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mezzo import jsonv0
from mezzo.resources import Resources
from mezzo_agent.core.holdings import held, held_by
from mezzo_agent.core.model import Executor, ExecutorKind, Framework, Phase, Task
from mezzo_agent.core.registration import CAPABILITIES, task_message
from mezzo_agent.core.state import AgentState
from mezzo_chassis.build import Build

Document = dict[str, Any]


def agent_document(state: AgentState, started_at: float, flags: Mapping[str, str], build: Build) -> Document:
    total = Resources.of(state.agent_info.resources)
    unreserved = total.unreserved()
    frameworks = [each for each in state.frameworks.values() if each.executors]
    completed = [each for each in state.frameworks.values() if not each.executors and each.completed_executors]
    allocated = held(state)
    document: Document = {
        **build.document(),
        "start_time": started_at,
        "id": state.agent_id,
        "pid": state.settings.pid,
        "hostname": state.agent_info.hostname,
        "capabilities": [mesos.AgentInfo.Capability.Type.Name(each) for each in CAPABILITIES],
        "resources": jsonv0.resources(total),
        "reserved_resources": jsonv0.reserved_resources(total),
        "unreserved_resources": jsonv0.resources(unreserved),
        "reserved_resources_full": jsonv0.reserved_resources_full(total),
        "unreserved_resources_full": jsonv0.resources_full(unreserved),
        "reserved_resources_allocated": jsonv0.reserved_resources(allocated),
        "unreserved_resources_allocated": jsonv0.resources(allocated.unreserved()),
        "resource_providers": [],
        "attributes": jsonv0.attributes(state.agent_info.attributes),
        "flags": dict(flags),
        "frameworks": [_framework(state, each) for each in frameworks],
        "completed_frameworks": [_framework(state, each) for each in (*completed, *state.completed_frameworks)],
    }
    if state.master_info is not None and state.master_info.hostname:
        document["master_hostname"] = state.master_info.hostname
    if state.agent_info.HasField("domain"):
        fault = state.agent_info.domain.fault_domain
        document["domain"] = {
            "fault_domain": {"region": {"name": fault.region.name}, "zone": {"name": fault.zone.name}}
        }
    return document


def role_of(executor: Executor) -> str:
    tasks = (*executor.tasks.values(), *executor.completed_tasks)
    lists = [executor.info.resources, *(task.info.resources for task in tasks)]
    roles = (each.allocation_info.role for resources in lists for each in resources)
    return next((role for role in roles if role), "*")


def _framework(state: AgentState, framework: Framework) -> Document:
    info = framework.info
    document: Document = {
        "id": framework.id,
        "name": info.name,
        "user": info.user,
        "failover_timeout": info.failover_timeout,
        "checkpoint": info.checkpoint,
        "hostname": info.hostname,
        "executors": [_executor(state, each) for each in framework.executors.values()],
        "completed_executors": [_executor(state, each) for each in framework.completed_executors],
    }
    if framework.has(mesos.FrameworkInfo.Capability.MULTI_ROLE):
        document["roles"] = list(info.roles)
    else:
        document["role"] = info.role
    if info.HasField("principal"):
        document["principal"] = info.principal
    return document


def _executor(state: AgentState, executor: Executor) -> Document:
    queued = [task for task in executor.tasks.values() if task.phase is Phase.QUEUED]
    ended = [task for task in executor.tasks.values() if task.phase is Phase.ENDED]
    live = [task for task in executor.tasks.values() if task.phase in (Phase.LAUNCHING, Phase.RUNNING)]
    document: Document = {
        "id": executor.id,
        "name": executor.info.name,
        "source": executor.info.source,
        "container": executor.container_id,
        "directory": str(executor.sandbox),
        "resources": jsonv0.resources(held_by(executor)),
        "role": role_of(executor),
        "tasks": _tasks(state, live),
        "queued_tasks": [_queued(state, task) for task in queued],
        "completed_tasks": _tasks(state, (*ended, *executor.completed_tasks)),
    }
    if executor.kind is not ExecutorKind.COMMAND:
        kinds = {ExecutorKind.POD: "DEFAULT", ExecutorKind.CUSTOM: "CUSTOM"}
        document["type"] = kinds[executor.kind]
    if executor.info.HasField("labels"):
        document["labels"] = jsonv0.labels(executor.info.labels)
    return document


def _tasks(state: AgentState, tasks: Iterable[Task]) -> list[Document]:
    return [jsonv0.task(task_message(state, task)) for task in tasks]


def _queued(state: AgentState, task: Task) -> Document:
    document = jsonv0.task(task_message(state, task))
    del document["statuses"], document["state"]
    return document
