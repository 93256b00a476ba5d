"""The clock of the cores."""

import time

import pytest

from mezzo_chassis.clock import steady_clock


def test_a_clock_that_is_set_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, monotonic = [1_000.0], [7.0]
    monkeypatch.setattr(time, "time", lambda: wall[0])
    monkeypatch.setattr(time, "monotonic", lambda: monotonic[0])
    now = steady_clock()
    assert now() == 1_000.0
    monotonic[0] += 5.0
    wall[0] -= 3_600.0
    assert now() == 1_005.0
