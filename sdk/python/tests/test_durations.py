"""Lengths of time as Mesos writes them."""

from __future__ import annotations

import pytest

from mezzo.durations import parse, text_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("15secs", 15.0), ("1.5hrs", 5400.0), ("1weeks", 604800.0), (" 2mins ", 120.0), ("7", 7.0)],
)
def test_text_is_read_as_seconds_and_written_back(text: str, seconds: float) -> None:
    assert parse(text) == seconds
    assert parse(text_of(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1secs", "1 fortnight", "1secs2", "1e3", "nan"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse(text)


def test_a_whole_number_of_the_largest_unit_is_written() -> None:
    assert [text_of(seconds) for seconds in (90.0, 120.0, 0.5, 0.0, 86400.0)] == [
        "90secs",
        "2mins",
        "500ms",
        "0ns",
        "1days",
    ]
