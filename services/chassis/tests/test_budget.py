"""The budget of tests: what is over it is listed, and what says why is not."""

from __future__ import annotations

import pytest

from mezzo_chassis.testing import budget
from mezzo_chassis.testing.budget import Budget

pytest_plugins = ["pytester"]

PLUGINS = ("-p", "mezzo_chassis.testing.budget", "-o", "asyncio_default_fixture_loop_scope=function")
TESTS = """
    import pytest

    @pytest.mark.slow("waits for a cluster")
    def test_excused(): ...

    def test_plain(): ...
"""


def test_counts_all_phases_of_a_test_and_all_tests_of_a_file() -> None:
    taken = Budget()
    for phase_seconds in (1.0, 19.0, 0.5):
        taken.add("a.py::test_one", phase_seconds, "")
    taken.add("a.py::test_two", 15.0, "")
    assert taken.over() == [(20.5, "a.py::test_one")]
    taken.add("a.py::test_three", 19.0 + 15.0, "")
    assert taken.over() == [(69.5, "a.py"), (34.0, "a.py::test_three"), (20.5, "a.py::test_one")]
    assert taken.over(factor=2.0) == []


def test_excuses_what_says_why() -> None:
    taken = Budget()
    taken.add("a.py::test_one", 100.0, "starts three servers")
    assert taken.over() == []


@pytest.mark.parametrize("workers", ["0", "1"])
def test_lists_and_fails_what_is_far_over_the_budget(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setattr(budget, "TEST_SECONDS_MAX", -1.0)
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess(*PLUGINS, "-n", workers)
    result.stdout.fnmatch_lines(["*over the budget of*", "*::test_plain  FAILED: more than 8 times*", "*2 passed*"])
    result.stdout.no_fnmatch_line("*::test_excused*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_refuses_a_mark_without_a_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.slow\ndef test_one(): ...")
    result = pytester.runpytest_inprocess(*PLUGINS)
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*is written with a reason*"])
