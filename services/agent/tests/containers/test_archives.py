import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mezzo_agent.fetching.archives import ArchiveError, is_archive, unpack
from mezzo_agent.fetching.budget import Budget
from mezzo_agent.fetching.confined import OutsideError, check_link

BYTES_MAX = 1 << 20


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """A sandbox with something precious beside it that an archive may try to reach."""
    (tmp_path / "precious").write_text("untouched")
    sandbox = tmp_path / "sandbox"
    sandbox.mkdir()
    return sandbox


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def tar(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    file.seek(0)
    return file


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.tar", "w"),
        ("a.tar.gz", "w:gz"),
        ("a.tgz", "w:gz"),
        ("a.tar.bz2", "w:bz2"),
        ("a.tbz2", "w:bz2"),
        ("a.tar.xz", "w:xz"),
        ("a.txz", "w:xz"),
    ],
)
def test_every_kind_of_tar_is_unpacked(sandbox: Path, name: str, mode: str) -> None:
    archive = tar(
        member("dir", type=tarfile.DIRTYPE, mode=0o755),
        member("dir/program", b"#!/bin/sh\n", mode=0o755),
        link("dir/link", "program"),
        hard_link("again", "dir/program"),
        mode=mode,
    )
    assert is_archive(name)
    unpack(archive, name, sandbox, Budget(BYTES_MAX))
    assert (sandbox / "dir/program").read_bytes() == b"#!/bin/sh\n"
    assert (sandbox / "dir/program").stat().st_mode & 0o777 == 0o755
    assert os.readlink(sandbox / "dir/link") == "program"
    assert (sandbox / "again").samefile(sandbox / "dir/program")


