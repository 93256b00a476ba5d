"""The algebra of resources."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos.v1 import mesos_pb2 as mesos
from mezzo import attributes
from mezzo.resources import Form, Quantities, Reservation, ResourceError, Resources, parse, parse_quantities, validate
from mezzo.resources import ranges as rangesets

NAMES = ("cpus", "mem", "disk", "gpus")
ROLES = ("*", "ads", "eng", "eng/web")


@st.composite
def resources(draw: st.DrawFn) -> Resources:
    """Scalars, ports and sets in several roles, some allocated."""
    total = Resources.EMPTY
    for _ in range(draw(st.integers(0, 5))):
        role = draw(st.sampled_from(ROLES))
        message = mesos.Resource(name=draw(st.sampled_from(NAMES)), type=mesos.Value.SCALAR, role=role)
        message.scalar.value = draw(st.integers(1, 10**6)) / 1000
        if draw(st.booleans()):
            message.revocable.SetInParent()
        if draw(st.booleans()):
            message.allocation_info.role = draw(st.sampled_from(ROLES))
        total += Resources.of([message])
    ports = draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), max_size=4))
    if ports:
        message = mesos.Resource(name="ports", type=mesos.Value.RANGES)
        for begin, length in ports:
            message.ranges.range.add(begin=begin, end=begin + length)
        total += Resources.of([message])
    return total


def members(ranges: rangesets.Ranges) -> set[int]:
    return {number for begin, end in ranges for number in range(begin, end + 1)}


numbers = st.sets(st.integers(0, 40))


def of_members(values: set[int]) -> rangesets.Ranges:
    return rangesets.normalise((value, value) for value in values)


@given(numbers, numbers)
def test_ranges_behave_like_sets_of_numbers(left: set[int], right: set[int]) -> None:
    a, b = of_members(left), of_members(right)
    assert members(a) == left
    assert members(rangesets.union(a, b)) == left | right
    assert members(rangesets.subtract(a, b)) == left - right
    assert members(rangesets.intersection(a, b)) == left & right
    assert rangesets.contains(a, b) == (left >= right)
    assert rangesets.count(a) == len(left)
    assert rangesets.normalise(rangesets.subtract(a, b)) == rangesets.subtract(a, b)


@given(resources(), resources(), resources())
def test_addition_is_commutative_and_associative(a: Resources, b: Resources, c: Resources) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert Resources.sum([a, b, c]) == a + b + c


@given(resources(), resources())
def test_a_sum_contains_its_parts_and_gives_them_back(a: Resources, b: Resources) -> None:
    total = a + b
    assert total.contains(a)
    assert total.contains(b)
    assert (total - a) + a == total
    scalars = a.scalars()
    assert (scalars + b.scalars()) - b.scalars() == scalars


@given(resources())
def test_messages_give_back_the_same_value_in_every_form(value: Resources) -> None:
    for form in Form:
        assert Resources.of(value.messages(form)) == value
    assert hash(Resources.of(value.messages())) == hash(value)


@given(resources())
def test_allocation_is_put_on_and_taken_off(value: Resources) -> None:
    plain = value.unallocated()
    assert plain.allocated_to("ads").unallocated() == plain
    assert plain.allocated_to("ads").allocations() == ({"ads": plain.allocated_to("ads")} if plain else {})
    assert plain.quantities() == value.quantities()


@given(st.lists(st.integers(0, 10**7), max_size=30))
def test_thousandths_never_drift(thousandths: list[int]) -> None:
    total = Resources.EMPTY
    for amount in thousandths:
        message = mesos.Resource(name="cpus", type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=amount / 1000))
        total += Resources.of([message])
    assert total.get("cpus") == sum(thousandths)


def test_the_text_form_reads_back() -> None:
    value = parse("cpus:8;mem(ads):4096;ports:[31000-32000, 40000-40000];disks:{sda1,sdb1}")
    assert value.cpus == 8
    assert value.reserved("ads").mem == 4096
    assert value.ports == ((31000, 32000), (40000, 40000))
    assert (
        str(value)
        == "cpus:8; mem(reservations: [(STATIC,ads)]):4096; ports:[31000-32000, 40000-40000]; disks:{sda1, sdb1}"
    )


def test_the_json_form_says_what_the_text_form_cannot() -> None:
    value = parse('[{"name":"cpus","type":"SCALAR","scalar":{"value":2},"revocable":{}}]', default_role="ads")
    assert value.revocable() == value
    assert value.reserved("ads") == value


def test_a_default_role_reserves_what_names_none() -> None:
    assert parse("cpus:1;mem(eng):32", default_role="ads").reserved_by_role().keys() == {"ads", "eng"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cpus", "cpus: expected name:value"),
        ("cpus:", "expected name:value"),
        ("cpus:-1", r"resources\[0\].scalar.value: -1 is negative"),
        ("cpus:many", "cpus: 'many' is neither a number"),
        ("cpus:nan", "is not a number"),
        ("ports:[1-", "no closing bracket"),
        ("ports:[5-1]", r"ranges.range\[0\]: begins at 5, after its end 1"),
        ("ports:[a-b]", "'a-b' is not a range"),
        ("cpus(ads:1", "expected a name"),
        ("disks:{a", "no closing brace"),
        ("disks:{a,a}", "an item is named twice"),
        ('[{"name":"cpus"}]', r"\[0\].type: is required"),
        ('[{"name":"cpus","type":"SCALAR"}]', r"resources\[0\].scalar: is required"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_field(text: str, complaint: str) -> None:
    with pytest.raises(ResourceError, match=complaint):
        parse(text)


def test_what_is_not_contained_cannot_be_taken() -> None:
    with pytest.raises(ResourceError, match="does not contain cpus:2"):
        parse("cpus:1") - parse("cpus:2")
    assert parse("cpus:1;mem:32").minus_what_is_there(parse("cpus:2;gpus:1")) == parse("mem:32")


def test_reserved_and_unreserved_are_different_things() -> None:
    assert not parse("cpus:4").contains(parse("cpus(ads):1"))
    assert parse("cpus:4;cpus(ads):1").get("cpus") == 5000


def test_a_refined_reservation_is_for_the_role_below() -> None:
    refined = parse("cpus(eng):4").push_reservation(Reservation("eng/web", dynamic=True, principal="ops"))
    assert refined.reserved("eng/web") == refined
    assert refined.allocatable_to("eng/web/front") == refined
    assert refined.allocatable_to("eng") == Resources.EMPTY
    assert refined.pop_reservation() == parse("cpus(eng):4")
    assert Resources.of(refined.messages()) == refined
    assert str(refined) == "cpus(reservations: [(STATIC,eng),(DYNAMIC,eng/web,ops)]):4"


@pytest.mark.parametrize(
    ("stack", "complaint"),
    [
        ([("STATIC", "eng"), ("DYNAMIC", "ads")], "ads does not refine eng"),
        ([("STATIC", "eng"), ("STATIC", "eng/web")], "must be DYNAMIC"),
        ([("STATIC", "*")], r"reservations\[0\].role"),
    ],
)
def test_a_stack_of_reservations_that_makes_no_sense_is_refused(stack: list[tuple[str, str]], complaint: str) -> None:
    message = mesos.Resource(name="cpus", type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=1))
    for kind, role in stack:
        message.reservations.add(type=mesos.Resource.ReservationInfo.Type.Value(kind), role=role)
    with pytest.raises(ResourceError, match=complaint):
        Resources.of([message])


def volume(identity: str, size: float, *, shared: bool = False) -> mesos.Resource:
    message = mesos.Resource(name="disk", type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=size))
    message.reservations.add(type=mesos.Resource.ReservationInfo.DYNAMIC, role="ads")
    message.disk.persistence.id = identity
    message.disk.volume.container_path = "data"
    message.disk.volume.mode = mesos.Volume.RW
    if shared:
        message.shared.SetInParent()
    return message


def test_a_persistent_volume_is_given_out_whole() -> None:
    held = Resources.of([volume("a", 100), volume("b", 50)])
    assert held.contains(Resources.of([volume("a", 100)]))
    assert not held.contains(Resources.of([volume("a", 40)]))
    assert held.get("disk") == 150_000
    assert held - Resources.of([volume("a", 100)]) == Resources.of([volume("b", 50)])
    assert held.persistent_volumes() == held


def test_a_shared_volume_is_counted_by_copies_and_measured_once() -> None:
    one = Resources.of([volume("a", 100, shared=True)])
    assert (one + one).contains(one)
    assert one + one != one
    assert (one + one) - one == one
    assert len((one + one).messages()) == 2
    assert (one + one).get("disk") == 100_000


def test_how_a_volume_is_mounted_does_not_make_it_another() -> None:
    moved = volume("a", 100)
    moved.disk.volume.container_path = "elsewhere"
    assert Resources.of([moved]) == Resources.of([volume("a", 100)])
    assert moved.disk.volume.container_path == "elsewhere"


def test_the_same_volume_cannot_be_named_twice() -> None:
    with pytest.raises(ResourceError, match=r"resources\[1\].disk.persistence.id: the same persistent volume"):
        validate([volume("a", 1), volume("a", 1)])


def test_find_takes_what_is_reserved_before_what_is_not() -> None:
    held = parse("cpus:4;cpus(ads):2")
    assert held.find(parse("cpus(ads):3")) == parse("cpus(ads):2;cpus:1")
    assert held.find(parse("cpus(ads):7")) is None


def test_quantities_know_names_alone() -> None:
    quantities = parse("cpus:1;cpus(ads):2;ports:[1-10];disks:{a,b}").quantities()
    assert quantities == Quantities.of({"cpus": 3, "ports": 10, "disks": 2})
    assert quantities.contains(parse_quantities("cpus:2.5"))
    assert not quantities.contains(parse_quantities("gpus:0.001"))
    assert quantities - parse_quantities("cpus:10") == Quantities.of({"ports": 10, "disks": 2})
    assert str(parse_quantities("mem:32;cpus:0.01")) == "cpus:0.01; mem:32"


def test_attributes_are_text_numbers_and_ranges() -> None:
    parsed = attributes.parse("rack:abc;level:10;keys:[1000-1500];zone:west:1")
    assert [mesos.Value.Type.Name(each.type) for each in parsed] == ["TEXT", "SCALAR", "RANGES", "TEXT"]
    assert parsed[3].text.value == "west:1"
    with pytest.raises(ResourceError, match="colours: a set cannot be an attribute"):
        attributes.parse("colours:{red,green}")
