"""How answers are shown: as a table for people, wide for the curious, as JSON, YAML or names for programs.

What is shown comes from other people: a task may be called `[red]x` or `:smile:`, or have a control sequence of a
terminal in its name. So nothing here is ever read as rich's markup; what has a colour is a `Text` with a style.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text

from mezzo.cli.table import Row, Table, visible

__all__ = ["visible"]

STATE_COLOURS = {
    "TASK_RUNNING": "green",
    "TASK_FINISHED": "green",
    "TASK_STAGING": "cyan",
    "TASK_STARTING": "cyan",
    "TASK_KILLING": "yellow",
    "TASK_KILLED": "yellow",
    "TASK_UNREACHABLE": "yellow",
}

ACTIVE_STATES = frozenset({"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE"})
ENDED_STATES = frozenset(
    {
        *("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_GONE"),
        *("TASK_GONE_BY_OPERATOR", "TASK_UNKNOWN"),
    }
)
STATES = ACTIVE_STATES | ENDED_STATES
MINUTE, HOUR, DAY = 60, 3600, 86_400


class Format(StrEnum):
    """What `-o` of a list takes."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class DocumentFormat(StrEnum):
    """What `-o` of a verb takes that shows one thing."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[
    Format,
    typer.Option("-o", "--output", help="Output format: json and yaml are for programs, name prints ids alone."),
]
DocumentOutput = Annotated[
    DocumentFormat, typer.Option("-o", "--output", help="Output format; json and yaml are for programs.")
]


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Where people read. What is printed there is shown as it is, and folded by the terminal alone."""
    return Console(stderr=stderr, width=width, soft_wrap=True, highlight=False, markup=False, emoji=False)


def table_of(columns: Sequence[str], *, name: str = "", cut: bool) -> Table:
    """A table for standard output. A pipe has no width: nothing is cut there, and nothing if not `cut`."""
    return Table(columns, name=name, width=console().width if cut and sys.stdout.isatty() else None)


def show_table(
    rows: Sequence[Row], columns: Sequence[str], *, name: str = "", headers: bool = True, cut: bool = True
) -> None:
    """Print rows as a table of these columns."""
    screen = console()
    for line in table_of(columns, name=name, cut=cut).lines(rows, headers=headers):
        screen.print(line)


def show_document(answer: Any, output: Format | DocumentFormat) -> None:
    """Print an answer for programs: as YAML if that is the format, else as JSON."""
    if output == Format.YAML:
        sys.stdout.write(yaml_of(answer))
    else:
        show_json(answer)


def yaml_of(answer: Any) -> str:
    """The answer as a YAML document."""
    import yaml  # for this format alone

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(answer, Dumper=dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return text


def show_json(answer: Any) -> None:
    sys.stdout.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())


def is_for_programs(output: Format | DocumentFormat) -> bool:
    """Whether a program reads it, which is given all that the cluster says."""
    return output in (Format.JSON, Format.YAML)


def state(name: str) -> Text:
    """A task state in its colour, without the prefix that all share."""
    return Text(name.removeprefix("TASK_").lower(), STATE_COLOURS.get(name, "red"))


def amount(resources: Mapping[str, Any]) -> str:
    """The scalars of a resources summary that are not zero: `cpus 0.5, mem 64`."""
    scalars = ((name, resources.get(name, 0.0)) for name in ("cpus", "mem", "disk", "gpus"))
    return ", ".join(f"{name} {value:g}" for name, value in scalars if value) or "–"


def moment(seconds: float | None) -> str:
    """A point in time, given in seconds since the epoch, in local time."""
    if not seconds:
        return "–"
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age(since: float | None, now: float) -> str:
    """How long ago something was, both in seconds since the epoch: `45s`, `12m`, `3h`, `4d`."""
    if not since:
        return "–"
    seconds = max(0, int(now - since))
    if seconds < 2 * MINUTE:
        return f"{seconds}s"
    if seconds < 2 * HOUR:
        return f"{seconds // MINUTE}m"
    return f"{seconds // HOUR}h" if seconds < 2 * DAY else f"{seconds // DAY}d"