def test_a_zip_is_unpacked_with_modes_links_and_the_last_of_duplicated_entries(sandbox: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("dir/", b"")
        programs = [zipfile.ZipInfo("dir/program") for _ in range(2)]
        for program in programs:
            program.external_attr = (stat.S_IFREG | 0o755) << 16
        archive.writestr(programs[0], b"first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(programs[1], b"second")
        symlink = zipfile.ZipInfo("link")
        symlink.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(symlink, b"dir/program")
        archive.writestr("plain", b"text")
    unpack(file, "a.zip", sandbox, Budget(BYTES_MAX))
    assert (sandbox / "link").read_bytes() == b"second"
    assert (sandbox / "dir/program").stat().st_mode & 0o777 == 0o755
    assert (sandbox / "plain").read_bytes() == b"text"


def test_a_gzipped_file_becomes_the_file(sandbox: Path) -> None:
    unpack(io.BytesIO(gzip.compress(b"content")), "dir/notes.txt.gz", sandbox, Budget(BYTES_MAX))
    assert (sandbox / "dir/notes.txt").read_bytes() == b"content"


@pytest.mark.parametrize("name", ["a", "a.txt", "tar", "a.zip.txt", "a.7z"])
def test_other_names_are_no_archives(name: str) -> None:
    assert not is_archive(name)


def test_special_bits_and_other_peoples_right_to_write_are_dropped(sandbox: Path) -> None:
    unpack(tar(member("program", b"x", mode=0o6777)), "a.tar", sandbox, Budget(BYTES_MAX))
    assert stat.S_IMODE((sandbox / "program").stat().st_mode) == 0o755


def test_absolute_names_are_taken_as_names_inside(sandbox: Path) -> None:
    unpack(tar(member("/etc/motd", b"hello")), "a.tar", sandbox, Budget(BYTES_MAX))
    assert (sandbox / "etc/motd").read_bytes() == b"hello"


def zipped(name: str, mode: int, content: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content)
    file.seek(0)
    return file


HOSTILE: dict[str, tuple[str, Callable[[], io.BytesIO]]] = {
    "a name that climbs": ("a.tar", lambda: tar(member("../precious", b"gotcha"))),
    "a name that climbs later": ("a.tar", lambda: tar(member("dir/../../precious", b"gotcha"))),
    "a link that climbs": ("a.tar", lambda: tar(link("out", "../precious"))),
    "an absolute link": ("a.tar", lambda: tar(link("out", "/etc/passwd"))),
    "links that climb together": (
        "a.tar",
        lambda: tar(
            member("deep/er", type=tarfile.DIRTYPE, mode=0o755),
            link("deep/er/up", "../.."),
            link("out", "deep/er/up/.."),
        ),
    ),
    "a hard link that climbs": ("a.tar", lambda: tar(hard_link("out", "../precious"))),
    "a device node": ("a.tar", lambda: tar(member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3))),
    "a block device": ("a.tar", lambda: tar(member("disk", type=tarfile.BLKTYPE))),
    "a FIFO": ("a.tar", lambda: tar(member("pipe", type=tarfile.FIFOTYPE))),
    "more than the limit": ("a.tar.gz", lambda: tar(member("bomb", bytes(BYTES_MAX + 1)), mode="w:gz")),
    "a gzip of more than the limit": ("bomb.gz", lambda: io.BytesIO(gzip.compress(bytes(BYTES_MAX + 1)))),
    "half an archive": ("a.tar.gz", lambda: io.BytesIO(tar(member("x", b"y" * 9999), mode="w:gz").getvalue()[:80])),
    "no archive at all": ("a.tar", lambda: io.BytesIO(b"this is not a tar archive" * 100)),
    "no zip at all": ("a.zip", lambda: io.BytesIO(b"this is not a zip archive")),
    "no gzip at all": ("a.gz", lambda: io.BytesIO(b"this is not gzip")),
    "a zip that climbs": ("a.zip", lambda: zipped("../precious", stat.S_IFREG | 0o644, b"gotcha")),
    "a zipped link that climbs": ("a.zip", lambda: zipped("out", stat.S_IFLNK | 0o777, b"../precious")),
    "a zipped device": ("a.zip", lambda: zipped("null", stat.S_IFCHR | 0o666, b"")),
    "a file over the sandbox": ("a.tar", lambda: tar(member(".", b"gotcha"))),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_or_damaged_archive_is_refused_and_reaches_nothing_outside(sandbox: Path, what: str) -> None:
    name, archive = HOSTILE[what]
    with pytest.raises(ArchiveError) as raised:
        unpack(archive(), name, sandbox, Budget(BYTES_MAX))
    assert str(raised.value)
    assert (sandbox.parent / "precious").read_text() == "untouched"
    assert sorted(os.listdir(sandbox.parent)) == ["precious", "sandbox"]
    for path in sandbox.rglob("*"):
        assert path.resolve().is_relative_to(sandbox)
        assert path.is_file() or path.is_dir()


def test_nothing_is_written_through_a_link_of_the_same_archive(sandbox: Path) -> None:
    archive = tar(link("dir", "elsewhere"), member("dir/file", b"content"))
    with pytest.raises(IsADirectoryError):  # the link comes last, and the folder is there by then
        unpack(archive, "a.tar", sandbox, Budget(BYTES_MAX))
    assert (sandbox / "dir/file").read_bytes() == b"content"


def test_nothing_is_written_through_a_link_that_was_there_before(sandbox: Path) -> None:
    (sandbox / "dir").symlink_to(sandbox.parent)
    with pytest.raises(ArchiveError, match="not a folder"):
        unpack(tar(member("dir/precious", b"gotcha")), "a.tar", sandbox, Budget(BYTES_MAX))
    assert (sandbox.parent / "precious").read_text() == "untouched"


def test_a_file_replaces_a_link_and_not_what_it_leads_to(sandbox: Path) -> None:
    (sandbox / "precious").symlink_to(sandbox.parent / "precious")
    unpack(tar(member("precious", b"mine")), "a.tar", sandbox, Budget(BYTES_MAX))
    assert (sandbox / "precious").read_bytes() == b"mine"
    assert (sandbox.parent / "precious").read_text() == "untouched"


@pytest.mark.parametrize(
    ("place", "target"), [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a", "b/c"), ("a", ".")]
)
def test_links_that_stay_inside_are_made(place: str, target: str) -> None:
    check_link(place.split("/"), target)


@pytest.mark.parametrize(("place", "target"), [("a", ".."), ("a/b", "../.."), ("a", "b/../c"), ("a", "/"), ("a", "")])
def test_links_that_may_lead_out_are_not(place: str, target: str) -> None:
    with pytest.raises(OutsideError):
        check_link(place.split("/"), target)
