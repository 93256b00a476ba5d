"""The environments in which programs that others wrote are installed, and how the tests run what is in them."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "programs"
SECONDS_MAX = 120
ERROR_CHARACTERS_MAX = 4000


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment in `.cache`, written by scripts/install-test-programs.sh."""

    name: str

    @property
    def bin(self) -> Path:
        return REPOSITORY / ".cache" / self.name / "bin"

    @property
    def python(self) -> Path:
        return self.bin / "python"

    def needs(self, module: str) -> None:
        """Skip the test, with the reason, where the environment is missing or `module` cannot be imported."""
        if not self.python.exists():
            pytest.skip(f".cache/{self.name} is not installed: scripts/install-test-programs.sh installs it")
        command = [str(self.python), "-W", "ignore", "-c", f"import {module}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{module} cannot be imported here: {done.stderr.splitlines()[-1]}")

    def run(
        self,
        *command: object,
        prefix: list[str] | None = None,
        variables: Mapping[str, str] | None = None,
        status: int = 0,
    ) -> str:
        """What a command of the environment prints; `prefix` is what runs it.

        Raises:
            AssertionError: It exits with another status; with the end of what it wrote to stderr.
        """
        done = subprocess.run(
            [*(prefix or []), *map(str, command)],
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
            env={**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", **(variables or {})},
        )
        assert done.returncode == status, done.stderr[-ERROR_CHARACTERS_MAX:]
        return done.stdout

    def answer(self, program: str, *arguments: object, **options: Any) -> Any:
        """The JSON on the last line that a program of ours prints; `options` are those of `run`."""
        return json.loads(self.run(self.python, PROGRAMS / program, *arguments, **options).splitlines()[-1])


def under_another_name(folder: Path) -> list[str]:
    """What runs a command so that its user is not called root: DPark refuses root by name.

    Root stays root, in a mount namespace where /etc/passwd has another name for it. Skips the test where that is
    not allowed.
    """
    if pwd.getpwuid(os.getuid()).pw_name != "root":
        return []
    passwd = folder / "passwd"
    passwd.write_text(f"dpark:x:0:0:dpark:{folder}:/bin/sh\n{Path('/etc/passwd').read_text()}")
    renamed = ["unshare", "--mount", "sh", "-ec", 'mount --bind "$0" /etc/passwd; exec "$@"', str(passwd)]
    if not shutil.which("unshare") or subprocess.run([*renamed, "true"], capture_output=True, check=False).returncode:
        pytest.skip("DPark refuses to run as root, and this root may not make a mount namespace")
    return renamed
