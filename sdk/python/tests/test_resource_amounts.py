"""Scalars, ranges and sets by example; `test_resource_algebra.py` has what holds of any of them."""

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import ResourceError, Resources, parse, validate


def ports(text: str) -> Resources:
    return parse(f"ports:[{text}]")


def disks(text: str) -> Resources:
    return parse(f"disks:{{{text}}}")


# -- scalars -----------------------------------------------------------------------------------------------------------


def test_nothing_is_empty_and_is_not_something() -> None:
    assert not Resources.EMPTY
    assert len(Resources.EMPTY) == 0
    assert parse("") == Resources.of([]) == Resources.EMPTY
    assert parse("cpus:2") != Resources.EMPTY


def test_equal_amounts_are_equal_whatever_their_order() -> None:
    assert parse("cpus:3;mem:3072") == parse("mem:3072;cpus:3")
    assert parse("cpus:3;mem:3072") != parse("cpus:3;mem:3071")
    assert parse("cpus(a):3") != parse("cpus(b):3")


def test_more_contains_less_of_the_same_and_nothing_else() -> None:
    assert parse("cpus:1;mem:4096").contains(parse("cpus:1;mem:3072"))
    assert not parse("cpus:1;mem:3072").contains(parse("cpus:1;mem:4096"))
    assert not parse("cpus:1").contains(parse("cpus:1;mem:1"))
    assert parse("cpus(a):3").contains(parse("cpus(a):1"))
    assert not parse("cpus(a):3").contains(parse("cpus(b):1"))


def test_scalars_add_up_by_role() -> None:
    assert parse("cpus:1;mem:5") + parse("cpus:2;mem:10") == parse("cpus:3;mem:15")
    total = parse("cpus(a):1;cpus(b):3") + parse("cpus(a):5")
    assert total == parse("cpus(a):6;cpus(b):3")
    assert len(total) == 2
    assert total.cpus == 9


def test_scalars_are_taken_away_by_role() -> None:
    assert parse("cpus:50;mem:4096") - parse("cpus:0.5;mem:1024") == parse("cpus:49.5;mem:3072")
    assert parse("cpus(a):5;cpus(b):3") - parse("cpus(a):1") == parse("cpus(a):4;cpus(b):3")
    assert not parse("cpus:50;mem:4096") - parse("cpus:50;mem:4096")


def test_a_scalar_is_known_by_its_unit_and_may_be_absent() -> None:
    value = parse("cpus:45.55;disk:512;ports:[10-20, 30-50]")
    assert (value.cpus, value.disk, value.mem, value.gpus) == (45.55, 512, None, None)
    assert value.ports == ((10, 20), (30, 50))
    assert parse("cpus:1").ports == ()


def test_what_there_is_none_of_is_absent() -> None:
    assert parse("cpus:1;gpus:0") == parse("cpus:1")
    assert parse("cpus:1;gpus:0").names() == {"cpus"}
    assert parse("cpus:0;mem:1") == parse("cpus:0.00001;mem:1")


def test_names_and_types_are_told() -> None:
    value = parse("cpus(a):2;cpus:4;ports:[1-10];ports:[11-20];disks:{sda}")
    assert value.names() == {"cpus", "ports", "disks"}
    assert {kind.name: kind.value_type for kind in value} == {
        "cpus": mesos.Value.SCALAR,
        "ports": mesos.Value.RANGES,
        "disks": mesos.Value.SET,
    }
    assert value.named("cpus") == parse("cpus(a):2;cpus:4")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("1.234", "1.234"),
        ("1.2345", "1.235"),
        ("1.2344", "1.234"),
        ("1.5015", "1.502"),
        ("1.1", "1.1"),
        ("1000001", "1000001"),
        ("99999999999.9994", "99999999999.999"),
    ],
)
def test_a_scalar_is_kept_and_written_to_three_decimals(given: str, kept: str) -> None:
    value = parse(f"cpus:{given}")
    assert str(value) == f"cpus:{kept}"
    assert value.cpus == float(kept)
    assert value + value + value - value - value == value


