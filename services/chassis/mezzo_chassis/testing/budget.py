"""A pytest plugin: how long a test and a file of tests may take, and what is over it.

A test or a file that needs longer says why, in its mark: `@pytest.mark.slow("starts three ZooKeeper servers")`, or
`pytestmark = pytest.mark.slow("…")`. Whatever else takes longer is listed at the end of the run. Several times
the budget is what a busy machine makes of a good test; from `TOLERANCE` times the budget on, the run fails.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pytest

TEST_SECONDS_MAX = 20.0
MODULE_SECONDS_MAX = 60.0
TOLERANCE = 8.0
_REASON = "mezzo_slow_reason"


class Budget:
    """Adds up the seconds of set-up, call and tear-down, by test and by file."""

    def __init__(self) -> None:
        self._tests: dict[str, float] = defaultdict(float)
        self._modules: dict[str, float] = defaultdict(float)
        self._excused: set[str] = set()

    def add(self, test: str, seconds: float, reason: str) -> None:
        """Count a phase of a test; `reason` is what its mark says, empty without one."""
        module = test.partition("::")[0]
        self._tests[test] += seconds
        self._modules[module] += seconds
        if reason:
            self._excused |= {test, module}

    def over(self, factor: float = 1.0) -> list[tuple[float, str]]:
        """What has taken more than `factor` times its budget without saying why, slowest first."""
        limits = ((self._tests, TEST_SECONDS_MAX), (self._modules, MODULE_SECONDS_MAX))
        return sorted(
            (
                (seconds, name)
                for taken, limit in limits
                for name, seconds in taken.items()
                if seconds > limit * factor and name not in self._excused
            ),
            reverse=True,
        )


def pytest_configure(config: pytest.Config) -> None:
    """Where tests are spread over processes, only the one that collects their reports counts."""
    config.addinivalue_line("markers", "slow(reason): why a test or a file takes longer than the budget of tests")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Plugin(), "mezzo-budget")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note the reason where reports carry it from one process to another."""
    mark = item.get_closest_marker("slow")
    if mark is not None:
        item.user_properties.append((_REASON, _reason_of(mark.args)))


def _reason_of(arguments: Sequence[object]) -> str:
    if len(arguments) != 1 or not isinstance(arguments[0], str) or not arguments[0]:
        raise pytest.UsageError('the mark "slow" is written with a reason: pytest.mark.slow("why it takes long")')
    return arguments[0]


class _Plugin:
    def __init__(self) -> None:
        self._budget = Budget()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reason = next((str(value) for name, value in report.user_properties if name == _REASON), "")
        self._budget.add(report.nodeid, report.duration, reason)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._budget.over(TOLERANCE) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        over = self._budget.over()
        if not over:
            return
        terminalreporter.section(
            f"over the budget of {TEST_SECONDS_MAX:g} s a test and {MODULE_SECONDS_MAX:g} s a file"
        )
        failing = {name for _, name in self._budget.over(TOLERANCE)}
        for seconds, name in over:
            verdict = f"FAILED: more than {TOLERANCE:g} times its budget; " if name in failing else ""
            terminalreporter.line(f"{seconds:6.1f} s  {name}  {verdict}make it faster, or mark it slow with a reason")
