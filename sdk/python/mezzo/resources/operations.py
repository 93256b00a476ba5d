"""What operations make of resources: RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME and SHRINK_VOLUME.

The semantics are Mesos' (docs/reservation.md, persistent-volume.md and shared-resources.md of apache/mesos). Who may do
it is not decided here. CREATE_DISK and DESTROY_DISK are not foreseeable: a resource provider says what they made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources.scalar import ResourceError, from_thousandths, to_thousandths
from mezzo.resources.value import Resources

Operation: TypeAlias = mesos.Offer.Operation


class Conversion(NamedTuple):
    """Resources that go, and those that take their place: as much of everything, of another kind."""

    consumed: Resources
    converted: Resources

    def apply(self, resources: Resources) -> Resources:
        """What resources are afterwards. Raises `ResourceError` where they do not contain what is consumed."""
        rest = resources - self.consumed
        for kind in rest.shared():
            if kind in set(self.consumed) | set(self.converted):
                raise ResourceError("", f"there is another copy of {kind}")
        return rest + self.converted


def conversions(operation: Operation) -> list[Conversion]:
    """What an operation converts, one after the other.

    Raises:
        ResourceError: it makes no sense, or nobody can foresee what it makes; names the field below the operation.
    """
    convert = _CONVERTERS.get(operation.type)
    if convert is None:
        raise ResourceError("type", f"{Operation.Type.Name(operation.type)} converts nothing that could be foreseen")
    return list(convert(operation))


def apply(operation: Operation, resources: Resources) -> Resources:
    """What resources are after an operation on them. Raises `ResourceError`, also where there are not enough."""
    for conversion in conversions(operation):
        resources = conversion.apply(resources)
    return resources


def _reserve(operation: Operation) -> Iterator[Conversion]:
    target = Resources.of(operation.reserve.resources, "reserve.resources")
    if not operation.reserve.source:
        yield Conversion(_popped(target, "reserve.resources"), target)
        return
    source = Resources.of(operation.reserve.source, "reserve.source")
    if source.to_unreserved() != target.to_unreserved():
        raise ResourceError("reserve.source", f"{source} cannot become {target}: only reservations may differ")
    yield Conversion(source, target)


def _unreserve(operation: Operation) -> Iterator[Conversion]:
    reserved = Resources.of(operation.unreserve.resources, "unreserve.resources")
    yield Conversion(reserved, _popped(reserved, "unreserve.resources"))


def _create(operation: Operation) -> Iterator[Conversion]:
    for index, volume in enumerate(operation.create.volumes):
        field = f"create.volumes[{index}]"
        yield Conversion(consumed=_disk_around(volume, field), converted=Resources.of_one(volume, field))


def _destroy(operation: Operation) -> Iterator[Conversion]:
    for index, volume in enumerate(operation.destroy.volumes):
        field = f"destroy.volumes[{index}]"
        yield Conversion(consumed=Resources.of_one(volume, field), converted=_disk_around(volume, field))


def _grow(operation: Operation) -> Iterator[Conversion]:
    message = operation.grow_volume.volume
    volume = Resources.of_one(message, "grow_volume.volume")
    addition = Resources.of_one(operation.grow_volume.addition, "grow_volume.addition")
    if addition != _piece(message, addition.thousandths_of("disk"), "grow_volume.volume"):
        raise ResourceError("grow_volume.addition", "is not of the disk that the volume is on")
    yield Conversion(
        volume + addition, _resized(message, volume.thousandths_of("disk") + addition.thousandths_of("disk"))
    )


def _shrink(operation: Operation) -> Iterator[Conversion]:
    message = operation.shrink_volume.volume
    volume = Resources.of_one(message, "shrink_volume.volume")
    less = to_thousandths(operation.shrink_volume.subtract.value, "shrink_volume.subtract.value")
    if less >= volume.thousandths_of("disk"):
        raise ResourceError("shrink_volume.subtract.value", f"nothing would be left of {volume}")
    freed = _piece(message, less, "shrink_volume.volume")
    yield Conversion(volume, _resized(message, volume.thousandths_of("disk") - less) + freed)


def _popped(resources: Resources, field: str) -> Resources:
    try:
        return resources.pop_reservation()
    except ResourceError as error:
        raise error.below(field) from None


def _disk_around(volume: mesos.Resource, field: str) -> Resources:
    """The disk that a volume is made of, and that is left of it."""
    if not volume.disk.HasField("persistence"):
        raise ResourceError(f"{field}.disk.persistence", "is required for a persistent volume")
    disk = mesos.Resource()
    disk.CopyFrom(volume)
    disk.ClearField("shared")
    disk.disk.ClearField("persistence")
    disk.disk.ClearField("volume")
    if not disk.disk.HasField("source"):
        disk.ClearField("disk")
    return Resources.of_one(disk, field)


def _piece(volume: mesos.Resource, thousandths: int, field: str) -> Resources:
    """So much of the disk that a volume is on. Raises `ResourceError` where that cannot be divided."""
    around = _disk_around(volume, field)
    if any(kind.size is not None for kind in around):
        raise ResourceError(field, f"{around} cannot be divided")
    return Resources(dict.fromkeys(around, thousandths)) if thousandths else Resources.EMPTY


def _resized(volume: mesos.Resource, thousandths: int) -> Resources:
    resized = mesos.Resource()
    resized.CopyFrom(volume)
    resized.scalar.value = from_thousandths(thousandths)
    return Resources.of([resized])


_CONVERTERS: dict[int, Callable[[Operation], Iterator[Conversion]]] = {
    Operation.RESERVE: _reserve,
    Operation.UNRESERVE: _unreserve,
    Operation.CREATE: _create,
    Operation.DESTROY: _destroy,
    Operation.GROW_VOLUME: _grow,
    Operation.SHRINK_VOLUME: _shrink,
}
