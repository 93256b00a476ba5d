"""How answers are shown: as a table for people, wide for the curious, as JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

STATE_COLOURS = {
    "TASK_RUNNING": "green",
    "TASK_FINISHED": "green",
    "TASK_STAGING": "cyan",
    "TASK_STARTING": "cyan",
    "TASK_KILLING": "yellow",
    "TASK_KILLED": "yellow",
    "TASK_UNREACHABLE": "yellow",
}


class Styled(str):
    """A cell with rich's markup in it. Every other is shown as it is: names may contain brackets."""

    __slots__ = ()


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"


Output = Annotated[Format, typer.Option("-o", "--output", help="How to show the answer.", show_default=True)]


def show(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], output: Format, source: Any) -> None:
    """Print rows as a table of the columns; for JSON, what the cluster answered instead."""
    if output is Format.JSON:
        show_json(source)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    names = list(columns)
    for name in names:
        table.add_column(name.upper(), overflow="fold", no_wrap=output is Format.WIDE)
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in names))
    # A pipe has no width of its own: lines are never folded there.
    width = None if sys.stdout.isatty() and output is Format.TABLE else 1000
    Console(width=width, soft_wrap=width is not None, highlight=False).print(table)


def _cell(value: Any) -> str:
    return value if isinstance(value, Styled) else escape(str(value))


def show_json(answer: Any) -> None:
    sys.stdout.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())


def state(name: str) -> Styled:
    """A task state in its colour, without the prefix that all share."""
    return Styled(f"[{STATE_COLOURS.get(name, 'red')}]{name.removeprefix('TASK_').lower()}[/]")


def amount(resources: Mapping[str, Any]) -> str:
    """The scalars of a resources summary that are not zero: `cpus 0.5, mem 64`."""
    scalars = ((name, resources.get(name, 0.0)) for name in ("cpus", "mem", "disk", "gpus"))
    return ", ".join(f"{name} {value:g}" for name, value in scalars if value) or "–"


def moment(seconds: float | None) -> str:
    """A point in time, given in seconds since the epoch, in local time."""
    if not seconds:
        return "–"
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
