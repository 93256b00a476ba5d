"""Messages leave at once while there are few, and at intervals while there are many."""

from __future__ import annotations

import pytest

from mezzo_chassis.pace import Pace


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(burst=3, per_second=10, pause_seconds=0.5, clock=clock)


def test_a_few_messages_leave_at_once_and_those_behind_them_wait(pace: Pace) -> None:
    assert [pace.pause() for _ in range(5)] == [0, 0, 0, 0.5, 0.5]


def test_messages_that_are_few_enough_never_wait(pace: Pace, clock: Clock) -> None:
    for _ in range(100):
        assert pace.pause() == 0
        clock.now += 0.125


def test_after_a_calm_a_few_leave_at_once_again_and_no_more_than_at_first(pace: Pace, clock: Clock) -> None:
    assert [pace.pause() for _ in range(4)][-1] == 0.5
    clock.now += 3600
    assert [pace.pause() for _ in range(4)] == [0, 0, 0, 0.5]


def test_while_there_is_much_to_say_there_are_as_many_messages_as_pauses_allow(pace: Pace, clock: Clock) -> None:
    messages = 0
    ends = clock.now + 100
    while clock.now < ends:
        clock.now += pace.pause() or 0.001
        messages += 1
    assert messages <= 3 + 100 * 10 + 100 / 0.5
