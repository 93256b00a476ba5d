"""The list of what Mesos tests, held against the tests that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.__main__ import main
from tests.parity.table import Standing, faults, read, read_names

MESOS = frozenset(
    {("a.cpp", "T.First"), ("a.cpp", "T.One"), ("a.cpp", "T.Two"), ("b.cpp", "T.One"), ("c.cpp", "T.Last")}
)


def test_every_test_that_the_list_names_is_there() -> None:
    assert list(faults(read(), read_names())) == []


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
    table.write_text("\n".join(["file\ttest\tstanding\tours\tnote", *rows]) + "\n")
    return list(faults(read(table), MESOS, project))


@pytest.mark.parametrize(
    ("standing", "ours", "note"),
    [
        ("shown", "tests/test_one.py::test_plain", ""),
        ("partly", "tests/test_one.py::test_async tests/test_one.py::TestGroup::test_method", "missing: the rest"),
        ("measured", "tests/bench/speed.py::cycles", ""),
        ("not here", "", "there is no such thing"),
    ],
)
def test_a_name_is_found_wherever_a_test_may_be(project: Path, standing: str, ours: str, note: str) -> None:
    assert check(project, f"a.cpp\tT.One\t{standing}\t{ours}\t{note}") == []


@pytest.mark.parametrize(
    ("standing", "ours", "note", "complaint"),
    [
        ("shown", "tests/test_one.py::test_gone", "", "there is no test tests/test_one.py::test_gone"),
        ("shown", "tests/test_one.py::test_plain tests/test_two.py::test_plain", "", "no test tests/test_two.py"),
        ("shown", "tests/test_one.py::test_method", "", "there is no test"),
        ("shown", "tests/test_one.py::helper", "", "there is no test"),
        ("shown", "tests/test_one.py", "", "there is no test"),
        ("shown", "test_plain", "", "there is no test"),
        ("shown", "", "something", "'shown' needs a test"),
        ("partly", "tests/test_one.py::test_plain", "", "'partly' needs a note"),
        ("measured", "", "", "'measured' needs a test"),
        ("measured", "tests/bench/speed.py::memory", "", "there is no test"),
        ("measured", "tests/test_one.py::test_plain", "", "benchmarks measure, and tests show"),
        ("shown", "tests/bench/speed.py::cycles", "", "benchmarks measure, and tests show"),
        ("not here", "", "", "'not here' needs a note"),
        ("not here", "tests/test_one.py::test_plain", "a note", "'not here', but names tests/test_one.py::test_plain"),
    ],
)
def test_a_row_that_says_what_is_not_so_is_named(
    project: Path, standing: str, ours: str, note: str, complaint: str
) -> None:
    (fault,) = check(project, "a.cpp\tT.First\tnot here\t\ta note", f"b.cpp\tT.One\t{standing}\t{ours}\t{note}")
    assert fault.startswith("line 3: b.cpp T.One: ")
    assert complaint in fault


def test_a_behaviour_is_one_of_mesos_and_is_listed_once_and_in_its_place(project: Path) -> None:
    row = "a.cpp\tT.One\tnot here\t\ta note"
    assert check(project, row, row) == ["a.cpp T.One: listed 2 times"]
    assert check(project, row.replace("a.cpp", "b.cpp"), row) == ["line 3: a.cpp T.One: out of order"]
    assert check(project, row.replace("One", "Ten")) == ["line 2: a.cpp T.Ten: Mesos has no such test"]


def test_a_table_of_another_form_is_refused(project: Path) -> None:
    with pytest.raises(ValueError, match="line 2: 2 cells instead of 5"):
        check(project, "a.cpp\tT.One")
    with pytest.raises(ValueError, match="line 2: standing: unknown 'later'"):
        check(project, "a.cpp\tT.One\tlater\t\tquota")
    (project / "mesos.tsv").write_text("")
    with pytest.raises(ValueError, match="must name the columns"):
        read(project / "mesos.tsv")


def test_the_totals_are_printed_and_a_fault_is_exit_status_1(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names, breaks = project / "names.tsv", project / "breaks"
    names.write_text("file\ttest\n" + "".join(f"{file}\t{test}\n" for file, test in sorted(MESOS)))
    shown = "a.cpp\tT.One\tshown\ttests/test_one.py::test_plain\t"
    check(project, shown, "a.cpp\tT.Two\tnot here\t\tquota", "b.cpp\tT.One\tnot here\t\ta note")
    assert main([], project / "mesos.tsv", project, names, breaks) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["shown", "partly", "measured", "not", "here", "not", "judged"],
        ["a.cpp", "1", "0", "0", "1", "1"],
        ["b.cpp", "0", "0", "0", "1", "0"],
        ["other", "files", "0", "0", "0", "0", "1"],
        ["all", "1", "0", "0", "2", "2"],
    ]
    check(project, shown.replace("test_plain", "test_gone"))
    assert main([], project / "mesos.tsv", project, names, breaks) == 1
    assert "test_gone" in capsys.readouterr().err
    assert {row.standing for row in read(project / "mesos.tsv")} == {Standing.SHOWN}
