"""Counts the behaviours of Mesos that are shown, and fails where the table names what is not there."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.parity import breaks
from tests.parity.breaks import BREAKS, Break, read_breaks
from tests.parity.prove import prove
from tests.parity.table import NAMES, ROOT, TABLE, Row, Standing, faults, read, read_names


def totals(rows: Sequence[Row], names: frozenset[tuple[str, str]]) -> str:
    """A line for each file of Mesos that a row names, one for the other files, and one for all."""
    judged = {row.file for row in rows}
    tests = Counter(file if file in judged else "other files" for file, _ in names)
    standings = Counter((row.file, row.standing) for row in rows)
    headings = [*(standing.value for standing in Standing), "not judged"]
    width = max(map(len, [*tests, "all"]))
    lines = [f"{'':{width}}" + "".join(f"{heading:>12}" for heading in headings)]
    sums = [0] * len(headings)
    for file in [*sorted(judged), *(["other files"] if "other files" in tests else [])]:
        counts = [standings[file, standing] for standing in Standing]
        counts.append(tests[file] - sum(counts))
        sums = [former + latter for former, latter in zip(sums, counts, strict=True)]
        lines.append(_line(file, counts, width))
    return "\n".join([*lines, _line("all", sums, width)])


def _line(name: str, counts: Sequence[int], width: int) -> str:
    return f"{name:{width}}" + "".join(f"{count:>12}" for count in counts)


def proved(chosen: Sequence[Break], rows: Sequence[Row], workers: int, root: Path) -> bool:
    """Try the breaks, print what fails to fail, and tell whether nothing did."""
    wrong = 0
    for number, proof in enumerate(prove(chosen, rows, workers, root), start=1):
        if sys.stderr.isatty():
            print(f"\r{number} of {len(chosen)} ", end="", file=sys.stderr, flush=True)
        if not proof.holds:
            wrong += 1
            print(proof, file=sys.stderr)
    shown = [row for row in rows if row.standing in (Standing.SHOWN, Standing.PARTLY)]
    kept = {row for one in chosen for row in one.rows}
    print(
        f"{len(chosen) - wrong} of {len(chosen)} breaks make the tests of their rows fail; "
        f"{len(kept)} of {len(shown)} rows that are shown have one"
    )
    return not wrong


def main(
    arguments: Sequence[str] = (),
    table: Path = TABLE,
    root: Path = ROOT,
    names: Path = NAMES,
    folder: Path = BREAKS,
) -> int:
    parser = argparse.ArgumentParser(prog="make parity", description=__doc__)
    parser.add_argument("--prove", action="store_true", help="apply each kept break to a copy, and see its tests fail")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="prove only breaks whose name, or a row of which, contains TEXT"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="prove N breaks at a time (default: CPUs)"
    )
    given = parser.parse_args(arguments)
    rows, known, kept = read(table), read_names(names), read_breaks(folder)
    print(totals(rows, known))
    found = [*faults(rows, known, root), *breaks.faults(kept, rows, root)]
    for fault in found:
        print(fault, file=sys.stderr)
    if found or not given.prove:
        return 1 if found else 0
    chosen = [one for one in kept if given.only in one.source or any(given.only in row for row in one.rows)]
    if not chosen:
        print(f"no break, and no row that has one, is called '{given.only}'", file=sys.stderr)
        return 1
    return 0 if proved(chosen, rows, given.workers, root) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
