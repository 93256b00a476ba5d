"""The pauses between an executor's attempts to subscribe."""

from hypothesis import given
from hypothesis import strategies as st

from mezzo.executor.backoff import STEP_SECONDS, Backoff

CHANCE = st.floats(0, 1)


def test_pauses_grow_by_a_step_until_half_of_what_the_agent_allows() -> None:
    backoff = Backoff(seconds_max=1.2, jitter=lambda: 1.0)
    assert [round(backoff.pause() / STEP_SECONDS, 6) for _ in range(5)] == [1, 2, 3, 3, 3]


def test_a_subscription_makes_the_next_pause_short_again() -> None:
    backoff = Backoff(seconds_max=2, jitter=lambda: 1.0)
    first = backoff.pause()
    assert backoff.pause() > first
    backoff.succeeded()
    assert backoff.pause() == first


@given(st.floats(0.001, 3600), st.lists(CHANCE, min_size=1, max_size=50))
def test_two_attempts_fit_into_what_the_agent_waits_and_none_is_made_at_once(
    seconds_max: float, chances: list[float]
) -> None:
    numbers = iter(chances)
    backoff = Backoff(seconds_max, jitter=lambda: next(numbers))
    assert all(0 < backoff.pause() <= seconds_max / 2 for _ in chances)


def test_executors_that_lost_their_agent_together_do_not_come_back_together() -> None:
    assert len({Backoff(2).pause() for _ in range(20)}) > 1
