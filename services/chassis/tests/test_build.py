"""What is told of the commit that runs."""

import sys
from pathlib import Path

import pytest

from mezzo_chassis import build


def test_version_names_the_commit_that_an_image_was_built_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "share" / "mezzo").mkdir(parents=True)
    (tmp_path / build.REVISION_FILE).write_text("3f2a1b\n")
    assert build.described("1.2.3") == "1.2.3 (commit 3f2a1b)"


def test_version_stands_alone_where_nobody_knows_the_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert build.described("1.2.3") == "1.2.3"
