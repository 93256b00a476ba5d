"""Changes that no test need notice, and why: judged.tsv."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.changes import Change
from tests.mutants.targets import ROOT

TABLE = Path(__file__).with_name("judged.tsv")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A line of a file, before and after, and why nobody can tell the difference or need care."""

    path: str
    before: str
    after: str
    why: str


def read(table: Path = TABLE) -> list[Judgement]:
    """All rows of the table, whose first line names its columns."""
    with table.open(newline="") as file:
        return [Judgement(**row) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def key_of(change: Change) -> tuple[str, str, str]:
    """By what a change is known in the table, whatever moves above it in its file."""
    return change.path, *change.words((ROOT / change.path).read_bytes())


def faults(rows: list[Judgement], changes: list[Change]) -> Iterator[str]:
    """What is wrong with the table: a row that says nothing, or is about no change that could be tried."""
    paths = {row.path for row in rows}
    known = {key_of(change) for change in changes if change.path in paths}
    for row in rows:
        if not row.why:
            yield f"{row.path}: {row.before}: why is this change harmless?"
        if (row.path, row.before, row.after) not in known:
            yield f"{row.path}: no change makes {row.after!r} of {row.before!r}"
