"""What each role holds, and what is configured for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from mesos.v1.mesos_pb2 import FrameworkID, Resource, Role, Value
from mezzo_gateway.state.cluster import Cluster
from mezzo_gateway.state.records import AgentRecord, FrameworkRecord, RoleRecord
from mezzo_gateway.state.resource_counter import THOUSANDTHS, by_reservation, count_resources

USUAL_WEIGHT = 1.0
NOT_CONFIGURED = RoleRecord()


@dataclass(slots=True)
class RoleRow:
    """A role; quantities are thousandths by the name of the scalar, of the role and of all below it."""

    name: str
    configured: RoleRecord
    # Those that are subscribed in the role itself.
    framework_ids: list[str] = field(default_factory=list)
    allocated: Counter[str] = field(default_factory=Counter)
    offered: Counter[str] = field(default_factory=Counter)
    reserved: Counter[str] = field(default_factory=Counter)
    # What counts against a quota: what is reserved, and what is allocated besides; nothing that is revocable.
    consumed: Counter[str] = field(default_factory=Counter)

    def model(self) -> dict[str, object]:
        """The role as `/roles` shows it."""
        return {
            "name": self.name,
            "weight": self.configured.weight,
            "quota": {
                "role": self.name,
                "guarantee": dict(self.configured.guarantees),
                "limit": dict(self.configured.limits),
                "consumed": _model(self.consumed),
            },
            "resources": _model(self.allocated + self.offered),
            "allocated": _model(self.allocated),
            "offered": _model(self.offered),
            "reserved": _model(self.reserved),
            "frameworks": self.framework_ids,
        }

    def message(self) -> Role:
        """The role as GET_ROLES shows it."""
        return Role(
            name=self.name,
            weight=self.configured.weight,
            frameworks=[FrameworkID(value=framework_id) for framework_id in self.framework_ids],
            resources=[
                Resource(name=name, type=Value.SCALAR, scalar=Value.Scalar(value=value))
                for name, value in _model(self.allocated + self.offered).items()
            ],
        )


class _Rows(dict[str, RoleRow]):
    """Rows by role, made when they are first asked for; one for each role above, too."""

    def __init__(self, configured: Mapping[str, RoleRecord]) -> None:
        super().__init__()
        self._configured = configured

    def upwards(self, role: str) -> list[RoleRow]:
        """The row of the role, and those of the roles above it."""
        rows = []
        while role:
            row = self.get(role)
            if row is None:
                row = self[role] = RoleRow(role, self._configured.get(role, NOT_CONFIGURED))
            rows.append(row)
            role = role.rpartition("/")[0]
        return rows


def role_rows(cluster: Cluster) -> list[RoleRow]:
    """Every role that is used, reserved for or configured, and those above it; by name."""
    rows = _Rows(cluster.roles)
    for role, configured in cluster.roles.items():
        if configured.has_quota or configured.weight != USUAL_WEIGHT:
            rows.upwards(role)
    for framework in cluster.frameworks.values():
        _count_framework(rows, framework)
    for agent in cluster.agents.values():
        for role, quantities in _reserved(agent).items():
            for row in rows.upwards(role):
                row.reserved.update(quantities)
                row.consumed.update(quantities)
    return [rows[name] for name in sorted(rows)]


def _count_framework(rows: _Rows, framework: FrameworkRecord) -> None:
    subscribed = framework.roles()
    for role in subscribed:
        rows.upwards(role)[0].framework_ids.append(framework.framework_id)
    default_role = subscribed[0] if subscribed else "*"
    used, offered = framework.holdings.used, framework.holdings.offered
    for role, quantities in used.quantities_by_role(default_role).items():
        for row in rows.upwards(role):
            row.allocated.update(quantities)
    for role, quantities in used.quantities_by_role(default_role, against_quota=True).items():
        for row in rows.upwards(role):
            row.consumed.update(quantities)
    for role, quantities in offered.quantities_by_role(default_role).items():
        for row in rows.upwards(role):
            row.offered.update(quantities)


def _reserved(agent: AgentRecord) -> dict[str, dict[str, int]]:
    """What is reserved on an agent, by role. Most agents have nothing of the kind: found out once for each."""
    if agent.reserved is None:
        reserved = by_reservation(agent.message.total_resources)[1]
        agent.reserved = {role: count_resources(resources).quantities() for role, resources in reserved.items()}
    return agent.reserved


def _model(quantities: Counter[str]) -> dict[str, float]:
    return {name: value / THOUSANDTHS for name, value in quantities.items() if value}
