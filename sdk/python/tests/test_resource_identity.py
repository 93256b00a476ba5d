"""Which resources are one and the same, and which are not: each kind against every other."""

from collections.abc import Iterator, Sequence
from itertools import combinations, product

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Form, ResourceError, Resources, parse, parse_quantities, validate

Info = mesos.Resource.ReservationInfo
Source = mesos.Resource.DiskInfo.Source


def scalar(name: str, amount: float) -> mesos.Resource:
    return mesos.Resource(name=name, type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=amount))


def disk(
    size: float,
    role: str = "",
    identity: str | None = None,
    path: str | None = None,
    source: Source | None = None,
) -> mesos.Resource:
    """Disk, or with an identity a persistent volume."""
    message = scalar("disk", size)
    if role:
        message.reservations.add(type=Info.STATIC, role=role)
    if identity is not None:
        message.disk.persistence.id = identity
    if path is not None:
        message.disk.volume.container_path = path
        message.disk.volume.mode = mesos.Volume.RW
    if source is not None:
        message.disk.source.CopyFrom(source)
    return message


def on(kind: Source.Type.ValueType, root: str) -> Source:
    source = Source(type=kind)
    (source.mount if kind == Source.MOUNT else source.path).root = root
    return source


def of(*messages: mesos.Resource) -> Resources:
    return Resources.of(messages)


def assert_unlike(kinds: Sequence[Resources]) -> None:
    """Every two of them are different, contain each other neither way, and leave each other alone."""
    for one, other in combinations(kinds, 2):
        assert one != other
        assert not one.contains(other)
        assert not other.contains(one)
        assert one.minus_what_is_there(other) == one
        both = one + other
        assert len(both) == 2
        assert both.contains(one)
        assert both.contains(other)
        assert not one.contains(both)
        assert both - one == other
        assert both - other == one


# -- reservations ------------------------------------------------------------------------------------------------------


def reservations() -> Iterator[Resources]:
    """Eight CPUs that nobody, or somebody else each time, has reserved."""
    yield parse("cpus:8")
    for role in ("role1", "role2"):
        yield parse(f"cpus({role}):8")
        for principal in ("principal1", "principal2"):
            message = scalar("cpus", 8)
            message.reservations.add(type=Info.DYNAMIC, role=role, principal=principal)
            yield of(message)
    for label in ("bar", "baz"):
        message = scalar("cpus", 8)
        message.reservations.add(type=Info.DYNAMIC, role="role1", principal="principal2")
        message.reservations[0].labels.labels.add(key="foo", value=label)
        yield of(message)


def test_reservations_that_differ_in_anything_are_unlike_and_each_of_them_is_valid() -> None:
    kinds = list(reservations())
    assert len(kinds) == 9
    for kind in kinds:
        validate(kind.messages())
        (half,) = kind.messages()
        half.scalar.value = 4
        assert of(half) + of(half) == kind
        assert kind - of(half) == of(half)
    assert_unlike(kinds)


def test_what_is_reserved_is_no_longer_so_when_it_is_taken_as_unreserved() -> None:
    assert parse("cpus(role1):1;cpus(role2):2;mem(role1):5").to_unreserved() == parse("cpus:3;mem:5")


# -- forms -------------------------------------------------------------------------------------------------------------


def test_the_form_from_before_refinement_is_valid_unreserved_and_reserved_in_both_ways() -> None:
    message = scalar("cpus", 555.5)
    for role, principal, told in (
        ("", None, "cpus:555.5"),
        ("*", None, "cpus:555.5"),
        ("foo", None, "cpus(reservations: [(STATIC,foo)]):555.5"),
        ("foo", "principal1", "cpus(reservations: [(DYNAMIC,foo,principal1)]):555.5"),
    ):
        if role:
            message.role = role
        if principal is not None:
            message.reservation.principal = principal
        validate([message])
        assert str(of(message)) == told


@pytest.mark.parametrize(
    ("stack", "valid"),
    [
        ([], True),
        ([(Info.STATIC, "foo")], True),
        ([(Info.DYNAMIC, "foo")], True),
        ([(Info.STATIC, "foo"), (Info.STATIC, "foo/bar")], False),
        ([(Info.STATIC, "foo"), (Info.DYNAMIC, "foo/bar")], True),
        ([(Info.DYNAMIC, "foo"), (Info.DYNAMIC, "foo/bar")], True),
        ([(Info.DYNAMIC, "foo"), (Info.STATIC, "foo/bar")], False),
    ],
    ids=["unreserved", "static", "dynamic", "static twice", "refined static", "refined dynamic", "static on dynamic"],
)
def test_the_form_of_refinement_is_valid_where_what_refines_is_dynamic(
    stack: list[tuple[Info.Type.ValueType, str]], valid: bool
) -> None:
    message = scalar("cpus", 555.5)
    for kind, role in stack:
        message.reservations.add(type=kind, role=role, principal="principal")
    if valid:
        validate([message])
        return
    with pytest.raises(ResourceError, match=r"resources\[0\].reservations\[1\].type"):
        validate([message])


