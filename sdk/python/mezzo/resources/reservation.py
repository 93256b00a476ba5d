"""Reservations, and the two forms in which a resource tells of them (docs/reservation.md of apache/mesos)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import TypeAlias

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources.role import UNRESERVED_ROLE, check_role, is_below
from mezzo.resources.scalar import ResourceError

Info: TypeAlias = mesos.Resource.ReservationInfo


class Form(Enum):
    """Which fields of `Resource` tell of its reservations (docs/reservation.md, "Reservation Refinement")."""

    REFINED = "refined"  # `reservations` alone; what frameworks with RESERVATION_REFINEMENT see
    LEGACY = "legacy"  # `role` and `reservation`; what the other frameworks see
    ENDPOINT = "endpoint"  # both, as far as they can say it; what operators see


@dataclass(frozen=True, slots=True, eq=False)
class Reservation:
    """One level of a stack of reservations. The order of its labels means nothing."""

    role: str
    dynamic: bool = False
    principal: str | None = None
    labels: bytes = b""  # a serialised `Labels`

    def _meaning(self) -> tuple[str, bool, str | None, bytes]:
        return self.role, self.dynamic, self.principal, sorted_labels(self.labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reservation) and self._meaning() == other._meaning()

    def __hash__(self) -> int:
        return hash(self._meaning())

    @classmethod
    def of(cls, message: Info, field: str) -> Reservation:
        """From one of `Resource.reservations`. Raises `ResourceError`."""
        if message.type not in (Info.STATIC, Info.DYNAMIC):
            raise ResourceError(f"{field}.type", "must be STATIC or DYNAMIC")
        if message.role == UNRESERVED_ROLE:
            raise ResourceError(f"{field}.role", "a reservation must be for a role other than *")
        check_role(message.role, f"{field}.role")
        return cls(message.role, message.type == Info.DYNAMIC, *_who_and_what_for(message))

    def message(self, *, legacy: bool = False) -> Info:
        """For `Resource.reservations`; or, in the legacy form, for `Resource.reservation`."""
        info = Info() if legacy else Info(type=Info.DYNAMIC if self.dynamic else Info.STATIC, role=self.role)
        if self.principal is not None:
            info.principal = self.principal
        if self.labels:
            info.labels.MergeFromString(self.labels)
        return info

    def __str__(self) -> str:
        parts = ["DYNAMIC" if self.dynamic else "STATIC", self.role]
        if self.principal is not None:
            parts.append(self.principal)
        if self.labels:
            labels = mesos.Labels.FromString(self.labels).labels
            texts = (f"{label.key}: {label.value}" if label.HasField("value") else label.key for label in labels)
            parts.append(f"{{{', '.join(texts)}}}")
        return f"({','.join(parts)})"


def sorted_labels(labels: bytes) -> bytes:
    """A serialised `Labels` as it is compared: in one order, and without values that are empty."""
    if not labels:
        return b""
    message = mesos.Labels.FromString(labels)
    pairs = sorted((label.key, label.value) for label in message.labels)
    return mesos.Labels(labels=[mesos.Label(key=key, value=value or None) for key, value in pairs]).SerializeToString()


def stack_of(message: mesos.Resource, field: str) -> tuple[Reservation, ...]:
    """The stack of reservations of a resource, the coarsest first, from either form.

    Raises:
        ResourceError: the stack makes no sense, or the two forms contradict one another; names the field below `field`.
    """
    prefix = f"{field}." if field else ""
    if not message.reservations:
        return _legacy_stack(message, prefix)
    stack = tuple(
        Reservation.of(each, f"{prefix}reservations[{index}]") for index, each in enumerate(message.reservations)
    )
    for index, (upper, lower) in enumerate(pairwise(stack), start=1):
        if not is_below(lower.role, upper.role):
            raise ResourceError(
                f"{prefix}reservations[{index}].role",
                f"{lower.role} does not refine {upper.role}: it is not a role below it",
            )
        if not lower.dynamic:
            raise ResourceError(
                f"{prefix}reservations[{index}].type", f"the refinement for {lower.role} must be DYNAMIC"
            )
    if message.HasField("role") and message.role not in (UNRESERVED_ROLE, stack[-1].role):
        raise ResourceError(f"{prefix}role", f"{message.role} is not the role that it is reserved for")
    if message.HasField("reservation") and _legacy_stack(message, prefix) != stack:
        raise ResourceError(f"{prefix}reservation", "contradicts `reservations`")
    return stack


def write_reservations(stack: tuple[Reservation, ...], message: mesos.Resource, form: Form) -> None:
    """Rewrite a message in the REFINED form to another.

    Refined reservations cannot be told in the forms of old; they stay as they are.
    """
    if form is Form.REFINED:
        return
    if not stack:
        message.role = UNRESERVED_ROLE
    elif len(stack) == 1:
        message.role = stack[0].role
        if stack[0].dynamic:
            message.reservation.CopyFrom(stack[0].message(legacy=True))
        if form is Form.LEGACY:
            message.ClearField("reservations")


def _legacy_stack(message: mesos.Resource, prefix: str) -> tuple[Reservation, ...]:
    if message.role == UNRESERVED_ROLE:
        if message.HasField("reservation"):
            raise ResourceError(f"{prefix}reservation", "what is reserved for no role has no reservation")
        return ()
    check_role(message.role, f"{prefix}role")
    if not message.HasField("reservation"):
        return (Reservation(message.role),)
    return (Reservation(message.role, True, *_who_and_what_for(message.reservation)),)


def _who_and_what_for(message: Info) -> tuple[str | None, bytes]:
    principal = message.principal if message.HasField("principal") else None
    return principal, message.labels.SerializeToString(deterministic=True)
