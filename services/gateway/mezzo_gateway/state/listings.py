"""Lists that Mezzo has beside Mesos' own: documents of the legacy endpoints, with what those leave out.

An agent's has `standing`, and the list has the agents that are not connected. A task's has the reason and the message
of its newest status, and what its agent and its framework are called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from mesos.v1.mesos_pb2 import TaskStatus
from mezzo_gateway.state import legacy
from mezzo_gateway.state.cluster import Cluster
from mezzo_gateway.state.records import AgentRecord, FrameworkRecord, LostAgent, TaskRecord


def agents(cluster: Cluster) -> bytes:
    """`/mezzo/v1/agents`: those that are registered, then those that are not back, unreachable, or gone."""
    known = [_agent(cluster, record) for record in cluster.agents.values() if not record.recovered]
    known += [orjson.dumps(_recovered(record)) for record in cluster.agents.values() if record.recovered]
    for standing, lost in (("UNREACHABLE", cluster.unreachable_agents), ("GONE", cluster.gone_agents)):
        known += [orjson.dumps(_lost(agent_id, agent, standing)) for agent_id, agent in lost.items()]
    return b'{"agents":[%b]}' % b",".join(known)


def _agent(cluster: Cluster, record: AgentRecord) -> bytes:
    standing = "CONNECTED" if record.connected else "DISCONNECTED"
    return _with(legacy.agent_full_json(cluster, record), {"standing": standing})


def _recovered(record: AgentRecord) -> dict[str, object]:
    info = record.message.agent_info
    return {"id": info.id.value, "hostname": info.hostname, "active": False, "standing": "RECOVERED"}


def _lost(agent_id: str, agent: LostAgent, standing: str) -> dict[str, object]:
    document: dict[str, object] = {
        "id": agent_id,
        "hostname": agent.hostname,
        "active": False,
        "standing": standing,
    }
    return document if agent.since is None else {**document, "since": agent.since}


def tasks(cluster: Cluster, *, framework_id: str | None, ended: bool) -> bytes:
    """`/mezzo/v1/tasks`: of one framework or of all; those that have ended only if asked for, and last."""
    frameworks = [
        framework
        for framework in cluster.all_frameworks()
        if framework_id is None or framework.framework_id == framework_id
    ]
    hosts = {agent_id: record.message.agent_info.hostname for agent_id, record in cluster.agents.items()}
    hosts |= {agent_id: agent.hostname for agent_id, agent in cluster.unreachable_agents.items() if agent.hostname}
    rows = [_task(record, framework, hosts) for record, framework in _tasks(frameworks, ended=ended)]
    return b'{"tasks":[%b]}' % b",".join(rows)


def _tasks(frameworks: Iterable[FrameworkRecord], *, ended: bool) -> Iterator[tuple[TaskRecord, FrameworkRecord]]:
    for framework in frameworks:
        for task_list in (framework.active, framework.unreachable):
            for record in task_list.records.values():
                yield record, framework
    if ended:
        for framework in frameworks:
            for record in framework.finished.records.values():
                yield record, framework


def _task(record: TaskRecord, framework: FrameworkRecord, hosts: dict[str, str]) -> bytes:
    info = framework.message.framework_info if framework.message is not None else None
    more: dict[str, object] = {
        "framework_name": info.name if info is not None else "",
        "hostname": hosts.get(record.task.agent_id.value, ""),
    }
    if record.task.statuses:
        newest = record.task.statuses[-1]
        more["message"] = newest.message
        if newest.HasField("reason"):
            more["reason"] = TaskStatus.Reason.Name(newest.reason)
        if newest.HasField("source"):
            more["source"] = TaskStatus.Source.Name(newest.source)
    return _with(legacy.task_json(record), more)


def _with(document: bytes, more: dict[str, object]) -> bytes:
    """An object of JSON with more in it."""
    return b"%b,%b" % (document[:-1], orjson.dumps(more)[1:])
