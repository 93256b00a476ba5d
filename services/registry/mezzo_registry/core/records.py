"""What must survive the registry; everything else is rebuilt.

That is: which agents are admitted, unreachable or gone, and what operators configured for roles and planned for
machines.

The store is a few tables of small records; a write puts or deletes one record. The shape is that of
docs/architecture.md §3: nothing per task, nothing per framework.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.maintenance import maintenance_pb2 as maintenance
from mesos.v1.quota import quota_pb2 as quota
from mezzo_registry.core.events import Elected
from mezzo_registry.core.state import roles
from mezzo_registry.core.state.maintenance import Plan, machine
from mezzo_registry.core.state.roles import Configuration, Quota

ADMITTED = "admitted"
UNREACHABLE = "unreachable"
GONE = "gone"
WEIGHTS = "weights"
QUOTAS = "quotas"
MAINTENANCE = "maintenance"
TABLES = (ADMITTED, UNREACHABLE, GONE, WEIGHTS, QUOTAS, MAINTENANCE)

_SCHEDULE = "schedule"
_DOWN = "down"

_SECONDS = struct.Struct(">d")
_WEIGHT = struct.Struct(">d")


@dataclass(frozen=True, slots=True)
class Write:
    """Put `value` under `key`; delete the key when `value` is None."""

    table: str
    key: str
    value: bytes | None


def admit(info: mesos.AgentInfo) -> tuple[Write, ...]:
    """Record that an agent is part of the cluster, whatever it was before."""
    return (
        Write(ADMITTED, info.id.value, info.SerializeToString(deterministic=True)),
        Write(UNREACHABLE, info.id.value, None),
    )


def mark_unreachable(agent_id: str, since: float) -> tuple[Write, ...]:
    """Record that an agent is unreachable since `since`, in seconds since the epoch, and may come back."""
    return (Write(ADMITTED, agent_id, None), Write(UNREACHABLE, agent_id, _SECONDS.pack(since)))


def remove(agent_id: str) -> tuple[Write, ...]:
    """Record that an agent has left."""
    return (Write(ADMITTED, agent_id, None), Write(UNREACHABLE, agent_id, None))


def forget_unreachable(agent_id: str) -> tuple[Write, ...]:
    """Forget an unreachable agent."""
    return (Write(UNREACHABLE, agent_id, None),)


def configure(weights: Mapping[str, float], quotas: Mapping[str, Quota]) -> tuple[Write, ...]:
    """Record weights and quotas of roles. An empty quota is deleted."""
    of_weights = [Write(WEIGHTS, role, _WEIGHT.pack(weight)) for role, weight in weights.items()]
    of_quotas = [Write(QUOTAS, role, _quota(role, one) if one else None) for role, one in quotas.items()]
    return (*of_weights, *of_quotas)


def maintain(plan: Plan) -> tuple[Write, ...]:
    """Record the planned maintenance."""
    schedule, status = plan.schedule(), maintenance.ClusterStatus()
    for hostname, ip in sorted(plan.down):
        status.down_machines.add(hostname=hostname, ip=ip)
    return (
        Write(MAINTENANCE, _SCHEDULE, schedule.SerializeToString(deterministic=True) or None),
        Write(MAINTENANCE, _DOWN, status.SerializeToString(deterministic=True) or None),
    )


def _plan(table: Mapping[str, bytes]) -> Plan:
    schedule = maintenance.Schedule.FromString(table.get(_SCHEDULE, b""))
    status = maintenance.ClusterStatus.FromString(table.get(_DOWN, b""))
    return Plan(schedule, map(machine, status.down_machines))


def size_of_roles(configuration: Configuration) -> int:
    """Return how many bytes the records of weights and quotas have, keys included."""
    return sum(
        len(one.key.encode()) + len(one.value or b"") for one in configure(configuration.weights, configuration.quotas)
    )


def _quota(role: str, one: Quota) -> bytes:
    return roles.encode(role, one).SerializeToString(deterministic=True)


def elected(tables: Mapping[str, Mapping[str, bytes]]) -> Elected:
    """Make the first event of a new leader of what the store holds.

    Raises:
        google.protobuf.message.DecodeError, struct.error, ResourceError: a record is damaged.
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
        plan=_plan(tables.get(MAINTENANCE, {})),
        configuration=Configuration(
            weights={role: _WEIGHT.unpack(value)[0] for role, value in tables.get(WEIGHTS, {}).items()},
            quotas={
                role: roles.decode(quota.QuotaConfig.FromString(value))
                for role, value in tables.get(QUOTAS, {}).items()
            },
        ),
    )
