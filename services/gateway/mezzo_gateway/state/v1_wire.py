"""The large answers of Mesos' v1 operator API in protobuf, put together from tasks and agents that are kept serialised.

A message of a hundred thousand tasks takes seconds to build and to serialise, in which nobody else is answered. Here
each task and agent is serialised by itself, in slices between other work (`rendering`), and joined: a message in
protobuf is its fields one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.message import Message

from mesos.v1.master.master_pb2 import Event, Response
from mezzo_gateway.state import v1
from mezzo_gateway.state.cluster import Cluster
from mezzo_gateway.state.records import AgentRecord, FrameworkRecord, TaskList, TaskRecord

# Of a field that has a length: strings, bytes, messages (https://protobuf.dev/programming-guides/encoding/).
LENGTH_DELIMITED = 2
SEVEN_BITS, MORE = 0x7F, 0x80


def answer(kind: Response.Type.ValueType, member: str, value: bytes) -> bytes:
    """A `Response` whose `member` is `value`."""
    return Response(type=kind).SerializeToString() + field(Response, member, [value])


def subscribed(cluster: Cluster, heartbeat_interval_seconds: float) -> bytes:
    """The event SUBSCRIBED."""
    rest = Event.Subscribed(heartbeat_interval_seconds=heartbeat_interval_seconds).SerializeToString()
    value = field(Event.Subscribed, "get_state", [state(cluster)]) + rest
    return Event(type=Event.SUBSCRIBED).SerializeToString() + field(Event, "subscribed", [value])


def state(cluster: Cluster) -> bytes:
    """The value of `get_state`."""
    parts = {
        "get_tasks": tasks(cluster),
        "get_executors": executors(cluster),
        "get_frameworks": frameworks(cluster),
        "get_agents": agents(cluster),
    }
    return b"".join([field(Response.GetState, name, [part]) for name, part in parts.items()])


def tasks(cluster: Cluster) -> bytes:
    """The value of `get_tasks`."""

    def of(task_list: TaskList) -> Iterable[bytes]:
        return map(_task, task_list.records.values())

    lists: dict[str, list[bytes]] = {"tasks": [], "completed_tasks": [], "unreachable_tasks": []}
    for framework in cluster.all_frameworks():
        lists["tasks"] += of(framework.active)
        lists["completed_tasks"] += of(framework.finished)
        lists["unreachable_tasks"] += of(framework.unreachable)
    return b"".join([field(Response.GetTasks, name, found) for name, found in lists.items()])


def agents(cluster: Cluster) -> bytes:
    """The value of `get_agents`."""
    known = [_agent(cluster, record) for record in cluster.agents.values() if not record.recovered]
    recovered = [r.message.agent_info.SerializeToString() for r in cluster.agents.values() if r.recovered]
    return field(Response.GetAgents, "agents", known) + field(Response.GetAgents, "recovered_agents", recovered)


def frameworks(cluster: Cluster) -> bytes:
    """The value of `get_frameworks`."""
    return v1.frameworks(cluster).SerializeToString()


def executors(cluster: Cluster) -> bytes:
    """The value of `get_executors`."""
    return v1.executors(cluster).SerializeToString()


def rendering(cluster: Cluster) -> Iterator[None]:
    """Serialise what the next answer would have to, one task or agent at each step."""
    for framework in list(cluster.all_frameworks()):
        yield from _rendering_tasks(framework)
    for agent in list(cluster.agents.values()):
        if agent.v1_wire is None:
            _agent(cluster, agent)
            yield


def _rendering_tasks(framework: FrameworkRecord) -> Iterator[None]:
    for task_list in framework.task_lists:
        for record in list(task_list.records.values()):
            if record.v1_wire is None:
                _task(record)
                yield


def _task(record: TaskRecord) -> bytes:
    if record.v1_wire is None:
        record.v1_wire = record.task.SerializeToString()
    return record.v1_wire


def _agent(cluster: Cluster, record: AgentRecord) -> bytes:
    if record.v1_wire is None:
        record.v1_wire = v1.agent_message(cluster, record).SerializeToString()
    return record.v1_wire


def field(message_class: type[Message], name: str, values: Iterable[bytes]) -> bytes:
    """The field of that name with each value, of a message that is repeated, or occurs once."""
    tag = varint(message_class.DESCRIPTOR.fields_by_name[name].number << 3 | LENGTH_DELIMITED)
    return b"".join([part for value in values for part in (tag, varint(len(value)), value)])


def varint(number: int) -> bytes:
    """A number in base 128, the least significant seven bits first."""
    digits = bytearray()
    while number > SEVEN_BITS:
        digits.append(number & SEVEN_BITS | MORE)
        number >>= 7
    digits.append(number)
    return bytes(digits)
