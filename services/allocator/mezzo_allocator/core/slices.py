"""How an agent's resources are divided: into slices that the same clients may see, and into columns of numbers.

A slice is what one role (or nobody) has reserved and what asks the same capabilities of a framework. A coarse-grained
offer takes slices whole; only quota cuts into an unreserved slice. The exact resources (port ranges, volumes, labels)
travel with the slice as a `Resources` value; the arrays know its scalars alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mesos.v1.mesos_pb2 import Resource, Value
from mezzo.memo import Memo
from mezzo.resources import Kind, Resources, from_thousandths, to_thousandths
from mezzo_allocator.core.arrays import NEEDS_REFINEMENT, NEEDS_REVOCABLE, Ints

NEEDS_SHARED = 4

WIDTH_STEP = 4
MEMO_SIZE_MAX = 65_536


class SliceKey(NamedTuple):
    """What tells one slice of an agent from another."""

    role: str  # that it is reserved for; "" if for none
    needs: int  # bits of NEEDS_*
    atomic: str  # set for an unreserved disk that cannot be divided: which disk


class Portion(NamedTuple):
    """Resources of one slice, with their scalars."""

    key: SliceKey
    resources: Resources
    vector: Ints  # [R]


class Columns:
    """Numbers the scalar resources: cpus, mem, disk and gpus first, others as they appear."""

    def __init__(self) -> None:
        self.names: list[str] = ["cpus", "mem", "disk", "gpus"]
        self.width = WIDTH_STEP
        self.on_widen: list[Callable[[int], None]] = []
        self._index = {name: position for position, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """The column of a resource, which is new if need be; arrays are then widened before this returns."""
        position = self._index.get(name)
        if position is None:
            position = self._index[name] = len(self.names)
            self.names.append(name)
            if position >= self.width:
                self.width += WIDTH_STEP
                for widen in self.on_widen:
                    widen(self.width)
        return position

    def vector(self, amounts: Iterable[tuple[str, int]]) -> Ints:
        """[R] thousandths from (name, thousandths), names that occur twice added up."""
        cells = [(self.index(name), thousandths) for name, thousandths in amounts]
        vector = np.zeros(self.width, dtype=np.int64)
        for position, thousandths in cells:
            vector[position] += thousandths
        return vector

    def knows(self, names: Iterable[str]) -> bool:
        """Whether all of these resources have a column: whether anybody has ever had them."""
        return all(name in self._index for name in names)

    def named(self, vector: Sequence[int] | Ints) -> dict[str, int]:
        """The thousandths of a vector by name, zeros left out."""
        return {name: int(vector[position]) for position, name in enumerate(self.names) if vector[position]}


def widened(array: Ints, width: int, fill: int = 0) -> Ints:
    """A copy of an array whose last axis, the columns, has grown to `width`."""
    shape = (*array.shape[:-1], width)
    copy = np.full(shape, fill, dtype=np.int64)
    copy[..., : array.shape[-1]] = array
    return copy


class Slicer:
    """Splits resources into portions, and cuts them; remembers what it did, for most agents and tasks are alike."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._portions: Memo[Resources, tuple[Portion, ...]] = Memo(MEMO_SIZE_MAX)
        self._cuts: Memo[tuple[Resources, tuple[int, ...]], tuple[Resources, Resources]] = Memo(MEMO_SIZE_MAX)
        self._by_role: Memo[Resources, Sequence[tuple[str, Resources]]] = Memo(MEMO_SIZE_MAX)
        columns.on_widen.append(lambda _: self._portions.clear())

    def split(self, resources: Resources) -> tuple[Portion, ...]:
        """Divide resources, which are nobody's in particular (not `allocated_to`), by slice."""
        portions = self._portions.find(resources)
        if portions is None:
            portions = self._portions.keep(resources, self._split(resources))
        return portions

    def by_role(self, resources: Resources) -> Sequence[tuple[str, Resources]]:
        """Divide resources by the role that they are allocated to, and take the allocation off them."""
        divided = self._by_role.find(resources)
        if divided is None:
            divided = [(role, held.unallocated()) for role, held in resources.allocations().items()]
            self._by_role.keep(resources, divided)
        return divided

    def _split(self, resources: Resources) -> tuple[Portion, ...]:
        amounts = scalars_of(resources)
        for name, _ in amounts:
            self._columns.index(name)
        keys = {kind: slice_key(kind) for kind in resources}
        portions = []
        for key in dict.fromkeys(keys.values()):
            share = resources.filter(lambda kind, key=key: keys[kind] == key)  # type: ignore[misc]
            portions.append(Portion(key, share, self._columns.vector(scalars_of(share))))
        return tuple(portions)

    def cut(self, resources: Resources, amounts: Ints) -> tuple[Resources, Resources]:
        """Cut `amounts` [R] of scalars, and everything that is no scalar, off; return this and the rest."""
        key = (resources, tuple(amounts.tolist()))
        pair = self._cuts.find(key)
        if pair is None:
            pair = self._cuts.keep(key, self._cut(resources, amounts))
        return pair

    def _cut(self, resources: Resources, amounts: Ints) -> tuple[Resources, Resources]:
        wanted = self._columns.named(amounts)
        taken: list[Resource] = []
        for message in resources.messages():
            if message.type == Value.SCALAR:
                amount = min(wanted.get(message.name, 0), to_thousandths(message.scalar.value))
                if amount == 0:
                    continue
                wanted[message.name] -= amount
                message.scalar.value = from_thousandths(amount)
            taken.append(message)
        cut_off = Resources.of(taken)
        return cut_off, resources - cut_off


def scalars_of(resources: Resources) -> list[tuple[str, int]]:
    """Names and thousandths of the scalars among resources."""
    amounts = []
    for kind, amount in resources.items():
        if kind.value_type == Value.SCALAR and isinstance(amount, int):
            amounts.append((kind.name, kind.thousandths(amount)))
    return amounts


def slice_key(kind: Kind) -> SliceKey:
    """To which slice of an agent a resource belongs."""
    needs = NEEDS_REVOCABLE if kind.revocable else 0
    if len(kind.reservations) > 1:
        needs |= NEEDS_REFINEMENT
    if kind.shared:
        needs |= NEEDS_SHARED
    role = kind.reservations[-1].role if kind.reservations else ""
    whole = not role and kind.disk is not None and kind.disk.indivisible
    return SliceKey(role, needs, kind.template.hex() if whole else "")
