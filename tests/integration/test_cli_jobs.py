"""`mezzo run` with all that it can do, on a running cluster: several tasks, again and again, where they match."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.mezzo_command import MEZZO, PATIENCE_SECONDS, MezzoCommand

pytestmark = pytest.mark.timeout(120)

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose agent stands in a rack."""
    flags = {"agent": {"attributes": "rack:a;level:3"}}
    with Cluster(tmp_path_factory.mktemp("cluster"), flags=flags) as running:
        yield running


@pytest.fixture(scope="module")
def mezzo(cluster: Cluster) -> MezzoCommand:
    return MezzoCommand(cluster.gateway().http)


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip() for _ in range(count)]


def tasks_of(mezzo: MezzoCommand, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = mezzo.json("tasks", "--all", "-f", f"mezzo run {name}")
    return found


def test_several_tasks_say_whose_each_line_is_and_end_as_the_first_that_failed(mezzo: MezzoCommand) -> None:
    script = 'case "$MESOS_TASK_ID" in *-1) exit 4;; esac; echo out; echo err >&2'
    ended = mezzo("run", "--name", "three", "--count", "3", "--label", "tier=front", "--shell", "--", script)
    ids = sorted(task["id"] for task in tasks_of(mezzo, "three"))
    assert len(ids) == 3
    assert sorted(ended.stdout.splitlines()) == [f"[{ids[0]}] out", f"[{ids[2]}] out"]
    assert sorted(ended.stderr.splitlines()) == [
        f"[{ids[0]} stderr] err",
        f"[{ids[2]} stderr] err",
        f"mezzo: task {ids[1]} exited with 4",
    ]
    assert ended.code == 4
    # The label selects them.
    logs = mezzo.output("logs", "-l", "tier=front", "--all", "--stdout").splitlines()
    assert logs == [f"[{ids[0]}] out", f"[{ids[2]}] out"]


def test_one_ctrl_c_ends_all_tasks_also_those_that_are_started_again(mezzo: MezzoCommand) -> None:
    words = ("--name", "many", "--count", "2", "--restart", "always", "--shell", "--", "echo up; exec sleep 1000")
    with mezzo.started("run", *words) as process:
        assert all(line.endswith("] up") for line in lines(process, 2))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
        assert process.stderr is not None
        told = process.stderr.read().splitlines()
    assert told[0] == "mezzo: killing 2 tasks; another Ctrl-C does not wait for the end"
    assert [task["state"] for task in tasks_of(mezzo, "many")] == ["TASK_KILLED"] * 2
    assert len(told) == 3


def test_a_task_that_is_always_to_run_is_started_again_when_somebody_kills_it(mezzo: MezzoCommand) -> None:
    script = "echo up; exec sleep 1000"
    with mezzo.started("run", "--name", "phoenix", "--restart", "always", "--shell", "--", script) as process:
        assert lines(process, 1) == ["up"]
        mezzo.output("kill", "phoenix-")
        assert lines(process, 1) == ["up"]
        assert process.stderr is not None
        assert process.stderr.readline().partition("ended: killed")[2].endswith("(restart 1)\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    assert [task["state"] for task in tasks_of(mezzo, "phoenix")] == ["TASK_KILLED"] * 2


@pytest.mark.parametrize(
    ("constraint", "said"),
    [
        ("rack=b", "the agent does not meet the framework's offer constraints"),
        ("hostname~other.*", "the agent does not meet the framework's offer constraints"),
        # An attribute that is no text passes in the cluster, and is looked at by the run itself.
        ("level=4", "offers are declined for --constraint: 127.0.0.1 has level 3"),
    ],
)
def test_a_run_whose_constraint_no_agent_meets_says_which(constraint: str, said: str, mezzo: MezzoCommand) -> None:
    with mezzo.started("run", "--name", "picky", "--constraint", constraint, "--", "true") as process:
        assert process.stderr is not None
        assert said in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == EXIT_INTERRUPTED


def test_a_run_whose_constraints_hold_is_launched(mezzo: MezzoCommand) -> None:
    met = ("rack=a", "rack!=b", "rack~[ab]", "level=3", "hostname!~other.*", "unique:hostname")
    words = [word for constraint in met for word in ("--constraint", constraint)]
    assert mezzo.output("run", *words, "--", "echo", "here") == "here\n"


def test_of_tasks_that_need_a_place_of_their_own_the_second_waits(mezzo: MezzoCommand) -> None:
    words = ("--name", "apart", "--count", "2", "--constraint", "unique:rack")
    with mezzo.started("run", *words, "--shell", "--", "echo up; exec sleep 1000") as process:
        assert len(lines(process, 1)) == 1
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("mezzo: 1 of 2 tasks is waiting for an offer: ")
        assert "127.0.0.1 has rack a, as another task of the run" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM


def test_a_job_file_says_what_flags_say(mezzo: MezzoCommand, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=from the file\nB=overridden\n")
    job = {
        "command": 'echo "$A" "$B"; exit $C',
        "shell": True,
        "name": "filed",
        "env": {"B": "from the job", "C": "2"},
        "env-file": str(tmp_path / "env"),
        "label": {"tier": "filed"},
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    ended = mezzo("run", "--file", str(tmp_path / "job.json"), "--env", "C=3")
    # What is typed goes before the file, flag by flag: then B is that of the file of variables.
    assert (ended.code, ended.stdout) == (3, "from the file overridden\n")
    (task,) = tasks_of(mezzo, "filed")
    assert task["labels"] == [{"key": "tier", "value": "filed"}]


def test_a_dry_run_launches_nothing_and_says_what_it_would(mezzo: MezzoCommand) -> None:
    before = mezzo.json("frameworks", "--all")
    ended = mezzo("run", "--dry-run", "--name", "dry", "--label", "a=b", "--timeout", "90s", "--", "true")
    task = json.loads(ended.stdout)
    assert (ended.code, task["name"], task["max_completion_time"]) == (0, "dry", {"nanoseconds": 90_000_000_000})
    assert ended.stderr == "mezzo: nothing was launched; 1 task would be, on 127.0.0.1\n"
    large = mezzo("run", "--dry-run", "--constraint", "rack=b", "--", "true")
    assert large.code == EXIT_FAILED
    assert large.stderr.splitlines()[1:] == ["mezzo: 1 agent: has rack a (--constraint)"]
    assert [each["id"] for each in mezzo.json("frameworks", "--all")] == [each["id"] for each in before]


def test_a_task_that_runs_for_too_long_is_killed(mezzo: MezzoCommand) -> None:
    ended = mezzo("run", "--timeout", "300ms", "--name", "slow", "--", "sleep", "1000")
    assert ended.code == 124
    (task,) = tasks_of(mezzo, "slow")
    assert ended.stderr == f"mezzo: task {task['id']} was killed: it ran for longer than --timeout allows\n"


def test_a_terminal_that_goes_away_takes_the_task_with_it(mezzo: MezzoCommand) -> None:
    controller, terminal = pty.openpty()
    attributes = termios.tcgetattr(terminal)
    attributes[1] &= ~termios.OPOST  # newlines as they are
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    environment = {**os.environ, "MEZZO_API": mezzo.api, "TERM": "dumb"}
    words = [str(MEZZO), "run", "--name", "hung", "--shell", "--", "echo up; exec sleep 1000"]

    def own_terminal() -> None:
        import fcntl

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        words,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
        start_new_session=True,
        preexec_fn=own_terminal,
    ) as process:
        os.close(terminal)
        try:
            assert os.read(controller, 3) == b"up\n"
            os.close(controller)  # as when a window is closed: SIGHUP, and nobody to write to
            assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
        finally:
            process.kill()
    (task,) = tasks_of(mezzo, "hung")
    assert task["state"] == "TASK_KILLED"


def test_a_reader_that_has_seen_enough_takes_the_task_with_it(mezzo: MezzoCommand) -> None:
    script = "while echo line; do sleep 0.02; done"
    with mezzo.started("run", "--name", "read", "--shell", "--", script) as process:
        assert lines(process, 1) == ["line"]
        assert process.stdout is not None
        process.stdout.close()
        process.wait(PATIENCE_SECONDS)
    (task,) = tasks_of(mezzo, "read")
    assert task["state"] == "TASK_KILLED"
