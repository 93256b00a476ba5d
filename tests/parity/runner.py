"""Runs tests in forks of a process that has imported what they need from elsewhere, and none of our own modules.

A line of JSON comes in: the arguments for pytest, and where its output goes. A line goes out when it has ended. Most of
what it takes to run one test is to import pytest, numpy and gRPC, which is done once here.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence

import pytest

# What our modules and tests import most; what is not installed is left to those who need it.
PRELOADED = (
    *("numpy", "hypothesis", "grpc.aio", "aiohttp.web", "prometheus_client", "structlog", "kazoo.client", "re2"),
    *("google.protobuf.json_format", "pytest_asyncio.plugin", "numba", "typer", "yaml"),
)
PATIENCE_S = 0.01


def main(limit_s: float) -> None:
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and with it whatever runs
    for line in sys.stdin:
        request = json.loads(line)
        print(run(request["arguments"], request["output"], limit_s), flush=True)


def run(arguments: Sequence[str], output: str, limit_s: float) -> int:
    """Run pytest in a fork, for so many seconds at most; return its exit status, -1 if it was stopped or died."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, ours in ((nothing, 0), (file, 1), (file, 2)):
            os.dup2(descriptor, ours)
        status = 3
        try:
            status = int(pytest.main([*arguments, "-W", "ignore:Module already imported"]))
        except BaseException:  # noqa: BLE001  nothing may return into the parent's loop
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    end = time.monotonic() + limit_s
    try:
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
            time.sleep(PATIENCE_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what a test started and did not end
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1


if __name__ == "__main__":
    main(float(sys.argv[1]))
