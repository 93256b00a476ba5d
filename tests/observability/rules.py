"""The rule files of Prometheus that Mezzo ships, and promtool, which checks them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "mezzo" / "rules"
ALERTS_FILE = RULES / "alerts.yaml"
RULE_TESTS = Path(__file__).parent / "rules"
PROMTOOL_SECONDS_MAX = 60


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert, or what a recording rule records."""

    name: str
    expression: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    seconds: str
    file: Path

    def __str__(self) -> str:
        return self.name

    @property
    def slug(self) -> str:
        """What an alert's page is called: MezzoNoLeader → no-leader."""
        words = self.name.removeprefix("Mezzo").replace("ZooKeeper", "Zookeeper")
        return re.sub(r"(?<!^)(?=[A-Z])", "-", words).lower()


def _read(file: Path) -> Iterator[tuple[bool, Rule]]:
    for group in yaml.safe_load(file.read_text())["groups"]:
        for rule in group["rules"]:
            is_alert = "alert" in rule
            name = rule["alert"] if is_alert else rule["record"]
            labels, annotations = rule.get("labels", {}), rule.get("annotations", {})
            yield is_alert, Rule(name, rule["expr"], labels, annotations, rule.get("for", "0s"), file)


def rules() -> list[tuple[bool, Rule]]:
    """Every rule of every file, and whether it is an alert."""
    return [rule for file in sorted(RULES.glob("*.yaml")) for rule in _read(file)]


def alerts() -> list[Rule]:
    return [rule for is_alert, rule in rules() if is_alert]


def promtool_tests(alert: Rule) -> Any:
    """What promtool is to try, as its file says it."""
    return yaml.safe_load((RULE_TESTS / f"{alert.name}.yaml").read_text())


def promtool(*words: str | Path) -> str:
    """What promtool says; it has to be content. Skips where it is not installed."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    ended = subprocess.run(
        [program, *words], capture_output=True, text=True, timeout=PROMTOOL_SECONDS_MAX, cwd=RULE_TESTS, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
