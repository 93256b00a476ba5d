"""The list of what Mesos tests, held against the tests that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.__main__ import main
from tests.parity.table import Standing, faults, read


def test_every_test_that_the_list_names_is_there() -> None:
    assert list(faults(read())) == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tests" / "bench").mkdir(parents=True)
    (tmp_path / "tests" / "test_one.py").write_text(
        "def test_plain() -> None: ...\n"
        "async def test_async() -> None: ...\n"
        "def helper() -> None: ...\n"
        "class TestGroup:\n    def test_method(self) -> None: ...\n"
    )
    (tmp_path / "tests" / "bench" / "speed.py").write_text("def cycles() -> None: ...\n")
    return tmp_path


def check(project: Path, *rows: str) -> list[str]:
    table = project / "mesos.tsv"
    table.write_text("\n".join(["file\ttest\tours\tnote", *rows]) + "\n")
    return list(faults(read(table), project))


@pytest.mark.parametrize(
    "ours",
    [
        "tests/test_one.py::test_plain",
        "tests/test_one.py::test_async tests/test_one.py::TestGroup::test_method",
        "tests/bench/speed.py::cycles",
    ],
)
def test_a_name_is_found_wherever_a_test_may_be(project: Path, ours: str) -> None:
    assert check(project, f"a.cpp\tT.One\t{ours}\t") == []


@pytest.mark.parametrize(
    ("ours", "note", "complaint"),
    [
        ("tests/test_one.py::test_gone", "", "there is no test tests/test_one.py::test_gone"),
        ("tests/test_one.py::test_plain tests/test_two.py::test_plain", "", "there is no test tests/test_two.py"),
        ("tests/test_one.py::test_method", "", "there is no test"),
        ("tests/test_one.py::helper", "", "there is no test"),
        ("tests/test_one.py", "", "there is no test"),
        ("test_plain", "", "there is no test"),
        ("", "something", "neither a test of ours, nor"),
        ("-", "", "'-' needs a note"),
        ("later", "", "'later' needs a note"),
    ],
)
def test_a_row_that_shows_nothing_is_named(project: Path, ours: str, note: str, complaint: str) -> None:
    (fault,) = check(project, "a.cpp\tT.First\t-\ta note", f"b.cpp\tT.One\t{ours}\t{note}")
    assert fault.startswith("line 3: b.cpp T.One: ")
    assert complaint in fault


def test_a_behaviour_is_listed_once_and_in_its_place(project: Path) -> None:
    row = "a.cpp\tT.One\t-\ta note"
    assert check(project, row, row) == ["a.cpp T.One: listed 2 times"]
    assert check(project, "b.cpp\tT.One\t-\ta note", row) == ["line 3: a.cpp T.One: out of order"]


def test_a_table_of_another_form_is_refused(project: Path) -> None:
    with pytest.raises(ValueError, match="line 2: 2 cells instead of 4"):
        check(project, "a.cpp\tT.One")
    (project / "mesos.tsv").write_text("")
    with pytest.raises(ValueError, match="must name the columns"):
        read(project / "mesos.tsv")


def test_the_totals_are_printed_and_a_fault_is_exit_status_1(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = "a.cpp\tT.One\ttests/test_one.py::test_plain\t"
    check(project, shown, "a.cpp\tT.Two\tlater\tquota", "b.cpp\tT.Three\t-\ta note")
    assert main(project / "mesos.tsv", project) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["shown", "later", "not", "applicable"],
        ["a.cpp", "1", "1", "0"],
        ["b.cpp", "0", "0", "1"],
        ["all", "1", "1", "1"],
    ]
    check(project, shown.replace("test_plain", "test_gone"))
    assert main(project / "mesos.tsv", project) == 1
    assert "test_gone" in capsys.readouterr().err
    assert {row.standing for row in read(project / "mesos.tsv")} == {Standing.SHOWN}
