"""The tool that breaks the code: what it changes, which tests it chooses, and what it says of survivors."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import pytest

from tests.mutants import judged
from tests.mutants.__main__ import summed_up
from tests.mutants.changes import Change, changes_of
from tests.mutants.coverage_map import Map
from tests.mutants.targets import ROOT, module_of, sources
from tests.mutants.trial import Outcome, Result, Trial, plan

SOURCE = '''
"""What is read by people is left alone: 1 < 2."""

LIMIT: int = 10


def admits(amount: int, *, strict: bool = True) -> bool:
    """Not 3."""
    assert amount != 4
    if amount < LIMIT and not strict:
        return min(amount, 1) in (0, 1)
    raise ValueError(f"{amount + 1} is too much")
'''
CHANGES = [
    ("LIMIT: int = 10", "LIMIT: int = 10 + 1"),
    ("strict: bool = True", "strict: bool = False"),
    ("if amount < LIMIT and not strict:", "if not (amount < LIMIT and not strict):"),
    ("if amount < LIMIT and", "if amount <= LIMIT and"),
    ("LIMIT and not strict", "LIMIT or not strict"),
    ("and not strict:", "and (strict):"),
    ("return min(amount, 1) in (0, 1)", "return None"),
    ("return min(amount, 1)", "return max(amount, 1)"),
    ("return min(amount, 1)", "return min(amount, 2)"),
    (") in (0, 1)", ") not in (0, 1)"),
    ("(0, 1)", "(1, 1)"),
    ("(0, 1)", "(0, 2)"),
    ('raise ValueError(f"{amount + 1} is too much")', "pass"),
]


def test_changes_what_is_decided_and_leaves_what_is_read(tmp_path: Path) -> None:
    file = tmp_path / "admission.py"
    file.write_text(SOURCE)
    made = [change.applied(SOURCE.encode()).decode() for change in changes_of(file, tmp_path)]
    assert sorted(made) == sorted(SOURCE.replace(before, after, 1) for before, after in CHANGES)


@cache
def everything() -> list[Change]:
    """All that can be changed."""
    return [change for source in sources() for change in changes_of(source, ROOT)]


def test_a_changed_source_is_still_python() -> None:
    for change in random.Random(1).sample(everything(), 100):
        compile(change.applied((ROOT / change.path).read_bytes()), change.path, "exec")


def test_every_source_is_imported_by_a_name() -> None:
    names = {module_of(str(source.relative_to(ROOT))) for source in sources()}
    assert {"mezzo.resources", "mezzo.resources.value", "mezzo_allocator.core.kernel.decide"} <= names


def change_of(path: str, line: int) -> Change:
    return Change(path, line, 0, 1, "a", "b")


@pytest.fixture
def covered() -> Map:
    """Four tests, of which the last takes long."""
    made = Map(tests=["a", "b", "c", "d"], seconds=[0.2, 0.1, 0.3, 30.0])
    made.lines["x.py"][7] = 0b0011
    made.lines["x.py"][8] = 0b1100
    return made


def test_chooses_the_tests_that_run_the_line_the_fastest_first(covered: Map) -> None:
    assert plan(change_of("x.py", 7), covered, 20.0).tests == ["b", "a"]


def test_chooses_as_many_tests_as_there_is_time_for_and_at_least_one(covered: Map) -> None:
    assert plan(change_of("x.py", 8), covered, 20.0).tests == ["c"]
    assert plan(change_of("x.py", 8), covered, 40.0).tests == ["c", "d"]
    covered.lines["x.py"][8] = 0b1000
    assert plan(change_of("x.py", 8), covered, 20.0).tests == ["d"]


def test_chooses_for_what_runs_at_import_the_tests_of_the_whole_file(covered: Map) -> None:
    assert plan(change_of("x.py", 1), covered, 100.0).tests == ["b", "a", "c", "d"]
    assert plan(change_of("y.py", 1), covered, 100.0).tests == []


def some_changes(count: int) -> list[Change]:
    """So many of one file, each on a line that no other touches in the same way."""
    source = ROOT / "sdk/python/mezzo/resources/value.py"
    return list({judged.key_of(change): change for change in changes_of(source, ROOT)}.values())[:count]


@pytest.mark.parametrize(
    ("survivors", "excused", "status"), [(6, 0, 0), (7, 0, 1), (7, 1, 0)], ids=["few", "many", "judged"]
)
def test_fails_when_more_survive_than_six_of_a_hundred(
    survivors: int, excused: int, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = some_changes(100)
    outcomes = [Outcome.SURVIVED] * survivors + [Outcome.KILLED] * (100 - survivors)
    results = [
        Result(Trial(change, ["a"], 1.0), outcome, 0.0) for change, outcome in zip(changes, outcomes, strict=True)
    ]
    assert summed_up(results, {judged.key_of(change) for change in changes[:excused]}) == status
    assert f"{survivors - excused} of 100 survive" in capsys.readouterr().out


@pytest.mark.parametrize("outcome", [Outcome.KILLED, Outcome.OUT_OF_TIME, Outcome.BROKEN])
def test_fails_when_tests_fail_without_a_change(outcome: Outcome) -> None:
    (change,) = some_changes(1)
    results = [Result(Trial(change, ["a"], 1.0), Outcome.KILLED, 0.0)]
    assert summed_up(results, set()) == 0
    control = Trial(change, ["a"], 1.0, control=True)
    assert summed_up([*results, Result(control, outcome, 0.0)], set()) == 1


def test_what_is_judged_harmless_can_be_tried_and_says_why() -> None:
    assert list(judged.faults(judged.read(), everything())) == []
