"""The page on the architecture leads to what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
ROWS = re.findall(r"^\| (.+) \| (.+) \|$", PAGE.read_text().partition("### Where to find it")[2], re.MULTILINE)
CONCEPTS = {name: re.findall(r"\]\((\S+?)\)", where) for name, where in ROWS if "](" in where}


@pytest.mark.parametrize("concept", CONCEPTS)
def test_each_concept_of_mesos_is_where_the_page_says(concept: str) -> None:
    assert [link for link in CONCEPTS[concept] if not (PAGE.parent / link).exists()] == []


@pytest.mark.parametrize(
    "word", ["offers", "roles", "quota", "maintenance", "status updates", "recovery", "fetcher", "election"]
)
def test_who_looks_for_a_word_of_mesos_finds_a_row(word: str) -> None:
    assert any(word in concept for concept in CONCEPTS)
