"""Skipped tests: in CI none for want of what is installed there."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

PLUGINS = ("-p", "mezzo_chassis.testing.skips", "-o", "asyncio_default_fixture_loop_scope=function")
NO_ZOOKEEPER = """
    import pytest

    @pytest.fixture
    def zookeeper():
        pytest.skip("Debian's package zookeeper is not installed")

    def test_with_zookeeper(zookeeper): ...

    @pytest.mark.skipif(True, reason="there is no Java here")
    def test_with_java(): ...
"""
NOT_ROOT = """
    import pytest

    @pytest.mark.skipif(True, reason="only root may become another user")
    def test_as_root(): ...
"""
NO_LIBRARY = """
    import pytest

    pytest.importorskip("a_library_that_nobody_has")
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_fails_what_is_skipped_in_ci_for_want_of_what_is_installed_there(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("CI", "true")
    pytester.makepyfile(NO_ZOOKEEPER)
    result = pytester.runpytest_inprocess(*PLUGINS, "-n", workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 2
    result.stdout.fnmatch_lines(["*may not be skipped in CI*there is no Java here*"])


def test_fails_in_ci_a_file_whose_library_is_missing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    pytester.makepyfile(NO_LIBRARY)
    result = pytester.runpytest_inprocess(*PLUGINS)
    assert result.ret not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    result.stdout.fnmatch_lines(["*may not be skipped in CI*could not import*"])


@pytest.mark.parametrize(("value", "tests"), [("true", NOT_ROOT), ("", NO_ZOOKEEPER), ("0", NO_ZOOKEEPER)])
def test_leaves_other_skips_as_they_are(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, value: str, tests: str
) -> None:
    monkeypatch.setenv("CI", value)
    pytester.makepyfile(tests)
    result = pytester.runpytest_inprocess(*PLUGINS)
    assert result.ret == pytest.ExitCode.OK
    assert set(result.parseoutcomes()) == {"skipped"}
