"""Detached runs as they are kept on this machine: who may read them, who is their scheduler, which are forgotten."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mezzo.cli import exit_codes
from mezzo.cli.app import app
from mezzo.cli.errors import ApiError
from mezzo.cli.jobs import background, detached
from mezzo.cli.jobs import home as module
from mezzo.cli.jobs.detached import Stamped, Starter
from mezzo.cli.jobs.framework import JobFramework
from mezzo.cli.jobs.home import RunFolder, RunHome
from mezzo.cli.jobs.job import Job
from mezzo.cli.jobs.spec import JobSpec

JOB = Job(JobSpec(["true"], env=["PASSWORD=secret"]), "web-1").document()


@pytest.fixture
def home(tmp_path: Path) -> RunHome:
    return RunHome(tmp_path / "runs")


def test_a_run_is_kept_for_its_owner_alone(home: RunHome) -> None:
    before = os.umask(0)
    try:
        folder = home.create("web-1", "http://h:1", JOB)
        with folder.held(), folder.served():
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (folder.path, *folder.path.iterdir())}
    finally:
        os.umask(before)
    assert modes == {"web-1": 0o700, "run.json": 0o600, "lock": 0o600, "scheduler": 0o600}
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_what_was_kept_is_what_is_loaded(home: RunHome) -> None:
    folder = home.create("web-1", "http://h:1", JOB)
    run = RunFolder(folder.path).load()
    assert (run.id, run.api, run.job, run.ended) == ("web-1", "http://h:1", JOB, False)
    run.framework_id, run.exit_code = "F1", 3
    folder.save(run)
    assert home.find("we").load() == run


@pytest.mark.parametrize("content", [b"", b"[]", b'{"id": "x"}', b"{"])
def test_what_another_version_has_kept_is_named(content: bytes, home: RunHome) -> None:
    folder = home.create("web-1", "http://h:1", JOB)
    (folder.path / "run.json").write_bytes(content)
    with pytest.raises(ApiError, match="web-1 was written by another version of mezzo"):
        folder.load()


@pytest.mark.parametrize("output", ["wide", "json", "yaml"])
def test_the_password_of_a_gateway_is_not_shown(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    RunHome().create("web-1", "http://me:secret@h:1", JOB)
    shown = CliRunner().invoke(app, ["runs", "-o", output]).stdout
    assert "http://h:1" in shown
    assert "secret" not in shown


def test_a_run_of_a_later_version_is_not_misread(home: RunHome, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home.create("web-1", "http://h:1", JOB)
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    with pytest.raises(ApiError, match="another version"):
        folder.load()


def test_runs_that_cannot_be_read_do_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("bad", "good"):
        RunHome().create(name, "http://h:1", JOB)
    (RunHome().path / "bad" / "run.json").write_text("{")
    result = CliRunner().invoke(app, ["runs"])
    assert (result.exit_code, result.stdout.splitlines()[1].split()[:4]) == (0, ["good", "no", "scheduler", "1"])
    assert result.stderr.startswith("mezzo: ")
    assert "another version" in result.stderr


def test_a_run_has_one_scheduler_at_a_time(home: RunHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    folder = home.create("web-1", "http://h:1", JOB)
    assert folder.scheduler_pid() is None
    with folder.held() as first:
        with RunFolder(folder.path).held() as second:
            assert (first, second) == (True, False)
        with folder.served():
            assert folder.scheduler_pid() == os.getpid()
        waiting = threading.Thread(target=folder.wait_for_scheduler)
        waiting.start()
    waiting.join(timeout=30)
    assert not waiting.is_alive()
    assert folder.scheduler_pid() is None


def test_the_process_of_an_earlier_scheduler_is_never_taken_for_that_of_the_next(home: RunHome) -> None:
    folder = home.create("web-1", "http://h:1", JOB)
    (folder.path / "scheduler").write_text("1")  # of one that was killed
    with folder.held() as mine:
        assert (mine, folder.scheduler_pid()) == (True, None)
        with folder.served():
            assert folder.scheduler_pid() == os.getpid()
    assert folder.scheduler_pid() is None


class Teardowns:
    """A gateway that knows one framework, and counts how often it is torn down."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    async def rows(self, _path: str, *_keys: str) -> list[dict[str, Any]]:
        return [{"id": "F1"}]

    async def call(self, call: dict[str, Any]) -> None:
        self.calls.append(call)


def begun(home: RunHome) -> RunFolder:
    folder = home.create("web-1", "http://h:1", JOB)
    run = folder.load()
    run.framework_id = "F1"
    folder.save(run)
    return folder


