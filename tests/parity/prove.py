"""Apply each break to a copy of the project, and see the tests of its rows fail.

The project itself is never touched: each worker has a copy, which comes first on the import path of the tests it runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from xml.etree import ElementTree

from tests.parity.breaks import Break
from tests.parity.table import ROOT, Row

# Where packages are imported from, below the project.
PACKAGES = ("sdk/python", *(f"services/{name}" for name in ("agent", "allocator", "chassis", "gateway", "registry")))
COPIED = ("sdk", "services", "tests", "docs", "protos", "scripts", "charts", "pyproject.toml")
RUNNER = str(Path(__file__).with_name("runner.py"))
# A break may make the code wait for ever.
LIMIT_S = 120
SAID_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of a break: the rows of which no test failed, or why the tests could not be run."""

    broken: Break
    unmoved: tuple[str, ...]
    error: str = ""

    @property
    def holds(self) -> bool:
        return not self.unmoved and not self.error

    def __str__(self) -> str:
        if self.error:
            return f"{self.broken}: {self.error}"
        return f"{self.broken}: " + (f"passes: {', '.join(self.unmoved)}" if self.unmoved else "fails, as it must")


class Copy:
    """A copy of the project, to break one file of it at a time, and a process that runs its tests."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self._folder = folder
        for name in COPIED:
            source = root / name
            if source.is_dir():
                shutil.copytree(source, folder / name, symlinks=True)
            elif source.exists():
                shutil.copy2(source, folder / name)
        path = os.pathsep.join([*(str(folder / package) for package in PACKAGES), str(folder)])
        # What is compiled of a broken file must not outlive it.
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        self._runner = subprocess.Popen(
            [sys.executable, RUNNER, str(LIMIT_S)],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the process that runs tests."""
        self._runner.communicate()

    @property
    def said(self) -> str:
        """What pytest printed last."""
        path = self._folder / "output.txt"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def failing(self, tests: Sequence[str]) -> frozenset[str]:
        """Run the `tests`, and return those that do not pass, or cannot even be imported."""
        report = self._folder / "report.xml"
        report.unlink(missing_ok=True)
        request = {
            "arguments": ["-q", f"--rootdir={self._folder}", f"--junitxml={report}", *tests],
            "output": str(self._folder / "output.txt"),
        }
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        self._runner.stdin.write(json.dumps(request) + "\n")
        self._runner.stdin.flush()
        if not self._runner.stdout.readline():
            raise RuntimeError("the process that runs tests has ended")
        return frozenset(_failing(tests, report))

    def failing_when(self, broken: Break, tests: Sequence[str]) -> frozenset[str]:
        """Run the `tests` while one file is broken, and return those that fail.

        Raises:
            ValueError: the break does not apply.
        """
        path = self._folder / broken.file
        text = path.read_text(encoding="utf-8")
        stat = path.stat()
        path.write_text(broken.applied(text), encoding="utf-8")
        try:
            return self.failing(tests)
        finally:
            path.write_text(text, encoding="utf-8")
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _failing(tests: Sequence[str], report: Path) -> Iterator[str]:
    """Tell which of the named tests are not reported, or failed in any of their cases."""
    failed: dict[tuple[str, str], bool] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase") if report.exists() else ():
        key = (case.get("classname", ""), case.get("name", "").partition("[")[0])
        failed[key] = failed.get(key, False) or any(case.find(kind) is not None for kind in ("failure", "error"))
    for test in tests:
        path, _, inside = test.partition("::")
        *classes, function = inside.split("::")
        module = ".".join([*Path(path).with_suffix("").parts, *classes])
        if failed.get((module, function), True):
            yield test


def prove(breaks: Sequence[Break], rows: Sequence[Row], workers: int, root: Path = ROOT) -> Iterator[Proof]:
    """Try all breaks, each on one of as many copies as there are `workers`.

    Raises:
        RuntimeError: a test that should notice a break fails without one, too.
    """
    tests = {row.test: row.ours for row in rows}
    with tempfile.TemporaryDirectory(prefix="parity-") as folder, ExitStack() as ending:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(workers):
            copy = Copy(Path(folder) / str(number), root)
            ending.callback(copy.close)
            copies.put(copy)
        copy = copies.get()
        failing = copy.failing(sorted({test for one in breaks for row in one.rows for test in tests[row]}))
        copies.put(copy)
        if failing:
            named = ", ".join(sorted(failing))
            raise RuntimeError(f"these fail without any break: {named}\n{copy.said[-SAID_MAX:]}")

        def attempt(broken: Break) -> Proof:
            copy = copies.get()
            try:
                return _attempt(copy, broken, tests)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(workers) as threads:
            yield from threads.map(attempt, breaks)


def _attempt(copy: Copy, broken: Break, tests: Mapping[str, tuple[str, ...]]) -> Proof:
    named = sorted({test for row in broken.rows for test in tests[row]})
    try:
        failing = copy.failing_when(broken, named)
    except ValueError as error:
        return Proof(broken, (), str(error))
    return Proof(broken, tuple(row for row in broken.rows if failing.isdisjoint(tests[row])))
