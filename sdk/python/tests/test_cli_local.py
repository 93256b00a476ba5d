"""What `mezzo local` makes on the disk, whatever the umask is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mezzo.cli.cluster import Cluster, Layout


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("user", [0, 1000])
def test_state_and_logs_are_nobody_elses_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    cluster = Cluster(Layout(tmp_path / "work"))
    cluster.make_folders()
    cluster.open_log("registry").close()
    # Tasks of root's agent run as other users, who must reach their sandboxes.
    passable = 0o711 if user == 0 else 0o700
    assert {path.name: mode_of(path) for path in [tmp_path / "work", *(tmp_path / "work").iterdir()]} == {
        "work": passable,
        "agent": passable,
        "logs": 0o700,
        "registry": 0o700,
    }
    assert mode_of(cluster.log_of("registry")) == 0o600


def test_what_an_earlier_version_made_is_closed(tmp_path: Path) -> None:
    cluster = Cluster(Layout(tmp_path / "work"))
    for folder in (tmp_path / "work" / "logs", tmp_path / "work" / "registry"):
        folder.mkdir(parents=True)
    cluster.log_of("registry").write_text("an old line")
    cluster.make_folders()
    cluster.open_log("registry").close()
    assert mode_of(tmp_path / "work" / "registry") == 0o700
    assert mode_of(cluster.log_of("registry")) == 0o600


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir(mode=0o1777)
    (tmp_path / "work").chmod(0o1777)
    Cluster(Layout(tmp_path / "work")).make_folders()
    assert mode_of(tmp_path / "work") == 0o1777
    assert mode_of(tmp_path / "work" / "registry") == 0o700
