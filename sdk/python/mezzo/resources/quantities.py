"""Amounts by name alone, and bounds on them: how much, regardless of which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from mezzo.resources.scalar import text_of, to_thousandths


class Quantities:
    """Immutable thousandths by resource name; a name that is missing has none. Ranges and sets count their members."""

    __slots__ = ("_thousandths",)

    EMPTY: ClassVar[Quantities]

    def __init__(self, thousandths: Mapping[str, int] | None = None) -> None:
        self._thousandths = {name: amount for name, amount in (thousandths or {}).items() if amount}

    @classmethod
    def of(cls, amounts: Mapping[str, float]) -> Quantities:
        """From plain numbers; raises `ResourceError` naming the resource."""
        return cls({name: to_thousandths(amount, name) for name, amount in amounts.items()})

    def get(self, name: str) -> int:
        """Thousandths."""
        return self._thousandths.get(name, 0)

    def items(self) -> Iterator[tuple[str, int]]:
        return iter(self._thousandths.items())

    def names(self) -> frozenset[str]:
        return frozenset(self._thousandths)

    def contains(self, other: Quantities) -> bool:
        return all(self.get(name) >= amount for name, amount in other.items())

    def __add__(self, other: Quantities) -> Quantities:
        total = dict(self._thousandths)
        for name, amount in other.items():
            total[name] = total.get(name, 0) + amount
        return Quantities(total)

    def __sub__(self, other: Quantities) -> Quantities:
        """What is left; nothing goes below zero."""
        return Quantities({name: max(0, amount - other.get(name)) for name, amount in self.items()})

    def __bool__(self) -> bool:
        return bool(self._thousandths)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantities) and self._thousandths == other._thousandths

    def __hash__(self) -> int:
        return hash(frozenset(self._thousandths.items()))

    def __str__(self) -> str:
        return "; ".join(f"{name}:{text_of(amount)}" for name, amount in sorted(self.items()))

    def __repr__(self) -> str:
        return f"Quantities({str(self)!r})"


Quantities.EMPTY = Quantities()


class Limits:
    """Immutable upper bounds in thousandths by resource name; a name that is missing has none."""

    __slots__ = ("_thousandths",)

    NONE: ClassVar[Limits]

    def __init__(self, thousandths: Mapping[str, int] | None = None) -> None:
        self._thousandths = dict(thousandths or {})

    @classmethod
    def of(cls, amounts: Mapping[str, float]) -> Limits:
        """From plain numbers; raises `ResourceError` naming the resource."""
        return cls({name: to_thousandths(amount, name) for name, amount in amounts.items()})

    def get(self, name: str) -> int | None:
        """Thousandths; None where there is no bound."""
        return self._thousandths.get(name)

    def items(self) -> Iterator[tuple[str, int]]:
        return iter(self._thousandths.items())

    def contains(self, other: Limits) -> bool:
        """Whether whatever the others admit is admitted here."""
        return all((bound := other.get(name)) is not None and bound <= limit for name, limit in self.items())

    def admit(self, quantities: Quantities) -> bool:
        return all(quantities.get(name) <= limit for name, limit in self.items())

    def __sub__(self, used: Quantities) -> Limits:
        """What room is left; never less than none."""
        return Limits({name: max(0, limit - used.get(name)) for name, limit in self.items()})

    def __bool__(self) -> bool:
        """Whether anything has a bound."""
        return bool(self._thousandths)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limits) and self._thousandths == other._thousandths

    def __hash__(self) -> int:
        return hash(frozenset(self._thousandths.items()))

    def __str__(self) -> str:
        return "; ".join(f"{name}:{text_of(limit)}" for name, limit in sorted(self.items()))

    def __repr__(self) -> str:
        return f"Limits({str(self)!r})"


Limits.NONE = Limits()
