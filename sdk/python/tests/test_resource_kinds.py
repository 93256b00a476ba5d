"""Reservations, volumes, disks, sharing: what makes one resource different from another."""

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Form, Reservation, ResourceError, Resources, parse, validate

Info = mesos.Resource.ReservationInfo
Source = mesos.Resource.DiskInfo.Source


def cpus(amount: float = 1) -> mesos.Resource:
    return mesos.Resource(name="cpus", type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=amount))


def disk(size: float = 100) -> mesos.Resource:
    return mesos.Resource(name="disk", type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=size))


def volume(identity: str, size: float = 100, *, path: str = "data", shared: bool = False) -> mesos.Resource:
    message = disk(size)
    message.reservations.add(type=Info.DYNAMIC, role="ads")
    message.disk.persistence.id = identity
    message.disk.volume.container_path = path
    message.disk.volume.mode = mesos.Volume.RW
    if shared:
        message.shared.SetInParent()
    return message


def sourced(source: int, size: float = 100, *, root: str = "/mnt/1", identity: str | None = None) -> mesos.Resource:
    message = disk(size)
    message.disk.source.type = Source.Type.ValueType(source)
    if source == Source.PATH:
        message.disk.source.path.root = root
    elif source == Source.MOUNT:
        message.disk.source.mount.root = root
    if identity is not None:
        message.disk.source.id = identity
    return message


def paths(value: Resources) -> list[str]:
    return [message.disk.volume.container_path for message in value.messages()]


def test_what_is_reserved_for_a_role_and_what_is_not_are_different_things() -> None:
    assert not parse("cpus:4").contains(parse("cpus(ads):1"))
    assert not parse("cpus(ads):4").contains(parse("cpus:1"))
    assert parse("cpus:4;cpus(ads):1").thousandths_of("cpus") == 5000


def test_order_of_a_reservations_labels_means_nothing() -> None:
    def reserved(*labels: tuple[str, str | None]) -> Resources:
        message = cpus()
        message.reservations.add(type=Info.DYNAMIC, role="ads")
        for key, value in labels:
            message.reservations[0].labels.labels.add(key=key, value=value)
        return Resources.of([message])

    first, second = reserved(("a", "1"), ("b", "")), reserved(("b", None), ("a", "1"))
    assert first == second
    assert str(first + second) == "cpus(reservations: [(DYNAMIC,ads,{a: 1, b: })]):2"
    assert not (first - second)
    assert [kind.reservations for kind in first] == [kind.reservations for kind in second]
    assert reserved(("a", "1")) != first


def test_order_of_a_disks_metadata_means_nothing() -> None:
    def described(*keys: str) -> Resources:
        message = sourced(Source.MOUNT)
        for key in keys:
            message.disk.source.metadata.labels.add(key=key)
        return Resources.of([message])

    assert described("a", "b") == described("b", "a") != described("a")


def test_a_volume_is_the_same_whether_its_creator_is_named_or_not() -> None:
    named = volume("v1")
    named.disk.persistence.principal = "ops"
    assert Resources.of([named]) == Resources.of([volume("v1", path="elsewhere")]) != Resources.of([volume("v2")])
    assert not Resources.of([named]) - Resources.of([volume("v1")])
    (told,) = Resources.of([named]).messages()
    assert told.disk.persistence.principal == "ops"


def test_reservations_with_other_labels_or_principals_do_not_add_up() -> None:
    def reserved(**details: str) -> Resources:
        message = cpus()
        message.reservations.add(type=Info.DYNAMIC, role="ads", principal=details.get("principal"))
        if "label" in details:
            message.reservations[0].labels.labels.add(key="for", value=details["label"])
        return Resources.of([message])

    assert len(reserved(label="x") + reserved(label="x")) == 1
    assert len(reserved(label="x") + reserved(label="y") + reserved(principal="bob") + reserved()) == 4
    assert not (reserved(label="x") + reserved(label="x")).contains(reserved(label="y"))


def test_a_static_and_a_dynamic_reservation_are_different_things() -> None:
    dynamic = parse("cpus:1").push_reservation(Reservation("ads", dynamic=True))
    assert dynamic != parse("cpus(ads):1")
    assert [kind.dynamically_reserved for kind in dynamic + parse("cpus(ads):1")] == [True, False]


