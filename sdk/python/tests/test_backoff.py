"""The delays between attempts."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzo.backoff import Backoff

SECONDS = st.floats(0.001, 3600)


def test_delays_double_up_to_the_limit() -> None:
    assert list(islice(Backoff(0.1, 1.0, jitter=0), 6)) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1, 1])


def test_after_a_success_delays_are_short_again() -> None:
    backoff = Backoff(0.1, 1.0, jitter=0)
    first, second = next(backoff), next(backoff)
    assert (second > first, backoff.attempts) == (True, 2)
    backoff.reset()
    assert (next(backoff), backoff.attempts) == (first, 1)


@given(SECONDS, SECONDS, st.floats(0, 0.99), st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50))
def test_no_delay_is_longer_than_allowed_nor_shortened_by_more_than_the_jitter(
    seconds_min: float, seconds_max: float, jitter: float, chances: list[float]
) -> None:
    numbers = iter(chances)
    backoff = Backoff(seconds_min, seconds_max, jitter=jitter, chance=lambda: next(numbers))
    for _ in chances:
        longest = backoff.longest
        assert min(seconds_min, seconds_max) <= longest <= seconds_max
        assert longest * (1 - jitter) * 0.999 <= next(backoff) <= longest


def test_a_million_failures_later_the_limit_is_the_limit() -> None:
    backoff = Backoff(0.05, 5, jitter=0)
    backoff.attempts = 1_000_000
    assert next(backoff) == 5


def test_who_failed_together_does_not_come_back_together() -> None:
    assert len({next(Backoff(1, 5)) for _ in range(20)}) > 1


@pytest.mark.parametrize("limits", [(0, 1, 0.5), (1, 0, 0.5), (-1, 1, 0.5), (1, 1, 1), (1, 1, -0.1)])
def test_limits_under_which_nobody_would_wait_are_refused(limits: tuple[float, float, float]) -> None:
    seconds_min, seconds_max, jitter = limits
    with pytest.raises(ValueError, match="no backoff from"):
        Backoff(seconds_min, seconds_max, jitter=jitter)
