"""Lengths of time as they are typed: `90s`, `5m`, `2h`, or as Mesos writes them, `90secs`."""

from __future__ import annotations

import re

import typer

from mezzo import durations

_SHORT = {"s": "secs", "m": "mins", "h": "hrs", "d": "days", "w": "weeks"}
_PERIOD = re.compile(r"(\d+(?:\.\d+)?)([a-z]*)")


def seconds(text: str, option: str) -> float:
    """The seconds in it. Raises `typer.BadParameter` for one without a unit, and for one that is none."""
    found = _PERIOD.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a length of time such as 90s, 5m or 2h", param_hint=option)
    number, unit = found[1], found[2]
    if not unit:
        raise typer.BadParameter(f"{text!r} has no unit: {number}s, for example", param_hint=option)
    if unit not in _SHORT and unit not in durations.UNITS_SECONDS:
        known = ", ".join((*_SHORT, *durations.UNITS_SECONDS))
        raise typer.BadParameter(f"{text!r}: {unit} is not a unit of time; must be one of {known}", param_hint=option)
    try:
        return durations.parse(number + _SHORT.get(unit, unit))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
