"""Words that shells complete: what a framework chooses as its name is nothing that a shell would carry out."""

from __future__ import annotations

from typing import Any, Self

import pytest
from typer.testing import CliRunner

from mezzo.cli import completing
from mezzo.cli.app import app
from mezzo.cli.completing import Word, plain

HOSTILE = (
    "\\$(touch owned)",
    '\\" $(touch owned) "',
    "'; touch owned; '",
    "`touch owned`",
    "a\nb",
    "[/red]",
    "${x}",
    "a b",
)


class Frameworks:
    """A gateway with frameworks of these names, or of these ids."""

    def __init__(self, *frameworks: Word) -> None:
        self._frameworks = frameworks

    async def rows(self, _path: str, *_keys: str) -> list[dict[str, Any]]:
        return [{"id": each, "name": name} for each, name in self._frameworks]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


def completed(monkeypatch: pytest.MonkeyPatch, shell: str, *frameworks: Word) -> str:
    """What a shell is given for the framework of `mezzo teardown`."""
    monkeypatch.setattr("mezzo.cli.api.connect", lambda _settings: Frameworks(*frameworks))
    asked = {"_MEZZO_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "mezzo teardown "}
    asked |= {"COMP_WORDS": "mezzo teardown ", "COMP_CWORD": "2", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = CliRunner().invoke(app, [], prog_name="mezzo", env=asked)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("shell", ["zsh", "bash", "fish"])
def test_names_are_shown_without_what_a_shell_would_carry_out(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    named = [(f"F{number}", name) for number, name in enumerate(HOSTILE)]
    shown = completed(monkeypatch, shell, *named)
    assert shown == completed(monkeypatch, shell, *((each, plain(name)) for each, name in named))
    assert all(each in shown for each, _ in named)
    assert not any(completing.SPECIAL & set(plain(name)) for name in HOSTILE)


def test_ids_that_mean_something_else_to_a_shell_are_not_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed(monkeypatch, "bash", *((each, "web") for each in HOSTILE), ("F2", "web")).split() == ["F2"]
