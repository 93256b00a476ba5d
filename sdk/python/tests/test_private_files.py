"""Files that are their owner's alone, whatever the umask is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mezzo import private_files


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    private_files.make_folder(tmp_path / "a" / "b")
    private_files.make_file(tmp_path / "a" / "b" / "file")
    with open(tmp_path / "other", "wb", opener=private_files.opener):
        pass
    assert mode_of(tmp_path / "a" / "b") == 0o700
    assert mode_of(tmp_path / "a" / "b" / "file") == 0o600
    assert mode_of(tmp_path / "other") == 0o600


def test_what_is_there_is_closed_to_others_and_keeps_what_its_group_may(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    file.chmod(0o644)
    private_files.make_file(file)
    assert (mode_of(file), file.read_text()) == (0o644, "content")
    private_files.close_to_others(file)
    assert (mode_of(file), file.read_text()) == (0o640, "content")
    folder = tmp_path / "folder"
    folder.mkdir()
    private_files.make_folder(folder)
    assert mode_of(folder) == 0o700
    private_files.close_to_others(tmp_path / "missing")