def test_a_hundred_thousand_operations_lose_nothing() -> None:
    step = parse("cpus:1.001")
    value = step
    for _ in range(100_000):
        value += step
    assert value.cpus == 100_101.1 - 0.099
    for _ in range(100_000):
        value -= step
    assert value == step


# -- ranges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("4-6, 6-8", "4-8"),
        ("6-8, 4-6", "4-8"),
        ("1-11, 8-10", "1-11"),
        ("1-4, 4-5, 7-8, 8-10", "1-5, 7-10"),
        ("7-8, 1-4, 8-10, 4-5", "1-5, 7-10"),
        ("4-6, 7-7, 9-10, 9-11", "4-7, 9-11"),
        ("20-30, 31-39, 40-40", "20-40"),
        ("6-8, 6-8, 4-6, 6-8", "4-8"),
        ("1-1, 3-5, 7-8", "1-1, 3-5, 7-8"),
    ],
)
def test_ranges_that_overlap_or_touch_are_one(said: str, meant: str) -> None:
    assert ports(said) == ports(meant)
    assert str(ports(said)) == f"ports:[{meant}]"


@pytest.mark.parametrize(
    ("pairs", "complaint"),
    [
        ([(1, 5), (3, 8)], r"r\[0\].ranges.range\[1\]: overlaps range\[0\]"),
        ([(3, 8), (1, 5)], r"r\[0\].ranges.range\[1\]: overlaps range\[0\]"),
        ([(20, 30), (1, 1), (2, 9), (25, 26)], r"r\[0\].ranges.range\[3\]: overlaps range\[0\]"),
        ([(4, 4), (4, 4)], r"r\[0\].ranges.range\[1\]: overlaps range\[0\]"),
    ],
)
def test_a_message_with_ranges_that_overlap_is_refused(pairs: list[tuple[int, int]], complaint: str) -> None:
    message = mesos.Resource(name="ports", type=mesos.Value.RANGES)
    for begin, end in pairs:
        message.ranges.range.add(begin=begin, end=end)
    with pytest.raises(ResourceError, match=complaint):
        validate([message], "r")


def test_a_message_with_ranges_that_touch_and_messages_that_overlap_are_good() -> None:
    first = mesos.Resource(name="ports", type=mesos.Value.RANGES)
    first.ranges.range.add(begin=6, end=8)
    first.ranges.range.add(begin=1, end=5)
    validate([first, first])
    assert str(Resources.of([first, first])) == "ports:[1-8]"


def steps(operation: Callable[[], object]) -> int:
    """How many lines of Python an operation takes, once everything that it remembers is remembered."""
    operation()
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        operation()
    finally:
        sys.settrace(before)
    return count


def every_other_port(count: int) -> list[mesos.Resource]:
    """So many messages of one port each, of which no two touch."""
    messages = []
    for number in range(count):
        message = mesos.Resource(name="ports", type=mesos.Value.RANGES)
        message.ranges.range.add(begin=2 * number, end=2 * number)
        messages.append(message)
    return messages


def test_work_on_many_pieces_of_one_resource_grows_as_their_number() -> None:
    few, many = every_other_port(200), every_other_port(1600)
    assert steps(lambda: Resources.of(many)) < 10 * steps(lambda: Resources.of(few))
    assert steps(lambda: validate(many)) < 10 * steps(lambda: validate(few))
    parts = {len(messages): [Resources.of([one]) for one in messages] for messages in (few, many)}
    assert steps(lambda: Resources.sum(parts[1600])) < 10 * steps(lambda: Resources.sum(parts[200]))


def test_a_tasks_ports_are_not_held_against_all_of_an_agents() -> None:
    small, large = Resources.of(every_other_port(200)), Resources.of(every_other_port(1600))
    port = ports("398-398")
    for operation in (Resources.__add__, Resources.__sub__, Resources.contains):
        apart = [steps(partial(operation, held, port)) for held in (small, large)]
        assert apart[0] == apart[1], operation


