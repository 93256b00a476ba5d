"""How answers are shown: as a table for people, wide for the curious, as JSON for programs.

What is shown comes from other people: a task may be called `[red]x` or `:smile:`, or have a control sequence of a
terminal in its name. So nothing here is ever read as rich's markup; what has a colour is a `Text` with a style.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
PIPE_COLUMNS = 1000


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"


Output = Annotated[
    Format, typer.Option("-o", "--output", help="Output format; json is for programs.", show_default=True)
]


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Where people read. What is printed there is shown as it is, and folded by the terminal alone."""
    return Console(stderr=stderr, width=width, soft_wrap=True, highlight=False, markup=False, emoji=False)


def show(rows: Sequence[Mapping[str, str | Text]], columns: Iterable[str], output: Format, source: Any) -> None:
    """Print rows as a table of the columns; for JSON, `source` instead: a list with an object for each row."""
    if output is Format.JSON:
        show_json(source)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    names = list(columns)
    for name in names:
        table.add_column(name.upper(), overflow="fold", no_wrap=output is Format.WIDE)
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in names))
    if sys.stdout.isatty() and output is Format.TABLE:
        Console(highlight=False, markup=False, emoji=False).print(table)
    else:
        # A pipe has no width of its own: lines are never folded there.
        console(width=PIPE_COLUMNS).print(table)


def _cell(value: str | Text) -> Text:
    return value if isinstance(value, Text) else Text(visible(value))


def visible(text: str) -> str:
    """The text with what is not printable written out: no name moves the cursor, or begins a line of its own."""
    return text if text.isprintable() else "".join(one if one.isprintable() else _written_out(one) for one in text)


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def show_json(answer: Any) -> None:
    sys.stdout.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())


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
