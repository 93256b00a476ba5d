"""Alerts: each fires when it should and is silent when not, and says what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.observability.rules import ALERTS_FILE, ROOT, RULE_TESTS, RULES, Rule, alerts, promtool, promtool_tests

SEVERITIES = {"critical", "warning", "info"}
ALERTS = alerts()
every_alert = pytest.mark.parametrize("alert", ALERTS, ids=str)


@pytest.mark.parametrize("file", sorted(path.name for path in RULES.glob("*.yaml")))
def test_promtool_finds_nothing_wrong_with_the_rules(file: str) -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES / file)


def test_what_compose_gives_to_prometheus_loads_every_rule(tmp_path: Path) -> None:
    prometheus = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["prometheus"]
    for volume in prometheus["volumes"]:
        source, _, target = volume.partition(":")
        if source.startswith("./"):
            place = tmp_path / target.removesuffix(":ro").lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(ROOT / source)
    said = promtool("check", "config", tmp_path / "etc/prometheus/prometheus.yml")
    for file in RULES.glob("*.yaml"):
        assert file.name in said
    assert "FAILED" not in said


@every_alert
def test_an_alert_fires_when_it_should_and_is_silent_when_not(alert: Rule) -> None:
    promtool("test", "rules", RULE_TESTS / f"{alert.name}.yaml")


@every_alert
def test_both_is_tried_of_each_alert(alert: Rule) -> None:
    expected = {True: 0, False: 0}
    for test in promtool_tests(alert)["tests"]:
        for one in test["alert_rule_test"]:
            assert one["alertname"] == alert.name
            expected[bool(one["exp_alerts"])] += 1
            assert test["name"].startswith("fires when " if one["exp_alerts"] else "is silent when ")
    assert all(expected.values()), expected


def test_there_are_tests_of_no_other_alerts() -> None:
    assert {path.stem for path in RULE_TESTS.iterdir()} == {alert.name for alert in ALERTS}
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


@every_alert
def test_an_alert_says_how_bad_it_is_what_happened_and_where_to_read_on(alert: Rule) -> None:
    assert alert.file == ALERTS_FILE
    assert re.fullmatch(r"Mezzo[A-Z]\w+", alert.name)
    assert alert.labels["severity"] in SEVERITIES
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    assert alert.annotations["description"].endswith(".")
    assert not alert.annotations["summary"].endswith(".")
    assert alert.annotations["runbook_url"] == f"docs/operations/runbooks/{alert.slug}.md"
