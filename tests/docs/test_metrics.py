"""docs/metrics.md is what the code gives, and nothing that is shipped asks for a metric that it does not have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from scripts import metrics_reference
from scripts.metrics_reference import PAGE, ROOT, names, page

CHART = ROOT / "charts" / "mezzo"
OURS = re.compile(r"\b(?:mezzo|process)_\w+")
SHIPPED = sorted([*CHART.glob("rules/*.yaml"), *CHART.glob("dashboards/*.json")])


def expressions(text: str) -> list[str]:
    """What is asked of Prometheus in a file of rules or a dashboard, both of which are YAML."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            found.extend(each for key, each in value.items() if key == "expr")
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(json.loads(text) if text.startswith("{") else yaml.safe_load(text))
    return found


def test_the_page_is_what_the_code_gives() -> None:
    assert PAGE.read_text() == page(), "make docs"


def test_whether_it_is_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["metrics_reference", "--check"])
    assert metrics_reference.main() == 0


def test_every_metric_has_a_meaning_and_a_name_by_the_rules() -> None:
    for heading, found in metrics_reference.sections().items():
        assert found, heading
        for entry in found:
            assert entry.meaning.endswith("."), entry
            assert (entry.type == "counter") == entry.name.endswith("_total"), entry
            assert not re.search(r"_(ms|milliseconds|mb|minutes)\b", entry.name), entry


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_is_shipped_asks_for_metrics_that_there_are(path: Path) -> None:
    text = path.read_text()
    asked = {name for expression in expressions(text) for name in OURS.findall(expression)}
    assert asked
    patterns = {name for name in asked if name.endswith("_")}  # the head of a {__name__=~"…"}
    assert {name for name in asked - patterns if name not in names()} == set()
