"""The value itself: amounts by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import ClassVar

from mesos.v1 import mesos_pb2 as mesos
from mezzo.memo import Memo
from mezzo.resources import ranges as rangesets
from mezzo.resources.kind import Kind
from mezzo.resources.quantities import Limits, Quantities
from mezzo.resources.ranges import Ranges
from mezzo.resources.reservation import Form, Reservation
from mezzo.resources.role import is_below
from mezzo.resources.scalar import THOUSANDTHS, ResourceError, text_of, to_thousandths

SCALAR, RANGES, SET = mesos.Value.SCALAR, mesos.Value.RANGES, mesos.Value.SET

# How many messages are remembered, and how long one may be, serialised, to be remembered.
SEEN_MAX = 8192
SEEN_BYTES_MAX = 512

# How many amounts, and ranges or items of each, an error shows.
BRIEF_PIECES_MAX = 20

# Thousandths of a scalar; copies of an indivisible one; ranges; names.
Amount = int | Ranges | frozenset[str]

_seen: Memo[bytes, tuple[Kind, Amount]] = Memo(SEEN_MAX, size_max=SEEN_BYTES_MAX)


class Resources:
    """An immutable collection of resources, at most one amount of each kind and none of them empty.

    Built with `Resources.of` (messages) or `mezzo.resources.parse` (text). Arithmetic raises `ResourceError` where the
    outcome would be negative.
    """

    __slots__ = ("_amounts", "_hash")

    EMPTY: ClassVar[Resources]

    def __init__(self, amounts: Mapping[Kind, Amount]) -> None:
        """Take amounts that are not empty. Callers outside this package use `of`."""
        self._amounts = amounts
        self._hash: int | None = None

    # ------------------------------------------------------------------------------------------------ making

    @classmethod
    def of(cls, messages: Iterable[mesos.Resource], field: str = "resources") -> Resources:
        """From messages of either form. Raises `ResourceError` that names the field below `field`."""
        return cls._of_pieces(_read_all(messages, field))

    @classmethod
    def _of_pieces(cls, pieces: Iterable[tuple[Kind, Amount]]) -> Resources:
        """The sum of amounts that are not empty; of ranges and sets it is made once, however many pieces there are."""
        amounts: dict[Kind, Amount] = {}
        many: dict[Kind, list[Amount]] = {}
        for kind, amount in pieces:
            held = amounts.get(kind)
            if held is None:
                amounts[kind] = amount
            elif isinstance(held, int):
                amounts[kind] = held + amount  # type: ignore[operator]
            else:
                many.setdefault(kind, [held]).append(amount)
        for kind, together in many.items():
            amounts[kind] = _united(together)
        return cls(amounts) if amounts else cls.EMPTY

    @classmethod
    def of_one(cls, message: mesos.Resource, field: str) -> Resources:
        """From one message. Raises `ResourceError` that names the field below `field`."""
        try:
            kind, amount = _read(message)
        except ResourceError as error:
            raise error.below(field) from None
        return cls({kind: amount}) if amount else cls.EMPTY

    def messages(self, form: Form = Form.REFINED) -> list[mesos.Resource]:
        """Fresh messages, one for each kind, and one for each copy of a shared one."""
        built: list[mesos.Resource] = []
        for kind, amount in self._amounts.items():
            message = kind.message(form)
            if kind.size is not None:
                assert isinstance(amount, int)
                built.append(message)
                built.extend(kind.message(form) for _ in range(1, amount))
                continue
            if isinstance(amount, int):
                message.scalar.value = amount / THOUSANDTHS
            elif isinstance(amount, frozenset):
                message.set.item.extend(sorted(amount))
            else:
                add = message.ranges.range.add
                for begin, end in amount:
                    add(begin=begin, end=end)
            built.append(message)
        return built

    # -------------------------------------------------------------------------------------------- arithmetic

    def __add__(self, other: Resources) -> Resources:
        if not other._amounts:
            return self
        if not self._amounts:
            return other
        total = dict(self._amounts)
        for kind, amount in other._amounts.items():
            _add(total, kind, amount)
        return Resources(total)

    def __sub__(self, other: Resources) -> Resources:
        if not other._amounts:
            return self
        rest = dict(self._amounts)
        for kind, amount in other._amounts.items():
            held = rest.get(kind)
            if held is None or not _covers(held, amount):
                raise ResourceError("", f"{self.brief()} does not contain {Resources({kind: amount}).brief()}")
            left = _less(held, amount)
            if left:
                rest[kind] = left
            else:
                del rest[kind]
        return Resources(rest) if rest else Resources.EMPTY

    def minus_what_is_there(self, other: Resources) -> Resources:
        """What is left of this after taking as much of `other` as it contains."""
        rest = dict(self._amounts)
        for kind, amount in other._amounts.items():
            held = rest.get(kind)
            if held is None:
                continue
            left = max(0, held - amount) if isinstance(held, int) and isinstance(amount, int) else _less(held, amount)
            if left:
                rest[kind] = left
            else:
                del rest[kind]
        return Resources(rest) if rest else Resources.EMPTY

    def contains(self, other: Resources) -> bool:
        held_by_kind = self._amounts
        for kind, amount in other._amounts.items():
            held = held_by_kind.get(kind)
            if held is None or not _covers(held, amount):
                return False
        return True

    @staticmethod
    def sum(parts: Iterable[Resources]) -> Resources:
        """The sum of many, built in one pass."""
        return Resources._of_pieces(piece for part in parts for piece in part._amounts.items())  # noqa: SLF001

    # --------------------------------------------------------------------------------------------- selecting

    def filter(self, predicate: Callable[[Kind], bool]) -> Resources:
        """What is of the kinds that the predicate is true of."""
        kept = {kind: amount for kind, amount in self._amounts.items() if predicate(kind)}
        if len(kept) == len(self._amounts):
            return self
        return Resources(kept) if kept else Resources.EMPTY

    def reserved(self, role: str | None = None) -> Resources:
        """What is reserved: for exactly this role, or for any."""
        if role is None:
            return self.filter(lambda kind: bool(kind.reservations))
        return self.filter(lambda kind: bool(kind.reservations) and kind.role == role)

    def reserved_by_role(self) -> dict[str, Resources]:
        """What is reserved, by role."""
        roles = sorted({kind.role for kind in self._amounts if kind.reservations})
        return {role: self.reserved(role) for role in roles}

    def allocatable_to(self, role: str) -> Resources:
        """What may be offered to a role: the unreserved, and what is reserved for it or for a role above it."""
        return self.filter(lambda kind: not kind.reservations or kind.role == role or is_below(role, kind.role))

    def unreserved(self) -> Resources:
        return self.filter(lambda kind: not kind.reservations)

    def revocable(self) -> Resources:
        return self.filter(lambda kind: kind.revocable)

    def nonrevocable(self) -> Resources:
        return self.filter(lambda kind: not kind.revocable)

    def shared(self) -> Resources:
        return self.filter(lambda kind: kind.shared)

    def nonshared(self) -> Resources:
        return self.filter(lambda kind: not kind.shared)

    def scalars(self) -> Resources:
        return self.filter(lambda kind: kind.value_type == SCALAR)

    def persistent_volumes(self) -> Resources:
        return self.filter(lambda kind: kind.persistent_volume)

    def named(self, name: str) -> Resources:
        return self.filter(lambda kind: kind.name == name)

    def find(self, targets: Resources) -> Resources | None:
        """As much as `targets` asks for, wherever it is; None where there is not enough.

        Each target is looked for first as it is, then reserved for the target's role, then unreserved, then reserved
        for anybody. What is not reservation (allocation, disk, revocable, …) has to be as the target has it.
        """
        found = Resources.EMPTY
        rest = self
        for kind, amount in targets._amounts.items():
            wanted: Amount = amount
            for candidate in _by_preference(rest._amounts, kind):
                taken = _common(rest._amounts[candidate], wanted)
                if not taken:
                    continue
                piece = Resources({candidate: taken})
                found, rest = found + piece, rest - piece
                wanted = _less(wanted, taken)
                if not wanted:
                    break
            if wanted:
                return None
        return found

    def within(self, limits: Limits) -> Resources:
        """As much of this as limits admit; what they do not name is kept.

        Scalars are cut. What is indivisible, a range and a set are kept whole or not at all.
        """
        room = dict(limits.items())
        kept: dict[Kind, Amount] = {}
        for kind, amount in self._amounts.items():
            left = room.get(kind.name)
            fitting = amount if left is None else _fitting(kind, amount, left)
            if fitting:
                kept[kind] = fitting
                if left is not None:
                    room[kind.name] = left - thousandths(kind, fitting)
        return Resources(kept) if kept else Resources.EMPTY

    def at_most(self, quantities: Quantities) -> Resources:
        """As much of this as `quantities` names, and nothing that it does not name; cut as in `within`."""
        return self.within(Limits({name: quantities.get(name) for name in self.names()}))

    # ------------------------------------------------------------------------------------------ transforming

    def map_kinds(self, change: Callable[[Kind], Kind]) -> Resources:
        """The same amounts, each of another kind; what becomes the same kind is added up."""
        return self._of_pieces((change(kind), amount) for kind, amount in self._amounts.items())

    def allocated_to(self, role: str) -> Resources:
        return self.map_kinds(lambda kind: kind.allocated_to(role))

    def unallocated(self) -> Resources:
        return self.map_kinds(lambda kind: kind.allocated_to(None))

    def allocations(self) -> dict[str, Resources]:
        """By the role they are allocated to; what is allocated to none is left out."""
        roles = {kind.allocation_role: None for kind in self._amounts if kind.allocation_role is not None}
        if len(roles) == 1 and all(kind.allocation_role is not None for kind in self._amounts):
            return {next(iter(roles)): self}
        return {role: self.filter(lambda kind, role=role: kind.allocation_role == role) for role in roles}  # type: ignore[misc]

    def flatten(self, *reservations: Reservation) -> Resources:
        """The same under one stack of reservations; unreserved where none is given."""
        return self.map_kinds(lambda kind: kind.reserved_by(reservations))

    def to_unreserved(self) -> Resources:
        return self.flatten()

    def push_reservation(self, reservation: Reservation) -> Resources:
        """Reserved once more, or refined."""
        return self.map_kinds(lambda kind: kind.reserved_by((*kind.reservations, reservation)))

    def pop_reservation(self) -> Resources:
        """With the last reservation undone; raises `ResourceError` where there is none."""
        if any(not kind.reservations for kind in self._amounts):
            raise ResourceError("", f"{self} is not reserved throughout")
        return self.map_kinds(lambda kind: kind.reserved_by(kind.reservations[:-1]))

    # ----------------------------------------------------------------------------------------------- reading

    def thousandths_of(self, name: str) -> int:
        """How much there is of a scalar, in thousandths, whatever its kind; shared ones count once."""
        return sum(thousandths(kind, amount) for kind, amount in self._amounts.items() if kind.name == name)

    def names(self) -> frozenset[str]:
        return frozenset(kind.name for kind in self._amounts)

    def quantities(self) -> Quantities:
        """Amounts by name."""
        totals: dict[str, int] = {}
        for kind, amount in self._amounts.items():
            totals[kind.name] = totals.get(kind.name, 0) + thousandths(kind, amount)
        return Quantities(totals)

    def _scalar(self, name: str) -> float | None:
        found = any(kind.name == name and kind.value_type == SCALAR for kind in self._amounts)
        return self.thousandths_of(name) / THOUSANDTHS if found else None

    @property
    def cpus(self) -> float | None:
        return self._scalar("cpus")

    @property
    def mem(self) -> float | None:
        """MiB."""
        return self._scalar("mem")

    @property
    def disk(self) -> float | None:
        """MiB."""
        return self._scalar("disk")

    @property
    def gpus(self) -> float | None:
        return self._scalar("gpus")

    @property
    def ports(self) -> Ranges:
        """All ports, reserved or not."""
        return self.ranges_of("ports")

    def ranges_of(self, name: str) -> Ranges:
        found = (amount for kind, amount in self._amounts.items() if kind.name == name and isinstance(amount, tuple))
        return rangesets.normalise(each for amount in found for each in amount)

    def items(self) -> Iterator[tuple[Kind, Amount]]:
        return iter(self._amounts.items())

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._amounts)

    def __len__(self) -> int:
        return len(self._amounts)

    def __bool__(self) -> bool:
        return bool(self._amounts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resources) and self._amounts == other._amounts

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._amounts.items()))
        return self._hash

    def pieces(self) -> int:
        """How many amounts, ranges and items of sets it has, all together."""
        return sum([1 if isinstance(amount, int) else len(amount) for amount in self._amounts.values()])

    def __str__(self) -> str:
        return "; ".join(text for kind, amount in self._amounts.items() for text in _texts_of(kind, amount))

    def brief(self) -> str:
        """The same for an error: of ranges and sets no more than the first few, however many there are."""
        parts = islice(self._amounts.items(), BRIEF_PIECES_MAX)
        text = "; ".join(text for kind, amount in parts for text in _brief_texts_of(kind, amount))
        left_out = len(self._amounts) - BRIEF_PIECES_MAX
        return text if left_out <= 0 else f"{text}; … ({left_out} more)"

    def __repr__(self) -> str:
        return f"Resources({str(self)!r})"


Resources.EMPTY = Resources({})


def _read_all(messages: Iterable[mesos.Resource], field: str) -> Iterator[tuple[Kind, Amount]]:
    for index, message in enumerate(messages):
        try:
            kind, amount = _read(message)
        except ResourceError as error:
            raise error.below(f"{field}[{index}]") from None
        if amount:
            yield kind, amount


def _united(amounts: list[Amount]) -> Amount:
    """Many ranges, or many sets, as one."""
    if isinstance(amounts[0], tuple):
        return rangesets.normalise(chain.from_iterable(amounts))  # type: ignore[arg-type]
    return frozenset().union(*amounts)  # type: ignore[arg-type]


def _read(message: mesos.Resource) -> tuple[Kind, Amount]:
    """The kind and the amount in a message. Serialising it costs less than reading its fields, so that is the key."""
    key = message.SerializePartialToString()
    found = _seen.find(key)
    if found is None:
        kind = Kind.of(message)
        found = _seen.keep(key, (kind, amount_of(message, kind)), size=len(key))
    return found


def amount_of(message: mesos.Resource, kind: Kind) -> Amount:
    """The amount in a message, of which the kind is known. Raises `ResourceError`."""
    value_type = message.type
    if value_type == SCALAR:
        if not message.HasField("scalar"):
            raise ResourceError("scalar", "is required for a SCALAR")
        return to_thousandths(message.scalar.value) if kind.size is None else int(kind.size > 0)
    if value_type == RANGES:
        if not message.HasField("ranges"):
            raise ResourceError("ranges", "is required for RANGES")
        pairs = [(each.begin, each.end) for each in message.ranges.range]
        for index, (begin, end) in enumerate(pairs):
            if begin > end:
                raise ResourceError(f"ranges.range[{index}]", f"begins at {begin}, after its end {end}")
        return rangesets.normalise(pairs)
    if value_type == SET:
        if not message.HasField("set"):
            raise ResourceError("set", "is required for a SET")
        items = frozenset(message.set.item)
        if len(items) != len(message.set.item):
            raise ResourceError("set.item", "an item is given twice")
        return items
    raise ResourceError("type", "must be SCALAR, RANGES or SET")


def _add(amounts: dict[Kind, Amount], kind: Kind, amount: Amount) -> None:
    held = amounts.get(kind)
    if held is None:
        amounts[kind] = amount
    elif isinstance(held, int):
        amounts[kind] = held + amount  # type: ignore[operator]
    elif isinstance(held, tuple):
        amounts[kind] = rangesets.union(held, amount)  # type: ignore[arg-type]
    else:
        amounts[kind] = held | amount  # type: ignore[operator]


# A kind has one type of amount, so both sides of these are always alike.


def _covers(held: Amount, amount: Amount) -> bool:
    if isinstance(held, tuple):
        return rangesets.contains(held, amount)  # type: ignore[arg-type]
    return held >= amount  # type: ignore[operator]


def _less(held: Amount, amount: Amount) -> Amount:
    if isinstance(held, tuple):
        return rangesets.subtract(held, amount)  # type: ignore[arg-type]
    return held - amount  # type: ignore[operator]


def _common(held: Amount, wanted: Amount) -> Amount:
    if isinstance(held, int):
        return min(held, wanted)
    if isinstance(held, tuple):
        return rangesets.intersection(held, wanted)  # type: ignore[arg-type]
    return held & wanted  # type: ignore[operator]


def _fitting(kind: Kind, amount: Amount, room: int) -> Amount:
    """How much of an amount has room in so many thousandths."""
    if thousandths(kind, amount) <= room:
        return amount
    if not isinstance(amount, int):
        return 0
    return room if kind.size is None else room // kind.size


def _by_preference(amounts: Mapping[Kind, Amount], target: Kind) -> list[Kind]:
    """The kinds that can stand in for a target, the best first."""

    def rank(kind: Kind) -> int:
        if kind == target:
            return 0
        if kind.role == target.role:
            return 1
        return 3 if kind.reservations else 2

    wanted = target.reserved_by(())
    return sorted((kind for kind in amounts if kind.name == target.name and kind.reserved_by(()) == wanted), key=rank)


def thousandths(kind: Kind, amount: Amount) -> int:
    """How much an amount of some kind comes to; members of ranges and sets count one each."""
    if isinstance(amount, int):
        return kind.thousandths(amount)
    if isinstance(amount, tuple):
        return rangesets.count(amount) * THOUSANDTHS
    return len(amount) * THOUSANDTHS


def _brief_texts_of(kind: Kind, amount: Amount) -> list[str]:
    if isinstance(amount, int):
        copies = kind.size is not None and not kind.shared
        return _texts_of(kind, min(amount, BRIEF_PIECES_MAX) if copies else amount)
    left_out = len(amount) - BRIEF_PIECES_MAX
    if left_out <= 0:
        return _texts_of(kind, amount)
    shown: Amount = (
        amount[:BRIEF_PIECES_MAX] if isinstance(amount, tuple) else frozenset(islice(amount, BRIEF_PIECES_MAX))
    )
    return [f"{text} … ({left_out} more)" for text in _texts_of(kind, shown)]


def _texts_of(kind: Kind, amount: Amount) -> list[str]:
    """As Mesos writes it: one text, with the number of copies of what is shared; a text for each other copy."""
    if isinstance(amount, tuple):
        return [f"{kind}:{rangesets.text_of(amount)}"]
    if isinstance(amount, frozenset):
        return [f"{kind}:{{{', '.join(sorted(amount))}}}"]
    if kind.size is None:
        return [f"{kind}:{text_of(amount)}"]
    text = f"{kind}:{text_of(kind.size)}"
    return [f"{text}<{amount}>"] if kind.shared else [text] * amount
