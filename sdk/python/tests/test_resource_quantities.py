"""Amounts and bounds by name alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Limits, Quantities, ResourceError, Resources, parse, parse_limits, parse_quantities

NAMES = ("cpus", "mem", "disk")
amounts = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 5000))
quantities = amounts.map(Quantities)
limits = amounts.map(Limits)


def test_quantities_know_names_alone() -> None:
    found = parse("cpus:1;cpus(ads):2;ports:[1-10];disks:{a,b}").quantities()
    assert found == Quantities.of({"cpus": 3, "ports": 10, "disks": 2})
    assert found.contains(parse_quantities("cpus:2.5"))
    assert not found.contains(parse_quantities("gpus:0.001"))
    assert found - parse_quantities("cpus:10") == Quantities.of({"ports": 10, "disks": 2})
    assert str(parse_quantities("mem:32;cpus:0.01")) == "cpus:0.01; mem:32"


def test_quantities_of_scalars_leave_out_all_that_a_resource_says_of_itself() -> None:
    (plain,) = parse("cpus:1").messages()
    provided = mesos.Resource.FromString(plain.SerializeToString())
    provided.provider_id.value = "provider"
    revocable = mesos.Resource.FromString(plain.SerializeToString())
    revocable.revocable.SetInParent()
    value = Resources.of([plain, provided, revocable]) + parse("cpus:1").allocated_to("ads") + parse("cpus(ads):1")
    assert len(value) == 5
    assert value.quantities() == parse_quantities("cpus:5")
    assert not parse("ports:[1-2];names:{foo}").scalars().quantities()


def test_what_is_named_twice_adds_up_and_nothing_is_not_kept() -> None:
    assert parse_quantities("ports:3;cpus:1;cpus:10.5") == Quantities.of({"ports": 3, "cpus": 11.5})
    assert parse_quantities(" cpus : 3.14 ; disk : 10 ") == Quantities.of({"cpus": 3.14, "disk": 10})
    assert not parse_quantities("cpus:0")


@pytest.mark.parametrize(
    "text",
    [
        *("cpus", ":1", "cpus:a10", "cpus:3.14c", "ports:3,cpus:1", "ports:[1-2]"),
        *("cpus:-1", "cpus:1e99", "cpus:nan", "cpus:-nan", "cpus:inf", "cpus:-inf", "cpus:infinity", "cpus:-infinity"),
    ],
)
def test_quantities_and_limits_are_scalars(text: str) -> None:
    for read in (parse_quantities, parse_limits):
        with pytest.raises(ResourceError):
            read(text)


@given(quantities, quantities)
def test_quantities_add_up_name_by_name(a: Quantities, b: Quantities) -> None:
    assert a + b == b + a == Quantities({name: a.get(name) + b.get(name) for name in NAMES})
    assert hash(a + b) == hash(b + a)
    assert (a + b).contains(a)
    assert a.contains(b) == all(a.get(name) >= b.get(name) for name in NAMES)


@given(quantities, quantities)
def test_less_than_nothing_is_nothing(a: Quantities, b: Quantities) -> None:
    assert a - b == Quantities({name: max(0, a.get(name) - b.get(name)) for name in NAMES})
    assert not a - a


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_limit_of_nothing_is_kept() -> None:
    assert parse_limits("cpus:0").get("cpus") == 0
    assert parse_limits(" cpus : 3.14 ; disk : 10 ") == Limits.of({"cpus": 3.14, "disk": 10})
    assert parse_limits("mem:1;cpus:0") != parse_limits("mem:1")
    assert str(parse_limits("mem:1;cpus:0")) == "cpus:0; mem:1"
    assert not Limits.NONE
    assert Limits.NONE.get("cpus") is None


def test_a_limit_is_set_once() -> None:
    with pytest.raises(ResourceError, match="cpus: has two limits"):
        parse_limits("cpus:1;cpus:2")


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [("", "cpus:1"), ("cpus:1;mem:1", "cpus:1;mem:1;disk:1"), ("cpus:2;mem:2", "cpus:2;mem:1")],
)
def test_wider_limits_contain_narrower_ones(wide: str, narrow: str) -> None:
    assert parse_limits(wide).contains(parse_limits(narrow))
    assert not parse_limits(narrow).contains(parse_limits(wide))
    assert parse_limits(wide).contains(parse_limits(wide))


def test_limits_of_different_names_contain_each_other_neither_way() -> None:
    for left, right in (("cpus:1;mem:1", "cpus:1;disk:1"), ("cpus:1;mem:1", "gpus:1;disk:1")):
        assert not parse_limits(left).contains(parse_limits(right))
        assert not parse_limits(right).contains(parse_limits(left))


@pytest.mark.parametrize(
    ("bounds", "used", "admitted"),
    [
        ("", "", True),
        ("", "cpus:1", True),
        ("cpus:1", "", True),
        ("cpus:1", "cpus:1", True),
        ("cpus:1", "cpus:1.001", False),
        ("cpus:0", "cpus:0.001", False),
        ("cpus:1", "mem:1", True),
        ("cpus:1", "cpus:1;mem:1", True),
        ("cpus:1;mem:1", "cpus:1;mem:2", False),
    ],
)
def test_limits_admit_as_much_as_they_say_and_no_more(bounds: str, used: str, admitted: bool) -> None:
    assert parse_limits(bounds).admit(parse_quantities(used)) is admitted


@given(limits, limits, quantities)
def test_what_narrower_limits_admit_wider_ones_admit(wide: Limits, narrow: Limits, used: Quantities) -> None:
    bounded = dict(wide.items())
    assert wide.admit(used) == all(used.get(name) <= limit for name, limit in bounded.items())
    if wide.contains(narrow) and narrow.admit(used):
        assert wide.admit(used)
    assert Limits.NONE.contains(wide)
    assert Limits.NONE.admit(used)


@given(limits, quantities, quantities)
def test_room_that_is_left_admits_what_still_fits(bounds: Limits, used: Quantities, more: Quantities) -> None:
    left = bounds - used
    assert {name for name, _ in left.items()} == {name for name, _ in bounds.items()}
    if bounds.admit(used):
        assert left.admit(more) == bounds.admit(used + more)
    else:
        assert min(limit for _, limit in left.items()) == 0


# -- cutting -----------------------------------------------------------------------------------------------------------


def mount(size: float) -> Resources:
    (message,) = parse(f"disk:{size}").messages()
    message.disk.source.type = mesos.Resource.DiskInfo.Source.MOUNT
    message.disk.source.mount.root = "/mnt/1"
    return Resources.of([message])


def test_scalars_are_cut_and_what_is_not_named_is_kept_or_dropped() -> None:
    value = parse("cpus:2;cpus(ads):4;mem:512;ports:[1-10]")
    assert value.within(parse_limits("cpus:3")) == parse("cpus:2;cpus(ads):1;mem:512;ports:[1-10]")
    assert value.at_most(parse_quantities("cpus:3")) == parse("cpus:2;cpus(ads):1")
    assert value.at_most(Quantities.EMPTY) == Resources.EMPTY
    assert value.within(Limits.NONE) == value
    assert value.within(parse_limits("cpus:0;mem:0;ports:0")) == Resources.EMPTY


def test_what_cannot_be_cut_is_kept_whole_or_not_at_all() -> None:
    both = mount(50) + parse("disk:100")
    assert mount(50).within(parse_limits("disk:49")) == Resources.EMPTY
    assert mount(50).at_most(parse_quantities("disk:50")) == mount(50)
    assert both.within(parse_limits("disk:60")) == mount(50) + parse("disk:10")
    assert parse("ports:[1-10]").within(parse_limits("ports:9")) == Resources.EMPTY
    assert parse("ports:[1-10]").within(parse_limits("ports:10")) == parse("ports:[1-10]")


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["", "(ads)"]), st.integers(0, 3000)), max_size=6),
    limits,
    quantities,
)
def test_what_is_cut_is_as_much_as_there_is_room_for(
    parts: list[tuple[str, str, int]], bounds: Limits, wanted: Quantities
) -> None:
    value = parse(";".join(f"{name}{role}:{amount / 1000}" for name, role, amount in parts))
    kept, cut = value.within(bounds), value.at_most(wanted)
    assert value.contains(kept)
    assert value.contains(cut)
    for name in NAMES:
        limit = bounds.get(name)
        assert kept.thousandths_of(name) == (
            value.thousandths_of(name) if limit is None else min(limit, value.thousandths_of(name))
        )
        assert cut.thousandths_of(name) == min(wanted.get(name), value.thousandths_of(name))
