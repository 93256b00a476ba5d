"""The list itself: one row for each test of Mesos, and what is wrong with it."""

from __future__ import annotations

import ast
import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("mesos.tsv")
COLUMNS = ["file", "test", "ours", "note"]
# What measures instead of asserting: there a function needs no `test_` before its name.
BENCHMARKS = "tests/bench/"


class Standing(Enum):
    """What a row says of a behaviour."""

    SHOWN = "shown"
    LATER = "later"  # it belongs to something that is not built yet; the note says to what
    NOT_APPLICABLE = "not applicable"  # the note says why


@dataclass(frozen=True, slots=True)
class Row:
    """One test of Mesos: `file` and `test` are its own, `ours` the tests of Mezzo that show the same."""

    line: int
    file: str
    test: str
    ours: str
    note: str

    @property
    def standing(self) -> Standing:
        return {"-": Standing.NOT_APPLICABLE, "later": Standing.LATER}.get(self.ours, Standing.SHOWN)

    def __str__(self) -> str:
        return f"line {self.line}: {self.file} {self.test}"


def read(path: Path = TABLE) -> list[Row]:
    """All rows. Raises ValueError where the file is not the table it should be."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not lines or lines[0] != COLUMNS:
        raise ValueError(f"{path}: the first line must name the columns {', '.join(COLUMNS)}")
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        if len(cells) != len(COLUMNS):
            raise ValueError(f"{path}, line {number}: {len(cells)} cells instead of {len(COLUMNS)}")
        rows.append(Row(number, *cells))
    return rows


def faults(rows: Sequence[Row], root: Path = ROOT) -> Iterator[str]:
    """What is wrong, a line for each fault. Tests are looked for below `root`."""
    for named, times in Counter((row.file, row.test) for row in rows).items():
        if times > 1:
            yield f"{' '.join(named)}: listed {times} times"
    for former, latter in pairwise(rows):
        if (latter.file, latter.test) < (former.file, former.test):
            yield f"{latter}: out of order"
    for row in rows:
        if not row.ours:
            yield f"{row}: neither a test of ours, nor 'later', nor '-'"
        elif row.standing is not Standing.SHOWN:
            if not row.note:
                yield f"{row}: {row.ours!r} needs a note"
        else:
            for name in row.ours.split():
                if not exists(name, root):
                    yield f"{row}: there is no test {name}"


def exists(name: str, root: Path = ROOT) -> bool:
    """Whether `path::function` or `path::Class::function` is a test, or a function of a benchmark."""
    path, _, inside = name.partition("::")
    function = inside.rpartition("::")[2]
    if not function.startswith("test_") and not path.startswith(BENCHMARKS):
        return False
    return inside in functions_of(root / path)


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The functions of a file and the methods of its classes, as `function` and `Class::method`."""
    if not path.is_file():
        return frozenset()
    return frozenset(_functions(ast.parse(path.read_bytes(), str(path)).body, ""))


def _functions(body: Sequence[ast.stmt], prefix: str) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + statement.name
        elif isinstance(statement, ast.ClassDef):
            yield from _functions(statement.body, f"{prefix}{statement.name}::")
