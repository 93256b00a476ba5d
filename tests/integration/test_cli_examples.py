"""Every example of docs/cli.md and of the verbs' help, played on a cluster."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mezzo.cli.examples import Example
from scripts.cli_reference import verbs
from tests.cluster import Cluster
from tests.mezzo_command import MEZZO, PATIENCE_SECONDS, Ended, MezzoCommand

pytestmark = pytest.mark.timeout(120)

EXAMPLES = [example for verb in verbs() for example in verb.examples]
# What only a shell understands; a line without runs in this process, which is quicker.
OF_A_SHELL = re.compile(r"[|&;<>$`*?()]")
TASK = 'echo "$0 is up"; echo "$0 warns" >&2; trap "exit 0" TERM; while :; do sleep 0.05; done'


class Tasks:
    """Tasks that run for as long as nobody ends them."""

    def __init__(self, mezzo: MezzoCommand, until: ExitStack) -> None:
        self._mezzo = mezzo
        self._until = until
        self._running: dict[str, subprocess.Popen[str]] = {}

    def run(self, name: str) -> None:
        """Have a task of this name run, unless one does; its id begins with the name."""
        if name in self._running and self._running[name].poll() is None:
            return
        process = self._until.enter_context(self._mezzo.started("run", "--name", name, "--", "sh", "-c", TASK, name))
        assert process.stdout is not None
        assert process.stdout.readline() == f"{name} is up\n"
        self._running[name] = process


@pytest.fixture(scope="module")
def mezzo(cluster: Cluster) -> MezzoCommand:
    return MezzoCommand(cluster.gateway().http)


@pytest.fixture(scope="module", autouse=True)
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the contexts of whoever runs the test as they are."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="module")
def tasks(mezzo: MezzoCommand) -> Iterator[Tasks]:
    with ExitStack() as until:
        yield Tasks(mezzo, until)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.line)
def test_an_example_does_what_it_says(
    example: Example, mezzo: MezzoCommand, tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in example.on:
        tasks.run(name)
    if example.follows:
        shown_until_interrupted(example, mezzo, tmp_path)
        return
    ended = played(example.line, mezzo, tmp_path)
    assert ended.code == example.code, ended
    assert re.search(example.shows, ended.stdout + ended.stderr, re.MULTILINE), ended


def played(line: str, mezzo: MezzoCommand, folder: Path) -> Ended:
    if line.startswith("mezzo ") and not OF_A_SHELL.search(line):
        return mezzo(*shlex.split(line)[1:])
    ended = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment(mezzo),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def shown_until_interrupted(example: Example, mezzo: MezzoCommand, folder: Path) -> None:
    """Play what goes on: it shows what it shall, and ends when it is interrupted."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {example.line}"],
        cwd=folder,
        env=environment(mezzo),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            shown = ""
            while not re.search(example.shows, shown, re.MULTILINE):
                line = process.stdout.readline()
                assert line, f"it has ended, and has shown {shown!r}"
                shown += line
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            assert process.wait(PATIENCE_SECONDS) == example.code
        finally:
            process.kill()


def environment(mezzo: MezzoCommand) -> dict[str, str]:
    path = f"{MEZZO.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "MEZZO_API": mezzo.api, "TERM": "dumb"}
