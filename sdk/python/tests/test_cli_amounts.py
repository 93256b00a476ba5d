"""Weights and quotas that make no sense are refused before anything is sent: nobody listens where these would go."""

from __future__ import annotations

import pytest
from typer import BadParameter
from typer.testing import CliRunner

from mezzo.cli.app import app
from mezzo.cli.roles import amounts_of, weight_of

USAGE = 2


def refused(*words: str) -> str:
    """The refusal, as one line: it stands in a box, and is folded there."""
    result = CliRunner().invoke(app, ["--api", "127.0.0.1:1", *words], env={"TERM": "dumb", "COLUMNS": "200"})
    assert (result.exit_code, result.stdout) == (USAGE, "")
    return result.stderr


@pytest.mark.parametrize("weight", ["nan", "inf", "-inf", "-1", "0", "1e99", "1e-7", "1000001", "heavy", ""])
def test_a_weight_out_of_bounds_is_refused_with_the_bounds(weight: str) -> None:
    told = refused("weights", "set", "ads", weight)
    assert f"{weight!r} is not a number from 0.000001 to 1000000" in told


@pytest.mark.parametrize(("text", "weight"), [("2", 2.0), ("0.000001", 1e-6), ("1e6", 1e6), (" 2.5 ", 2.5)])
def test_a_weight_in_bounds_is_taken(text: str, weight: float) -> None:
    assert weight_of(text) == weight


@pytest.mark.parametrize("option", ["--guarantee", "--limit"])
@pytest.mark.parametrize(
    ("amounts", "said"),
    [
        ("cpus:x", "cpus: 'x' is not a number from 0 to 1000000000000"),
        ("cpus:-1", "cpus: '-1' is not a number from 0 to 1000000000000"),
        ("mem:1,cpus:nan", "cpus: 'nan' is not a number from 0"),
        ("cpus:inf", "cpus: 'inf' is not a number from 0"),
        ("cpus:1e13", "cpus: '1e13' is not a number from 0 to 1000000000000"),
        ("cpus:", "cpus: '' is not a number"),
        ("cpus", "'cpus' is not an amount; expected amounts like cpus:4,mem:1024"),
        (":4", "':4' is not an amount"),
        ("cpus:1,", "'' is not an amount"),
        ("cpus:1,cpus=2", "cpus is given twice"),
    ],
)
def test_an_amount_that_is_none_is_refused_by_its_name(option: str, amounts: str, said: str) -> None:
    assert said in refused("quota", "set", "ads", f"{option}={amounts}")


def test_amounts_are_written_as_people_and_flags_write_them() -> None:
    assert amounts_of("cpus:4, mem=1024;disk : 0.5") == {"cpus": 4.0, "mem": 1024.0, "disk": 0.5}
    assert amounts_of("") == {}
    with pytest.raises(BadParameter):
        amounts_of(",")
