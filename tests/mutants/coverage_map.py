"""Which test runs which line: `python -m tests.mutants.coverage_map TESTS…` writes it, `Map` reads it.

Measured anew where a source, or the file of tests, has changed since. A test that fails, or starts a program, shows
nothing here and is left out; so is what is marked slow.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import coverage
import pytest

from tests.mutants.targets import CHANGED, ROOT, sources, tests

CACHE = ROOT / ".cache/mutants"
FOLDER = CACHE / "coverage"
# What has been measured stays when the rest is interrupted.
FILES_AT_ONCE = 6
# The inner loop as Python: what is compiled is in no test's coverage, and would be taken from numba's cache unchanged.
ENVIRONMENT = {"NUMBA_DISABLE_JIT": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass
class Map:
    """The tests, and for each line of each file a number whose bits say which of them run it."""

    tests: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    lines: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    modules: set[str] = field(default_factory=set)
    """What the tests import of others."""

    def covering(self, path: str, line: int) -> list[int]:
        """The tests that run a line, or any line of its file where it only runs at import; the fastest first."""
        of_file = self.lines.get(path, {})
        bits = of_file.get(line, 0)
        if not bits:
            for each in of_file.values():
                bits |= each
        found = [number for number in range(len(self.tests)) if bits >> number & 1]
        return sorted(found, key=lambda number: (self.seconds[number], self.tests[number]))

    def add(self, file: Path) -> None:
        """Add what was written."""
        read = json.loads(file.read_text())
        shift = len(self.tests)
        self.tests += read["tests"]
        self.seconds += read["seconds"]
        self.modules |= set(read["modules"])
        for path, lines in read["lines"].items():
            for line, bits in lines.items():
                self.lines[path][int(line)] |= int(bits, 16) << shift


def current(workers: int) -> Map:
    """The map of the code as it is. What has been measured before and has not changed since comes from the cache."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    known = {file: _place(file) for file in tests()}
    missing = [file for file, place in known.items() if not place.exists()]
    if missing:
        print(f"measuring which lines {len(missing)} files of tests run", flush=True)
        parts = [missing[begin : begin + FILES_AT_ONCE] for begin in range(0, len(missing), FILES_AT_ONCE)]
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(_measure, parts))
    for old in set(FOLDER.glob("*.json")) - set(known.values()):
        old.unlink()
    found = Map()
    for place in known.values():
        found.add(place)
    return found


def _measure(files: Sequence[Path]) -> None:
    words = [sys.executable, "-m", "tests.mutants.coverage_map", *(str(file.relative_to(ROOT)) for file in files)]
    log = FOLDER / f"{files[0].stem}.log"
    with log.open("wb") as output:
        environment = {**os.environ, **ENVIRONMENT}
        done = subprocess.run(words, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SystemExit(f"measuring has ended with {done.returncode}: see {log}")


def _place(tests: Path) -> Path:
    """Where the map of a file of tests is, as the file and all that it stands on are now."""
    digest = hashlib.sha256(_foundation())
    for file in sorted({tests, *(each for parent in tests.parents for each in parent.glob("conftest.py"))}):
        digest.update(str(file).encode() + file.read_bytes())
    return FOLDER / f"{digest.hexdigest()[:24]}.json"


@cache
def _foundation() -> bytes:
    """What all sources are, and what measures them."""
    digest = hashlib.sha256()
    for file in [*sources(), Path(__file__)]:
        digest.update(str(file).encode() + file.read_bytes())
    return digest.digest()


class _Recorder:
    """A plugin of pytest: each test is a context of the coverage, and takes so much CPU time."""

    def __init__(self, measuring: coverage.Coverage) -> None:
        self._measuring = measuring
        self.seconds: dict[str, float] = {}
        self.unusable: set[str] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._measuring.switch_context(item.nodeid)
        began, of_children = time.process_time(), os.times().children_user
        result = yield
        self._measuring.switch_context("")
        self.seconds[item.nodeid] = time.process_time() - began
        if os.times().children_user > of_children:
            self.unusable.add(item.nodeid)
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.unusable.add(report.nodeid)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept = [item for item in items if not _starts_programs(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def _starts_programs(item: pytest.Item) -> bool:
    asked_for = set(getattr(item, "fixturenames", ()))
    return item.get_closest_marker("slow") is not None or bool(asked_for & {"zookeeper", "shared_zookeeper"})


def write(files: Sequence[str]) -> int:
    """Run files of tests, and write what each covered."""
    watched = [f"{ROOT}/{folder}/{package}/*" for folder, package in CHANGED.items()]
    measuring = coverage.Coverage(data_file=None, include=watched, config_file=False)
    recorder = _Recorder(measuring)
    places = {file: _place(ROOT / file) for file in files}
    measuring.start()
    status = pytest.main(["-q", "-m", "not soak", "-o", f"cache_dir={CACHE}/pytest", *files], plugins=[recorder])
    measuring.stop()
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return int(status)
    data = measuring.get_data()
    by_test: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for path in data.measured_files():
        for line, contexts in data.contexts_by_lineno(path).items():
            for context in contexts:
                by_test[context][str(Path(path).relative_to(ROOT))].append(line)
    modules = sorted(filter(_is_foreign, sys.modules))
    for file, place in places.items():
        usable = sorted(test for test in recorder.seconds if test.startswith(f"{file}::"))
        usable = [test for test in usable if test not in recorder.unusable]
        lines: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for number, test in enumerate(usable):
            for path, covered in by_test[test].items():
                for line in covered:
                    lines[path][line] |= 1 << number
        written = {
            "tests": usable,
            "seconds": [round(recorder.seconds[test], 4) for test in usable],
            "modules": modules,
            "lines": {path: {line: f"{bits:x}" for line, bits in of.items()} for path, of in lines.items()},
        }
        place.write_text(json.dumps(written))
    return 0


def _is_foreign(name: str) -> bool:
    """Whether a module is a library's, or generated."""
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return "site-packages" in file or file.endswith(("_pb2.py", "_pb2_grpc.py"))


if __name__ == "__main__":
    sys.exit(write(sys.argv[1:]))