def test_both_forms_of_a_reservation_are_read_as_one() -> None:
    old = cpus()
    old.role = "ads"
    old.reservation.principal = "ops"
    new = cpus()
    new.reservations.add(type=Info.DYNAMIC, role="ads", principal="ops")
    assert Resources.of([old]) == Resources.of([new])
    assert Resources.of([new]).messages(Form.LEGACY) == [old]
    assert Resources.of([old]).messages() == [new]
    both = cpus()
    both.MergeFrom(old)
    both.MergeFrom(new)
    assert Resources.of([old]).messages(Form.ENDPOINT) == [both]
    assert Resources.of([both]) == Resources.of([new])


def test_a_refined_reservation_cannot_be_told_in_the_form_of_old() -> None:
    refined = parse("cpus(eng):4").push_reservation(Reservation("eng/web", dynamic=True))
    for form in Form:
        (message,) = refined.messages(form)
        assert not message.HasField("role")
        assert [each.role for each in message.reservations] == ["eng", "eng/web"]


def test_a_refined_reservation_is_for_the_role_below() -> None:
    refined = parse("cpus(eng):4").push_reservation(Reservation("eng/web", dynamic=True, principal="ops"))
    assert refined.reserved("eng/web") == refined
    assert refined.allocatable_to("eng/web/front") == refined
    assert refined.allocatable_to("eng/webs") == Resources.EMPTY
    assert refined.allocatable_to("eng") == Resources.EMPTY
    assert refined.pop_reservation() == parse("cpus(eng):4")
    assert refined.to_unreserved() == parse("cpus:4")
    assert str(refined) == "cpus(reservations: [(STATIC,eng),(DYNAMIC,eng/web,ops)]):4"
    with pytest.raises(ResourceError, match="is not reserved throughout"):
        parse("cpus:1").pop_reservation()


@pytest.mark.parametrize(
    ("stack", "complaint"),
    [
        ([("STATIC", "eng"), ("DYNAMIC", "ads")], r"reservations\[1\].role: ads does not refine eng"),
        ([("STATIC", "eng"), ("DYNAMIC", "english")], r"reservations\[1\].role: english does not refine eng"),
        ([("STATIC", "eng"), ("STATIC", "eng/web")], r"reservations\[1\].type: .* must be DYNAMIC"),
        ([("STATIC", "*")], r"reservations\[0\].role: .* other than \*"),
        ([("STATIC", "")], r"reservations\[0\].role: '' is empty"),
        ([("STATIC", "a b")], r"reservations\[0\].role: 'a b' has white space"),
        ([("STATIC", "a/../b")], r"reservations\[0\].role: 'a/../b' has a part that is"),
        ([("UNKNOWN", "eng")], r"reservations\[0\].type: must be STATIC or DYNAMIC"),
    ],
)
def test_a_stack_of_reservations_that_makes_no_sense_is_refused(stack: list[tuple[str, str]], complaint: str) -> None:
    message = cpus()
    for kind, role in stack:
        message.reservations.add(type=Info.Type.Value(kind), role=role)
    with pytest.raises(ResourceError, match=rf"resources\[0\]\.{complaint}"):
        Resources.of([message])


def test_forms_of_a_reservation_that_contradict_each_other_are_refused() -> None:
    message = cpus()
    message.reservations.add(type=Info.STATIC, role="ads")
    message.role = "eng"
    with pytest.raises(ResourceError, match=r"resources\[0\].role: eng is not the role that it is reserved for"):
        Resources.of([message])
    message = cpus()
    message.reservation.principal = "ops"
    with pytest.raises(ResourceError, match=r"resources\[0\].reservation: .* reserved for no role"):
        Resources.of([message])


def test_resources_of_different_providers_do_not_add_up() -> None:
    mine, yours = disk(), disk()
    mine.provider_id.value, yours.provider_id.value = "mine", "yours"
    assert not Resources.of([mine, mine]).contains(Resources.of([yours]))
    assert not Resources.of([mine]).contains(parse("disk:1"))
    assert Resources.of([mine, mine]).disk == 200


