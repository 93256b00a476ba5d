"""What the verbs import: gRPC and the messages take longer than what most verbs do, and are for those that use them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("grpc", "google.protobuf", "mesos", "psutil")
PATIENCE_SECONDS = 60

# Runs one command, and writes what was imported for it.
SCRIPT = """
import json, sys
from mezzo.cli.app import app
try:
    app(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
print()
print(json.dumps([code, sorted(sys.modules)]))
"""
UNREACHABLE = 69


def run(*words: str) -> tuple[int, set[str]]:
    """The exit code, and the modules that were imported."""
    command = [sys.executable, "-c", SCRIPT, *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
    code, modules = json.loads(ended.stdout.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["local", "--help"]], ids=" ".join)
def test_help_imports_nothing_that_it_does_not_need(words: list[str]) -> None:
    code, modules = run(*words)
    assert code == 0
    assert modules.isdisjoint((*HEAVY, "aiohttp"))


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["agents"],
        ["frameworks"],
        ["tasks"],
        ["roles"],
        ["quota"],
        ["weights"],
        ["why"],
        ["logs", "x"],
        ["members"],
        ["describe", "task", "x"],
        ["events"],
        ["maintenance"],
    ],
    ids=" ".join,
)
def test_verbs_that_ask_over_http_import_no_grpc(words: list[str]) -> None:
    code, modules = run("--api", "127.0.0.1:1", *words)
    assert (code, "aiohttp" in modules) == (UNREACHABLE, True)
    assert modules.isdisjoint(HEAVY)


def test_a_run_imports_what_it_speaks_with() -> None:
    code, modules = run("--api", "127.0.0.1:1", "run", "--", "true")
    assert code == UNREACHABLE
    assert {"mesos.v1.mesos_pb2", "aiohttp"} <= modules
