"""The delays between an executor's attempts to subscribe."""

from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzo.executor import ExecutorEnvironment
from mezzo.executor.client import RETRY_SECONDS_MIN, backoff

ENVIRONMENT = ExecutorEnvironment.read(
    {"MESOS_FRAMEWORK_ID": "framework", "MESOS_EXECUTOR_ID": "executor", "MESOS_AGENT_ENDPOINT": "127.0.0.1:5051"}
)


def test_delays_grow_to_half_of_what_the_agent_allows() -> None:
    delays = backoff(replace(ENVIRONMENT, subscription_backoff_seconds_max=1.2), lambda: 0.0)
    assert [round(each / RETRY_SECONDS_MIN, 6) for each in islice(delays, 5)] == [1, 2, 3, 3, 3]


@given(st.floats(0, 3600), st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50))
def test_two_attempts_fit_into_what_the_agent_waits_and_none_is_made_at_once(
    seconds_max: float, chances: list[float]
) -> None:
    numbers = iter(chances)
    delays = backoff(replace(ENVIRONMENT, subscription_backoff_seconds_max=seconds_max), lambda: next(numbers))
    assert all(0 < next(delays) <= max(seconds_max / 2, 0.01) for _ in chances)


def test_an_agent_that_names_no_limit_is_asked_as_mesos_executors_ask() -> None:
    assert max(islice(backoff(ENVIRONMENT, lambda: 0.0), 10)) == pytest.approx(1.0)
