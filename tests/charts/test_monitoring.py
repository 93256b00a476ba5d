"""What Prometheus and Grafana are given, from the chart's own rules and dashboards."""

from __future__ import annotations

import json

import pytest

from tests.charts.helm import CHART, Manifest, needs_helm, template
from tests.charts.manifests import document, named, of_kind, read, selects

pytestmark = needs_helm


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    """The chart as it is, without stand-ins."""
    switches = [f"monitoring.{name}.enabled=true" for name in ("serviceMonitor", "prometheusRule", "dashboards")]
    return read(template("--set", ",".join(switches)))


def test_every_service_is_scraped_under_its_job(manifests: list[Manifest]) -> None:
    jobs = {}
    for monitor in of_kind(manifests, "ServiceMonitor"):
        (endpoint,) = monitor["spec"]["endpoints"]
        selector = monitor["spec"]["selector"]["matchLabels"]
        services = [one for one in of_kind(manifests, "Service") if selects(selector, one["metadata"]["labels"])]
        ports = [port["name"] for service in services for port in service["spec"]["ports"]]
        assert ports.count(endpoint["port"]) == 1, monitor["metadata"]["name"]
        assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["clusters"]}
        (job,) = [rule["replacement"] for rule in endpoint["relabelings"] if rule["targetLabel"] == "job"]
        jobs[monitor["metadata"]["labels"]["app.kubernetes.io/component"]] = job
    assert jobs == {name: f"mezzo-{name}" for name in ("registry", "allocator", "gateway", "agent")}


def test_every_file_of_rules_is_there_as_it_is(manifests: list[Manifest]) -> None:
    files = {file.stem: document(file.read_text()) for file in (CHART / "rules").glob("*.yaml")}
    rules = {
        one["metadata"]["name"].removeprefix("mezzo-"): one["spec"] for one in of_kind(manifests, "PrometheusRule")
    }
    assert rules == files
    for name, spec in rules.items():
        assert spec.keys() == {"groups"}, name
        for group in spec["groups"]:
            assert {"name", "rules"} <= group.keys(), name
            assert all({"alert", "record"} & rule.keys() and "expr" in rule for rule in group["rules"]), name


def test_every_dashboard_is_there_as_it_is(manifests: list[Manifest]) -> None:
    files = list((CHART / "dashboards").glob("*.json"))
    assert files
    for file in files:
        made = named(manifests, "ConfigMap", f"mezzo-dashboard-{file.stem}")
        assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(made["data"][file.name]) == json.loads(file.read_text())


def test_a_file_of_rules_can_be_left_out() -> None:
    files = list((CHART / "rules").glob("*.yaml"))
    assert files
    for file in files:
        values = f"monitoring.prometheusRule.enabled=true,monitoring.prometheusRule.exclude={{{file.stem}}}"
        names = {one["metadata"]["name"] for one in of_kind(read(template("--set", values)), "PrometheusRule")}
        assert f"mezzo-{file.stem}" not in names


def test_alerts_lead_to_their_runbooks_at_the_address_that_is_given() -> None:
    at = "https://git.mezzo.example/mezzo/blob/main/"
    values = f"monitoring.prometheusRule.enabled=true,monitoring.prometheusRule.runbooksAt={at}"
    rules = named(read(template("--set", values)), "PrometheusRule", "mezzo-alerts")
    pages = [
        rule["annotations"]["runbook_url"]
        for group in rules["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert pages
    assert all(page.startswith(f"{at}docs/operations/runbooks/") for page in pages)
