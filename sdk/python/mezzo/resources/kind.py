"""Everything about a resource but its amount.

Kinds are interned: two equal kinds are one object, so that a dictionary of amounts hashes and compares by identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final
from weakref import WeakValueDictionary

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources.scalar import ResourceError, to_thousandths

Message = mesos.Resource
Source = mesos.Resource.DiskInfo.Source

UNRESERVED_ROLE: Final = "*"
_PLAIN_CACHE_MAX = 4096


class Form(Enum):
    """Which fields of `Resource` tell of its reservations (docs/reservation.md, "Reservation Refinement")."""

    REFINED = "refined"  # `reservations` alone; what frameworks with RESERVATION_REFINEMENT see
    LEGACY = "legacy"  # `role` and `reservation`; what the other frameworks see
    ENDPOINT = "endpoint"  # both, as far as they can say it; what operators see


@dataclass(frozen=True, slots=True)
class Reservation:
    """One level of a stack of reservations."""

    role: str
    dynamic: bool = False
    principal: str | None = None
    labels: bytes = b""  # a serialised `Labels`

    @classmethod
    def of(cls, message: mesos.Resource.ReservationInfo, field: str) -> Reservation:
        if not message.role or message.role == UNRESERVED_ROLE:
            raise ResourceError(f"{field}.role", "a reservation must be for a role other than *")
        if message.type not in (mesos.Resource.ReservationInfo.STATIC, mesos.Resource.ReservationInfo.DYNAMIC):
            raise ResourceError(f"{field}.type", "must be STATIC or DYNAMIC")
        return cls(
            role=message.role,
            dynamic=message.type == mesos.Resource.ReservationInfo.DYNAMIC,
            principal=message.principal if message.HasField("principal") else None,
            labels=message.labels.SerializeToString(deterministic=True),
        )

    def message(self, *, legacy: bool = False) -> mesos.Resource.ReservationInfo:
        kind = mesos.Resource.ReservationInfo
        info = kind() if legacy else kind(type=kind.DYNAMIC if self.dynamic else kind.STATIC, role=self.role)
        if self.principal is not None:
            info.principal = self.principal
        if self.labels:
            info.labels.MergeFromString(self.labels)
        return info

    def __str__(self) -> str:
        parts = ["DYNAMIC" if self.dynamic else "STATIC", self.role]
        return f"({','.join(parts if self.principal is None else [*parts, self.principal])})"


@dataclass(frozen=True, slots=True)
class Disk:
    """What kind of disk it is; how a volume is mounted is carried along, but makes no difference."""

    source: bytes = b""  # a serialised `DiskInfo.Source`
    source_type: int = Source.UNKNOWN
    source_id: str | None = None
    persistence_id: str | None = None
    persistence_principal: str | None = None

    @classmethod
    def of(cls, message: mesos.Resource.DiskInfo) -> Disk:
        source = message.source
        kept = message.persistence
        return cls(
            source=source.SerializeToString(deterministic=True) if message.HasField("source") else b"",
            source_type=source.type if message.HasField("source") else Source.UNKNOWN,
            source_id=source.id if source.HasField("id") else None,
            persistence_id=kept.id if message.HasField("persistence") else None,
            persistence_principal=kept.principal if kept.HasField("principal") else None,
        )

    @property
    def indivisible(self) -> bool:
        """Whether it is given out whole: a persistent volume, a mount, a device, a piece of raw disk with a name."""
        if self.persistence_id is not None or self.source_type in (Source.MOUNT, Source.BLOCK):
            return True
        return self.source_type == Source.RAW and self.source_id is not None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Kind:
    """What makes an amount different from another. Compare by identity; make with `Kind.intern`."""

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

    @classmethod
    def of(cls, message: Message, field: str = "") -> Kind:
        """The kind of a resource message, in whichever form it tells its reservations; raises `ResourceError`."""
        has = message.HasField
        plain = not (
            message.reservations or has("reservation") or has("disk") or has("provider_id") or has("revocable")
        ) and not has("shared")
        allocation = message.allocation_info.role if has("allocation_info") else None
        if not plain:
            return _intern(message, _reservations(message, field), allocation)
        key = (message.name, message.type, message.role, allocation)
        kind = _plain.get(key)
        if kind is None:
            if len(_plain) >= _PLAIN_CACHE_MAX:
                _plain.clear()
            kind = _plain[key] = _intern(message, _reservations(message, field), allocation)
        return kind

    def allocated_to(self, role: str | None) -> Kind:
        """The same, allocated to a role; to nobody for None."""
        if role == self.allocation_role:
            return self
        kind = _allocated.get((self, role))
        if kind is None:
            if len(_allocated) >= _PLAIN_CACHE_MAX:
                _allocated.clear()
            kind = _allocated[self, role] = _intern(self._message(), self.reservations, role)
        return kind

    def reserved_by(self, reservations: tuple[Reservation, ...]) -> Kind:
        """The same under another stack of reservations."""
        return (
            self if reservations == self.reservations else _intern(self._message(), reservations, self.allocation_role)
        )

    def message(self, form: Form = Form.REFINED) -> Message:
        """A fresh message without an amount; for an indivisible kind, with it."""
        message = Message.FromString(self.template)
        if form is Form.REFINED:
            return message
        if not self.reservations:
            message.role = UNRESERVED_ROLE
        elif len(self.reservations) == 1:
            message.role = self.reservations[0].role
            if self.reservations[0].dynamic:
                message.reservation.CopyFrom(self.reservations[0].message(legacy=True))
            if form is Form.LEGACY:
                message.ClearField("reservations")
        return message

    def _message(self) -> Message:
        message = Message.FromString(self.template)
        message.ClearField("reservations")
        return message

    def __str__(self) -> str:
        text = self.name
        if self.allocation_role is not None:
            text += f"(allocated: {self.allocation_role})"
        if self.reservations:
            text += f"(reservations: [{','.join(map(str, self.reservations))}])"
        if self.disk and self.disk.persistence_id is not None:
            text += f"[{self.disk.persistence_id}]"
        elif self.disk and self.disk.source:
            text += f"[{Source.Type.Name(Source.Type.ValueType(self.disk.source_type))}]"
        if self.revocable:
            text += "{REV}"
        return text + ("<SHARED>" if self.shared else "")


_plain: dict[tuple[str, int, str, str | None], Kind] = {}
_allocated: dict[tuple[Kind, str | None], Kind] = {}
_interned: WeakValueDictionary[bytes, Kind] = WeakValueDictionary()


def _reservations(message: Message, field: str) -> tuple[Reservation, ...]:
    """The stack of reservations, from either form."""
    prefix = f"{field}." if field else ""
    if message.reservations:
        stack = tuple(
            Reservation.of(each, f"{prefix}reservations[{index}]") for index, each in enumerate(message.reservations)
        )
        for lower, upper in zip(stack[1:], stack, strict=False):
            if not lower.role.startswith(f"{upper.role}/"):
                raise ResourceError(
                    f"{prefix}reservations", f"{lower.role} does not refine {upper.role}: it is not a role below it"
                )
            if not lower.dynamic:
                raise ResourceError(f"{prefix}reservations", f"the refinement for {lower.role} must be DYNAMIC")
        if message.HasField("role") and message.role not in (UNRESERVED_ROLE, stack[-1].role):
            raise ResourceError(f"{prefix}role", f"{message.role} is not the role that it is reserved for")
        return stack
    if message.role == UNRESERVED_ROLE:
        if message.HasField("reservation"):
            raise ResourceError(f"{prefix}reservation", "what is reserved for no role has no reservation")
        return ()
    if not message.HasField("reservation"):
        return (Reservation(message.role),)
    info = message.reservation
    return (
        Reservation(
            role=message.role,
            dynamic=True,
            principal=info.principal if info.HasField("principal") else None,
            labels=info.labels.SerializeToString(deterministic=True),
        ),
    )


def _intern(message: Message, reservations: tuple[Reservation, ...], allocation: str | None) -> Kind:
    template = Message()
    template.CopyFrom(message)
    for name in ("role", "reservation", "reservations", "allocation_info", "ranges", "set"):
        template.ClearField(name)
    template.reservations.extend(each.message() for each in reservations)
    if allocation is not None:
        template.allocation_info.role = allocation
    disk = Disk.of(message.disk) if message.HasField("disk") else None
    size = None
    if message.HasField("shared") or (disk and disk.indivisible):
        size = to_thousandths(message.scalar.value)
    else:
        template.ClearField("scalar")
    identity = Message()
    identity.CopyFrom(template)
    identity.disk.ClearField("volume")
    key = identity.SerializePartialToString(deterministic=True)
    kind = _interned.get(key)
    if kind is None:
        kind = _interned[key] = Kind(
            name=message.name,
            value_type=message.type,
            reservations=reservations,
            allocation_role=allocation,
            disk=disk,
            revocable=message.HasField("revocable"),
            shared=message.HasField("shared"),
            provider_id=message.provider_id.value if message.HasField("provider_id") else None,
            size=size,
            template=template.SerializePartialToString(deterministic=True),
        )
    return kind
