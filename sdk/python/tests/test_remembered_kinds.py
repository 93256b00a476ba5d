"""What is remembered of kinds of resources is shared by all clients of a process: no client can change or fill it."""

from collections.abc import Iterator

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Resources, kind, value

UNKNOWN_FIELD = b"\xfa\x3e\x01x"
"""Of a later protocol, or of nobody's."""


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    """As happens when many kinds have been met since."""
    kind._met.clear()
    kind._changes.clear()
    value._seen.clear()


def cpus(*, revocable: bool = False, label: str = "") -> mesos.Resource:
    message = mesos.Resource(name="cpus", type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=1))
    if revocable:
        message.revocable.SetInParent()
    if label:
        reservation = message.reservations.add(type=mesos.Resource.ReservationInfo.DYNAMIC, role="ads")
        reservation.labels.labels.add(key="a", value=label)
    return message


def volume() -> mesos.Resource:
    message = cpus(label="x")
    message.name = "disk"
    message.disk.persistence.id = "v"
    message.disk.volume.container_path = "data"
    message.disk.volume.mode = mesos.Volume.RW
    return message


def with_unknown_fields(message: mesos.Resource) -> mesos.Resource:
    """The same, with a field that nobody knows in it and in whatever it holds."""
    strange = mesos.Resource.FromString(message.SerializeToString() + UNKNOWN_FIELD)
    for descriptor, held in strange.ListFields():
        if descriptor.message_type is not None:
            for one in held if descriptor.is_repeated else [held]:
                one.MergeFromString(UNKNOWN_FIELD)
    return strange


@pytest.mark.parametrize(
    "plain", [cpus(), cpus(revocable=True), cpus(label="x"), volume()], ids=["plain", "revocable", "labelled", "volume"]
)
def test_fields_that_nobody_knows_make_no_other_kind(plain: mesos.Resource) -> None:
    resources = Resources.of([plain])
    forget()
    strange = Resources.of([with_unknown_fields(plain)])
    assert strange == resources
    assert UNKNOWN_FIELD not in strange.messages()[0].SerializeToString()
    value._seen.clear()
    assert Resources.of([plain]) == resources


def test_kinds_with_much_in_them_are_not_remembered() -> None:
    message = cpus(label="x" * 10_000)
    resources = Resources.of([message])
    assert resources.allocated_to("ads").unallocated() == resources == Resources.of([message])
    assert not kind._met
    assert not kind._changes
