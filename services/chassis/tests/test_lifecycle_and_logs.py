"""A service's life, and what it says of it."""

import asyncio
import json
import subprocess
import sys

import pytest

from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.lifecycle import Lifecycle, run

PROGRAM = """
import asyncio, sys
from mezzo_chassis.lifecycle import run
from mezzo_chassis import log

log.configure("test", "info", "json")

async def serve(lifecycle):
    log.bind_correlation_id("abc")
    log.get_logger("x").info("serving", port=1, zk_password="swordfish")
    print("ready", flush=True)
    await lifecycle.stopping.wait()
    log.get_logger("x").info("ending", signal=lifecycle.signal.name)

sys.exit(run(serve, service="test"))
"""


def test_a_service_ends_on_sigterm_and_logs_json_without_secrets() -> None:
    lines = []
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "ready\n":
                process.terminate()
            else:
                lines.append(json.loads(line))
    assert process.returncode == 0
    assert [(line["event"], line["service"], line["correlation_id"]) for line in lines] == [
        ("serving", "test", "abc"),
        ("ending", "test", "abc"),
    ]
    assert lines[0]["zk_password"] == "<secret>"
    assert lines[1]["signal"] == "SIGTERM"


def test_what_keeps_a_service_from_starting_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def serve(lifecycle: Lifecycle) -> None:
        raise StartupError(Exit.UNWRITABLE, "/nowhere cannot be written")

    assert run(serve, service="agent") == Exit.UNWRITABLE
    assert capsys.readouterr().err == "mezzo agent: /nowhere cannot be written\n"


def test_a_background_task_that_fails_ends_the_service() -> None:
    async def fail() -> None:
        raise ValueError("a defect")

    async def serve(lifecycle: Lifecycle) -> None:
        lifecycle.spawn(fail(), "fail")
        lifecycle.spawn(asyncio.Event().wait(), "wait for ever")
        await lifecycle.stopping.wait()

    assert run(serve, service="agent") == Exit.FAILED
