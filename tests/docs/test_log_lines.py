"""What the pages of operations quote, to be searched for in logs and answers, is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs/operations/runbooks").glob("*.md")), ROOT / "docs/operations/troubleshooting.md"]
SOURCES = [*sorted((ROOT / "services").glob("*/mezzo_*/**/*.py")), *sorted((ROOT / "sdk/python/mezzo").rglob("*.py"))]
# Programs that somebody types; what begins with another word, and has several, is quoted.
PROGRAMS = {
    "curl",
    "df",
    "docker",
    "du",
    "echo",
    "grep",
    "kill",
    "kubectl",
    "ls",
    "mezzo",
    "ps",
    "systemctl",
    "tc",
    "zkCli.sh",
}
QUOTED = re.compile(r"`([a-z][\w,;:()'-]*(?: [^`]+))`")
# What the code fills in: numbers, and what the page abbreviates.
FILLED_IN = re.compile(r"…|<[^>]*>|\{[^}]*\}|\d+")


@pytest.fixture(scope="module")
def said() -> str:
    """The text of all services, with strings that go over several lines in one piece."""
    text = "\n".join(path.read_text() for path in SOURCES)
    return re.sub(r'"\s*\n\s*f?"', "", text)


def quotations(page: Path) -> list[str]:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found = QUOTED.findall(" ".join(prose.split()))
    return [quotation for quotation in found if quotation.split()[0] not in PROGRAMS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_quotes_is_what_the_code_says(page: Path, said: str) -> None:
    for quotation in quotations(page):
        for piece in filter(None, (piece.strip(" `'") for piece in FILLED_IN.split(quotation))):
            assert piece in said, f"nothing says {quotation!r}"


def test_quotations_are_found() -> None:
    assert "term ended early" in quotations(ROOT / "docs/operations/runbooks/no-leader.md")
