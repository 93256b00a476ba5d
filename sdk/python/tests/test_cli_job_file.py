"""Job files and files of variables: what they may say, and how they are refused, by field and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mezzo.cli import env_files
from mezzo.cli.app import app
from mezzo.cli.job_file import BYTES_MAX, NO_FIELDS, JobFile

WHOLE = """\
# Every flag of mezzo run.
command: [sh, -c, "echo $A"]
name: web
count: 2
cpus: 0.5
mem: 64
resources: disk:100
role: eng/web
constraint: [rack=a, "unique:hostname"]
restart: on-failure
max-restarts: 3
timeout: 90s
failover-timeout: 1h
env: {A: 1, B: "two words", C: yes}
env-file: []
label:
  - tier=front
uri: http://example.com/x.tgz
user: nobody
shell: false
dry-run: true
"""


def verb(name: str) -> Any:
    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]


def defaults(text: str) -> dict[str, Any]:
    return JobFile("job.yaml", text).defaults(typer.Context(verb("run")))


def refused(text: str) -> str:
    with pytest.raises(typer.BadParameter) as error:
        defaults(text)
    assert error.value.param_hint == "--file"
    return str(error.value.message)


def test_a_job_file_has_a_field_for_every_flag() -> None:
    found = defaults(WHOLE)
    flags = {param.name for param in verb("run").params if param.name.strip("_") not in NO_FIELDS}
    assert found.keys() == flags - {"detach"}
    assert found["env"] == ["A=1", "B=two words", "C=yes"]
    assert (found["label"], found["uri"]) == (["tier=front"], ["http://example.com/x.tgz"])
    assert found["command"] == ["sh", "-c", "echo $A"]


def test_a_job_file_may_be_json() -> None:
    assert defaults(json.dumps({"command": ["true"], "cpus": 2})) == {"command": ["true"], "cpus": "2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("command: [a]\ncpu: 1", "job.yaml:2: cpu: is not a field of a job; did you mean cpus?"),
        (
            "command: [a]\nmax_restarts: 1",
            "job.yaml:2: max_restarts: is not a field of a job; did you mean max-restarts?",
        ),
        ("command: [a]\nfile: x", "job.yaml:2: file: is not a field of a job"),
        ("a: 1", "job.yaml:1: a: is not a field of a job"),
        ("cpus: 1\n\ncpus: 2", "job.yaml:3: cpus: is there twice, in line 1 as well"),
        ("cpus: [1, 2]", "job.yaml:1: cpus: takes one value, not several"),
        ("cpus:", "job.yaml:1: cpus: expected a value, or a list of values"),
        ("cpus: {a: 1}", "job.yaml:1: cpus: expected a value, or a list of values"),
        ("env:\n  A:\n    - 1", "job.yaml:3: env: expected NAME: VALUE, or a list"),
        ("command: [a,\n  [b]]", "job.yaml:2: command: expected a value, or a list of values"),
        ("command: echo hello", "job.yaml:1: command: expected a list of words, such as [echo, hello]; or a line,"),
        ("name: x\ntimeout: 90", "job.yaml:2: timeout: '90' has no unit: 90s, for example"),
        ("command: [a", "job.yaml:1: not YAML: expected ',' or ']'"),
        ("- a\n- b", "job.yaml: expected fields such as command: [sleep, 10]"),
        ("", "job.yaml: expected fields such as command: [sleep, 10]"),
        ("a: 1\n---\nb: 2", "job.yaml:2: not YAML: but found another document"),
    ],
    ids=lambda text: text.replace("\n", "|")[:30],
)
def test_what_is_wrong_with_a_job_file_is_told_with_field_and_line(text: str, said: str) -> None:
    assert refused(text).startswith(said)


@pytest.mark.parametrize("field", ["cpus: x", "count: 0", "restart: sometimes", "shell: perhaps", "max-restarts: -1"])
def test_values_are_checked_as_those_of_flags_are(field: str) -> None:
    assert refused(f"command: [a]\n{field}").startswith(f"job.yaml:2: {field.partition(':')[0]}: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resources: foo", "job.yaml:2: resources: foo: expected name:value"),
        ("constraint: ['~']", "job.yaml:2: constraint: '~': expected ATTRIBUTE=VALUE"),
        ("env: [A]", "job.yaml:2: env: 'A': expected NAME=VALUE"),
        ("label: [A]", "job.yaml:2: label: 'A': expected NAME=VALUE"),
        ("cpus: -1", "job.yaml:2: cpus: -1 is negative"),
        ("env-file: nowhere.env", "job.yaml:2: env-file: nowhere.env: No such file"),
    ],
)
def test_what_makes_no_sense_is_told_with_field_and_line_too(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(f"command: [a]\n{text}\n")
    result = CliRunner().invoke(app, ["--api", "127.0.0.1:1", "run", "-f", "job.yaml"])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())


def test_what_is_typed_goes_before_the_file_and_is_told_as_typed(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("command: [a]\nresources: foo\n")
    words = ["--api", "127.0.0.1:1", "run", "-f", str(tmp_path / "job.yaml"), "--resources", "bar"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "--resources: bar: expected name:value" in " ".join(result.output.replace("│", " ").split())
    assert CliRunner().invoke(app, [*words[:-1], "disk:1"]).exit_code == 69  # there is no gateway


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file or directory"), (b"\xff", "is not UTF-8"), (b"#" * (BYTES_MAX + 1), "has more than")],
    ids=["missing", "binary", "large"],
)
def test_a_job_file_that_cannot_be_read_is_refused(content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "job.yaml").write_bytes(content)
    with pytest.raises(typer.BadParameter, match=said):
        JobFile.read(str(tmp_path / "job.yaml"))


def test_standard_input_is_a_job_file_as_well() -> None:
    result = CliRunner().invoke(app, ["run", "-f", "-"], input="command: [a]\nbogus: 1\n")
    assert result.exit_code == 2
    assert "standard input:2: bogus: is not a field" in " ".join(result.output.split())


def test_a_file_of_variables_has_one_in_each_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "here")
    monkeypatch.delenv("NOT_HERE", raising=False)
    (tmp_path / "env").write_text("# a comment\n\nA=1\n B = spaces stay \nFROM_HERE\nNOT_HERE\nC=\nD=a=b#c\r\n")
    assert env_files.read(str(tmp_path / "env")) == ["A=1", "B= spaces stay ", "FROM_HERE=here", "C=", "D=a=b#c"]


@pytest.mark.parametrize("line", ["=x", "export A=1"])
def test_a_line_that_names_no_variable_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text(f"A=1\n{line}\n")
    with pytest.raises(typer.BadParameter, match="env:2: expected NAME=VALUE, or NAME"):
        env_files.read(str(tmp_path / "env"))