def test_both_forms_at_once_are_valid_where_they_say_the_same() -> None:
    message = scalar("cpus", 555.5)
    message.role = "r1"
    message.reservation.principal = "principal1"
    message.reservations.add(type=Info.DYNAMIC, role="r1", principal="principal1")
    validate([message])
    for field, wrong, named in (
        ("role", "r2", "role"),
        ("type", Info.STATIC, "reservation"),
        ("principal", "principal2", "reservation"),
    ):
        other = mesos.Resource.FromString(message.SerializeToString())
        setattr(other.reservations[0], field, wrong)
        with pytest.raises(ResourceError, match=rf"resources\[0\]\.{named}:"):
            validate([other])
    message.reservations.add(type=Info.DYNAMIC, role="r1/r2", principal="principal1")
    with pytest.raises(ResourceError, match=r"resources\[0\]\.role:"):
        validate([message])
    message.role = "r1/r2"
    with pytest.raises(ResourceError, match=r"resources\[0\]\.reservation:"):
        validate([message])


def test_each_reservation_is_written_in_the_form_of_old_but_one_that_is_refined() -> None:
    free, static, dynamic, refined = (scalar("cpus", 555.5) for _ in range(4))
    static.reservations.add(type=Info.STATIC, role="foo")
    for message in (dynamic, refined):
        message.reservations.add(type=Info.DYNAMIC, role="bar", principal="principal1")
    refined.reservations.add(type=Info.DYNAMIC, role="bar/baz", principal="principal2")
    told = of(free, static, dynamic, refined).messages(Form.LEGACY)
    reserved = {each.role: each for each in told if not each.reservations}
    assert (reserved.keys() - {"", "*"}, len(told)) == ({"foo", "bar"}, 4)
    assert not reserved["foo"].HasField("reservation")
    assert reserved["bar"].reservation.principal == "principal1"
    assert [each for each in told if each.reservations] == [refined]


# -- disks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "vendor", "identity", "profile"),
    [
        pytest.param(kind, *set_, id=f"{Source.Type.Name(kind)} {' '.join(filter(None, set_)) or 'alone'}")
        for kind in (Source.RAW, Source.PATH, Source.BLOCK, Source.MOUNT)
        for set_ in product(("", "vendor"), ("", "id"), ("", "profile"))
    ],
)
def test_a_disk_of_a_source_is_divided_and_added_up_by_what_it_is(
    kind: Source.Type.ValueType, vendor: str, identity: str, profile: str
) -> None:
    source = Source(type=kind)
    for field, value in (("vendor", vendor), ("id", identity), ("profile", profile)):
        if value:
            setattr(source, field, value)
    one, two = of(disk(1, source=source)), of(disk(2, source=source))
    divisible = kind == Source.PATH or (kind == Source.RAW and not identity)
    assert one.contains(one)
    assert two.contains(one) is divisible
    assert (two == one + one) is divisible
    assert len((one + one).messages()) == (1 if divisible else 2)


@pytest.mark.parametrize("kind", [Source.PATH, Source.MOUNT], ids=["path", "mount"])
def test_a_volume_is_contained_whole_whatever_disk_it_is_on(kind: Source.Type.ValueType) -> None:
    source = on(kind, "mnt")
    small, large = (of(disk(size, "role", "1", "path", source)) for size in (10, 20))
    assert small.contains(small)
    assert large.contains(large)
    assert not large.contains(small)
    assert not large.contains(small + small)
    plain, larger = (of(disk(size, "role", source=source)) for size in (10, 20))
    assert larger.contains(plain) is (kind == Source.PATH)
    assert larger.contains(plain + plain) is (kind == Source.PATH)


def test_what_is_there_once_does_not_contain_it_twice() -> None:
    volume = of(disk(10, "role", "1", "path"))
    assert not volume.contains(volume + volume)
    assert (volume + volume).contains(volume + volume)
    other = of(disk(20, "role", "2", "path"))
    assert (volume + other).contains(volume)
    assert (volume + other).contains(other)


