"""What each role holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mesos.v1.mesos_pb2 import FrameworkID, Resource, Role, Value
from mezzo_gateway.state.cluster import Cluster
from mezzo_gateway.state.tally import THOUSANDTHS, by_reservation, tally_of


@dataclass(slots=True)
class RoleRow:
    """A role; quantities are thousandths by the name of the scalar."""

    name: str
    weight: float
    framework_ids: list[str] = field(default_factory=list)
    allocated: Counter[str] = field(default_factory=Counter)
    offered: Counter[str] = field(default_factory=Counter)
    reserved: Counter[str] = field(default_factory=Counter)
    # What counts against a quota, of this role and of those below it: what is reserved, and what is allocated besides.
    consumed: Counter[str] = field(default_factory=Counter)

    def model(self) -> dict[str, object]:
        """The role as `/roles` shows it."""
        return {
            "name": self.name,
            "weight": self.weight,
            "quota": {"role": self.name, "guarantee": {}, "limit": {}, "consumed": _model(self.consumed)},
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
            weight=self.weight,
            frameworks=[FrameworkID(value=framework_id) for framework_id in self.framework_ids],
            resources=[
                Resource(name=name, type=Value.SCALAR, scalar=Value.Scalar(value=value))
                for name, value in _model(self.allocated + self.offered).items()
            ],
        )


def role_rows(cluster: Cluster) -> list[RoleRow]:
    """Every role that is subscribed to, reserved for, or has a weight of its own, by name."""
    rows: dict[str, RoleRow] = {}

    def row(role: str) -> RoleRow:
        if role not in rows:
            rows[role] = RoleRow(role, cluster.weights.get(role, 1.0))
        return rows[role]

    for role, weight in cluster.weights.items():
        if weight != 1.0:
            row(role)
    unreserved: dict[str, Counter[str]] = {}
    for framework in cluster.frameworks.values():
        subscribed = framework.roles()
        for role in subscribed:
            row(role).framework_ids.append(framework.framework_id)
        default_role = subscribed[0] if subscribed else "*"
        holdings = framework.holdings
        for role, quantities in holdings.used.quantities_by_role(default_role).items():
            row(role).allocated.update(quantities)
        for role, quantities in holdings.offered.quantities_by_role(default_role).items():
            row(role).offered.update(quantities)
        for role, quantities in holdings.used.quantities_by_role(default_role, unreserved_only=True).items():
            unreserved.setdefault(role, Counter()).update(quantities)
    for agent in cluster.agents.values():
        for role, resources in by_reservation(agent.message.total_resources)[1].items():
            row(role).reserved.update(tally_of(resources).quantities())
    _consume(rows, unreserved)
    return [rows[name] for name in sorted(rows)]


def _consume(rows: dict[str, RoleRow], unreserved: dict[str, Counter[str]]) -> None:
    """Quota is consumed by a role and by all below it."""
    for role, found in list(rows.items()):
        consumed = found.reserved + unreserved.get(role, Counter())
        while role:
            if role in rows:
                rows[role].consumed.update(consumed)
            role = role.rpartition("/")[0]  # noqa: PLW2901  walks upwards


def _model(quantities: Counter[str]) -> dict[str, float]:
    return {name: value / THOUSANDTHS for name, value in quantities.items() if value}