async def test_a_run_without_a_scheduler_is_held_while_it_is_stopped(
    home: RunHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    folder, holds = begun(home), []

    class Observed(Teardowns):
        async def call(self, call: dict[str, Any]) -> None:
            await super().call(call)
            with RunFolder(folder.path).held() as other:
                holds.append(other)

    api: Any = Observed()
    run = await background.stop(api, folder)
    assert (run.exit_code, len(api.calls), holds) == (exit_codes.INTERRUPTED, 1, [False])
    assert (await background.stop(api, folder)).ended
    assert len(api.calls) == 1


async def test_a_scheduler_that_begins_is_told_to_stop_instead_of_its_framework_being_torn_down(
    home: RunHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    folder, told = begun(home), []
    pids = iter([None, 4711])

    def ended_by(pid: int, number: int) -> None:
        told.append((pid, number))
        scheduler.close()  # it lets go of the run
        raise ProcessLookupError

    scheduler = contextlib.ExitStack()
    assert scheduler.enter_context(folder.held())
    monkeypatch.setattr(RunFolder, "scheduler_pid", lambda _: next(pids))
    monkeypatch.setattr(os, "kill", ended_by)
    api: Any = Teardowns()
    await background.stop(api, folder)
    assert (told, api.calls) == ([(4711, signal.SIGTERM)], [])


async def test_a_run_that_has_ended_gets_no_scheduler(home: RunHome) -> None:
    folder = begun(home)
    run = folder.load()
    run.exit_code = 0
    folder.save(run)
    read, write = os.pipe()
    await detached.serve(folder, Starter(write))
    with os.fdopen(read, "rb") as told:
        assert told.read() == b'{"error":"run web-1 has ended"}'


async def test_a_scheduler_that_cannot_keep_its_state_leaves_the_tasks_to_the_next(
    home: RunHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, torn_down = begun(home), []

    async def full(_framework: JobFramework) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def tear_down(scheduler: object) -> None:
        torn_down.append(scheduler)

    monkeypatch.setattr(JobFramework, "run", full)
    monkeypatch.setattr(detached, "tear_down", tear_down)
    with (folder.path / "told").open("wb") as told, pytest.raises(OSError, match="No space left"):
        await detached.serve(folder, Starter(told.fileno()))
    assert (torn_down, folder.load().ended, folder.scheduler_pid()) == ([], False, None)


def test_of_runs_that_have_ended_the_newest_are_kept(home: RunHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENDED_RUNS_MAX", 2)
    for number in range(5):
        folder = home.create(f"web-{number}", "http://h:1", JOB)
        run = folder.load()
        run.started, run.exit_code = float(number), None if number == 0 else 0
        folder.save(run)
    # Room is made for the new one to end, too; the first has not ended.
    home.create("new", "http://h:1", JOB)
    assert [each.path.name for each in home.folders()] == ["new", "web-0", "web-4"]


@pytest.mark.parametrize("verb", ["attach", "stop"])
@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("nope", 66, "run nope not found; mezzo runs --all lists them"),
        ("web", 1, "web is ambiguous: web-1, web-2"),
        ("", 66, "no run has an empty id"),
    ],
)
def test_a_run_that_is_none_or_several_is_told_in_one_line(
    verb: str, name: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for each in ("web-1", "web-2"):
        RunHome().create(each, "http://h:1", JOB)
    result = CliRunner().invoke(app, [verb, name])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"mezzo: {said}\n")


def test_a_state_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        RunHome(tmp_path / "file" / "runs").create("web-1", "http://h:1", JOB)


def test_whoever_started_it_is_told_once() -> None:
    read, write = os.pipe()
    starter = Starter(write)
    starter.tell(framework_id="F1")
    starter.tell(framework_id="F2")
    with os.fdopen(read, "rb") as told:
        assert told.read() == b'{"framework_id":"F1"}'


def test_whoever_started_it_may_be_gone(capsys: pytest.CaptureFixture[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    Starter(write).tell(framework_id="F1")
    assert "has not waited for it" in capsys.readouterr().err


def test_each_line_of_a_schedulers_log_has_the_time() -> None:
    out = io.StringIO()
    stamped = Stamped(out)
    for text in ("one\ntw", "o\n", "three"):
        stamped.write(text)
    lines = out.getvalue().splitlines()
    assert [line[20:] for line in lines] == ["one", "two", "three"]
    assert all(line[4] == line[7] == "-" and line[19] == " " for line in lines)


def test_ids_of_runs_that_go_on_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("batch-1", "web-1", "web-2"):
        RunHome().create(name, "http://h:1", JOB)
    ended = RunHome().find("web-2")
    run = ended.load()
    run.exit_code = 0
    ended.save(run)
    (RunHome().path / "batch-1" / "run.json").write_text("{")
    for verb in ("attach", "stop"):
        asked = {"_MEZZO_COMPLETE": "complete_bash", "COMP_WORDS": f"mezzo {verb} ", "COMP_CWORD": "2"}
        result = CliRunner().invoke(app, [], prog_name="mezzo", env=asked)
        assert result.stdout.split() == ["web-1"]