def test_disks_of_different_sources_are_unlike() -> None:
    sources = [on(kind, root) for kind in (Source.PATH, Source.MOUNT) for root in ("mnt", "mnt2")]
    assert_unlike([of(disk(10, "role", source=source)) for source in sources])
    path = of(disk(20, "role", source=sources[0]))
    assert path - of(disk(10, "role", source=sources[0])) == of(disk(10, "role", source=sources[0]))
    mount = of(disk(20, "role", source=sources[2]))
    assert mount.minus_what_is_there(of(disk(10, "role", source=sources[2]))) == mount


def test_where_a_disk_is_mounted_makes_it_no_other_but_its_role_and_its_identity_do() -> None:
    for source in (None, on(Source.PATH, "mnt")):
        assert of(disk(10, path="path1", source=source)) == of(disk(10, path="path2", source=source))
        volumes = [disk(10, "role", identity, path, source) for identity in "12" for path in ("path1", "path2")]
        assert of(volumes[0]) == of(volumes[1]) != of(volumes[2]) == of(volumes[3])
        assert of(disk(10, "role", path="path2", source=source)) != of(volumes[3])
    assert of(disk(10)) != of(disk(10, path="path1"))


# -- providers ---------------------------------------------------------------------------------------------------------


def test_what_a_provider_has_is_reckoned_with_apart() -> None:
    cpus, plain, provided = scalar("cpus", 4), disk(1), disk(1)
    for message in (cpus, provided):
        message.provider_id.value = "provider"
    assert_unlike([of(plain), of(provided), of(cpus)])
    assert of(cpus) - of(cpus) == Resources.EMPTY
    assert of(cpus, provided) - of(provided) == of(cpus)
    assert of(cpus, provided) - of(cpus) == of(provided)
    assert of(cpus, plain) - of(plain) == of(cpus)
    assert of(cpus, plain) != of(cpus, provided)
    twice = of(provided, provided)
    assert len(twice) == 1
    assert twice.disk == 2
    assert twice - of(provided) == of(provided)
    assert of(cpus, provided).contains(of(provided))
    assert not of(cpus, provided).contains(of(plain))
    assert not of(cpus, plain).contains(of(cpus, provided))


# -- quantities --------------------------------------------------------------------------------------------------------


def reserved_ports(text: str) -> Resources:
    (message,) = parse(f"ports:[{text}]").messages()
    message.reservations.add(type=Info.DYNAMIC, role="role", principal="principal")
    return of(message)


def shared_volume(size: float) -> Resources:
    message = disk(size, "role1", "id1", "path1")
    message.shared.SetInParent()
    return of(message)


@pytest.mark.parametrize(
    ("resources", "quantities", "contained"),
    [
        (parse(""), "", True),
        (parse(""), "cpus:1", False),
        (parse("cpus:1"), "", True),
        (parse("cpus:2"), "cpus:1", True),
        (parse("cpus:1"), "cpus:1", True),
        (parse("cpus:0.5"), "cpus:1", False),
        (parse("ports:[1-3]"), "ports:2", True),
        (parse("ports:[1-2]"), "ports:2", True),
        (parse("ports:[1-1]"), "ports:2", False),
        (parse("features:{a,b,c}"), "features:2", True),
        (parse("features:{a,b}"), "features:2", True),
        (parse("features:{a}"), "features:2", False),
        (parse("cpus:3;ports:[1-3];features:{a,b,c};mem:10"), "cpus:3;ports:3;features:3", True),
        (parse("cpus:1;ports:[1-3];features:{a,b,c}"), "cpus:3;ports:3;features:3", False),
        (parse("cpus:3;ports:[1-3]"), "cpus:3;ports:3;features:3", False),
        (parse("cpus(role1):2"), "cpus:3", False),
        (parse("cpus(role1):2;cpus:1"), "cpus:3", True),
        (reserved_ports("1-10"), "ports:12", False),
        (reserved_ports("1-10") + parse("ports:[20-25]"), "ports:12", True),
        (shared_volume(64) + shared_volume(64), "disk:128", False),
        (shared_volume(64) + parse("disk:64"), "disk:128", True),
    ],
    ids=str,
)
def test_as_much_as_is_wanted_is_there_or_not(resources: Resources, quantities: str, contained: bool) -> None:
    assert resources.quantities().contains(parse_quantities(quantities)) is contained


def test_quantities_of_a_volume_and_of_what_is_reserved_are_amounts_alone() -> None:
    dynamic = scalar("cpus", 1)
    dynamic.reservations.add(type=Info.DYNAMIC, role="role", principal="principal")
    held = of(disk(200, "role", "1", "path"), dynamic) + parse("names:{foo,bar};ports:[1-2]")
    assert held.scalars().quantities() == parse_quantities("disk:200;cpus:1")
