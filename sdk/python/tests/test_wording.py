"""Numbers and lengths of time in words."""

from __future__ import annotations

import math

import pytest

from mezzo.operator import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [(1024, "1024"), (0.25, "0.25"), (0, "0"), (0.00005, "0.00005"), (1.0004, "1"), (math.nan, "an unknown amount")],
)
def test_numbers_are_told_without_exponents(value: float, text: str) -> None:
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (0.42, "0.4 s"), (1, "1 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 days")],
)
def test_durations_are_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text
