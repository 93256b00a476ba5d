"""The health check of containers: one line, and an exit code."""

import asyncio
import subprocess
import sys

import pytest

from mezzo_chassis import health
from mezzo_chassis.errors import Exit
from mezzo_chassis.rpc import start_server
from mezzo_chassis.testing import free_port


async def checked(*arguments: str) -> tuple[int, str]:
    """The exit code of the command, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mezzo_chassis.health", *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def test_a_service_is_healthy_while_it_serves() -> None:
    server = await start_server("127.0.0.1", 0, [], [])
    target = f"127.0.0.1:{server.port}"
    try:
        assert await checked(target) == (0, f"{target}: SERVING\n")
        await server.set_serving(False)
        assert await checked(target) == (Exit.FAILED, f"{target}: NOT_SERVING\n")
    finally:
        await server.stop(0)


def test_a_service_that_is_not_there_is_not_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    target = f"127.0.0.1:{free_port()}"
    assert health.main([target, "--timeout=2secs"]) == Exit.FAILED
    assert capsys.readouterr().out == f"{target}: no answer (UNAVAILABLE)\n"


@pytest.mark.parametrize("arguments", [[], ["5060"], ["127.0.0.1:1", "127.0.0.1:2"], ["127.0.0.1:1", "--timeout=soon"]])
def test_what_is_no_address_is_a_wrong_configuration(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(arguments) == Exit.BAD_CONFIGURATION
    assert capsys.readouterr().err.startswith("usage: ")