def test_revocable_resources_are_apart_from_others() -> None:
    message = cpus()
    message.revocable.SetInParent()
    value = Resources.of([message, cpus()])
    assert not value.contains(parse("cpus:2"))
    assert value.nonrevocable() == parse("cpus:1")
    assert str(value.revocable()) == "cpus{REV}:1"


def test_a_persistent_volume_is_given_out_whole() -> None:
    held = Resources.of([volume("a", 100), volume("b", 50)])
    assert held.contains(Resources.of([volume("a", 100)]))
    assert not held.contains(Resources.of([volume("a", 40)]))
    assert held.thousandths_of("disk") == 150_000
    assert held - Resources.of([volume("a", 100)]) == Resources.of([volume("b", 50)])
    assert held.persistent_volumes() == held
    first, second = str(held).split("; ")
    assert first == "disk(reservations: [(DYNAMIC,ads)])[a:data:rw]:100"
    assert second == "disk(reservations: [(DYNAMIC,ads)])[b:data:rw]:50"


def test_a_path_can_be_divided_and_a_mount_or_a_device_cannot() -> None:
    assert Resources.of([sourced(Source.PATH)]).contains(Resources.of([sourced(Source.PATH, 40)]))
    for whole in (Source.MOUNT, Source.BLOCK):
        assert Resources.of([sourced(whole)]).contains(Resources.of([sourced(whole)]))
        assert not Resources.of([sourced(whole)]).contains(Resources.of([sourced(whole, 40)]))


def test_raw_disk_can_be_divided_until_it_has_a_name() -> None:
    assert Resources.of([sourced(Source.RAW)]).contains(Resources.of([sourced(Source.RAW, 40)]))
    named = sourced(Source.RAW, identity="lun")
    assert not Resources.of([named]).contains(Resources.of([sourced(Source.RAW, 40, identity="lun")]))


def test_disks_at_other_places_do_not_add_up() -> None:
    assert len(Resources.of([sourced(Source.PATH), sourced(Source.PATH, root="/mnt/2"), disk()])) == 3
    assert len(Resources.of([sourced(Source.PATH), sourced(Source.PATH)])) == 1


def test_a_shared_volume_is_counted_by_copies_and_measured_once() -> None:
    one = Resources.of([volume("a", 100, shared=True)])
    two = one + one
    assert two.contains(one)
    assert not one.contains(two)
    assert two != one
    assert two - one == one
    assert len(two.messages()) == 2
    assert two.thousandths_of("disk") == 100_000
    assert two.quantities() == one.quantities()
    first, second = two.messages()
    assert first == second
    first.name = "changed"
    assert second.name == "disk"
    assert str(one) == "disk(reservations: [(DYNAMIC,ads)])[a:data:rw]<SHARED>:100<1>"
    assert str(two) == "disk(reservations: [(DYNAMIC,ads)])[a:data:rw]<SHARED>:100<2>"


def test_a_volume_that_is_shared_is_not_the_one_that_is_not() -> None:
    assert not Resources.of([volume("a")]).contains(Resources.of([volume("a", shared=True)]))


def test_how_a_volume_is_mounted_does_not_make_it_another_and_is_not_forgotten() -> None:
    here, there = Resources.of([volume("a", path="here")]), Resources.of([volume("a", path="there")])
    assert here == there
    assert hash(here) == hash(there)
    assert here.contains(there)
    assert not here - there
    assert (paths(here), paths(there)) == (["here"], ["there"])
    allocated = [each.allocated_to("ads") for each in (here, there)]
    assert [paths(each) for each in allocated] == [["here"], ["there"]]
    assert allocated[0] == allocated[1]
    bare = volume("a")
    bare.disk.ClearField("volume")
    assert Resources.of([bare]) == here


def test_find_takes_what_is_reserved_for_the_role_before_what_is_not() -> None:
    held = parse("cpus:4;cpus(ads):2;cpus(eng):1")
    assert held.find(parse("cpus(ads):3")) == parse("cpus(ads):2;cpus:1")
    assert held.find(parse("cpus(ads):7")) == held
    assert held.find(parse("cpus(ads):8")) is None
    assert held.find(parse("mem:1")) is None
    assert parse("cpus(eng):4;cpus:4").find(parse("cpus(ads):3")) == parse("cpus:3")


