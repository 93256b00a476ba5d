"""What operators configure for roles: weights, and quota as guarantees and limits.

Roles are a tree by their names: `eng/web` is a child of `eng`. A role's guarantees contain the sum of its children's,
so those of the topmost roles add up to what the whole cluster has promised; a role's limits bound all below it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mesos.v1.quota import quota_pb2 as quota
from mezzo.resources import Limits, Quantities, from_thousandths, to_thousandths

DEFAULT_WEIGHT = 1.0
"""Of a role that nobody gave a weight."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What a role can always get, and what it can get at the most."""

    guarantees: Quantities = Quantities.EMPTY
    limits: Limits = Limits.NONE

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return bool(self.guarantees) or bool(self.limits)


NO_QUOTA = Quota()


@dataclass(slots=True)
class Configuration:
    """What is configured, by role. A role that is in neither has a weight of 1 and no quota."""

    weights: dict[str, float] = field(default_factory=dict)
    quotas: dict[str, Quota] = field(default_factory=dict)

    def has(self, role: str) -> bool:
        """Whether anything is configured for a role."""
        return role in self.weights or role in self.quotas

    def weight(self, role: str) -> float:
        """A role's weight among its siblings."""
        return self.weights.get(role, DEFAULT_WEIGHT)

    def quota(self, role: str) -> Quota:
        """A role's quota."""
        return self.quotas.get(role, NO_QUOTA)

    def roles(self) -> list[str]:
        """The roles for which anything is configured, in order."""
        return sorted(self.weights.keys() | self.quotas.keys())

    def apply(self, weights: Mapping[str, float], quotas: Mapping[str, Quota]) -> None:
        """Set weights and quotas. A quota that says nothing is none."""
        self.weights.update(weights)
        for role, one in quotas.items():
            if one:
                self.quotas[role] = one
            else:
                self.quotas.pop(role, None)

    def changed(self, weights: Mapping[str, float], quotas: Mapping[str, Quota]) -> "Configuration":
        """A copy in which these weights and quotas are set."""
        copied = Configuration(dict(self.weights), dict(self.quotas))
        copied.apply(weights, quotas)
        return copied


def ancestors(role: str) -> Iterator[str]:
    """The roles above a role, the nearest first."""
    while "/" in role:
        role = role.rpartition("/")[0]
        yield role


def within(role: str, top: str) -> bool:
    """Whether a role is `top`, or below it in the tree."""
    return role == top or role.startswith(f"{top}/")


def contradictions(quotas: Mapping[str, Quota]) -> Iterator[tuple[str, str]]:
    """Where quotas contradict their place in the tree: the roles, and how."""
    promised: dict[str, Quantities] = {}
    for role, one in quotas.items():
        parent = role.rpartition("/")[0]
        if parent and one.guarantees:
            promised[parent] = promised.get(parent, Quantities.EMPTY) + one.guarantees
    for parent, total in promised.items():
        own = quotas.get(parent, NO_QUOTA).guarantees
        if not own.contains(total):
            yield parent, f"its guarantees ({own or 'none'}) do not contain the sum of its children's ({total})"
    for role, one in quotas.items():
        for above in ancestors(role):
            bounds = quotas.get(above, NO_QUOTA).limits
            for name, limit in one.limits.items():
                bound = bounds.get(name)
                if bound is not None and limit > bound:
                    of_role, of_parent = from_thousandths(limit), from_thousandths(bound)
                    yield role, f"its limit of {name}, {of_role:g}, exceeds that of '{above}', {of_parent:g}"


def promised(quotas: Mapping[str, Quota]) -> Quantities:
    """What is guaranteed in total. Only the topmost roles count: theirs contain those below."""
    total = Quantities.EMPTY
    for role, one in quotas.items():
        if "/" not in role:
            total = total + one.guarantees
    return total


def amounts(thousandths: Iterable[tuple[str, int]]) -> dict[str, float]:
    """Quantities or limits as plain numbers."""
    return {name: from_thousandths(amount) for name, amount in thousandths}


def encode(role: str, one: Quota) -> quota.QuotaConfig:
    """A quota in Mesos' form."""
    config = quota.QuotaConfig(role=role)
    for name, amount in sorted(amounts(one.guarantees.items()).items()):
        config.guarantees[name].value = amount
    for name, amount in sorted(amounts(one.limits.items()).items()):
        config.limits[name].value = amount
    return config


def decode(config: quota.QuotaConfig) -> Quota:
    """A quota from Mesos' form.

    Raises:
        ResourceError: an amount is negative, too large or no number; the error names it.
    """
    guarantees = {
        name: to_thousandths(scalar.value, f"guarantees['{name}'].value") for name, scalar in config.guarantees.items()
    }
    limits = {name: to_thousandths(scalar.value, f"limits['{name}'].value") for name, scalar in config.limits.items()}
    return Quota(Quantities(guarantees), Limits(limits))
