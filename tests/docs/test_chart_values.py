"""The page of the chart's values is what values.yaml says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from scripts import chart_reference
from scripts.chart_reference import PAGE, VALUES


def test_the_page_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["chart_reference", "--check"])
    assert chart_reference.main() == 0


def leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, below in values.items():
        if isinstance(below, dict) and below:
            yield from leaves(below, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def test_every_value_is_on_it() -> None:
    listed = {value.path for _, value in chart_reference.values(VALUES.read_text())}
    known = set(leaves(yaml.safe_load(VALUES.read_text())))
    # What is written in one line is one value there.
    assert {path for path in known if not any(path == each or path.startswith(f"{each}.") for each in listed)} == set()


def test_descriptions_are_the_comments_above() -> None:
    text = "# ---------- Part\n#\n# What it is. One of two:\n#\n#   a: 1\na:\n  # The number.\n  b: 1\n  c: {d: 2}\n"
    assert [(heading, *value) for heading, value in chart_reference.values(text)] == [
        ("Part", "a", "", "What it is."),
        ("Part", "a.b", "1", "The number."),
        ("Part", "a.c", "{d: 2}", ""),
    ]


def test_the_guide_leads_to_it() -> None:
    assert "(values.md)" in PAGE.with_name("kubernetes.md").read_text()
