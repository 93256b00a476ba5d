"""The `mezzo` command as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from mezzo.cli.app import app

MEZZO = Path(sys.executable).with_name("mezzo")
PATIENCE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command wrote, and its exit code."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class MezzoCommand:
    """Runs `mezzo` against one gateway."""

    api: str

    def _environment(self) -> dict[str, str]:
        return {"MEZZO_API": self.api, "TERM": "dumb"}

    def __call__(self, *words: str) -> Ended:
        """Run it to its end, in this process: starting one takes longer than what most verbs do."""
        result = CliRunner().invoke(app, words, prog_name="mezzo", env=self._environment())
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    def output(self, *words: str) -> str:
        """What it writes; it has to succeed, and to say nothing on its standard error."""
        ended = self(*words)
        assert (ended.code, ended.stderr) == (0, ""), ended
        return ended.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.output(*words, "-o", "json"))

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Start it as a process; whoever leaves this has ended it, or it is killed."""
        with subprocess.Popen(
            [MEZZO, *words],
            env={**os.environ, **self._environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()
