"""The breaks that are kept beside the table apply, and are tried on a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.__main__ import main
from tests.parity.breaks import Break, faults, read_breaks
from tests.parity.prove import prove
from tests.parity.table import Row, Standing, read

HALVES = "sdk/python/arithmetic/halves.py"


def test_every_break_that_is_kept_applies_to_the_code_and_to_a_row() -> None:
    breaks = read_breaks()
    assert breaks
    assert list(faults(breaks, read())) == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one package, with tests of which one sees what `half` gives and the other does not."""
    package, tests = tmp_path / "sdk" / "python" / "arithmetic", tmp_path / "tests"
    package.mkdir(parents=True)
    tests.mkdir()
    (package / "__init__.py").write_text("")
    (package / "halves.py").write_text("def half(number: int) -> int:\n    return number // 2\n")
    (tests / "test_halves.py").write_text(
        "import pytest\n"
        "from arithmetic.halves import half\n"
        "@pytest.mark.parametrize('number', [0, 4])\n"
        "def test_sees(number: int) -> None:\n    assert half(number) * 2 == number\n"
        "def test_looks_away() -> None:\n    assert half(4)\n"
        "def test_fails() -> None:\n    assert half(4) == 3\n"
    )
    return tmp_path


def row(test: str, ours: str, standing: Standing = Standing.SHOWN) -> Row:
    return Row(2, "a.cpp", test, standing, (f"tests/test_halves.py::{ours}",), "")


def broken(*rows: str, old: str = "number // 2", new: str = "number // 3") -> Break:
    return Break("halves #1", rows, HALVES, old, new)


def test_a_test_that_fails_without_a_break_proves_nothing(project: Path) -> None:
    with pytest.raises(RuntimeError, match=r"these fail without any break: tests/test_halves\.py::test_fails"):
        list(prove([broken("T.One")], [row("T.One", "test_fails")], 1, project))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("number // 4", "1", "the old text is 0 times in"),
        ("number", "n", "the old text is 2 times in"),
        ("number // 2", "number //", "no Python"),
        ("number // 2", "(number // 2)  # the same", "means the same"),
    ],
)
def test_a_break_that_does_not_apply_is_named(project: Path, old: str, new: str, complaint: str) -> None:
    (fault,) = faults([broken("T.Seen", old=old, new=new)], [row("T.Seen", "test_sees")], project)
    assert fault.startswith("halves #1: T.Seen: ")
    assert complaint in fault


def test_a_break_of_no_row_that_is_shown_is_named(project: Path) -> None:
    rows = [row("T.Here", "test_sees", Standing.PARTLY), row("T.Not", "test_sees", Standing.NOT_HERE)]
    found = list(faults([broken("T.Here", "T.Not", "T.Unknown")], rows, project))
    assert found == [
        "halves #1: T.Here and 2 more: T.Not: no row that is shown",
        "halves #1: T.Here and 2 more: T.Unknown: no row that is shown",
    ]


@pytest.mark.slow("runs pytest several times, in processes of their own")
def test_a_break_that_no_test_of_its_rows_notices_is_named_and_the_project_is_left_as_it_is(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (project / HALVES).read_bytes()
    (project / "mesos.tsv").write_text(
        "file\ttest\tstanding\tours\tnote\n"
        "a.cpp\tT.Seen\tshown\ttests/test_halves.py::test_sees\t\n"
        "a.cpp\tT.Unseen\tshown\ttests/test_halves.py::test_looks_away\t\n"
        "a.cpp\tT.Untried\tshown\ttests/test_halves.py::test_looks_away\t\n"
    )
    (project / "names.tsv").write_text("file\ttest\na.cpp\tT.Seen\na.cpp\tT.Unseen\na.cpp\tT.Untried\n")
    (project / "breaks").mkdir()
    (project / "breaks" / "halves.toml").write_text(
        "".join(
            f"[[break]]\nrows = {rows}\nfile = '{HALVES}'\nold = '{old}'\nnew = '{new}'\n"
            for rows, old, new in (
                (["T.Seen", "T.Unseen"], "number // 2", "number // 3"),
                (["T.Seen"], "number // 2", "number // 3"),
                (["T.Unseen"], "return", "import nowhere; return"),
            )
        )
    )
    places = (project / "mesos.tsv", project, project / "names.tsv", project / "breaks")
    assert main(["--prove", "--workers=1"], *places) == 1
    told = capsys.readouterr()
    assert told.err == "halves #1: T.Seen and 1 more: passes: T.Unseen\n"
    assert told.out.endswith("2 of 3 breaks make the tests of their rows fail; 2 of 3 rows that are shown have one\n")
    assert (project / HALVES).read_bytes() == text
    assert main(["--prove", "--only=thirds"], *places) == 1
    assert capsys.readouterr().err == "no break, and no row that has one, is called 'thirds'\n"
