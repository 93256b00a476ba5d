"""Counts the behaviours of Mesos that are shown, and fails where the list names a test that is not there."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from tests.parity.table import ROOT, TABLE, Row, Standing, faults, read


def totals(rows: list[Row]) -> str:
    """A line for each file of Mesos, and one for all of them."""
    files = sorted({row.file for row in rows})
    width = max(map(len, [*files, "all"]))
    lines = [f"{'':{width}}" + "".join(f"{standing.value:>16}" for standing in Standing)]
    for name in [*files, "all"]:
        counts = Counter(row.standing for row in rows if name in (row.file, "all"))
        lines.append(f"{name:{width}}" + "".join(f"{counts[standing]:>16}" for standing in Standing))
    return "\n".join(lines)


def main(table: Path = TABLE, root: Path = ROOT) -> int:
    rows = read(table)
    print(totals(rows))
    found = list(faults(rows, root))
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
