"""The algebra of resources: what must hold of any resources at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Form, Kind, Quantities, ResourceError, Resources, parse
from mezzo.resources import ranges as rangesets

Info = mesos.Resource.ReservationInfo
Source = mesos.Resource.DiskInfo.Source

ROLES = ("ads", "eng", "eng/web")


def scalar(name: str, thousandths: int) -> mesos.Resource:
    return mesos.Resource(name=name, type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=thousandths / 1000))


def volume(identity: str, size: float = 100, *, path: str = "data", shared: bool = False) -> mesos.Resource:
    message = scalar("disk", round(size * 1000))
    message.reservations.add(type=Info.DYNAMIC, role="ads")
    message.disk.persistence.id = identity
    message.disk.volume.container_path = path
    message.disk.volume.mode = mesos.Volume.RW
    if shared:
        message.shared.SetInParent()
    return message


def mount(root: str, size: float = 100) -> mesos.Resource:
    message = scalar("disk", round(size * 1000))
    message.disk.source.type = Source.MOUNT
    message.disk.source.mount.root = root
    return message


@st.composite
def reservations(draw: st.DrawFn) -> list[Info]:
    """None, one, or one refined."""
    stack = []
    roles = draw(st.sampled_from([(), ("ads",), ("eng",), ("eng", "eng/web")]))
    for index, role in enumerate(roles):
        dynamic = index > 0 or draw(st.booleans())
        info = Info(type=Info.DYNAMIC if dynamic else Info.STATIC, role=role)
        if dynamic and draw(st.booleans()):
            info.principal = draw(st.sampled_from(["ops", "bob"]))
        if dynamic and draw(st.booleans()):
            info.labels.labels.add(key="for", value=draw(st.sampled_from(["x", "y"])))
        stack.append(info)
    return stack


@st.composite
def messages(draw: st.DrawFn) -> mesos.Resource:
    """One resource of any kind, valid in itself."""
    shape = draw(st.sampled_from(["scalar", "scalar", "ranges", "set", "volume", "shared", "mount"]))
    if shape in ("volume", "shared"):
        message = volume(
            draw(st.sampled_from("ab")),
            draw(st.sampled_from([1.5, 100])),
            path=draw(st.sampled_from(["data", "elsewhere"])),
            shared=shape == "shared",
        )
    elif shape == "mount":
        message = mount(draw(st.sampled_from(["/mnt/1", "/mnt/2"])))
    elif shape == "ranges":
        message = mesos.Resource(name="ports", type=mesos.Value.RANGES)
        for begin, length in draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), max_size=4)):
            message.ranges.range.add(begin=begin, end=begin + length)
        message.ranges.SetInParent()
    elif shape == "set":
        message = mesos.Resource(name="disks", type=mesos.Value.SET)
        message.set.item.extend(draw(st.sets(st.sampled_from("abcd"))))
        message.set.SetInParent()
    else:
        message = scalar(draw(st.sampled_from(["cpus", "mem", "disk"])), draw(st.integers(0, 10**6)))
        if draw(st.booleans()):
            message.revocable.SetInParent()
        if draw(st.booleans()):
            message.provider_id.value = draw(st.sampled_from(["p1", "p2"]))
    if shape not in ("volume", "shared"):
        message.reservations.extend(draw(reservations()))
    if draw(st.booleans()):
        message.allocation_info.role = draw(st.sampled_from(ROLES))
    return message


def resources() -> st.SearchStrategy[Resources]:
    """Up to six resources of any kind."""
    return st.lists(messages(), max_size=6).map(Resources.of)


def members(ranges: rangesets.Ranges) -> set[int]:
    return {number for begin, end in ranges for number in range(begin, end + 1)}


numbers = st.sets(st.integers(0, 40))


def of_members(values: set[int]) -> rangesets.Ranges:
    return rangesets.normalise((value, value) for value in values)


def amounts(value: Resources) -> dict[Kind, object]:
    """What an amount is to a test that knows nothing of ranges: the numbers themselves."""
    return {kind: members(amount) if isinstance(amount, tuple) else amount for kind, amount in value.items()}


@given(numbers, numbers)
def test_ranges_behave_like_sets_of_numbers(left: set[int], right: set[int]) -> None:
    a, b = of_members(left), of_members(right)
    assert members(a) == left
    assert members(rangesets.union(a, b)) == left | right
    assert members(rangesets.subtract(a, b)) == left - right
    assert members(rangesets.intersection(a, b)) == left & right
    assert rangesets.contains(a, b) == (left >= right)
    assert rangesets.count(a) == len(left)
    for each in (a, b, rangesets.union(a, b), rangesets.subtract(a, b), rangesets.intersection(a, b)):
        assert rangesets.normalise(each) == each


@given(resources(), resources(), resources())
def test_addition_is_commutative_and_associative(a: Resources, b: Resources, c: Resources) -> None:
    assert a + b == b + a
    assert hash(a + b) == hash(b + a)
    assert (a + b) + c == a + (b + c) == Resources.sum([a, b, c])
    assert a + Resources.EMPTY == a == a - Resources.EMPTY


@given(resources(), resources())
def test_a_sum_contains_its_parts_and_gives_them_back(a: Resources, b: Resources) -> None:
    total = a + b
    assert total.contains(a)
    assert total.contains(b)
    assert (total - a) + a == total
    assert not total - total


@given(resources(), resources())
def test_what_is_added_can_be_taken_away_unless_it_was_partly_there(a: Resources, b: Resources) -> None:
    disjoint = b.filter(lambda kind: kind not in set(a) or kind.value_type == mesos.Value.SCALAR)
    assert a + disjoint - disjoint == a


@given(resources(), resources())
def test_subtraction_is_allowed_exactly_where_there_is_enough(a: Resources, b: Resources) -> None:
    held, wanted = amounts(a), amounts(b)
    enough = all(kind in held and held[kind] >= wanted[kind] for kind in wanted)  # type: ignore[operator]
    assert a.contains(b) == enough
    if enough:
        assert (a - b) + b == a
    else:
        with pytest.raises(ResourceError, match="does not contain"):
            a - b


@given(resources(), resources())
def test_taking_what_is_there_leaves_what_was_not_asked_for(a: Resources, b: Resources) -> None:
    rest = a.minus_what_is_there(b)
    assert a.contains(rest)
    assert b.contains(a - rest)


@given(resources())
def test_messages_give_back_the_same_value_in_every_form(value: Resources) -> None:
    for form in Form:
        back = Resources.of(value.messages(form))
        assert back == value
        assert hash(back) == hash(value)
        assert str(back) == str(value)


@given(resources())
def test_no_message_is_handed_out_twice(value: Resources) -> None:
    for message in value.messages():
        message.name = "changed"
    assert "changed" not in {message.name for message in value.messages()}
    assert "changed" not in value.names()


@given(st.lists(messages(), max_size=6))
def test_how_messages_are_met_before_makes_no_difference(said: list[mesos.Resource]) -> None:
    first = Resources.of(said)
    assert Resources.of(said) == first
    assert Resources.of(reversed(said)) == first
    assert Resources.sum(Resources.of([message]) for message in said) == first


@given(resources())
def test_every_kind_is_in_exactly_one_half_of_each_division(value: Resources) -> None:
    assert value.reserved() + value.unreserved() == value
    assert value.revocable() + value.nonrevocable() == value
    assert value.shared() + value.nonshared() == value
    assert Resources.sum(value.reserved_by_role().values()) == value.reserved()
    assert Resources.sum(value.named(name) for name in value.names()) == value
    assert Resources.sum(value.allocations().values()) == value.filter(lambda kind: kind.allocation_role is not None)


@given(resources())
def test_allocation_is_put_on_and_taken_off(value: Resources) -> None:
    plain = value.unallocated()
    assert plain.allocated_to("ads").unallocated() == plain
    assert plain.allocated_to("ads").allocations() == ({"ads": plain.allocated_to("ads")} if plain else {})
    assert plain.allocated_to("ads").reserved() == plain.reserved().allocated_to("ads")


@given(resources(), resources())
def test_what_is_found_is_there_and_is_as_much_as_was_asked_for(value: Resources, targets: Resources) -> None:
    found = value.find(targets)
    if found is not None:
        assert value.contains(found)
        assert found.to_unreserved() == targets.to_unreserved()
    assert value.find(value) == value


@given(resources())
def test_quantities_count_what_is_there_whatever_its_kind(value: Resources) -> None:
    quantities = value.quantities()
    assert quantities.names() <= value.names()
    assert {name: value.thousandths_of(name) for name in quantities.names()} == dict(quantities.items())
    assert quantities == sum((value.named(name).quantities() for name in value.names()), Quantities.EMPTY)
    assert quantities + quantities - quantities == quantities
    assert (quantities + quantities).contains(quantities)


@given(resources())
def test_the_text_of_plain_resources_reads_back(value: Resources) -> None:
    plain = value.filter(lambda kind: not (kind.disk or kind.reservations or kind.revocable or kind.provider_id))
    assert parse(str(plain.unallocated())) == plain.unallocated()


@given(st.lists(st.integers(0, 10**7), max_size=30))
def test_thousandths_never_drift(thousandths: list[int]) -> None:
    total = Resources.sum(Resources.of([scalar("cpus", amount)]) for amount in thousandths)
    assert total.thousandths_of("cpus") == sum(thousandths)
    for amount in thousandths:
        total -= Resources.of([scalar("cpus", amount)])
    assert total == Resources.EMPTY
