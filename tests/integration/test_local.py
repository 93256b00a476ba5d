"""`mezzo local`: a cluster that keeps others out of its folder, and leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.mezzo_command import PATIENCE_SECONDS, MezzoCommand

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.slow("starts clusters as a user does, and waits for tasks that will not end"),
]

EXIT_FAILED = 1
NOBODY = MezzoCommand("127.0.0.1:1")


def words_for(work_dir: Path) -> tuple[str, ...]:
    """What to type for a cluster in this folder, on ports that are free."""
    return ("local", "--tasks=0", "--port=0", "--agent-port=0", "--work-dir", str(work_dir))


@contextmanager
def local(work_dir: Path) -> Iterator[tuple[subprocess.Popen[str], MezzoCommand]]:
    """A local cluster that is up, and the command that asks it."""
    with NOBODY.started(*words_for(work_dir)) as process:
        try:
            yield process, MezzoCommand(address_told_by(process))
        finally:
            process.kill()
            for each in processes_of(work_dir):
                each.kill()


def address_told_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        _, found, address = line.partition("mezzo --api ")
        if found:
            return address.split()[0]
    assert process.stderr is not None
    raise AssertionError(f"it has ended: {lines}, {process.stderr.read()}")


def processes_of(work_dir: Path) -> list[psutil.Process]:
    """Services and tasks of the cluster in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(work_dir) in " ".join(process.cmdline()) or process.cwd().startswith(str(work_dir)):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def agents_of(work_dir: Path) -> list[psutil.Process]:
    """The agents that keep their state in this folder."""
    return [each for each in processes_of(work_dir) if each.cmdline()[1:3] == ["-m", "mezzo_agent"]]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP], ids=["ctrl-c", "terminal-closed"])
def test_a_task_that_ignores_sigterm_does_not_outlive_the_cluster(how: signal.Signals, tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    script = "trap '' TERM; echo up; while :; do sleep 0.02; done"
    with local(work_dir) as (process, mezzo), mezzo.started("run", "--shell", "--", script) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        process.send_signal(how)
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0
        assert processes_of(work_dir) == []


def test_a_second_cluster_in_the_same_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    with local(work_dir) as (process, mezzo):
        logs = {path: path.read_bytes() for path in (work_dir / "logs").glob("*.log")}
        assert all(logs.values())
        refused = NOBODY(*words_for(work_dir))
        assert (refused.code, refused.stderr) == (
            EXIT_FAILED,
            f"mezzo: another mezzo local (process {process.pid}) uses {work_dir}; give each its own with --work-dir\n",
        )
        assert all(path.read_bytes().startswith(before) for path, before in logs.items())
        assert mezzo.output("run", "--", "echo", "still here") == "still here\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0


def test_a_service_that_ends_is_started_again_and_tasks_run_on(tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    with local(work_dir) as (process, mezzo), mezzo.started("run", "--shell", "--", "echo up; sleep 1000") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        (agent,) = agents_of(work_dir)
        agent.kill()
        again = mezzo("run", "--", "echo", "still here")
        assert (again.code, again.stdout) == (0, "still here\n")
        (another,) = agents_of(work_dir)
        assert another.pid != agent.pid
        assert running.poll() is None
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert "The agent exited with code -9, and is started again" in output
        assert processes_of(work_dir) == []
