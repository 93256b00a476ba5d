"""The page on troubleshooting tells every exit code, and no other."""

import re
from pathlib import Path

from mezzo_chassis.errors import Exit

PAGE = Path(__file__).parents[2] / "docs/operations/troubleshooting.md"


def test_each_exit_code_is_told_by_its_number_and_name() -> None:
    table = PAGE.read_text().partition("| code | name | meaning | what to do |")[2].partition("\n\n")[0]
    rows = [tuple(cell.strip() for cell in line.split("|")[1:5]) for line in table.splitlines()[2:]]
    assert [(int(code), name) for code, name, _, _ in rows] == [(0, ""), *((code.value, code.name) for code in Exit)]
    assert all(re.search(r"\w", meaning) for _, _, meaning, _ in rows)
