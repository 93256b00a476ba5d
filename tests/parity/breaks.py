"""The breaks that are kept beside the table: a small change to the code that must make a row's tests fail.

A file of `breaks/` holds `[[break]]` tables: `rows` (tests of Mesos, by their names), `file`, and the text `old` that
becomes `new`.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parity.table import ROOT, Row, Standing

BREAKS = Path(__file__).with_name("breaks")
FIELDS = {"rows", "file", "old", "new"}


@dataclass(frozen=True, slots=True)
class Break:
    """One change to one `file`; `rows` are the tests of Mesos whose behaviour it takes away."""

    source: str
    rows: tuple[str, ...]
    file: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.source}: {self.rows[0]}" + (f" and {len(self.rows) - 1} more" if self.rows[1:] else "")

    def applied(self, text: str) -> str:
        """Return the broken text.

        Raises:
            ValueError: `old` is not there exactly once, or what comes out is no Python.
        """
        times = text.count(self.old)
        if times != 1:
            raise ValueError(f"{self}: the old text is {times} times in {self.file}, instead of once")
        broken = text.replace(self.old, self.new)
        try:
            changed = ast.dump(ast.parse(broken)) != ast.dump(ast.parse(text))
        except SyntaxError as error:
            raise ValueError(f"{self}: the new text makes {self.file} no Python: {error}") from None
        if not changed:
            raise ValueError(f"{self}: the new text means the same as the old")
        return broken


def read_breaks(folder: Path = BREAKS) -> list[Break]:
    """Read all breaks.

    Raises:
        ValueError: a file is not of the form that it should be.
    """
    breaks = []
    for path in sorted(folder.glob("*.toml")):
        for number, fields in enumerate(tomllib.loads(path.read_text(encoding="utf-8"))["break"], start=1):
            breaks.append(_break(f"{path.stem} #{number}", fields))
    return breaks


def _break(source: str, fields: Mapping[str, Any]) -> Break:
    if fields.keys() != FIELDS or not fields["rows"]:
        raise ValueError(f"{source}: the fields must be {', '.join(sorted(FIELDS))}, and name a row")
    return Break(source, tuple(fields["rows"]), fields["file"], fields["old"], fields["new"])


def faults(breaks: Sequence[Break], rows: Sequence[Row], root: Path = ROOT) -> Iterator[str]:
    """Tell which breaks apply no more, or to no row that a test stands for."""
    standings = {row.test: row.standing for row in rows}
    for one in breaks:
        for name in one.rows:
            if standings.get(name) not in (Standing.SHOWN, Standing.PARTLY):
                yield f"{one}: {name}: no row that is shown"
        try:
            one.applied((root / one.file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            yield str(error)
