"""Names for clusters: which one is asked, and the file that has them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mezzo.cli.app import app

REFUSED = "no gateway answers at http://"
EXIT_USAGE, EXIT_UNREACHABLE = 2, 69


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that has them, which is not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("MEZZO_API", "MEZZO_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "mezzo" / "contexts.toml"


def mezzo(*words: str, **variables: str) -> tuple[int, str, str]:
    """Exit code, output, and what went wrong."""
    result = CliRunner().invoke(app, words, env={"TERM": "dumb", **variables})
    return result.exit_code, result.stdout, result.stderr


def asked(*words: str, **variables: str) -> str:
    """Where a verb asks: nobody answers anywhere."""
    code, _, told = mezzo(*words, "status", **variables)
    assert code == EXIT_UNREACHABLE
    return told.partition(REFUSED)[2].partition(": ")[0]


def make(*pairs: tuple[str, str]) -> None:
    for name, api in pairs:
        assert mezzo("context", "add", name, api)[0] == 0


PAIRS = (("prod", "127.0.0.1:1"), ("test", "127.0.0.2:1"))


def test_the_first_context_is_used_and_then_the_one_that_is_chosen() -> None:
    make(*PAIRS)
    assert asked() == "127.0.0.1:1"
    assert mezzo("context", "use", "test")[0] == 0
    assert asked() == "127.0.0.2:1"


@pytest.mark.parametrize(
    ("words", "variables", "where"),
    [
        (("--api", "127.0.0.9:1"), {"MEZZO_API": "127.0.0.8:1", "MEZZO_CONTEXT": "test"}, "127.0.0.9:1"),
        (("--context", "test"), {"MEZZO_API": "127.0.0.8:1", "MEZZO_CONTEXT": "prod"}, "127.0.0.2:1"),
        ((), {"MEZZO_API": "127.0.0.8:1", "MEZZO_CONTEXT": "test"}, "127.0.0.8:1"),
        ((), {"MEZZO_CONTEXT": "test"}, "127.0.0.2:1"),
        ((), {}, "127.0.0.1:1"),
    ],
    ids=["typed address", "typed name", "MEZZO_API", "MEZZO_CONTEXT", "used"],
)
def test_what_is_typed_counts_before_the_environment_and_that_before_the_one_in_use(
    words: tuple[str, ...], variables: dict[str, str], where: str
) -> None:
    make(*PAIRS)
    assert asked(*words, **variables) == where


@pytest.mark.parametrize(
    "words",
    [
        ("--api", "http://me:secret@127.0.0.9:1", "status"),
        ("--api", "http://me:secret@127.0.0.9:1,http://me:secret@127.0.0.8:1", "status"),
        ("--api", "http://me:secret@127.0.0.9:none", "status"),
        ("context", "add", "prod", "http://me:secret@127.0.0.9:1"),
        ("context", "use", "other"),
        ("context",),
    ],
    ids=["unanswered", "several", "wrong", "add", "use", "list"],
)
def test_the_password_of_a_gateway_is_not_shown(words: tuple[str, ...]) -> None:
    make(("other", "http://me:secret@127.0.0.9:1"))
    _, out, told = mezzo(*words)
    assert "127.0.0.9" in out + told
    assert "secret" not in out + told


def test_an_address_and_a_name_cannot_both_be_typed() -> None:
    make(*PAIRS)
    code, told, error = mezzo("--api", "127.0.0.9:1", "--context", "prod", "status")
    assert (code, told) == (EXIT_USAGE, "")
    assert "name a gateway or a context, not both" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--context", "prd", "status"), "context 'prd' not found; did you mean prod?"),
        (("context", "use", "nope"), "context 'nope' not found; there are prod, test"),
        (("context", "remove", "nope"), "context 'nope' not found; there are prod, test"),
        (("context", "add", "x", "host:port"), "'host:port': "),
        (("context", "add", "", "host:1"), "'' is not a name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_context_that_there_is_not_is_a_usage_error(words: tuple[str, ...], said: str) -> None:
    make(*PAIRS)
    code, told, error = mezzo(*words)
    assert (code, told) == (EXIT_USAGE, "")
    assert said in error
    assert error.count("\n") == 1


def test_one_that_is_removed_is_used_no_longer(config: Path) -> None:
    make(*PAIRS)
    assert mezzo("context", "remove", "prod")[0] == 0
    assert "current" not in tomllib.loads(config.read_text())
    assert asked() == "127.0.0.1:5050"
    assert mezzo("context", "--no-headers")[1].split() == ["test", "127.0.0.2:1"]


def test_names_are_kept_as_they_are(config: Path) -> None:
    name = 'a "b".c = [x] ü'
    make((name, "127.0.0.1:1"))
    assert tomllib.loads(config.read_text()) == {"current": name, "contexts": {name: {"api": "127.0.0.1:1"}}}
    assert asked("--context", name) == "127.0.0.1:1"
    assert config.stat().st_mode & 0o077 == 0
    assert [each.name for each in config.parent.iterdir()] == [config.name]


@pytest.mark.parametrize("text", ["current = ", "contexts = 3", "[contexts.x]\nport = 1", "[contexts]\nx = 1"])
def test_a_damaged_file_is_told_with_its_name_and_does_not_keep_a_cluster_from_being_asked(
    text: str, config: Path
) -> None:
    config.parent.mkdir()
    config.write_text(text)
    code, _, error = mezzo("status")
    assert code == EXIT_USAGE
    assert f"{config} is not a file of contexts" in error
    assert asked("--api", "127.0.0.1:1") == "127.0.0.1:1"
    # Whoever needs no cluster needs no context.
    assert mezzo("completion", "bash")[0] == 0
