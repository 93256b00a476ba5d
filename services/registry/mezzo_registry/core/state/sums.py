"""How much is held, by role and resource name: kept as holdings come and go, so that nobody has to walk all tasks."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from mezzo.memo import Memo
from mezzo.resources import Quantities, Resources
from mezzo_registry.core.state.resource_cache import FORM_PIECES_MAX
from mezzo_registry.core.state.roles import ancestors

FORMS_MAX: Final = 4096
"""How many resources' amounts are remembered: most tasks ask for the same."""

Amounts = tuple[tuple[str, int], ...]

_amounts: Memo[Resources, tuple[Amounts, Amounts]] = Memo(FORMS_MAX, size_max=FORM_PIECES_MAX)
_reserved_amounts: Memo[Resources, tuple[tuple[str, Amounts], ...]] = Memo(FORMS_MAX, size_max=FORM_PIECES_MAX)


def amounts(resources: Resources) -> tuple[Amounts, Amounts]:
    """Return thousandths by name: of what is not revocable, and of what is."""
    found = _amounts.find(resources)
    if found is None:
        nonrevocable, revocable = resources.nonrevocable().quantities(), resources.revocable().quantities()
        found = tuple(nonrevocable.items()), tuple(revocable.items())
        _amounts.keep(resources, found, size=resources.pieces())
    return found


def reserved_amounts(resources: Resources) -> tuple[tuple[str, Amounts], ...]:
    """Return thousandths of what is reserved and not revocable, by the role that it is reserved to."""
    found = _reserved_amounts.find(resources)
    if found is None:
        by_role = resources.nonrevocable().reserved_by_role()
        found = tuple((role, tuple(reserved.quantities().items())) for role, reserved in by_role.items())
        _reserved_amounts.keep(resources, found, size=resources.pieces())
    return found


def roll_up(by_role: Mapping[str, Mapping[str, int]]) -> dict[str, Quantities]:
    """Return what roles and all roles below them have, from what each has by itself."""
    sums: dict[str, Counter[str]] = {}
    for role, of_role in by_role.items():
        for one in (role, *ancestors(role)):
            sums.setdefault(one, Counter()).update(of_role)
    return {role: Quantities(of_role) for role, of_role in sums.items()}


class Sums:
    """Sums of resources by role."""

    def __init__(self) -> None:
        self.nonrevocable: dict[str, Counter[str]] = {}
        """Role → thousandths by name of what is not revocable."""
        self.revocable: Counter[str] = Counter()
        """Thousandths by name, of all roles."""

    def add(self, role: str, resources: Resources, count: int = 1) -> None:
        """Add resources that are held in a role, so many times; with a `count` of -1 they are held no longer."""
        nonrevocable, revocable = amounts(resources)
        if nonrevocable:
            of_role = self.nonrevocable.setdefault(role, Counter())
            for name, amount in nonrevocable:
                of_role[name] += count * amount
                if not of_role[name]:
                    del of_role[name]
            if not of_role:
                del self.nonrevocable[role]
        for name, amount in revocable:
            self.revocable[name] += count * amount
            if not self.revocable[name]:
                del self.revocable[name]

    def total(self) -> Counter[str]:
        """Return the sum of what is not revocable, in all roles."""
        total: Counter[str] = Counter()
        for of_role in self.nonrevocable.values():
            total.update(of_role)
        return total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sums) and self.nonrevocable == other.nonrevocable and self.revocable == other.revocable

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Sums({self.nonrevocable}, revocable={self.revocable})"
