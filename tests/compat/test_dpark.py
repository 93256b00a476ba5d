"""DPark, unmodified: `drun`, and a job whose stages run on DPark's own executor."""

import asyncio
import json
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster import Cluster
from tests.compat.environments import PROGRAMS, Environment, under_another_name
from tests.polling import eventually

DPARK = Environment("dpark")
NEEDED = ("-c", 0.1)
# No flag of DPark's changes it.
DPARK_WEB_PORT = 5055
SECONDS_ALLOWED = 5
# drun's status when a job is not done by then.
TIMED_OUT = 2


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables that name DPark's own configuration: what it writes stays in a folder of the tests."""
    folder = tmp_path_factory.mktemp("settings")
    file = folder / "dpark.conf"
    file.write_text(f"DPARK_WORK_DIR = {str(folder / 'work')!r}\n")
    return {"DPARK_CONF": str(file)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]) -> Iterator[Cluster]:
    """One whose agent runs the tasks of any user as itself: root's other name is unknown to it.

    Executors inherit nothing but what the agent is told, which is how an operator configures DPark on all machines.
    """
    DPARK.needs("dpark.schedule")
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        pytest.skip("DPark's executors connect to this machine's name, which does not resolve")
    folder = tmp_path_factory.mktemp("dpark")
    variables = json.dumps({"PATH": os.environ["PATH"], **settings})
    agent = {"switch_user": "false", "executor_environment_variables": variables}
    with Cluster(folder, flags={"agent": agent}) as running:
        yield running


def frameworks(cluster: Cluster) -> Any:
    with urllib.request.urlopen(f"{cluster.url}/frameworks", timeout=30) as response:
        return json.load(response)


def test_drun_runs_commands_and_prints_what_they_print(
    cluster: Cluster, settings: dict[str, str], tmp_path: Path
) -> None:
    command = [DPARK.bin / "drun", "-s", cluster.gateway().http, "-n", 3, *NEEDED, "-m", 32]
    command += ["sh", "-c", "echo $DRUN_RANK of $DRUN_SIZE"]
    lines = DPARK.run(*command, prefix=under_another_name(tmp_path), variables=settings).splitlines()
    host = socket.gethostname()
    printed = sorted(line for line in lines if line.startswith("["))
    assert printed == [f"[{number}-0@{host}] {number} of 3" for number in range(3)]


async def test_drun_ends_its_framework_and_what_still_runs_when_its_time_is_up(
    cluster: Cluster, settings: dict[str, str], tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    command = [DPARK.bin / "drun", "-s", cluster.gateway().http, "-t", SECONDS_ALLOWED, *NEEDED, "-m", 32]
    command += ["sh", "-c", f"echo $$ > {pid}; exec sleep 1000"]
    options: dict[str, Any] = {"prefix": under_another_name(tmp_path), "variables": settings, "status": TIMED_OUT}
    await asyncio.to_thread(DPARK.run, *command, **options)
    known = frameworks(cluster)
    assert known["frameworks"] == []
    framework = next(each for each in known["completed_frameworks"] if f"-t {SECONDS_ALLOWED}" in each["name"])
    assert [task["state"] for task in framework["completed_tasks"]] == ["TASK_KILLED"]

    async def ended() -> bool:
        return not psutil.pid_exists(int(pid.read_text()))

    await eventually(ended, "the end of what drun ran")


class NotHere(BaseHTTPRequestHandler):
    """A web server that has nothing."""

    def do_GET(self) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, *arguments: object) -> None:
        """Nothing: who asks is no matter."""


@pytest.fixture
def web_port() -> Iterator[None]:
    """Listen where DPark's executors look for a web server of DPark, or skip the test where something else does.

    They end when it answers anything but HTTP, as gRPC does; and clusters of tests that run at the same time take that
    port where it is free.
    """
    try:
        server = ThreadingHTTPServer(("", DPARK_WEB_PORT), NotHere)
    except OSError:
        pytest.skip(f"something listens on port {DPARK_WEB_PORT}, where DPark's executors expect a web server of DPark")
    with server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield
        server.shutdown()
        serving.join()


@pytest.mark.usefixtures("web_port")
@pytest.mark.parametrize("role", [None, "science"])
def test_dpark_counts_words(role: str | None, cluster: Cluster, settings: dict[str, str], tmp_path: Path) -> None:
    command = [DPARK.python, PROGRAMS / "dpark_words.py", "-m", cluster.gateway().http, *NEEDED, "-M", 32]
    command += ["--role", role] if role else []
    printed = DPARK.run(*command, prefix=under_another_name(tmp_path), variables=settings)
    counts = json.loads(printed.splitlines()[-1])
    assert counts == {"to": 2, "be": 2, "or": 1, "not": 1, "that": 1, "is": 1, "the": 1, "question": 1}
