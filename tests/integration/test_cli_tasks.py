"""`mezzo logs`, `kill`, `ls`, `cat` and `get` on tasks of a running cluster: several of them, and their sandboxes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.mezzo_command import MEZZO, PATIENCE_SECONDS, MezzoCommand

pytestmark = pytest.mark.timeout(120)

EXIT_FAILED, EXIT_NOT_FOUND, EXIT_UNREACHABLE = 1, 66, 69
SCRIPT = "for n in 1 2 3; do echo $0 $n; done; echo $0 warns >&2; mkdir -p data; echo 5 > data/five; exec sleep 1000"


@pytest.fixture(scope="module")
def mezzo(cluster: Cluster) -> MezzoCommand:
    return MezzoCommand(cluster.gateway().http)


def start(until: ExitStack, mezzo: MezzoCommand, name: str) -> subprocess.Popen[str]:
    process = until.enter_context(mezzo.started("run", "--name", name, "--", "sh", "-c", SCRIPT, name))
    assert process.stdout is not None
    for number in (1, 2, 3):
        assert process.stdout.readline() == f"{name} {number}\n"
    return process


def task_of(mezzo: MezzoCommand, name: str) -> dict[str, Any]:
    (task,) = mezzo.json("tasks", "--all", "-f", f"mezzo run {name}")
    return dict(task)


@pytest.fixture(scope="module")
def one(mezzo: MezzoCommand) -> Iterator[str]:
    """The id of a task that runs all the while, and of another."""
    with ExitStack() as until:
        start(until, mezzo, "one")
        start(until, mezzo, "two")
        yield task_of(mezzo, "one")["id"]
        mezzo("kill", "--yes", "one-", "two-")


def test_logs_of_several_tasks_say_whose_each_line_is(mezzo: MezzoCommand, one: str) -> None:
    two = task_of(mezzo, "two")["id"]
    ended = mezzo("logs", "--tail", "2", "one-", "two-")
    assert ended.stdout.splitlines() == [f"[{one}] one 2", f"[{one}] one 3", f"[{two}] two 2", f"[{two}] two 3"]
    assert ended.stderr.splitlines() == [f"[{one} stderr] one warns", f"[{two} stderr] two warns"]
    assert mezzo.output("logs", "--stdout", "--framework", "mezzo run one", "-n", "1") == "one 3\n"


def test_logs_are_followed_across_a_gateway_that_is_killed_and_comes_back(
    cluster: Cluster, mezzo: MezzoCommand, tmp_path: Path
) -> None:
    script = f"echo before; while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done; echo after"
    with mezzo.started("run", "--name", "talker", "--shell", "--", script) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "before\n"
        with mezzo.started("logs", "--follow", "talker-") as following:
            assert following.stdout is not None
            assert following.stdout.readline() == "before\n"
            cluster.gateway().process.kill()
            cluster.gateway().process.start().wait_healthy()
            (tmp_path / "gate").touch()
            assert following.stdout.readline() == "after\n"
            assert following.wait(PATIENCE_SECONDS) == 0
        assert running.wait(PATIENCE_SECONDS) == 0


def test_a_sandbox_is_listed_printed_and_copied(mezzo: MezzoCommand, one: str, tmp_path: Path) -> None:
    assert {entry["path"] for entry in mezzo.json("ls", one)} == {"data", "stderr", "stdout"}
    (five,) = mezzo.output("ls", "one-:data").splitlines()[1:]
    assert five.split()[0].startswith("-rw")
    assert five.split()[-1] == "five"
    assert mezzo.output("cat", "one-:data/five", "one-:stderr") == "5\none warns\n"
    assert mezzo.output("get", "one-", str(tmp_path)) == f"3 files, 30 bytes: {tmp_path / one}\n"
    copied = {str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()}
    assert copied == {f"{one}/{name}" for name in ("data/five", "stderr", "stdout")}
    assert (tmp_path / one / "data" / "five").read_text() == "5\n"


def test_the_sandbox_of_a_task_that_has_ended_is_there_as_well(mezzo: MezzoCommand) -> None:
    mezzo.output("run", "--name", "over", "--", "sh", "-c", "echo rest > rest")
    assert mezzo.output("cat", "over-:rest") == "rest\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("ls", "nobody"), EXIT_NOT_FOUND, "task nobody not found; mezzo tasks --all lists them"),
        (("ls", "one-:nope"), EXIT_NOT_FOUND, "file nope not found in the sandbox"),
        (("cat", "one-:../../secret"), EXIT_NOT_FOUND, "file ../../secret not found in the sandbox"),
        (("cat", "one-:data"), EXIT_FAILED, "path: data is a directory"),
        (("get", "one-:nope", "/tmp"), EXIT_NOT_FOUND, "file nope not found in the sandbox"),
        (("get", "one-:stdout", "/nowhere/x"), EXIT_FAILED, "/nowhere/x: No such file or directory"),
        (("kill", "done-"), EXIT_NOT_FOUND, " has ended already: finished"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_told_in_one_line(
    words: tuple[str, ...], code: int, said: str, mezzo: MezzoCommand, one: str
) -> None:
    if words[-1] == "done-":
        mezzo.output("run", "--name", "done", "--", "true")
    ended = mezzo(*words)
    assert (ended.code, ended.stdout) == (code, "")
    assert ended.stderr.startswith("mezzo: ")
    assert ended.stderr.endswith(f"{said}\n")
    assert ended.stderr.count("\n") == 1


def test_of_a_framework_all_tasks_are_killed_and_waited_for(mezzo: MezzoCommand) -> None:
    with ExitStack() as until:
        process = start(until, mezzo, "gone")
        task_id = task_of(mezzo, "gone")["id"]
        assert mezzo.output("kill", "--framework", "mezzo run gone", "--wait").splitlines() == [
            f"{task_id} is being killed",
            f"{task_id} has ended: killed",
        ]
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM


def test_a_task_that_does_not_end_has_the_time_that_the_kill_gives_it(mezzo: MezzoCommand) -> None:
    script = "trap 'echo no' TERM; echo up; while :; do sleep 0.02; done"
    with mezzo.started("run", "--name", "deaf", "--shell", "--", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        mezzo.output("kill", "--grace", "100ms", "--wait", "deaf-")
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGKILL


def test_on_a_terminal_several_tasks_are_killed_only_when_that_is_confirmed(mezzo: MezzoCommand) -> None:
    with ExitStack() as until:
        runs = [start(until, mezzo, name) for name in ("first", "second")]
        assert answered(mezzo, b"n\n", "kill", "first-", "second-") == EXIT_FAILED
        assert [task_of(mezzo, name)["state"] for name in ("first", "second")] == ["TASK_RUNNING"] * 2
        assert answered(mezzo, b"y\n", "kill", "first-", "second-") == 0
        assert [run.wait(PATIENCE_SECONDS) for run in runs] == [128 + signal.SIGTERM] * 2


def answered(mezzo: MezzoCommand, answer: bytes, *words: str) -> int:
    """The exit code of a verb whose standard input is a terminal on which this is typed."""
    controller, terminal = pty.openpty()
    try:
        os.write(controller, answer)
        environment = {**os.environ, "MEZZO_API": mezzo.api, "TERM": "dumb"}
        return subprocess.run(
            [MEZZO, *words], stdin=terminal, capture_output=True, env=environment, timeout=PATIENCE_SECONDS, check=False
        ).returncode
    finally:
        os.close(controller)
        os.close(terminal)
