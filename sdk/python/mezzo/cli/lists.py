"""Lists, as every verb that lists something shows them: in any format, sorted, and again whenever one has changed."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from mezzo.cli.asking import ask
from mezzo.cli.output import Format, console, is_for_programs, show_document, show_table, table_of, visible, yaml_of
from mezzo.cli.table import Row

if TYPE_CHECKING:
    from mezzo.cli.api import Api

NoHeaders = Annotated[bool, typer.Option("--no-headers", help="Print no line with the names of the columns.")]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="After the list, print what changes in it, until interrupted.")
]
SortBy = Annotated[
    str, typer.Option("--sort-by", metavar="COLUMN", help="Sort by this column; -COLUMN for the reverse order.")
]

Document = dict[str, Any]
_DIGITS = re.compile(r"(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of a list."""

    row: Row
    # For programs; None for what is shown to people alone.
    document: Document | None
    # What a column is sorted by, where that is not its text.
    order: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """A list, and the columns that are shown of it."""

    columns: tuple[str, ...]
    wide_columns: tuple[str, ...]
    entries: Sequence[Entry]
    # The column that says what a thing is called; by default the first.
    name: str = ""

    def name_of(self, entry: Entry) -> str:
        """What a thing of the list is called."""
        return str(entry.row[self.name or self.columns[0]])

    def sorted_by(self, column: str) -> Sequence[Entry]:
        """In the order of a column. Raises `typer.BadParameter` for one that there is not."""
        name = column.removeprefix("-").lower()
        if name not in self.wide_columns:
            near = get_close_matches(name, self.wide_columns, 1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise typer.BadParameter(
                f"{name!r} is not a column; {meant}there are {', '.join(self.wide_columns)}", param_hint="--sort-by"
            )
        return sorted(self.entries, key=lambda entry: _order_of(entry, name), reverse=column.startswith("-"))


@dataclass(frozen=True, slots=True)
class Options:
    """How a list is to be shown."""

    output: Format
    no_headers: bool = False
    watch: bool = False
    sort_by: str = ""


def list_all(context: typer.Context, options: Options, question: Callable[[Api], Awaitable[Listing]]) -> None:
    """Ask for a list and show it; with `--watch` go on until interrupted."""

    async def asked(api: Api) -> Listing | None:
        if not options.watch:
            return await question(api)
        await _watch(api, options, question)
        return None

    listing = ask(context, asked)
    if listing is not None:
        show_listing(listing, options)


def show_listing(listing: Listing, options: Options) -> None:
    """Print a list."""
    entries = listing.sorted_by(options.sort_by) if options.sort_by else listing.entries
    if is_for_programs(options.output):
        show_document([entry.document for entry in entries if entry.document is not None], options.output)
    elif options.output is Format.NAME:
        _print_names(listing, entries)
    else:
        wide = options.output is Format.WIDE
        columns = listing.wide_columns if wide else listing.columns
        name = listing.name or columns[0]
        show_table([entry.row for entry in entries], columns, name=name, headers=not options.no_headers, cut=not wide)


def _print_names(listing: Listing, entries: Sequence[Entry]) -> None:
    for entry in entries:
        if entry.document is not None:
            console().print(visible(listing.name_of(entry)))


class Changes:
    """What of a list is another than it was at the last look. What is not listed any more is not remembered."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], Any] = {}

    def since_last(self, listing: Listing, entries: Sequence[Entry]) -> list[Entry]:
        """Those of the entries that are new, or another than before."""
        now = [(self._key(listing, entry), entry) for entry in entries]
        changed = [entry for key, entry in now if self._last.get(key) != _compared(entry)]
        self._last = {key: _compared(entry) for key, entry in now}
        return changed

    @staticmethod
    def _key(listing: Listing, entry: Entry) -> tuple[str, ...]:
        """Two frameworks may each have a task of one id, and two services nothing that they are called."""
        return (listing.name_of(entry), *(str(entry.row.get(name, "")) for name in ("framework id", "service")))


async def _watch(api: Api, options: Options, question: Callable[[Api], Awaitable[Listing]]) -> None:
    """Print the list, and then each thing of it that is another than before, whole."""
    from mezzo.cli.watching import changes

    table, news = None, Changes()
    async for _ in changes(api):
        listing = await question(api)
        columns = listing.wide_columns if options.output is Format.WIDE else listing.columns
        first = table is None
        table = table or table_of(columns, name=listing.name or columns[0], cut=options.output is Format.TABLE)
        entries = listing.sorted_by(options.sort_by) if options.sort_by else listing.entries
        changed = news.since_last(listing, entries)
        if is_for_programs(options.output):
            _print_documents(changed, options.output)
        elif options.output is Format.NAME:
            _print_names(listing, changed)
        else:
            headers = first and not options.no_headers
            for line in table.lines([entry.row for entry in changed], headers=headers):
                console().print(line)
        sys.stdout.flush()


def _print_documents(entries: Sequence[Entry], output: Format) -> None:
    """A document for each: of JSON a line, of YAML a part of the stream."""
    for entry in entries:
        if entry.document is not None:
            text = f"---\n{yaml_of(entry.document)}" if output is Format.YAML else _json_line(entry.document)
            sys.stdout.write(text)


def _json_line(document: Document) -> str:
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE).decode()


def _compared(entry: Entry) -> Any:
    """What has changed when the thing has: an age in a row grows by itself."""
    return dict(entry.row) if entry.document is None else entry.document


def _order_of(entry: Entry, column: str) -> Any:
    """Numbers within a text count as such: `agent-9` comes before `agent-10`."""
    if column in entry.order:
        return (0, entry.order[column], ())
    parts = _DIGITS.split(str(entry.row[column]).lower())
    return (1, 0.0, tuple((float(part), "") if index % 2 else (0.0, part) for index, part in enumerate(parts)))
