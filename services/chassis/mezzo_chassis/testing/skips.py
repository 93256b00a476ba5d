"""A pytest plugin: in CI a test may not be skipped for want of what `make test` installs.

Elsewhere it may, and says why: a developer need not be root, nor have Debian.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

INSTALLED = ("there is no Java here", "package zookeeper is not installed", "could not import")
"""Parts of the reasons that name something of `scripts/install-test-programs.sh` or of the locked requirements."""


def is_ci() -> bool:
    """Whether this run decides if a change is taken."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return
    reason = report.longrepr[2]
    if is_ci() and any(part in reason for part in INSTALLED):
        report.outcome = "failed"
        report.longrepr = f"may not be skipped in CI, which installs what it needs: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn such a skip into a failure."""
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a file that is skipped as a whole."""
    report = yield
    _judge(report)
    return report
