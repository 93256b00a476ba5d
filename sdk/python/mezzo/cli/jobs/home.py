"""Where detached runs are kept on this machine: a folder for each, which its scheduler writes and everybody reads.

    $XDG_STATE_HOME/mezzo/runs/<run>/run.json       what is to be run, and what has become of it
                                     scheduler.log  what its scheduler says
                                     lock           held by the scheduler for as long as it lives
                                     scheduler      its process id; locked by it, too, or it is of one that has ended

They are their owner's alone: variables of tasks may be secrets.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson

from mezzo import private_files
from mezzo.cli.errors import ApiError
from mezzo.cli.ids import resolve
from mezzo.cli.local import default_work_dir

VERSION = 1
ENDED_RUNS_MAX = 50
"""Of runs that have ended, so many are kept: the newest."""
PID_BYTES_MAX = 32
LOOKS_MAX = 10
LOOK_SECONDS = 0.05


@dataclass(slots=True)
class Run:
    """What is kept of one run."""

    id: str
    api: str
    """Of the gateways, as `--api` takes them."""
    job: dict[str, Any]
    """As `Job.document` gives it."""
    started: float
    """In seconds since the epoch."""
    framework_id: str = ""
    exit_code: int | None = None
    """None until it has ended."""
    error: str = ""
    """What ended it, if it was not its tasks."""
    version: int = VERSION

    @property
    def ended(self) -> bool:
        """Whether nothing is left to happen."""
        return self.exit_code is not None


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._saved = b""

    @property
    def log(self) -> Path:
        """What the scheduler says."""
        return self.path / "scheduler.log"

    def save(self, run: Run) -> None:
        """Keep it. Whoever reads sees this or what was before, whole; also after a power failure."""
        content = orjson.dumps(asdict(run))
        if content == self._saved:
            return
        scratch = self.path / "run.json.new"
        with open(scratch, "wb", opener=private_files.opener) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self.path / "run.json")
        _sync_folder(self.path)
        self._saved = content

    def load(self) -> Run:
        """What was kept last.

        Raises:
            ApiError: it is not there, or of another version of this command.
        """
        try:
            run = Run(**orjson.loads((self.path / "run.json").read_bytes()))
        except FileNotFoundError:
            raise ApiError(HTTPStatus.NOT_FOUND, f"run {self.path.name} not found") from None
        except (ValueError, TypeError):
            run = None
        if run is None or run.version != VERSION:
            raise ApiError(HTTPStatus.CONFLICT, f"{self.path} was written by another version of mezzo")
        return run

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the run: nobody else is or becomes its scheduler meanwhile. Gives False where somebody else holds it."""
        lock = private_files.opener(str(self.path / "lock"), os.O_RDWR | os.O_CREAT)
        try:
            yield _locked(lock)
        finally:
            os.close(lock)

    @contextmanager
    def served(self) -> Iterator[None]:
        """Be known as the scheduler of the run, which this process holds; it may be sent signals from now on."""
        # It has its name once it is whole and locked: nobody takes the id of an earlier scheduler for that of this one.
        scratch = self.path / "scheduler.new"
        known = private_files.opener(str(scratch), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            fcntl.flock(known, fcntl.LOCK_EX)
            os.pwrite(known, str(os.getpid()).encode(), 0)
            scratch.replace(self.path / "scheduler")
            yield
        finally:
            os.close(known)

    def scheduler_pid(self) -> int | None:
        """The process that is its scheduler, if there is one that is known already."""
        with suppress(FileNotFoundError):
            known = os.open(self.path / "scheduler", os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(known, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(os.pread(known, PID_BYTES_MAX, 0))
            finally:
                os.close(known)
        return None

    def wait_for_scheduler(self) -> None:
        """Block until it has no scheduler any more."""
        lock = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)


def _sync_folder(path: Path) -> None:
    """Have what its files are called now outlast a power failure."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _locked(lock: int) -> bool:
    """Lock it, unless it stays locked for longer than somebody takes who only looks whether it is."""
    for _ in range(LOOKS_MAX):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOOK_SECONDS)
        else:
            return True
    return False


class RunHome:
    """All runs of this user."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_work_dir() / "runs"

    def create(self, run_id: str, api: str, job: dict[str, Any]) -> RunFolder:
        """Make the folder of a new run. Raises `OSError`."""
        self._remove_oldest()
        private_files.make_folder(self.path)
        folder = RunFolder(self.path / run_id)
        private_files.make_folder(folder.path)
        _sync_folder(self.path)
        folder.save(Run(run_id, api, job, time.time()))
        return folder

    def folders(self) -> list[RunFolder]:
        """The folder of each, by id."""
        found = sorted(self.path.iterdir()) if self.path.is_dir() else []
        return [RunFolder(each) for each in found if (each / "run.json").is_file()]

    def find(self, word: str) -> RunFolder:
        """The run of this id, or the only one whose id begins so. Raises `ApiError`."""
        return RunFolder(self.path / resolve(word, (each.path.name for each in self.folders()), "run"))

    def _remove_oldest(self) -> None:
        ended = []
        for folder in self.folders():
            with suppress(ApiError):  # it may be of another version: that is nothing to remove
                run = folder.load()
                if run.ended:
                    ended.append((run.started, folder))
        for _, folder in sorted(ended, key=lambda each: each[0])[: max(0, len(ended) - ENDED_RUNS_MAX + 1)]:
            shutil.rmtree(folder.path)
