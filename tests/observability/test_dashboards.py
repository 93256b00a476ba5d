"""Dashboards: what the chart and Compose give to Grafana."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest

from tests.mezzo_command import MezzoCommand
from tests.observability.dashboards import FILES, panels, read
from tests.observability.prose import flags
from tests.observability.rules import ROOT, alerts

COLUMNS = 24
DASHBOARDS = {"mezzo-cluster", "mezzo-registry", "mezzo-allocator", "mezzo-agents", "mezzo-frameworks", "mezzo-gateway"}
every_dashboard = pytest.mark.parametrize("file", [path.name for path in FILES])


def test_the_files_are_what_their_source_gives() -> None:
    command = [sys.executable, "-m", "scripts.dashboards", "--check"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr + "`python -m scripts.dashboards` writes them"


def test_there_is_one_dashboard_for_each_part_of_the_cluster() -> None:
    assert {path.stem for path in FILES} == DASHBOARDS
    assert {read(path.name)["uid"] for path in FILES} == DASHBOARDS


@every_dashboard
def test_a_dashboard_says_what_it_is_and_leads_to_the_others(file: str) -> None:
    dashboard = read(file)
    assert dashboard["tags"] == ["mezzo"]
    assert dashboard["time"] == {"from": "now-1h", "to": "now"}
    assert dashboard["description"].endswith(".")
    (links,) = dashboard["links"]
    assert (links["type"], links["tags"], links["keepTime"], links["includeVars"]) == (
        "dashboards",
        ["mezzo"],
        True,
        True,
    )


@every_dashboard
def test_each_panel_asks_a_question_says_what_its_answer_means_and_in_which_unit(file: str) -> None:
    for panel in panels(read(file)):
        assert panel["title"].endswith("?"), panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], panel["title"]
        assert panel["targets"], panel["title"]
        if panel["type"] == "timeseries":
            unnamed = [target["expr"] for target in panel["targets"] if target["legendFormat"] == "__auto"]
            assert not unnamed, panel["title"]


@every_dashboard
def test_each_panel_asks_the_chosen_prometheus_about_the_chosen_cluster(file: str) -> None:
    dashboard = read(file)
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert {"datasource", "namespace"} <= known
    for panel in panels(dashboard):
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            expression = re.sub(r"\$__(rate_interval|interval|range)", "", target["expr"])
            assert set(re.findall(r"\$(\w+)", expression)) <= known, panel["title"]
            selectors = re.findall(r"\{([^}]*)\}", target["expr"])
            assert selectors, panel["title"]
            assert all('namespace=~"$namespace"' in selector for selector in selectors), panel["title"]


@every_dashboard
def test_a_variable_that_is_offered_is_used(file: str) -> None:
    dashboard = read(file)
    text = " ".join(target["expr"] for panel in panels(dashboard) for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        assert variable["name"] == "datasource" or f"${variable['name']}" in text


@every_dashboard
def test_panels_have_numbers_of_their_own_and_do_not_overlap(file: str) -> None:
    dashboard = read(file)
    assert max(Counter(panel["id"] for panel in dashboard["panels"]).values()) == 1
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@every_dashboard
def test_alerts_flags_and_commands_that_a_description_names_exist(file: str) -> None:
    text = " ".join(panel["description"] for panel in panels(read(file)))
    assert set(re.findall(r"\bMezzo[A-Z]\w+", text)) <= {alert.name for alert in alerts()}
    assert set(re.findall(r"--(\w+)", text)) <= flags()
    for verb in re.findall(r"`mezzo (\w+)", text):
        MezzoCommand("127.0.0.1:1").output(verb, "--help")
