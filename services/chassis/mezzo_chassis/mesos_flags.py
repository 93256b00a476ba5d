"""Flags and variables of Mesos that are given to a service: all are told at once, with what they are here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mezzo.migration.flags import TABLES, Entry, Fate, Program, entry_of
from mezzo_chassis.log import get_logger

VARIABLE_PREFIX = "MESOS_"
OF_A_TASK = "MESOS_FRAMEWORK_ID"
"""Mesos' agents, and ours, set it for tasks and executors, with others that are called like flags and are none."""

log = get_logger(__name__)


def explain_flags(service: str, names: Iterable[str]) -> dict[str, str]:
    """What the flags are, of those that Mesos' master or agent has and this service does not."""
    entries = {name: entry_of(_program(service), name) for name in names}
    return {name: _said(entry, service) for name, entry in entries.items() if entry.fate is not Fate.UNKNOWN}


def warn_of_variables(service: str, environment: Mapping[str, str]) -> None:
    """Log which variables of the environment are flags of Mesos': none of them is read."""
    if OF_A_TASK in environment:
        return
    table = TABLES[_program(service)]
    found = {}
    for variable in sorted(environment):
        name = variable.removeprefix(VARIABLE_PREFIX).lower()
        entry = table.get(name) or table.get(name.removeprefix("no_"))
        if variable.startswith(VARIABLE_PREFIX) and entry is not None:
            found[variable] = _as_variable(entry)
    if found:
        log.warning("variables of Mesos are not read; see mezzo migrate flags", variables=found)


def _program(service: str) -> Program:
    return Program.AGENT if service == "agent" else Program.MASTER


def _said(entry: Entry, service: str) -> str:
    elsewhere = [f"--{flag} of the {other}" for other, flag in entry.targets if other != service]
    here = [f"--{flag}" for other, flag in entry.targets if other == service]
    return f"here {' and '.join(here or elsewhere)}" if entry.targets else _reason(entry)


def _as_variable(entry: Entry) -> str:
    variables = [f"MEZZO_{service}_{flag}".upper() for service, flag in entry.targets]
    return f"here {' and '.join(variables)}" if variables else _reason(entry)


def _reason(entry: Entry) -> str:
    return entry.note if entry.fate is Fate.NOT_YET else f"{entry.fate}: {entry.note}"
