"""The documents of Mesos' legacy endpoints, made from the state copy.

The keys and types are those that Mesos answers. Tasks and agents keep the JSON that was made of them until they change,
so that a document costs about as much as copying it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

import orjson

from mesos.v1.mesos_pb2 import Offer, Resource, TaskState
from mezzo import jsonpb, jsonv0
from mezzo_gateway.state.cluster import Cluster
from mezzo_gateway.state.records import (
    AgentRecord,
    ExecutorRecord,
    FrameworkRecord,
    Holdings,
    TaskList,
    TaskRecord,
    multi_role,
)
from mezzo_gateway.state.resource_counter import by_reservation, count_resources, model
from mezzo_gateway.state.roles import role_rows

NANOSECONDS = 1e9
TASKS_LIMIT_DEFAULT = 100

# The states that /state-summary counts, in Mesos' order.
SUMMARY_STATES = (
    "TASK_STAGING",
    "TASK_STARTING",
    "TASK_RUNNING",
    "TASK_KILLING",
    "TASK_FINISHED",
    "TASK_KILLED",
    "TASK_FAILED",
    "TASK_LOST",
    "TASK_ERROR",
    "TASK_UNREACHABLE",
)


@dataclass(frozen=True, slots=True)
class TasksQuery:
    """What `/tasks` is asked for. A negative limit is none."""

    limit: int = TASKS_LIMIT_DEFAULT
    offset: int = 0
    ascending: bool = False
    framework_id: str | None = None
    task_id: str | None = None


def state(cluster: Cluster, version: Mapping[str, object], flags: Mapping[str, str]) -> bytes:
    """`/state`: everything that is known, beginning with what `/version` says."""
    begin, info = cluster.begin, cluster.begin.master_info
    agents = [record for record in cluster.agents.values() if not record.recovered]
    document: dict[str, object] = {
        **version,
        "start_time": begin.start_time,
        "elected_time": begin.elected_time,
        "id": info.id,
        "pid": info.pid,
        "hostname": info.hostname,
        "capabilities": [type(c).Type.Name(c.type) for c in info.capabilities],
        "activated_slaves": float(sum(record.message.active for record in agents)),
        "deactivated_slaves": float(sum(not record.message.active for record in agents)),
        "unreachable_slaves": float(len(cluster.unreachable_agents)),
        "leader": info.pid,
        "leader_info": {"id": info.id, "pid": info.pid, "port": info.port, "hostname": info.hostname},
        "flags": dict(flags),
        "slaves": [orjson.Fragment(_agent_json(cluster, record)) for record in agents],
        "recovered_slaves": _recovered(cluster),
        "frameworks": [_framework(record) for record in _known(cluster.frameworks.values())],
        "completed_frameworks": [_framework(record) for record in _known(cluster.completed_frameworks.values())],
        "orphan_tasks": [],
        "unregistered_frameworks": [],
    }
    return orjson.dumps(document)


def state_summary(cluster: Cluster) -> bytes:
    """`/state-summary`: agents and active frameworks, with their tasks counted and not listed."""
    slaves = []
    for agent_id, record in cluster.agents.items():
        if record.recovered:
            continue
        holdings = cluster.agent_holdings.get(agent_id, _NOTHING)
        fixed = _fixed(record)
        counts = {**_states(holdings), "framework_ids": list(holdings.peers)}
        slaves.append({**fixed, **_in_use(holdings), **counts})
    frameworks = [
        {**_framework_summary(record), **_states(record.holdings), "slave_ids": list(record.holdings.peers)}
        for record in _known(cluster.frameworks.values())
    ]
    document = {"hostname": cluster.begin.master_info.hostname, "slaves": slaves, "frameworks": frameworks}
    return orjson.dumps(document)


def slaves(cluster: Cluster, agent_id: str | None = None) -> bytes:
    """`/slaves`: agents with their resources in full; one of them, if asked for."""
    records = [
        record
        for known_id, record in cluster.agents.items()
        if not record.recovered and (agent_id is None or known_id == agent_id)
    ]
    document = {
        "slaves": [orjson.Fragment(agent_full_json(cluster, record)) for record in records],
        "recovered_slaves": _recovered(cluster, agent_id),
    }
    return orjson.dumps(document)


def frameworks(cluster: Cluster, framework_id: str | None = None) -> bytes:
    """`/frameworks`: frameworks with their tasks; one of them, if asked for."""

    def asked_for(records: Iterable[FrameworkRecord]) -> list[object]:
        return [_framework(r) for r in _known(records) if framework_id is None or r.framework_id == framework_id]

    document = {
        "frameworks": asked_for(cluster.frameworks.values()),
        "completed_frameworks": asked_for(cluster.completed_frameworks.values()),
        "unregistered_frameworks": [],
    }
    return orjson.dumps(document)


def tasks(cluster: Cluster, query: TasksQuery) -> bytes:
    """`/tasks`: a page of all tasks in the order in which they were first heard of."""
    found = list(_tasks_asked_for(cluster, query))
    by_time = attrgetter("first_timestamp")
    offset = max(query.offset, 0)
    if query.limit < 0:
        page = sorted(found, key=by_time, reverse=not query.ascending)[offset:]
    else:
        choose = heapq.nsmallest if query.ascending else heapq.nlargest
        page = choose(offset + query.limit, found, key=by_time)[offset:]
    return b'{"tasks":[' + b",".join([task_json(record) for record in page]) + b"]}"


def roles(cluster: Cluster) -> bytes:
    """`/roles`: the roles that anybody uses or that are configured, with what they hold."""
    return orjson.dumps({"roles": [row.model() for row in role_rows(cluster)]})


def rendering_tasks(cluster: Cluster) -> Iterator[None]:
    """Make the JSON of tasks that the next document would have to make, one at each step.

    After a fail-over that may be all of them: whoever serves others, too, does it in slices.
    """
    for framework in list(cluster.all_frameworks()):
        for task_list in framework.task_lists:
            if task_list.legacy_joined is None:
                for record in list(task_list.records.values()):
                    if record.legacy_json is None:
                        task_json(record)
                        yield


def rendering_agents(cluster: Cluster) -> Iterator[None]:
    """The same of agents, for `/state`."""
    for agent in list(cluster.agents.values()):
        if agent.legacy_json is None and not agent.recovered:
            _agent_json(cluster, agent)
            yield


def rendering_agents_in_full(cluster: Cluster) -> Iterator[None]:
    """The same of agents, for `/slaves`."""
    for agent in list(cluster.agents.values()):
        if agent.full_json is None and not agent.recovered:
            agent_full_json(cluster, agent)
            yield


def rendering_summaries(cluster: Cluster) -> Iterator[None]:
    """The same of agents that are new, for `/state-summary`."""
    for agent in list(cluster.agents.values()):
        if agent.fixed is None and not agent.recovered:
            _fixed(agent)
            yield


def task_json(record: TaskRecord) -> bytes:
    """The task as the legacy endpoints show it."""
    if record.legacy_json is None:
        record.legacy_json = orjson.dumps(jsonv0.task(record.task))
    return record.legacy_json


# ---------------------------------------------------------------------------------------------------------- tasks


def _tasks_asked_for(cluster: Cluster, query: TasksQuery) -> Iterator[TaskRecord]:
    if query.framework_id is None:
        wanted: Iterable[FrameworkRecord] = cluster.all_frameworks()
    else:
        framework = cluster.framework(query.framework_id)
        wanted = (framework,) if framework else ()
    for framework in wanted:
        for task_list in framework.task_lists:
            if query.task_id is None:
                yield from task_list.records.values()
            else:
                yield from (r for r in task_list.records.values() if r.task.task_id.value == query.task_id)


def _list_json(task_list: TaskList) -> orjson.Fragment:
    if task_list.legacy_joined is None:
        task_list.legacy_joined = b"[" + b",".join([task_json(record) for record in task_list.records.values()]) + b"]"
    return orjson.Fragment(task_list.legacy_joined)


# --------------------------------------------------------------------------------------------------------- agents

_NOTHING = Holdings()


def _in_use(holdings: Holdings) -> dict[str, object]:
    return {"used_resources": holdings.used.model(), "offered_resources": holdings.offered.model()}


def _agent_json(cluster: Cluster, record: AgentRecord) -> bytes:
    if record.legacy_json is None:
        holdings = cluster.agent_holdings.get(record.message.agent_info.id.value, _NOTHING)
        record.legacy_json = orjson.dumps({**_fixed(record), **_in_use(holdings)})
    return record.legacy_json


def agent_full_json(cluster: Cluster, record: AgentRecord) -> bytes:
    if record.full_json is None:
        holdings = cluster.agent_holdings.get(record.message.agent_info.id.value, _NOTHING)
        document = {
            **_fixed(record),
            **_in_use(holdings),
            **_fixed_full(record),
            "used_resources_full": _full(holdings.used.messages()),
            "offered_resources_full": _full(holdings.offered.messages()),
        }
        record.full_json = orjson.dumps(document)
    return record.full_json


def _fixed(record: AgentRecord) -> dict[str, object]:
    """What is known of an agent but what it has in use; its resources are placeholders, to keep the order of keys."""
    if record.fixed is None:
        agent, info = record.message, record.message.agent_info
        unreserved, reserved = by_reservation(agent.total_resources)
        fixed: dict[str, object] = {
            "id": info.id.value,
            "hostname": info.hostname,
            "port": info.port,
            "attributes": jsonv0.attributes(info.attributes),
            "pid": agent.pid,
            "registered_time": agent.registered_time.nanoseconds / NANOSECONDS,
            "resources": count_resources(agent.total_resources).model(),
            "used_resources": None,
            "offered_resources": None,
            "reserved_resources": {role: count_resources(resources).model() for role, resources in reserved.items()},
            "unreserved_resources": count_resources(unreserved).model(),
            "active": agent.active,
            "deactivated": agent.deactivated,
            "version": agent.version,
            **({"mezzo_version": record.mezzo_version} if record.mezzo_version else {}),
            "capabilities": [type(c).Type.Name(c.type) for c in agent.capabilities],
        }
        if info.HasField("domain"):
            fixed["domain"] = jsonpb.to_dict(info.domain)
        if agent.HasField("reregistered_time"):
            fixed["reregistered_time"] = agent.reregistered_time.nanoseconds / NANOSECONDS
        if agent.HasField("drain_info"):
            fixed["drain_info"] = jsonpb.to_dict(agent.drain_info)
        if agent.HasField("estimated_drain_start_time"):
            fixed["estimated_drain_start_time_seconds"] = agent.estimated_drain_start_time.nanoseconds / NANOSECONDS
        record.fixed = fixed
    return record.fixed


def _fixed_full(record: AgentRecord) -> dict[str, object]:
    if record.fixed_full is None:
        unreserved, reserved = by_reservation(record.message.total_resources)
        record.fixed_full = {
            "reserved_resources_full": {role: _full(resources) for role, resources in reserved.items()},
            "unreserved_resources_full": _full(unreserved),
        }
    return record.fixed_full


def _recovered(cluster: Cluster, agent_id: str | None = None) -> list[object]:
    return [
        {
            "id": known_id,
            "hostname": record.message.agent_info.hostname,
            "port": record.message.agent_info.port,
            "attributes": jsonv0.attributes(record.message.agent_info.attributes),
        }
        for known_id, record in cluster.agents.items()
        if record.recovered and (agent_id is None or known_id == agent_id)
    ]


def _full(resources: Iterable[Resource]) -> list[object]:
    """Resources as the v1 API shows them."""
    return [jsonpb.to_dict(resource) for resource in resources]


# ----------------------------------------------------------------------------------------------------- frameworks


def _known(records: Iterable[FrameworkRecord]) -> Iterator[FrameworkRecord]:
    return (record for record in records if record.message is not None)


def _framework_summary(record: FrameworkRecord) -> dict[str, object]:
    assert record.message is not None
    framework, info = record.message, record.message.framework_info
    return {
        "id": info.id.value,
        "name": info.name,
        **_in_use(record.holdings),
        "capabilities": [type(c).Type.Name(c.type) for c in info.capabilities],
        "hostname": info.hostname,
        "webui_url": info.webui_url,
        "active": framework.active,
        "connected": framework.connected,
        "recovered": framework.recovered,
    }


def _framework(record: FrameworkRecord) -> dict[str, object]:
    assert record.message is not None
    framework, info = record.message, record.message.framework_info
    document = {
        **_framework_summary(record),
        "user": info.user,
        "failover_timeout": info.failover_timeout,
        "checkpoint": info.checkpoint,
        "registered_time": framework.registered_time.nanoseconds / NANOSECONDS,
        "unregistered_time": framework.unregistered_time.nanoseconds / NANOSECONDS,
        "resources": model((record.holdings.used, record.holdings.offered)),
        **({"roles": list(info.roles)} if multi_role(info) else {"role": info.role}),
        "tasks": _list_json(record.active),
        "unreachable_tasks": _list_json(record.unreachable),
        "completed_tasks": _list_json(record.finished),
        "offers": [_offer(offer.offer) for offer in record.offers.values()],
        "executors": [_executor(executor) for executor in record.executors.values()],
        "offer_constraints": jsonpb.to_dict(framework.offer_constraints),
    }
    if framework.reregistered_time.nanoseconds not in (0, framework.registered_time.nanoseconds):
        document["reregistered_time"] = framework.reregistered_time.nanoseconds / NANOSECONDS
    if info.HasField("principal"):
        document["principal"] = info.principal
    if info.HasField("labels"):
        document["labels"] = jsonv0.labels(info.labels)
    return document


def _offer(offer: Offer) -> dict[str, object]:
    return {
        "id": offer.id.value,
        "framework_id": offer.framework_id.value,
        "allocation_info": jsonpb.to_dict(offer.allocation_info),
        "slave_id": offer.agent_id.value,
        "resources": count_resources(offer.resources).model(),
    }


def _executor(record: ExecutorRecord) -> dict[str, object]:
    return {**jsonv0.executor_info(record.executor_info), "slave_id": record.agent_id}


def _states(holdings: Holdings) -> dict[str, object]:
    return {name: holdings.states[TaskState.Value(name)] for name in SUMMARY_STATES}
