"""Sums of resources that can be taken apart again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesos.v1.mesos_pb2 import Resource, Value
from mezzo import jsonv0
from mezzo_gateway.state.resource_counter import Portions, ResourceCounter, by_reservation, model
from mezzo_gateway.testing.changes import ports, scalar


@st.composite
def resource_lists(draw: st.DrawFn) -> list[Resource]:
    made = []
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            role = draw(st.sampled_from([None, "ads"]))
            amount = draw(st.integers(1, 5000)) / 1000
            made.append(scalar(draw(st.sampled_from(["cpus", "mem", "x"])), amount, reserved_to=role))
        else:
            begin = draw(st.integers(1, 50))
            made.append(ports(begin, begin + draw(st.integers(0, 9))))
    return made


@given(st.lists(resource_lists(), max_size=8), st.randoms(use_true_random=False))
def test_what_was_added_can_be_removed_in_any_order_and_leaves_nothing(
    lists: list[list[Resource]], order: object
) -> None:
    portions, counter = Portions(), ResourceCounter()
    kept = ResourceCounter()
    holdings = [portions.split(resources) for resources in lists]
    for index, holding in enumerate(holdings):
        counter.add(holding)
        if index % 2:
            kept.add(holding)
    gone = [holding for index, holding in enumerate(holdings) if not index % 2]
    order.shuffle(gone)  # type: ignore[attr-defined]
    for holding in gone:
        counter.remove(holding)
    assert counter.model() == kept.model()
    assert sorted(map(str, counter.messages())) == sorted(map(str, kept.messages()))
    for holding in holdings[1::2]:
        counter.remove(holding)
    assert not counter


@given(st.lists(resource_lists(), max_size=8))
def test_a_sum_is_shown_as_the_shared_model_shows_all_of_it(lists: list[list[Resource]]) -> None:
    portions, counter = Portions(), ResourceCounter()
    for resources in lists:
        counter.add(portions.split(resources))
    assert counter.model() == jsonv0.resources_of(resource for resources in lists for resource in resources)


def test_revocable_resources_are_shown_apart() -> None:
    revocable = scalar("cpus", 1.5)
    revocable.revocable.SetInParent()
    counter = ResourceCounter()
    counter.add(Portions().split([revocable, scalar("cpus", 2)]))
    assert counter.model() == {"cpus": 2.0, "cpus_revocable": 1.5, "mem": 0.0, "disk": 0.0, "gpus": 0.0}


def test_a_shared_volume_counts_once_however_many_use_it() -> None:
    volume = scalar("disk", 100)
    volume.shared.SetInParent()
    counter = ResourceCounter()
    holding = Portions().split([volume])
    counter.add(holding)
    counter.add(holding)
    assert counter.model()["disk"] == 100.0
    assert counter.messages()[0].scalar.value == 100.0


def test_resources_that_make_no_sense_are_shown_as_they_are_told() -> None:
    counter = ResourceCounter()
    holding = Portions().split([scalar("cpus", -1), scalar("mem", 64)])
    counter.add(holding)
    assert counter.model() == {"cpus": -1.0, "mem": 64.0, "disk": 0.0, "gpus": 0.0}
    counter.remove(holding)
    assert not counter


def test_sets_are_shown_in_braces() -> None:
    labels = Resource(name="labels", type=Value.SET)
    labels.set.item.extend(["b", "a"])
    counter = ResourceCounter()
    counter.add(Portions().split([labels]))
    assert model((counter, ResourceCounter()))["labels"] == "{a, b}"


def test_resources_are_told_apart_by_the_role_of_their_last_reservation() -> None:
    unreserved, reserved = by_reservation([scalar("cpus", 1), scalar("cpus", 2, reserved_to="ads")])
    assert [one.scalar.value for one in unreserved] == [1.0]
    assert {role: [one.scalar.value for one in held] for role, held in reserved.items()} == {"ads": [2.0]}


def test_unreserved_resources_are_shown_with_the_role_that_stands_for_nobody() -> None:
    counter = ResourceCounter()
    counter.add(Portions().split([scalar("cpus", 1)]))
    assert counter.messages()[0].role == "*"
