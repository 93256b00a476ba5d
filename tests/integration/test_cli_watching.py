"""What changes while `mezzo` looks: lists that go on, events, and agents that are lost."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.mezzo_command import PATIENCE_SECONDS, MezzoCommand

pytestmark = pytest.mark.timeout(120)

EXIT_NOT_FOUND, EXIT_INTERRUPTED = 66, 130
PAUSE_SECONDS = 0.05


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that soon gives agents up."""
    flags = {"registry": {"agent_ping_timeout": "500ms", "max_agent_ping_timeouts": 2}}
    with Cluster(tmp_path_factory.mktemp("cluster"), agents=2, flags=flags) as running:
        yield running


@pytest.fixture(scope="module")
def mezzo(cluster: Cluster) -> MezzoCommand:
    return MezzoCommand(cluster.gateway().http)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "it has ended"
    return line


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(PAUSE_SECONDS)


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == EXIT_INTERRUPTED
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_a_list_that_is_watched_shows_each_task_again_when_it_changes_and_ends(mezzo: MezzoCommand) -> None:
    with mezzo.started("tasks", "--watch") as watching:
        assert line_of(watching).split()[:2] == ["ID", "NAME"]
        mezzo.output("run", "--name", "seen", "--", "true")
        shown = ""
        while " finished " not in shown:
            shown = line_of(watching)
            assert shown.startswith("seen-")
        interrupt(watching)


def test_programs_are_given_a_document_on_each_change(mezzo: MezzoCommand) -> None:
    with mezzo.started("run", "--name", "told", "--shell", "--", "echo up; exec sleep 1000") as running:
        assert line_of(running) == "up\n"
        with mezzo.started("frameworks", "-w", "-o", "json") as watching:
            document: dict[str, Any] = json.loads(line_of(watching))
            assert (document["name"], document["unregistered_time"]) == ("mezzo run told", 0.0)
            running.send_signal(signal.SIGINT)
            while not document["unregistered_time"]:
                document = json.loads(line_of(watching))
                assert document["name"] == "mezzo run told"
            interrupt(watching)


def test_events_are_told_as_they_come(mezzo: MezzoCommand) -> None:
    types = "subscribed,framework_added,task_added,task_updated,framework_removed"
    with mezzo.started("events", "--type", types, "-o", "json") as following:
        assert json.loads(line_of(following))["type"] == "SUBSCRIBED"
        mezzo.output("run", "--name", "happens", "--", "true")
        seen: list[str] = []
        while seen[-1:] != ["FRAMEWORK_REMOVED"]:
            seen.append(json.loads(line_of(following))["type"])
        interrupt(following)
    assert [each for each in seen if each != "TASK_UPDATED"] == ["FRAMEWORK_ADDED", "TASK_ADDED", "FRAMEWORK_REMOVED"]
    assert "TASK_UPDATED" in seen


def test_an_agent_that_is_lost_is_shown_with_since_when_and_back_when_it_is(
    cluster: Cluster, mezzo: MezzoCommand
) -> None:
    ids = {agent["pid"].partition("@")[2]: agent["id"] for agent in mezzo.json("agents")}
    lost = ids[cluster.agent(1).http]
    cluster.agent(1).process.kill()

    def is_shown(pattern: str) -> bool:
        rows = [line for line in mezzo.output("agents").splitlines() if line.startswith(lost)]
        assert len(rows) == 1
        return re.search(pattern, rows[0]) is not None

    since = r" 127\.0\.0\.1 +unreachable since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    until(lambda: is_shown(since), "it is unreachable")
    (document,) = [agent for agent in mezzo.json("agents") if agent["id"] == lost]
    assert (document["standing"], document["active"]) == ("UNREACHABLE", False)
    assert document["since"] > 0
    assert mezzo.output("agents", "--state", "unreachable", "-o", "name") == f"{lost}\n"
    assert "1 active, 1 unreachable" in mezzo.output("status")
    described = mezzo.output("describe", "agent", lost.rpartition("-")[2])
    assert re.search(r"^State +unreachable since ", described, re.MULTILINE)
    ended = mezzo("why", "--agent", lost.rpartition("-")[2])
    assert (ended.code, ended.stdout) == (EXIT_NOT_FOUND, "")
    assert re.fullmatch(rf"mezzo: agent {lost} is unreachable since \d{{4}}-[\d-]+ [\d:]+ UTC\n", ended.stderr)
    cluster.agent(1).process.start().wait_healthy()
    until(lambda: is_shown(" active "), "it is back")
