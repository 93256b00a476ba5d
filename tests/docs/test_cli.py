"""docs/cli.md is what the code gives: each verb, with examples that tests/integration/test_cli_examples.py plays."""

from __future__ import annotations

import pytest

from scripts import cli_reference
from scripts.cli_reference import PAGE, Verb, page, verbs


def test_the_page_is_what_the_code_gives() -> None:
    assert PAGE.read_text() == page(), "make docs"


def test_whether_it_is_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["cli_reference", "--check"])
    assert cli_reference.main() == 0


@pytest.mark.parametrize("verb", list(verbs()), ids=lambda verb: verb.name)
def test_each_example_is_of_its_verb_and_says_what_it_is_for(verb: Verb) -> None:
    for example in verb.examples:
        assert f"mezzo {verb.name}" in example.line
        assert example.says.endswith(".")
        assert example.shows or not example.follows
