"""Runbooks: one page for each alert, and what it tells to type exists."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.mezzo_command import MezzoCommand
from tests.observability.prose import RUNBOOKS, flags, shell_lines
from tests.observability.rules import ROOT, Rule, alerts

SECTIONS = ["What it means", "What it does", "Find out more", "Mend it", "When to silence it"]
ALERTS = alerts()
# Verbs of the command line that have verbs of their own.
GROUPS = {"quota", "weights"}
PAGES = sorted(path.name for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
every_alert = pytest.mark.parametrize("alert", ALERTS, ids=str)
every_runbook = pytest.mark.parametrize("page", PAGES)


@every_alert
def test_an_alert_has_a_page_that_says_all_that_is_asked_at_night(alert: Rule) -> None:
    page = (ROOT / alert.annotations["runbook_url"]).read_text()
    assert page.startswith(f"# {alert.name}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == SECTIONS
    assert f"**{alert.labels['severity']}**" in page


def test_there_are_no_other_pages_and_the_index_has_each_of_them() -> None:
    pages = {path.name for path in RUNBOOKS.iterdir()} - {"README.md"}
    assert pages == {f"{alert.slug}.md" for alert in ALERTS}
    linked = re.findall(r"\[(\w+)\]\(([\w-]+\.md)\) \| (\w+) \|", (RUNBOOKS / "README.md").read_text())
    assert linked == [(alert.name, f"{alert.slug}.md", alert.labels["severity"]) for alert in ALERTS]


@every_runbook
def test_what_a_page_says_to_type_exists(page: str) -> None:
    text = (RUNBOOKS / page).read_text()
    commands = [line for line in shell_lines(text) if line.startswith("mezzo ")] + re.findall(
        r"`(mezzo [a-z][^`]*)`", text
    )
    mezzo = MezzoCommand("127.0.0.1:1")
    for command in commands:
        words = shlex.split(command, comments=True)[1:]
        verbs = words[:2] if words[0] in GROUPS and len(words) > 1 else words[:1]
        usage = mezzo.output(*verbs, "--help")
        for option in (word.partition("=")[0] for word in words if word.startswith("-")):
            assert re.search(rf"\s{option}\b", usage), f"{command}: no {option}"


@every_runbook
def test_the_flags_that_a_page_names_exist(page: str) -> None:
    text = re.sub(r"`mezzo [^`]*`", "", (RUNBOOKS / page).read_text())
    named = set(re.findall(r"`--(\w+)", text))
    assert named <= flags()


@every_runbook
def test_where_a_page_leads_to_exists(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (RUNBOOKS / page).read_text()):
        path, _, heading = target.partition("#")
        text = (RUNBOOKS / path).read_text()
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert not heading or heading in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
