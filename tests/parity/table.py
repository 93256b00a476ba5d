"""The table: one row for each test of Mesos that was judged, and what is wrong with it."""

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
NAMES = Path(__file__).with_name("names.tsv")
COLUMNS = ["file", "test", "standing", "ours", "note"]
# What measures instead of asserting: there a function needs no `test_` before its name.
BENCHMARKS = "tests/bench/"


class Standing(Enum):
    """What a row says of a behaviour."""

    SHOWN = "shown"  # a test of ours makes the same condition, and asserts the same
    PARTLY = "partly"  # a test of ours shows a part of it; the note says what is missing
    MEASURED = "measured"  # a benchmark of Mesos that has one of ours, and neither asserts anything
    NOT_HERE = "not here"  # no test of ours shows it; the note says why


@dataclass(frozen=True, slots=True)
class Row:
    """One test of Mesos: `file` and `test` are its own, `ours` the tests of Mezzo that show the same."""

    line: int
    file: str
    test: str
    standing: Standing
    ours: tuple[str, ...]
    note: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.file} {self.test}"


def read(path: Path = TABLE) -> list[Row]:
    """Read all rows.

    Raises:
        ValueError: the file is not the table it should be.
    """
    rows = []
    for number, (file, test, standing, ours, note) in _lines(path, COLUMNS):
        if standing not in {one.value for one in Standing}:
            raise ValueError(f"{path}, line {number}: standing: unknown {standing!r}")
        rows.append(Row(number, file, test, Standing(standing), tuple(ours.split()), note))
    return rows


def read_names(path: Path = NAMES) -> frozenset[tuple[str, str]]:
    """Read the names of all tests of Mesos, each with its file.

    Raises:
        ValueError: the file is not the list it should be.
    """
    return frozenset((file, test) for _, (file, test) in _lines(path, ["file", "test"]))


def _lines(path: Path, columns: list[str]) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not lines or lines[0] != columns:
        raise ValueError(f"{path}: the first line must name the columns {', '.join(columns)}")
    for number, cells in enumerate(lines[1:], start=2):
        if len(cells) != len(columns):
            raise ValueError(f"{path}, line {number}: {len(cells)} cells instead of {len(columns)}")
        yield number, cells


def faults(rows: Sequence[Row], names: frozenset[tuple[str, str]], root: Path = ROOT) -> Iterator[str]:
    """Tell what is wrong, a line for each fault. Tests are looked for below `root`."""
    for named, times in Counter((row.file, row.test) for row in rows).items():
        if times > 1:
            yield f"{' '.join(named)}: listed {times} times"
    for former, latter in pairwise(rows):
        if (latter.file, latter.test) < (former.file, former.test):
            yield f"{latter}: out of order"
    for row in rows:
        if (row.file, row.test) not in names:
            yield f"{row}: Mesos has no such test"
        if row.standing in (Standing.PARTLY, Standing.NOT_HERE) and not row.note:
            yield f"{row}: {row.standing.value!r} needs a note"
        if row.standing is Standing.NOT_HERE:
            if row.ours:
                yield f"{row}: 'not here', but names {row.ours[0]}"
        elif not row.ours:
            yield f"{row}: {row.standing.value!r} needs a test"
        for name in row.ours:
            if name.startswith(BENCHMARKS) is not (row.standing is Standing.MEASURED):
                yield f"{row}: {row.standing.value!r} by {name}: benchmarks measure, and tests show"
            elif not exists(name, root):
                yield f"{row}: there is no test {name}"


def exists(name: str, root: Path = ROOT) -> bool:
    """Tell whether `path::function` or `path::Class::function` is a test, or a function of a benchmark."""
    path, _, inside = name.partition("::")
    function = inside.rpartition("::")[2]
    if not function.startswith("test_") and not path.startswith(BENCHMARKS):
        return False
    return inside in functions_of(root / path)


@cache
def functions_of(path: Path) -> frozenset[str]:
    """List the functions of a file and the methods of its classes, as `function` and `Class::method`."""
    if not path.is_file():
        return frozenset()
    return frozenset(_functions(ast.parse(path.read_bytes(), str(path)).body, ""))


def _functions(body: Sequence[ast.stmt], prefix: str) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + statement.name
        elif isinstance(statement, ast.ClassDef):
            yield from _functions(statement.body, f"{prefix}{statement.name}::")
