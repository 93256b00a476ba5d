"""Tries changes: each in a process of its own, forked from one that has the libraries in memory already."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
import time
import traceback
import types
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest

from tests.mutants.changes import Change
from tests.mutants.coverage_map import CACHE, ENVIRONMENT, Map
from tests.mutants.targets import ROOT, module_of

# For a process to begin, and for tests that take longer than they did: a change may make a loop endless.
START_CPU_SECONDS = 20.0
SLOWER = 4.0
# A test that waits for what no longer comes takes no CPU time; on a busy machine others take long for a little of it.
IDLE_SECONDS_MAX = 120.0
# What a process ends with that could not even run pytest.
FAULT = 70


class Outcome(Enum):
    """What came of a change."""

    KILLED = "killed"
    OUT_OF_TIME = "out of time"
    SURVIVED = "survived"
    NOT_COVERED = "not covered"
    BROKEN = "broken"
    """Pytest could not run at all: a fault of this program."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A change, or none, and the tests that are to notice it."""

    change: Change
    tests: Sequence[str]
    cpu_seconds_max: float
    control: bool = False
    """Whether the code is left as it is, so that the tests must pass."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a trial; `cpu_seconds` were spent on it."""

    trial: Trial
    outcome: Outcome
    cpu_seconds: float


def plan(change: Change, covered: Map, cpu_seconds: float) -> Trial:
    """Choose the tests: the fastest that cover the line, as many as had run within the given time. At least one."""
    tests: list[str] = []
    spent = 0.0
    for number in covered.covering(change.path, change.line):
        spent += covered.seconds[number]
        if tests and spent > cpu_seconds:
            break
        tests.append(covered.tests[number])
    return Trial(change, tests, START_CPU_SECONDS + SLOWER * min(spent, cpu_seconds))


def preload(modules: Collection[str]) -> None:
    """Import what children would import: libraries and generated code, nothing that is changed."""
    os.environ.update(ENVIRONMENT)
    for name in sorted(modules):
        # Some can be imported in one order only, or under a condition; the children do without them.
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def run(trials: Sequence[Trial], workers: int, report: Callable[[Result], None]) -> None:
    """Try all, so many at a time, in the order given."""
    waiting = list(reversed(trials))
    running: dict[int, _Running] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            trial = waiting.pop()
            if not trial.tests:
                report(Result(trial, Outcome.NOT_COVERED, 0.0))
                continue
            running[_fork(trial)] = _Running(trial)
        for pid, each in list(running.items()):
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                del running[pid]
                report(Result(each.trial, _outcome(status), usage.ru_utime + usage.ru_stime))
            elif each.is_idle(_cpu_seconds(pid)):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


class _Running:
    """A trial that has been started."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self._cpu_seconds = 0.0
        self._since = time.monotonic()

    def is_idle(self, cpu_seconds: float) -> bool:
        """Whether it has taken no CPU time for too long; it has now taken so much."""
        now = time.monotonic()
        if cpu_seconds > self._cpu_seconds + 0.1:
            self._cpu_seconds, self._since = cpu_seconds, now
        return now - self._since > IDLE_SECONDS_MAX


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _outcome(status: int) -> Outcome:
    if os.WIFSIGNALED(status):
        return Outcome.OUT_OF_TIME
    match os.WEXITSTATUS(status):
        case pytest.ExitCode.OK:
            return Outcome.SURVIVED
        # A file of tests that can no longer be imported has noticed it too.
        case pytest.ExitCode.TESTS_FAILED | pytest.ExitCode.INTERRUPTED:
            return Outcome.KILLED
        case _:
            return Outcome.BROKEN


def log_of(change: Change) -> Path:
    """What pytest said."""
    return (
        CACHE
        / "logs"
        / f"{change.path.replace('/', '-')}-{change.begin}-{change.end}-{zlib.crc32(change.new.encode()):x}.log"
    )


def _fork(trial: Trial) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = FAULT
    try:
        status = _try(trial)
    except BaseException:  # noqa: BLE001 - the parent's stack must not run on in its child
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _try(trial: Trial) -> int:
    log = log_of(trial.change)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    seconds = int(trial.cpu_seconds_max) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    os.chdir(ROOT)
    if not trial.control:
        name = module_of(trial.change.path)
        if name in sys.modules:
            print(f"{name} was imported before it was changed", file=sys.stderr)
            return FAULT
        sys.meta_path.insert(0, _Changed(name, trial.change))
    files = sorted({test.partition("::")[0] for test in trial.tests})
    # Its own plugins are imported already, and assert of nothing that is seen here.
    words = ["-x", "-q", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-o", f"cache_dir={CACHE}/pytest", *files]
    return int(pytest.main(words, plugins=[_Chosen(trial.tests)]))


class _Chosen:
    """A plugin of pytest: run these, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._places = {test: place for place, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._places), key=lambda item: self._places[item.nodeid]
        )


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from its changed source."""

    def __init__(self, name: str, change: Change) -> None:
        self._name = name
        self._path = ROOT / change.path
        self._source = change.applied(self._path.read_bytes())

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        is_package = self._path.name == "__init__.py"
        spec = importlib.util.spec_from_file_location(
            fullname,
            self._path,
            loader=self,
            submodule_search_locations=[str(self._path.parent)] if is_package else None,
        )
        assert spec is not None
        return spec

    def exec_module(self, module: types.ModuleType) -> None:
        exec(compile(self._source, str(self._path), "exec"), module.__dict__)
