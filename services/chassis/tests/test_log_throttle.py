"""A failure that repeats is logged at once, and then more and more seldom."""

from __future__ import annotations

from itertools import pairwise

from mezzo_chassis.log_throttle import SECONDS_MAX, SECONDS_MIN, LogThrottle


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def logged_in(seconds: int, throttle: LogThrottle, clock: Clock, text: str = "") -> list[int]:
    """At which seconds the message was due."""
    began = clock.now
    due = []
    for second in range(seconds):
        clock.now = began + second
        if throttle.due(text):
            due.append(second)
    return due


def test_a_message_is_due_at_once_and_then_after_pauses_that_double() -> None:
    clock = Clock()
    throttle = LogThrottle(clock)
    assert logged_in(100, throttle, clock) == [0, 10, 30, 70]
    later = logged_in(3600, throttle, clock)
    pauses = [after - before for before, after in pairwise(later)]
    assert pauses[-1] == SECONDS_MAX
    assert pauses == sorted(pauses)


def test_another_message_is_due_at_once_and_so_is_the_same_after_a_reset() -> None:
    clock = Clock()
    throttle = LogThrottle(clock)
    assert logged_in(20, throttle, clock, "refused") == [0, 10]
    assert logged_in(20, throttle, clock, "no route") == [0, 10]
    throttle.reset()
    assert logged_in(20, throttle, clock, "no route") == [0, 10]


def test_it_knows_how_long_there_is_to_the_next_time() -> None:
    clock = Clock()
    throttle = LogThrottle(clock)
    assert throttle.seconds_left == 0
    assert throttle.due()
    assert throttle.seconds_left == SECONDS_MIN