def test_find_leaves_what_is_allocated_to_others() -> None:
    assert parse("cpus:4").allocated_to("ads").find(parse("cpus:1")) is None
    assert parse("cpus:4").allocated_to("ads").find(parse("cpus:1").allocated_to("ads")) is not None


def test_an_empty_amount_is_nothing() -> None:
    ranges = mesos.Resource(name="ports", type=mesos.Value.RANGES, ranges=mesos.Value.Ranges())
    items = mesos.Resource(name="disks", type=mesos.Value.SET, set=mesos.Value.Set())
    assert Resources.of([cpus(0), cpus(0.0001), ranges, items, volume("a", 0)]) == Resources.EMPTY


def test_scalars_keep_three_decimals() -> None:
    assert Resources.of([cpus(1.5123)]) == parse("cpus:1.512")
    assert Resources.of([cpus(0.0015), cpus(0.0025)]).thousandths_of("cpus") == 5
    assert parse("cpus:0.1") + parse("cpus:0.2") == parse("cpus:0.3")


def invalid_volumes() -> dict[str, mesos.Resource]:
    nameless, foreign, unreserved, revocable = volume(""), volume("../x"), volume("a"), volume("a")
    del unreserved.reservations[:]
    revocable.revocable.SetInParent()
    unmounted, placed, mounted_disk, cpu = volume("a"), volume("a"), disk(), cpus()
    unmounted.disk.ClearField("volume")
    placed.disk.volume.host_path = "/etc"
    mounted_disk.disk.volume.CopyFrom(volume("a").disk.volume)
    cpu.disk.SetInParent()
    shared = disk()
    shared.shared.SetInParent()
    return {
        r"disk.persistence.id: must not be empty": nameless,
        r"disk.persistence.id: '../x' contains invalid characters": foreign,
        r"disk.persistence: .* must be of reserved disk": unreserved,
        r"disk.persistence: .* cannot be revocable": revocable,
        r"disk.volume: is required": unmounted,
        r"disk.volume.host_path: the agent chooses": placed,
        r"disk.volume: only persistent volumes can be mounted": mounted_disk,
        r"disk: cpus is not a disk": cpu,
        r"disk.source.type: must be PATH": sourced(Source.UNKNOWN),
        r"shared: only persistent volumes can be shared": shared,
    }


@pytest.mark.parametrize("complaint", invalid_volumes())
def test_a_disk_that_makes_no_sense_is_refused_with_its_field(complaint: str) -> None:
    with pytest.raises(ResourceError, match=rf"task.resources\[1\].{complaint}"):
        validate([cpus(), invalid_volumes()[complaint]], "task.resources")


def test_the_same_volume_cannot_be_named_twice_unless_it_is_shared() -> None:
    with pytest.raises(ResourceError, match=r"resources\[1\].disk.persistence.id: the same persistent volume"):
        validate([volume("a", 1), volume("a", 2)])
    validate([volume("a", 1, shared=True), volume("a", 1, shared=True), volume("b")])


def test_gpus_are_whole() -> None:
    gpus = mesos.Resource(name="gpus", type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=1.5))
    with pytest.raises(ResourceError, match=r"resources\[0\].scalar.value: 1.5 is not a whole number of gpus"):
        validate([gpus])


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (mesos.Resource(name="cpus", type=mesos.Value.SCALAR), "scalar: is required"),
        (mesos.Resource(name="ports", type=mesos.Value.RANGES), "ranges: is required"),
        (mesos.Resource(name="disks", type=mesos.Value.SET), "set: is required"),
        (mesos.Resource(name="motto", type=mesos.Value.TEXT), "type: must be SCALAR, RANGES or SET"),
        (cpus(-1), "scalar.value: -1 is negative"),
        (cpus(float("nan")), "scalar.value: nan is not a number"),
        (cpus(float("inf")), "scalar.value: inf is not a number"),
        (cpus(1e13), "scalar.value: 1e[+]13 is larger"),
    ],
)
def test_an_amount_that_makes_no_sense_is_refused_with_its_field(message: mesos.Resource, complaint: str) -> None:
    for _ in range(2):  # a refusal is not remembered as an answer
        with pytest.raises(ResourceError, match=rf"resources\[0\].{complaint}"):
            Resources.of([message])


