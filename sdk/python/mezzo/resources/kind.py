"""Everything about a resource but its amount.

Kinds are interned: two equal kinds are one object, so that a dictionary of amounts hashes and compares by identity.
Only how a volume is mounted, and who created it, does not count: two mounts of one volume are two objects that are
equal. Labels count whatever their order; a kind tells them as they were told first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from mesos.v1 import mesos_pb2 as mesos
from mezzo.memo import Memo
from mezzo.resources.disk import Disk, text_of
from mezzo.resources.reservation import Form, Reservation, sorted_labels, stack_of, write_reservations
from mezzo.resources.role import UNRESERVED_ROLE
from mezzo.resources.scalar import to_thousandths

Message = mesos.Resource

# How many ways of saying or changing a kind are remembered, and how large a kind's template may be for it: labels can
# have megabytes.
REMEMBERED_MAX: Final = 4096
REMEMBERED_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Kind:
    """What makes an amount different from another. Made by `Kind.of` and the methods here, never directly."""

    name: str
    value_type: int
    reservations: tuple[Reservation, ...]
    allocation_role: str | None
    disk: Disk | None
    revocable: bool
    shared: bool
    provider_id: str | None
    # Of an indivisible resource the size is part of what it is, in thousandths; its amount counts the copies.
    size: int | None
    # The message without its amount, serialised: `REFINED`, with the disk exactly as it came.
    template: bytes

    @property
    def role(self) -> str:
        """The role it is reserved for, `*` for none."""
        return self.reservations[-1].role if self.reservations else UNRESERVED_ROLE

    @property
    def persistent_volume(self) -> bool:
        return self.disk is not None and self.disk.persistence_id is not None

    @property
    def dynamically_reserved(self) -> bool:
        return bool(self.reservations) and self.reservations[-1].dynamic

    def thousandths(self, amount: int) -> int:
        """What an amount of this scalar comes to: copies of a shared one are one thing, of others several."""
        if self.size is None:
            return amount
        return self.size if self.shared else self.size * amount

    @classmethod
    def of(cls, message: Message, field: str = "") -> Kind:
        """The kind of a resource message, in whichever form it tells its reservations; raises `ResourceError`."""
        key = _key_of(message)
        kind = _met.find(key)
        if kind is None:
            allocation = message.allocation_info.role if message.HasField("allocation_info") else None
            kind = _intern(message, stack_of(message, field), allocation)
            _met.keep(key, kind, size=len(kind.template))
        return kind

    def allocated_to(self, role: str | None) -> Kind:
        """The same, allocated to a role; to nobody for None."""
        return self if role == self.allocation_role else self._changed(self.reservations, role)

    def reserved_by(self, reservations: tuple[Reservation, ...]) -> Kind:
        """The same under another stack of reservations."""
        return self if reservations == self.reservations else self._changed(reservations, self.allocation_role)

    def message(self, form: Form = Form.REFINED) -> Message:
        """A fresh message without an amount; for an indivisible kind, with it."""
        message = Message.FromString(self.template)
        write_reservations(self.reservations, message, form)
        return message

    def _changed(self, reservations: tuple[Reservation, ...], allocation: str | None) -> Kind:
        key = (self.template, reservations, allocation)
        kind = _changes.find(key)
        if kind is None:
            kind = _intern(self.message(), reservations, allocation)
            _changes.keep(key, kind, size=len(self.template) + len(kind.template))
        return kind

    def __str__(self) -> str:
        text = self.name
        if self.allocation_role is not None:
            text += f"(allocated: {self.allocation_role})"
        if self.reservations:
            text += f"(reservations: [{','.join(map(str, self.reservations))}])"
        if self.disk is not None:
            text += text_of(Message.FromString(self.template).disk)
        if self.revocable:
            text += "{REV}"
        return text + ("<SHARED>" if self.shared else "")


@dataclass(frozen=True, slots=True, eq=False)
class MountedKind(Kind):
    """A volume, how it is mounted and who created it; equal to the same volume with any other mount or principal."""

    unmounted: Kind

    def __eq__(self, other: object) -> bool:
        return self.unmounted is (other.unmounted if isinstance(other, MountedKind) else other)

    def __hash__(self) -> int:
        return hash(self.unmounted)


_met: Memo[tuple[object, ...], Kind] = Memo(REMEMBERED_MAX, size_max=REMEMBERED_BYTES_MAX)
_changes: Memo[tuple[bytes, tuple[Reservation, ...], str | None], Kind] = Memo(
    REMEMBERED_MAX, size_max=REMEMBERED_BYTES_MAX
)
_interned: WeakValueDictionary[bytes, Kind] = WeakValueDictionary()


def _key_of(message: Message) -> tuple[object, ...]:
    """What the message says of its kind, by what is cheap to read."""
    has = message.HasField
    allocation = message.allocation_info.role if has("allocation_info") else None
    plain = (message.name, message.type, message.role, allocation)
    if not (
        has("disk")
        or has("revocable")
        or has("shared")
        or has("provider_id")
        or has("reservation")
        or message.reservations
    ):
        return plain
    indivisible = has("disk") or has("shared")
    return (
        *plain,
        has("revocable"),
        has("shared"),
        message.provider_id.value if has("provider_id") else None,
        message.reservation.SerializeToString() if has("reservation") else None,
        tuple([each.SerializeToString() for each in message.reservations]),
        message.disk.SerializePartialToString() if has("disk") else None,
        message.scalar.value if indivisible else None,
    )


def _intern(message: Message, reservations: tuple[Reservation, ...], allocation: str | None) -> Kind:
    template = Message()
    template.CopyFrom(message)
    for name in ("role", "reservation", "reservations", "allocation_info", "ranges", "set"):
        template.ClearField(name)
    template.reservations.extend(each.message() for each in reservations)
    if allocation is not None:
        template.allocation_info.role = allocation
    # A kind is shared by all who name it, and what one of them adds in fields that nobody knows makes it no other kind.
    template.DiscardUnknownFields()
    disk = Disk.of(message.disk) if message.HasField("disk") else None
    size = None
    if message.HasField("shared") or (disk and disk.indivisible):
        size = to_thousandths(message.scalar.value)
    else:
        template.ClearField("scalar")
    told = template.SerializePartialToString(deterministic=True)
    key = _meaning(template, told)
    kind = _interned.get(key)
    if kind is not None:
        return kind
    kind = Kind(
        name=message.name,
        value_type=message.type,
        reservations=reservations,
        allocation_role=allocation,
        disk=disk,
        revocable=message.HasField("revocable"),
        shared=message.HasField("shared"),
        provider_id=message.provider_id.value if message.HasField("provider_id") else None,
        size=size,
        template=told,
    )
    if template.disk.HasField("volume") or template.disk.persistence.HasField("principal"):
        kind = _mounted(kind, template)
    _interned[key] = kind
    return kind


def _meaning(template: Message, told: bytes) -> bytes:
    """A template with its labels as they are compared."""
    reserved = any(each.HasField("labels") for each in template.reservations)
    if not reserved and not template.disk.source.HasField("metadata"):
        return told
    compared = Message.FromString(told)
    labelled: list[mesos.Labels] = [each.labels for each in compared.reservations if each.HasField("labels")]
    if compared.disk.source.HasField("metadata"):
        labelled.append(compared.disk.source.metadata)
    for labels in labelled:
        meaning = sorted_labels(labels.SerializeToString())
        labels.Clear()
        labels.MergeFromString(meaning)
    return compared.SerializePartialToString(deterministic=True)


def _mounted(kind: Kind, template: Message) -> MountedKind:
    template.disk.ClearField("volume")
    if template.disk.HasField("persistence"):
        template.disk.persistence.ClearField("principal")
    return MountedKind(
        name=kind.name,
        value_type=kind.value_type,
        reservations=kind.reservations,
        allocation_role=kind.allocation_role,
        disk=kind.disk,
        revocable=kind.revocable,
        shared=kind.shared,
        provider_id=kind.provider_id,
        size=kind.size,
        template=kind.template,
        unmounted=_intern(template, kind.reservations, kind.allocation_role),
    )
