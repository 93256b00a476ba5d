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


@pytest.mark.parametrize(
    "text", ["15251weeks", "9223372037secs", "9" * 400 + "ns", "9" * 400], ids=["weeks", "secs", "endless", "plain"]
)
def test_what_no_message_can_hold_is_too_long(text: str) -> None:
    with pytest.raises(ValueError, match="is too long") as refused:
        parse(text)
    assert len(str(refused.value)) < 200


def test_the_longest_duration_fits_into_a_message() -> None:
    assert round(parse("9223372036secs") * 1e9) < 2**63


def test_a_whole_number_of_the_largest_unit_is_written() -> None:
    assert [text_of(seconds) for seconds in (90.0, 120.0, 0.5, 0.0, 86400.0)] == [
        "90secs",
        "2mins",
        "500ms",
        "0ns",
        "1days",
    ]
