"""What is told of the commit that runs."""

import sys
from pathlib import Path

import pytest

from mezzo_chassis import build


def test_build_names_the_commit_where_mesos_names_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "share" / "mezzo").mkdir(parents=True)
    for text, sha in (("3f2a1b\n", "3f2a1b"), ("unknown\n", None), ("", None)):
        (tmp_path / build.REVISION_FILE).write_text(text)
        built = build.Build.installed("1.2.3")
        document, message = built.document(), built.message()
        assert (document.get("git_sha"), message.git_sha or None) == (sha, sha)
        assert document["version"] == message.version == build.MESOS_VERSION
        assert (document["mezzo_version"], message.git_tag) == ("1.2.3", "mezzo-1.2.3")
        assert document["build_date"] == message.build_date


def test_the_version_that_clients_compare_is_dotted_integers() -> None:
    assert all(part.isdecimal() for part in build.MESOS_VERSION.split("."))


def test_version_names_the_commit_that_an_image_was_built_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "share" / "mezzo").mkdir(parents=True)
    (tmp_path / build.REVISION_FILE).write_text("3f2a1b\n")
    assert build.described("1.2.3") == "1.2.3 (commit 3f2a1b)"


def test_version_stands_alone_where_nobody_knows_the_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert build.described("1.2.3") == "1.2.3"
