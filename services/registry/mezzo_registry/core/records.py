"""What must survive the registry: which agents are admitted, unreachable or gone. Everything else is rebuilt.

The store is a few tables of small records; a write puts or deletes one record. The shape is that of
docs/architecture.md §3: nothing per task, nothing per framework.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from mesos.v1 import mesos_pb2 as mesos

from .events import Elected

ADMITTED = "admitted"
UNREACHABLE = "unreachable"
GONE = "gone"
TABLES = (ADMITTED, UNREACHABLE, GONE)

_SECONDS = struct.Struct(">d")


@dataclass(frozen=True, slots=True)
class Write:
    """Put `value` under `key`; delete the key when `value` is None."""

    table: str
    key: str
    value: bytes | None


def admit(info: mesos.AgentInfo) -> tuple[Write, ...]:
    """The agent is part of the cluster, whatever it was before."""
    return (
        Write(ADMITTED, info.id.value, info.SerializeToString(deterministic=True)),
        Write(UNREACHABLE, info.id.value, None),
    )


def mark_unreachable(agent_id: str, since: float) -> tuple[Write, ...]:
    """The agent is out of reach since `since`, in seconds since the epoch, and may come back."""
    return (Write(ADMITTED, agent_id, None), Write(UNREACHABLE, agent_id, _SECONDS.pack(since)))


def remove(agent_id: str) -> tuple[Write, ...]:
    """The agent has left."""
    return (Write(ADMITTED, agent_id, None), Write(UNREACHABLE, agent_id, None))


def forget_unreachable(agent_ids: list[str]) -> tuple[Write, ...]:
    """Nobody remembers these unreachable agents any longer."""
    return tuple(Write(UNREACHABLE, agent_id, None) for agent_id in agent_ids)


def elected(tables: Mapping[str, Mapping[str, bytes]]) -> Elected:
    """The first event of a new leader, from what the store holds.

    Raises:
        google.protobuf.message.DecodeError, struct.error: a record is damaged.
    """
    admitted = []
    for key, value in tables.get(ADMITTED, {}).items():
        info = mesos.AgentInfo.FromString(value)
        info.id.value = key
        admitted.append(info)
    return Elected(
        admitted=tuple(admitted),
        unreachable={key: _SECONDS.unpack(value)[0] for key, value in tables.get(UNREACHABLE, {}).items()},
        gone={key: _SECONDS.unpack(value)[0] for key, value in tables.get(GONE, {}).items()},
    )
