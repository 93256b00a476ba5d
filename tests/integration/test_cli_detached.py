"""`mezzo run --detach`, `runs`, `attach` and `stop`: runs whose scheduler goes on in the background."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.mezzo_command import PATIENCE_SECONDS, MezzoCommand

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.slow("each test starts processes of Python, one after the other"),
]
EXIT_INTERRUPTED = 130
PAUSE_SECONDS = 0.05


@pytest.fixture
def mezzo(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MezzoCommand]:
    """The command of a user without runs, whose schedulers are ended with the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    mezzo = MezzoCommand(cluster.gateway().http)
    yield mezzo
    for run in mezzo.json("runs"):
        if run["scheduler_pid"] is not None:
            os.kill(run["scheduler_pid"], signal.SIGKILL)


def detach(mezzo: MezzoCommand, *words: str) -> str:
    """The id of a new run. A process of its own starts it: its child is nobody's of this one."""
    with mezzo.started("run", "--detach", *words) as process:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, err) == (0, "")
        return out.strip()


def run_of(mezzo: MezzoCommand, run_id: str) -> dict[str, Any]:
    (run,) = [each for each in mezzo.json("runs", "--all") if each["id"] == run_id]
    return dict(run)


def kill_scheduler(mezzo: MezzoCommand, run_id: str) -> None:
    os.kill(run_of(mezzo, run_id)["scheduler_pid"], signal.SIGKILL)
    until(lambda: run_of(mezzo, run_id)["scheduler_pid"] is None, "the scheduler has let go of the run")


def until_running(mezzo: MezzoCommand, run_id: str) -> None:
    until(lambda: run_of(mezzo, run_id)["tasks"][0]["state"] == "TASK_RUNNING", "the task runs")


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(PAUSE_SECONDS)


def test_a_detached_run_goes_on_is_followed_and_ends_with_its_commands_exit_code(
    mezzo: MezzoCommand, tmp_path: Path
) -> None:
    script = f"echo up; while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done; echo down; exit 3"
    run_id = detach(mezzo, "--name", "site", "--shell", "--", script)
    assert run_id.startswith("site-")
    with mezzo.started("attach", "site") as attached:
        assert attached.stdout is not None
        assert attached.stdout.readline() == "up\n"
        run = run_of(mezzo, run_id)
        assert (run["state"], [each["state"] for each in run["tasks"]]) == ("running", ["TASK_RUNNING"])
        assert "mezzo run site" in mezzo.output("frameworks")
        # Ctrl-C leaves it running.
        attached.send_signal(signal.SIGINT)
        assert attached.wait(PATIENCE_SECONDS) == EXIT_INTERRUPTED
    (tmp_path / "gate").touch()
    with mezzo.started("attach", "site") as attached:
        assert attached.communicate(timeout=PATIENCE_SECONDS) == ("up\ndown\n", "")
        assert attached.returncode == 3
    assert run_of(mezzo, run_id)["state"] == "ended, exit code 3"
    assert mezzo.output("stop", run_id) == f"{run_id} had ended already, exit code 3\n"


def test_a_scheduler_that_was_killed_is_started_again_and_takes_its_tasks_over(
    mezzo: MezzoCommand, tmp_path: Path
) -> None:
    script = f"echo up; while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done; exit 5"
    run_id = detach(mezzo, "--name", "lives", "--shell", "--", script)
    with mezzo.started("attach", run_id) as attached:
        assert attached.stdout is not None
        assert attached.stdout.readline() == "up\n"
        kill_scheduler(mezzo, run_id)
        assert attached.wait(PATIENCE_SECONDS) == 1
        assert attached.stderr is not None
        assert f"the scheduler of run {run_id} has ended, its tasks have not" in attached.stderr.read()
    assert run_of(mezzo, run_id)["state"] == "no scheduler"
    (task,) = mezzo.json("tasks", "-f", "mezzo run lives")
    with mezzo.started("attach", run_id) as attached:
        assert attached.stdout is not None
        assert attached.stdout.readline() == "up\n"
        # The same task, of the same framework.
        assert [each["id"] for each in mezzo.json("tasks", "-f", task["framework_id"])] == [task["id"]]
        (tmp_path / "gate").touch()
        assert attached.wait(PATIENCE_SECONDS) == 5
        assert attached.stderr is not None
        assert attached.stderr.read() == f"mezzo: run {run_id} had no scheduler; a new one has taken its tasks over\n"
    assert "mezzo run lives" not in mezzo.output("frameworks")


def test_what_ended_while_there_was_no_scheduler_is_heard_of_by_the_next(mezzo: MezzoCommand, tmp_path: Path) -> None:
    script = f"while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done; echo over; exit 6"
    run_id = detach(mezzo, "--name", "missed", "--shell", "--", script)
    until_running(mezzo, run_id)
    kill_scheduler(mezzo, run_id)
    (tmp_path / "gate").touch()
    with mezzo.started("attach", run_id) as attached:
        out, _ = attached.communicate(timeout=PATIENCE_SECONDS)
        assert (attached.returncode, out) == (6, "over\n")


def test_stop_ends_the_tasks_of_a_run_and_its_scheduler(mezzo: MezzoCommand) -> None:
    run_id = detach(mezzo, "--name", "two", "--count", "2", "--restart", "always", "--", "sleep", "1000")
    assert mezzo.output("stop", "two") == f"{run_id} has ended\n"
    run = run_of(mezzo, run_id)
    assert (run["scheduler_pid"], run["exit_code"] is not None) == (None, True)
    assert not known(mezzo, "mezzo run two")
    assert not [task for task in mezzo.json("tasks") if task["id"].startswith(run_id)]
    assert mezzo.json("runs") == []


def known(mezzo: MezzoCommand, framework: str) -> bool:
    return any(each["name"] == framework for each in mezzo.json("frameworks"))


def test_stop_without_a_scheduler_tears_the_framework_down(mezzo: MezzoCommand) -> None:
    run_id = detach(mezzo, "--name", "orphan", "--", "sleep", "1000")
    until_running(mezzo, run_id)
    kill_scheduler(mezzo, run_id)
    assert known(mezzo, "mezzo run orphan")
    ended = mezzo("stop", run_id)
    assert (ended.code, ended.stdout) == (0, f"{run_id} has ended\n")
    assert "has no scheduler; its framework is torn down" in ended.stderr
    assert not known(mezzo, "mezzo run orphan")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--role", "two words"), 125, "mezzo: --role: 'two words' has white space"),
        (("--name", "x" * 300), 125, "mezzo: the state of the run cannot be kept: "),
    ],
    ids=["refused", "unwritable"],
)
def test_a_run_that_cannot_be_begun_is_told_at_once(
    words: tuple[str, ...], code: int, said: str, mezzo: MezzoCommand
) -> None:
    ended = mezzo("run", "--detach", *words, "--", "true")
    assert (ended.code, ended.stdout) == (code, "")
    assert ended.stderr.startswith(said)
    assert ended.stderr.count("\n") == 1
    assert json.loads(mezzo.output("runs", "-o", "json")) == []
