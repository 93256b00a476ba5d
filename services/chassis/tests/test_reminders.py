"""What goes on for long is told seldom."""

from __future__ import annotations

from itertools import pairwise

from mezzo_chassis.reminders import SECONDS_MAX, SECONDS_MIN, Reminder


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def told_in(seconds: int, reminder: Reminder, clock: Clock, text: str = "") -> list[int]:
    """At which seconds it was told."""
    began = clock.now
    told = []
    for second in range(seconds):
        clock.now = began + second
        if reminder.due(text):
            told.append(second)
    return told


def test_it_is_told_at_once_and_then_after_pauses_that_double() -> None:
    clock = Clock()
    reminder = Reminder(clock)
    assert told_in(100, reminder, clock) == [0, 10, 30, 70]
    later = told_in(3600, reminder, clock)
    pauses = [after - before for before, after in pairwise(later)]
    assert pauses[-1] == SECONDS_MAX
    assert pauses == sorted(pauses)


def test_another_matter_is_told_at_once_and_so_is_the_same_after_it_was_well() -> None:
    clock = Clock()
    reminder = Reminder(clock)
    assert told_in(20, reminder, clock, "refused") == [0, 10]
    assert told_in(20, reminder, clock, "no route") == [0, 10]
    reminder.over()
    assert told_in(20, reminder, clock, "no route") == [0, 10]


def test_it_says_how_long_there_is_to_the_next_time() -> None:
    clock = Clock()
    reminder = Reminder(clock)
    assert reminder.seconds_left == 0
    assert reminder.due()
    assert reminder.seconds_left == SECONDS_MIN
