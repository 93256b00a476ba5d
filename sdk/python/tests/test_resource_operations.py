"""What operations make of resources."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Reservation, ResourceError, Resources, parse
from mezzo.resources.operations import apply, conversions

Operation = mesos.Offer.Operation
Source = mesos.Resource.DiskInfo.Source

OPS = Reservation("ads", dynamic=True, principal="ops")


def reserve(target: Resources, source: Resources = Resources.EMPTY) -> Operation:
    made = Operation(type=Operation.RESERVE)
    made.reserve.resources.extend(target.messages())
    made.reserve.source.extend(source.messages())
    return made


def unreserve(reserved: Resources) -> Operation:
    made = Operation(type=Operation.UNRESERVE)
    made.unreserve.resources.extend(reserved.messages())
    return made


def create(*volumes: mesos.Resource) -> Operation:
    return Operation(type=Operation.CREATE, create=Operation.Create(volumes=volumes))


def destroy(*volumes: mesos.Resource) -> Operation:
    return Operation(type=Operation.DESTROY, destroy=Operation.Destroy(volumes=volumes))


def grow(volume: mesos.Resource, addition: Resources) -> Operation:
    (message,) = addition.messages()
    return Operation(type=Operation.GROW_VOLUME, grow_volume=Operation.GrowVolume(volume=volume, addition=message))


def shrink(volume: mesos.Resource, size: float) -> Operation:
    less = Operation.ShrinkVolume(volume=volume, subtract=mesos.Value.Scalar(value=size))
    return Operation(type=Operation.SHRINK_VOLUME, shrink_volume=less)


def disk(size: float, source: int | None = None) -> mesos.Resource:
    (message,) = parse(f"disk(ads):{size}").messages()
    if source is not None:
        message.disk.source.type = Source.Type.ValueType(source)
        place = message.disk.source.mount if source == Source.MOUNT else message.disk.source.path
        place.root = "/mnt/1"
    return message


def volume(size: float, source: int | None = None, *, shared: bool = False) -> mesos.Resource:
    message = disk(size, source)
    message.disk.persistence.id = "v"
    message.disk.volume.container_path = "data"
    message.disk.volume.mode = mesos.Volume.RW
    if shared:
        message.shared.SetInParent()
    return message


def of(*messages: mesos.Resource) -> Resources:
    return Resources.of(messages)


def test_what_is_reserved_is_reserved_no_more_than_there_is() -> None:
    held = parse("cpus:1;mem:512")
    reserved = parse("cpus:1").push_reservation(OPS)
    assert apply(reserve(reserved), held) == parse("mem:512") + reserved
    with pytest.raises(ResourceError, match="does not contain cpus:2"):
        apply(reserve(parse("cpus:2").push_reservation(OPS)), held)


def test_a_reservation_is_refined_and_taken_back_level_by_level() -> None:
    once = parse("cpus(eng):1")
    twice = once.push_reservation(Reservation("eng/web", dynamic=True))
    assert apply(reserve(twice), once) == twice
    assert apply(unreserve(twice), twice) == once
    with pytest.raises(ResourceError, match="does not contain"):
        apply(reserve(twice), parse("cpus:1"))


def test_what_is_unreserved_becomes_free_for_all() -> None:
    reserved = parse("cpus:1;mem:512").push_reservation(OPS)
    some = parse("cpus:1").push_reservation(OPS)
    assert apply(unreserve(some), reserved) == parse("cpus:1") + parse("mem:512").push_reservation(OPS)
    with pytest.raises(ResourceError, match="does not contain"):
        apply(unreserve(parse("cpus:2").push_reservation(OPS)), reserved)
    with pytest.raises(ResourceError, match=r"unreserve.resources.* is not reserved throughout"):
        apply(unreserve(parse("cpus:1")), parse("cpus:1"))


def test_a_reservation_may_be_replaced_by_another_of_as_much() -> None:
    source, target = parse("cpus(ads):2"), parse("cpus:2").push_reservation(Reservation("eng", dynamic=True))
    assert apply(reserve(target, source), source + parse("mem:64")) == target + parse("mem:64")
    with pytest.raises(ResourceError, match=r"reserve.source: .* only reservations may differ"):
        apply(reserve(target, parse("cpus(ads):1")), source)


@pytest.mark.parametrize("shared", [False, True])
def test_a_volume_is_made_of_reserved_disk_and_leaves_it(shared: bool) -> None:
    held = parse("cpus:1;mem:512;disk(ads):1000")
    made = volume(200, shared=shared)
    after = apply(create(made), held)
    assert after == parse("cpus:1;mem:512;disk(ads):800") + of(made)
    assert apply(destroy(made), after) == held
    with pytest.raises(ResourceError, match="does not contain"):
        apply(create(volume(2000, shared=shared)), held)
    with pytest.raises(ResourceError, match="does not contain"):
        apply(create(volume(200)), parse("disk:1000"))


def test_a_volume_on_a_mount_takes_all_of_it() -> None:
    held = of(disk(200, Source.MOUNT))
    assert apply(create(volume(200, Source.MOUNT)), held) == of(volume(200, Source.MOUNT))
    with pytest.raises(ResourceError, match="does not contain"):
        apply(create(volume(50, Source.MOUNT)), held)


def test_a_volume_on_a_path_takes_a_part_of_it() -> None:
    held = of(disk(200, Source.PATH))
    assert apply(create(volume(50, Source.PATH)), held) == of(volume(50, Source.PATH), disk(150, Source.PATH))


def test_a_shared_volume_is_not_destroyed_while_others_hold_it_and_not_made_twice() -> None:
    made = volume(200, shared=True)
    with pytest.raises(ResourceError, match="there is another copy of disk"):
        apply(destroy(made), of(made, made))
    with pytest.raises(ResourceError, match="there is another copy of disk"):
        apply(create(made), of(made, disk(200)))


def test_a_volume_grows_by_disk_of_its_own_kind_and_shrinks_to_it() -> None:
    for source in (None, Source.PATH):
        small, large = volume(100, source), volume(150, source)
        assert apply(grow(small, of(disk(50, source))), of(small, disk(60, source))) == of(large, disk(10, source))
        assert apply(shrink(large, 50), of(large)) == of(small, disk(50, source))
    with pytest.raises(ResourceError, match=r"grow_volume.addition: is not of the disk that the volume is on"):
        apply(grow(volume(100), parse("disk:50")), of(volume(100)) + parse("disk:50"))
    with pytest.raises(ResourceError, match=r"shrink_volume.subtract.value: nothing would be left of disk"):
        apply(shrink(volume(100), 100), of(volume(100)))
    with pytest.raises(ResourceError, match=r"shrink_volume.volume: .* cannot be divided"):
        apply(shrink(volume(100, Source.MOUNT), 50), of(volume(100, Source.MOUNT)))


def test_what_makes_no_sense_is_refused_with_its_field() -> None:
    with pytest.raises(ResourceError, match=r"create.volumes\[0\].disk.persistence: is required"):
        conversions(create(disk(10)))
    wrong = volume(1)
    wrong.scalar.value = -1
    with pytest.raises(ResourceError, match=r"destroy.volumes\[1\].scalar.value: -1 is negative"):
        conversions(destroy(volume(1), wrong))
    with pytest.raises(ResourceError, match=r"shrink_volume.volume.scalar.value: -1 is negative"):
        conversions(shrink(wrong, 1))
    with pytest.raises(ResourceError, match="type: CREATE_DISK converts nothing that could be foreseen"):
        conversions(Operation(type=Operation.CREATE_DISK))
    with pytest.raises(ResourceError, match="type: UNKNOWN"):
        conversions(Operation())


def test_what_is_allocated_to_a_role_stays_so() -> None:
    held = parse("cpus:2;disk(ads):10").allocated_to("ads")
    reserved = parse("cpus:1").push_reservation(OPS).allocated_to("ads")
    after = apply(reserve(reserved), held)
    assert after == parse("cpus:1;disk(ads):10").allocated_to("ads") + reserved
    made = volume(4)
    made.allocation_info.role = "ads"
    assert apply(create(made), after).allocations().keys() == {"ads"}


@given(
    st.lists(
        st.sampled_from(
            [
                reserve(parse("cpus:1;mem:64").push_reservation(OPS)),
                unreserve(parse("cpus:1;mem:64").push_reservation(OPS)),
                create(volume(10)),
                destroy(volume(10)),
                create(volume(10, Source.PATH, shared=True)),
                destroy(volume(10, Source.PATH, shared=True)),
                grow(volume(10), of(disk(5))),
                shrink(volume(15), 5),
            ]
        ),
        max_size=12,
    )
)
def test_operations_change_kinds_and_never_amounts(operations: list[Operation]) -> None:
    held = parse("cpus:3;mem:192;disk(ads):30") + of(disk(20, Source.PATH))
    for operation in operations:
        try:
            after = apply(operation, held)
        except ResourceError:
            ((consumed, converted),) = conversions(operation)
            assert not held.contains(consumed) or (held - consumed).shared() == converted.shared() != Resources.EMPTY
            continue
        assert after.quantities() == held.quantities()
        held = after
