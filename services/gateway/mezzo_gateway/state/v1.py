"""The answers of Mesos' v1 operator API, made from the state copy: as JSON, and as messages for protobuf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import orjson

from mesos.v1.master.master_pb2 import Response
from mesos.v1.mesos_pb2 import Value, WeightInfo
from mezzo import jsonpb
from mezzo_gateway.state.cluster import Cluster
from mezzo_gateway.state.records import Agent, AgentRecord, Framework, FrameworkRecord, TaskList, TaskRecord
from mezzo_gateway.state.roles import USUAL_WEIGHT, role_rows

# ---------------------------------------------------------------------------------------------------------- JSON


def state_json(cluster: Cluster) -> bytes:
    """The value of `get_state`."""
    pieces = [b'{"get_tasks":', *_tasks_pieces(cluster)]
    pieces += [b',"get_executors":', executors_json(cluster)]
    pieces += [b',"get_frameworks":', frameworks_json(cluster)]
    pieces += [b',"get_agents":', agents_json(cluster), b"}"]
    return b"".join(pieces)


def subscribed_json(cluster: Cluster, heartbeat_interval_seconds: float) -> bytes:
    """The event SUBSCRIBED, on one line of ASCII."""
    event = {
        "type": "SUBSCRIBED",
        "subscribed": {
            "get_state": orjson.Fragment(state_json(cluster)),
            "heartbeat_interval_seconds": heartbeat_interval_seconds,
        },
    }
    return jsonpb.to_ascii(orjson.dumps(event))


def tasks_json(cluster: Cluster) -> bytes:
    """The value of `get_tasks`."""
    return b"".join(_tasks_pieces(cluster))


def _tasks_pieces(cluster: Cluster) -> list[bytes]:
    """The same in pieces: they may be a hundred megabytes, and are joined once."""

    def listed(list_of: Callable[[FrameworkRecord], TaskList]) -> Iterator[bytes]:
        comma = b""
        for framework in cluster.all_frameworks():
            task_list = _list_json(list_of(framework))
            if task_list:
                yield comma
                yield task_list
                comma = b","

    return [
        b'{"tasks":[',
        *listed(lambda framework: framework.active),
        b'],"unreachable_tasks":[',
        *listed(lambda framework: framework.unreachable),
        b'],"completed_tasks":[',
        *listed(lambda framework: framework.finished),
        b"]}",
    ]


def agents_json(cluster: Cluster) -> bytes:
    """The value of `get_agents`."""
    known = [_agent_json(cluster, r) for r in cluster.agents.values() if not r.recovered]
    recovered = [jsonpb.dumps(r.message.agent_info) for r in cluster.agents.values() if r.recovered]
    return b'{"agents":[%b],"recovered_agents":[%b]}' % (b",".join(known), b",".join(recovered))


def frameworks_json(cluster: Cluster) -> bytes:
    """The value of `get_frameworks`."""
    answer = frameworks(cluster)
    return orjson.dumps(
        {
            "frameworks": [jsonpb.to_dict(framework) for framework in answer.frameworks],
            "completed_frameworks": [jsonpb.to_dict(framework) for framework in answer.completed_frameworks],
        }
    )


def executors_json(cluster: Cluster) -> bytes:
    """The value of `get_executors`."""
    return orjson.dumps({"executors": [jsonpb.to_dict(executor) for executor in executors(cluster).executors]})


def rendering(cluster: Cluster) -> Iterator[None]:
    """Make the JSON that the next answer would have to make, one task or agent at each step."""
    for framework in list(cluster.all_frameworks()):
        for task_list in framework.task_lists:
            if task_list.v1_joined is None:
                for record in list(task_list.records.values()):
                    if record.v1_json is None:
                        task_json(record)
                        yield
    for agent in list(cluster.agents.values()):
        if agent.v1_json is None:
            _agent_json(cluster, agent)
            yield


def task_json(record: TaskRecord) -> bytes:
    """The task as the v1 API shows it."""
    if record.v1_json is None:
        record.v1_json = jsonpb.dumps(record.task)
    return record.v1_json


def _list_json(task_list: TaskList) -> bytes:
    if task_list.v1_joined is None:
        task_list.v1_joined = b",".join([task_json(record) for record in task_list.records.values()])
    return task_list.v1_joined


def _agent_json(cluster: Cluster, record: AgentRecord) -> bytes:
    if record.v1_json is None:
        record.v1_json = jsonpb.dumps(agent_message(cluster, record))
    return record.v1_json


# ------------------------------------------------------------------------------------------------------ messages


def agent_message(cluster: Cluster, record: AgentRecord) -> Agent:
    """One agent, with what it has in use and on offer."""
    agent = Agent()
    agent.CopyFrom(record.message)
    holdings = cluster.agent_holdings.get(agent.agent_info.id.value)
    del agent.allocated_resources[:]
    del agent.offered_resources[:]
    if holdings is not None:
        agent.allocated_resources.extend(holdings.used.messages())
        agent.offered_resources.extend(holdings.offered.messages())
    return agent


def frameworks(cluster: Cluster) -> Response.GetFrameworks:
    """GET_FRAMEWORKS: with their offers, and what each has in use and on offer."""

    def messages(records: Iterable[FrameworkRecord]) -> list[Framework]:
        return [framework_message(record) for record in records if record.message is not None]

    return Response.GetFrameworks(
        frameworks=messages(cluster.frameworks.values()),
        completed_frameworks=messages(cluster.completed_frameworks.values()),
    )


def framework_message(record: FrameworkRecord) -> Framework:
    """One framework, with its offers, and what it has in use and on offer."""
    assert record.message is not None
    framework = Framework()
    framework.CopyFrom(record.message)
    for name in ("offers", "allocated_resources", "offered_resources"):
        framework.ClearField(name)
    framework.offers.extend(offer.offer for offer in record.offers.values())
    framework.allocated_resources.extend(record.holdings.used.messages())
    framework.offered_resources.extend(record.holdings.offered.messages())
    return framework


def executors(cluster: Cluster) -> Response.GetExecutors:
    """GET_EXECUTORS."""
    answer = Response.GetExecutors()
    for framework in cluster.all_frameworks():
        for record in framework.executors.values():
            executor = answer.executors.add()
            executor.executor_info.CopyFrom(record.executor_info)
            executor.agent_id.value = record.agent_id
    return answer


def roles(cluster: Cluster) -> Response.GetRoles:
    """GET_ROLES."""
    return Response.GetRoles(roles=[row.message() for row in role_rows(cluster)])


def weights(cluster: Cluster) -> Response.GetWeights:
    """GET_WEIGHTS: the roles whose weight is not the usual one."""
    known = sorted(cluster.roles.items())
    infos = [WeightInfo(role=role, weight=one.weight) for role, one in known if one.weight != USUAL_WEIGHT]
    return Response.GetWeights(weight_infos=infos)


def quota(cluster: Cluster) -> Response.GetQuota:
    """GET_QUOTA: in Mesos' form, and in its form of old, which knows guarantees alone."""
    answer = Response.GetQuota()
    answer.status.SetInParent()
    for role, one in sorted(cluster.roles.items()):
        if not one.has_quota:
            continue
        config, info = answer.status.configs.add(role=role), answer.status.infos.add(role=role)
        for name, value in sorted(one.limits.items()):
            config.limits[name].value = value
        for name, value in sorted(one.guarantees.items()):
            config.guarantees[name].value = value
            info.guarantee.add(name=name, type=Value.SCALAR).scalar.value = value
    return answer


def master(cluster: Cluster) -> Response.GetMaster:
    """GET_MASTER."""
    begin = cluster.begin
    return Response.GetMaster(
        master_info=begin.master_info, start_time=begin.start_time, elected_time=begin.elected_time
    )