def test_a_resource_needs_a_name() -> None:
    with pytest.raises(ResourceError, match=r"resources\[0\].name: is required"):
        validate([mesos.Resource(name="", type=mesos.Value.SCALAR)])


# -- as text -----------------------------------------------------------------------------------------------------------


def test_everything_that_makes_a_resource_another_is_in_its_text() -> None:
    message = volume("hadoop", 1, path="/data")
    message.disk.volume.host_path = "/hdfs"
    text = "disk(reservations: [(DYNAMIC,ads)])[hadoop:/hdfs:/data:rw]:1"
    assert str(Resources.of([message])) == text
    assert str(Resources.of([message]).allocated_to("eng")) == text.replace("disk(", "disk(allocated: eng)(")
    message.disk.source.type = Source.MOUNT
    message.disk.source.mount.root = "/mnt/1"
    assert str(Resources.of([message])) == text.replace("[hadoop", "[MOUNT:/mnt/1,hadoop")
    message.disk.source.id = "lun"
    message.disk.source.vendor = "acme"
    message.disk.source.profile = "fast"
    assert str(Resources.of([message])) == text.replace("[hadoop", "[MOUNT(acme,lun,fast),hadoop")
    message.revocable.SetInParent()
    assert str(Resources.of([message])).endswith(":rw]{REV}:1")
    bare = disk(1)
    bare.disk.volume.container_path = "/data"
    assert str(Resources.of([bare])) == "disk[:/data]:1"
    assert str(Resources.of([sourced(Source.RAW, 1)])) == "disk[RAW]:1"


def test_who_reserved_a_resource_and_what_for_is_in_its_text() -> None:
    message = cpus()
    message.reservations.add(type=Info.DYNAMIC, role="alice", principal="hdfs")
    message.reservations[0].labels.labels.add(key="foo", value="bar")
    message.reservations[0].labels.labels.add(key="foo")
    assert str(Resources.of([message])) == "cpus(reservations: [(DYNAMIC,alice,hdfs,{foo: bar, foo})]):1"


# -- arithmetic by kind ------------------------------------------------------------------------------------------------


def labelled(amount: float, *, principal: str | None = None, label: str | None = None) -> Resources:
    message = cpus(amount)
    message.reservations.add(type=Info.DYNAMIC, role="ads", principal=principal)
    if label is not None:
        message.reservations[0].labels.labels.add(key="for", value=label)
    return Resources.of([message])


def test_what_is_reserved_alike_adds_up_and_is_taken_away() -> None:
    for details in ({}, {"principal": "ops"}, {"principal": "ops", "label": "x"}):
        assert labelled(8, **details) + labelled(4, **details) == labelled(12, **details)
        assert labelled(12, **details) - labelled(4, **details) == labelled(8, **details)
    total = parse("cpus(ads):8") + labelled(8, label="x")
    assert total - parse("cpus(ads):2") - labelled(4, label="x") == parse("cpus(ads):6") + labelled(4, label="x")
    assert labelled(8, label="x").minus_what_is_there(labelled(8, label="y")) == labelled(8, label="x")


def kinds_of_disk() -> list[Resources]:
    """Ten of each kind that is not any of the others."""
    plain, mounted, reserved = disk(10), disk(10), volume("a", 10)
    mounted.disk.volume.container_path = "data"
    sources = [(Source.PATH, "/1"), (Source.PATH, "/2"), (Source.MOUNT, "/1"), (Source.MOUNT, "/2")]
    of_sources = [sourced(source, 10, root=root) for source, root in sources]
    return [Resources.of([each]) for each in (plain, mounted, reserved, volume("b", 10), *of_sources)]


def test_disks_of_different_kinds_are_different_things() -> None:
    kinds = kinds_of_disk()
    for one in kinds:
        assert one == Resources.of(one.messages())
        assert not one - one
        for other in kinds:
            if other is not one:
                assert one != other
                assert not one.contains(other)
                assert one.minus_what_is_there(other) == one
                assert (one + other).contains(one)
                assert one + other - other == one