@pytest.mark.parametrize(
    ("whole", "part", "contained"),
    [
        ("1-10", "2-2, 4-5", True),
        ("1-10", "2-3", True),
        ("1-2, 4-6", "2-2, 4-5", True),
        ("1-4, 5-5", "2-2, 4-5", True),
        ("2-3", "2-2, 4-5", False),
        ("2-2, 4-5", "2-3", False),
        ("2-2, 4-5", "1-10", False),
    ],
)
def test_ranges_contain_their_numbers(whole: str, part: str, contained: bool) -> None:
    assert ports(whole).contains(ports(part)) is contained


@pytest.mark.parametrize(
    ("left", "right", "total"),
    [
        ("20000-40000", "30000-50000, 10000-20000", "10000-50000"),
        ("1-10, 5-30, 50-60", "1-65, 70-80", "1-65, 70-80"),
        ("1-2", "3-4", "1-4"),
        ("7-8", "5-6", "5-8"),
        ("3-8", "4-10", "3-10"),
        ("2-3", "1-4", "1-4"),
        ("3-5, 7-8", "6-6", "3-8"),
        ("1-4, 8-10", "4-8", "1-10"),
        ("1-10", "20-21", "1-10, 20-21"),
        ("1-4, 9-10, 20-22, 26-30", "5-8, 23-25", "1-10, 20-30"),
    ],
)
def test_ranges_are_united(left: str, right: str, total: str) -> None:
    assert ports(left) + ports(right) == ports(right) + ports(left) == ports(total)


@pytest.mark.parametrize(
    ("held", "taken", "rest"),
    [
        ("20000-40000", "10000-20000, 30000-50000", "20001-29999"),
        ("50000-60000", "50000-50001", "50002-60000"),
        ("50000-60000", "50000-50000", "50001-60000"),
        ("50000-60000", "50000-60000", ""),
        ("1-10, 20-30, 40-50", "2-9, 15-45, 48-50", "1-1, 10-10, 46-47"),
        ("1-10", "11-20", "1-10"),
        ("3-8", "1-10", ""),
        ("3-8", "3-5", "6-8"),
        ("3-8", "5-8", "3-4"),
        ("3-8", "5-6", "3-4, 7-8"),
        ("3-8", "1-3", "4-8"),
        ("3-8", "1-2", "3-8"),
    ],
)
def test_what_is_there_of_some_ranges_is_taken_away(held: str, taken: str, rest: str) -> None:
    assert ports(held).minus_what_is_there(ports(taken)) == (ports(rest) if rest else Resources.EMPTY)


# -- sets --------------------------------------------------------------------------------------------------------------


def test_sets_are_united_divided_and_compared_by_their_items() -> None:
    assert disks("sda1,sda2") == disks("sda2,sda1")
    assert disks("sda1,sda3,sda4,sda2").contains(disks("sda1,sda2"))
    assert not disks("sda1,sda2").contains(disks("sda1,sda3"))
    assert disks("sda1,sda2,sda3") + disks("sda3,sda4") == disks("sda1,sda2,sda3,sda4")
    assert disks("sda1,sda2,sda3") - disks("sda2,sda3") == disks("sda1")
    assert disks("sda4").minus_what_is_there(disks("sda1")) == disks("sda4")


def test_an_error_shows_the_first_of_many_amounts() -> None:
    odd = Resources({kind: tuple((port, port) for port in range(1, 60_000, 2)) for kind in parse("ports:[1-2]")})
    names = parse(";".join(f"r{number}:1" for number in range(1_000)))
    for held in (odd, names, parse("disks:{" + ",".join(map(str, range(1_000))) + "}")):
        assert held.pieces() >= 1_000
        assert len(held.brief()) < 1_000
        assert held.brief().endswith(f"({held.pieces() - 20} more)")
        with pytest.raises(ResourceError) as raised:
            held - parse("cpus:1")
        assert str(raised.value) == f"{held.brief()} does not contain cpus:1"
    few = parse("cpus:1.5;ports:[1-2, 4-5]")
    assert few.brief() == str(few)