def test_what_can_be_divided_grows_and_what_cannot_is_there_twice() -> None:
    assert [kind.size is not None for (kind,) in kinds_of_disk()] == [
        False,
        False,
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    for each in kinds_of_disk():
        (kind,) = each
        twice = each + each
        assert twice.disk == 20
        assert len(twice.messages()) == (1 if kind.size is None else 2)
        assert twice - each == each
        (larger,) = each.messages()
        larger.scalar.value = 20
        assert (twice == Resources.of([larger])) is (kind.size is None)
        assert Resources.of([larger]).contains(each) is (kind.size is None)


def test_volumes_are_told_from_the_disk_around_them() -> None:
    held = parse("cpus:1;mem:512;disk:1000") + Resources.of([volume("a", 10)]) + parse("disk(ads):20")
    assert held.persistent_volumes() == Resources.of([volume("a", 10)])


def revocable_cpus(amount: float) -> Resources:
    message = cpus(amount)
    message.revocable.SetInParent()
    return Resources.of([message])


def test_revocable_resources_add_up_among_themselves() -> None:
    assert revocable_cpus(1) + revocable_cpus(1) == revocable_cpus(2)
    assert not revocable_cpus(1) - revocable_cpus(1)
    assert revocable_cpus(1) != parse("cpus:1")
    both = revocable_cpus(1) + parse("cpus:1")
    assert both.contains(revocable_cpus(1))
    assert both.contains(parse("cpus:1"))
    assert not both.contains(revocable_cpus(2))
    assert not both.contains(parse("cpus:2"))
    assert revocable_cpus(1).minus_what_is_there(parse("cpus:1")) == revocable_cpus(1)
    assert both.revocable() == revocable_cpus(1)
    assert both.nonrevocable() == parse("cpus:1")


def test_find_takes_revocable_resources_for_revocable_targets_alone() -> None:
    both = revocable_cpus(1) + parse("cpus(ads):1")
    assert both.find(revocable_cpus(1)) == revocable_cpus(1)
    assert both.find(parse("cpus:1")) == parse("cpus(ads):1")
    assert both.find(parse("cpus:2")) is None
    assert both.find(revocable_cpus(2)) is None


def test_copies_of_a_shared_volume_are_reckoned_with_as_such() -> None:
    a, b = (Resources.of([volume(name, 50, shared=True)]) for name in "ab")
    four, three = parse("cpus:2") + a + a + a + a, parse("cpus:2") + a + a + a
    assert four + three - four == three
    assert three + four - three == four
    assert four.minus_what_is_there(three) == a
    assert not three.minus_what_is_there(four)
    assert a + b - a == b
    assert a.minus_what_is_there(b) == a
    assert [amount for _, amount in (a + a).items()] == [2]
    assert not (a + a) - a - a


def test_a_volume_that_is_shared_and_one_that_is_not_are_reckoned_with_apart() -> None:
    shared, alone = Resources.of([volume("a", 100, shared=True)]), Resources.of([volume("a", 100)])
    assert not (parse("cpus:1") + shared).contains(alone)
    assert not (parse("cpus:1") + alone).contains(shared)
    total = shared + shared + alone
    assert len(total) == 2
    assert total.disk == 200
    assert alone.minus_what_is_there(shared) == alone
    assert total.shared() == shared + shared
    assert total.nonshared() == alone


def test_what_is_allocated_to_different_roles_is_reckoned_with_apart() -> None:
    one, two = parse("cpus:1").allocated_to("a"), parse("cpus:1").allocated_to("b")
    assert one != two
    assert len(one + two) == 2
    assert (one + two).cpus == 2
    assert (one + two).contains(one)
    assert not one - one
    assert one.minus_what_is_there(two) == one
    three = parse("cpus(c):3;mem(c):8").allocated_to("c")
    assert (one + two + three).allocations() == {"a": one, "b": two, "c": three}
    (message,) = one.unallocated().messages()
    assert not message.HasField("allocation_info")
