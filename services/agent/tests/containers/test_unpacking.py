"""Archives in the process that unpacks them: what they may take of memory, files and time, and how it ends."""

import asyncio
import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mezzo_agent.fetching import unpacker
from mezzo_agent.fetching.archives import PATH_BYTES_MAX, ArchiveError
from mezzo_agent.fetching.unpacking import Unpacker, UnpackLimits

MEMORY_BYTES_MAX = 48 << 20
LIMITS = UnpackLimits(bytes_max=1 << 20, members_max=100, memory_bytes_max=MEMORY_BYTES_MAX, stalled_cpu_seconds_max=5)

Unpack = Callable[[bytes, str], Awaitable[None]]


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    sandbox = tmp_path / "sandbox"
    sandbox.mkdir()
    return sandbox


@pytest.fixture
def unpack(tmp_path: Path, sandbox: Path) -> Unpack:
    async def unpack(content: bytes, name: str) -> None:
        (tmp_path / "archive").write_bytes(content)
        with (tmp_path / "archive").open("rb") as file:
            await Unpacker(LIMITS).unpack(file.fileno(), name, sandbox, None)

    return unpack


def header(name: str, size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def tar_of_names(*names: str, **fields: object) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info)
    return file.getvalue()


def zip_of_names(*names: str, content: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


def extended(kind: bytes) -> bytes:
    """A tar whose first header says that something as large as the memory follows, which is to be read at once."""
    body = b"9" * (MEMORY_BYTES_MAX + (1 << 20))
    return gzip.compress(header("./@LongLink", len(body), kind) + body, 1)


def sparse(blocks: int) -> bytes:
    """A sparse file whose list of pieces goes on for so many blocks, and says that still more follow."""
    head = bytearray(header("sparse", 0, tarfile.GNUTYPE_SPARSE))
    head[482] = 1  # more pieces follow
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    more = (b"%011o\0%011o\0" % (10**9, 10**9)) * 21 + b"\1" + bytes(7)
    return gzip.compress(bytes(head) + more * blocks, 1)


def xz_with_a_dictionary_of_4_gib() -> bytes:
    archive = bytearray(lzma.compress(tar_of_names("file"), check=lzma.CHECK_NONE))
    header_end = 12 + (archive[12] + 1) * 4
    assert archive[14:16] == b"\x21\x01", "LZMA2, with one byte that says the size of the dictionary"
    archive[16] = 40
    archive[header_end - 4 : header_end] = struct.pack("<I", zlib.crc32(archive[12 : header_end - 4]))
    return bytes(archive)


def zip_with_a_large_directory() -> bytes:
    count = 60_000  # what fits into the end record that everybody knows
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 64, 2000, 0, 0, 0, 0, 0)
    directory = (entry + b"n" * 64 + bytes(2000)) * (count // 2)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count // 2, count // 2, len(directory), 0, 0)
    return directory + end


HOSTILE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "a long name": ("a.tar.gz", lambda: extended(tarfile.GNUTYPE_LONGNAME), "of memory"),
    "a long link": ("a.tar.gz", lambda: extended(tarfile.GNUTYPE_LONGLINK), "of memory"),
    "a pax header": ("a.tar.gz", lambda: extended(tarfile.XHDTYPE), "of memory"),
    "a global pax header": ("a.tar.gz", lambda: extended(tarfile.XGLTYPE), "of memory"),
    "a Solaris header": ("a.tar.gz", lambda: extended(tarfile.SOLARIS_XHDTYPE), "of memory"),
    "a sparse file of many pieces": ("a.tar.gz", lambda: sparse(MEMORY_BYTES_MAX // 2000), "memory"),
    "what its library does not expect": ("a.tar.gz", lambda: sparse(1), "cannot be read: IndexError"),
    "a dictionary of 4 GiB": ("a.tar.xz", xz_with_a_dictionary_of_4_gib, "of memory"),
    "a large directory": ("a.zip", zip_with_a_large_directory, "of memory"),
    "much from little": ("a.gz", lambda: gzip.compress(bytes(2 << 20)), "expands to more than 1048576 bytes"),
    "much from a zip": (
        "a.zip",
        lambda: zip_of_names("a", content=bytes(2 << 20)),
        "expands to more than 1048576 bytes",
    ),
    "many files": ("a.tar", lambda: tar_of_names(*map(str, range(101))), "more than 100 files, folders and links"),
    "many zipped files": (
        "a.zip",
        lambda: zip_of_names(*map(str, range(101))),
        "more than 100 files, folders and links",
    ),
    "deep folders": ("a.tar", lambda: tar_of_names("a/" * 101 + "b", "c"), "more than 100 files, folders and links"),
    "a path": (
        "a.tar",
        lambda: tar_of_names("a/" * 2048 + "b"),
        f"the path 'a/a/.*…' has more than {PATH_BYTES_MAX} bytes",
    ),
    "a hard link": (
        "a.tar",
        lambda: tar_of_names("a", type=tarfile.LNKTYPE, linkname="b" * (PATH_BYTES_MAX + 1)),
        f"the path 'bbb.*…' has more than {PATH_BYTES_MAX} bytes",
    ),
    "a symbolic link": (
        "a.tar",
        lambda: tar_of_names("a", type=tarfile.SYMTYPE, linkname="b" * (PATH_BYTES_MAX + 1)),
        f"the link 'a' leads to a path of more than {PATH_BYTES_MAX} bytes",
    ),
    "a name that the disk cannot hold": ("a.tar", lambda: tar_of_names("b" * 300), "File name too long: 'bbb.*…'"),
    "a name that climbs": ("a.tar", lambda: tar_of_names("../precious"), "leads out of the sandbox"),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_what_an_archive_may_take_is_limited(unpack: Unpack, sandbox: Path, what: str) -> None:
    name, content, complaint = HOSTILE[what]
    with pytest.raises(ArchiveError, match=complaint) as raised:
        await unpack(content(), name)
    assert len(str(raised.value)) < 500
    assert os.listdir(sandbox.parent) in (["sandbox", "archive"], ["archive", "sandbox"])


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
async def test_an_archive_within_its_limits_is_unpacked(unpack: Unpack, sandbox: Path, suffix: str) -> None:
    tar = tar_of_names("folder/file")
    packed = {
        "tar": lambda: tar,
        "tar.gz": lambda: gzip.compress(tar),
        "tar.bz2": lambda: bz2.compress(tar),
        "tar.xz": lambda: lzma.compress(tar),
        "zip": lambda: zip_of_names("folder/file"),
    }
    await unpack(packed[suffix](), f"a.{suffix}")
    assert (sandbox / "folder" / "file").is_file()


async def test_an_archive_that_takes_too_long_is_given_up(sandbox: Path) -> None:
    reading, writing = os.pipe()
    try:
        unpacker = Unpacker(UnpackLimits(1 << 20, seconds_max=0.1))
        with pytest.raises(ArchiveError, match=r"timed out unpacking the archive after 0\.1 seconds"):
            await unpacker.unpack(reading, "never.gz", sandbox, None)
    finally:
        os.close(reading)
        os.close(writing)


async def test_an_archive_that_nothing_comes_of_is_given_up(sandbox: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(gzip.compress(b"") * 500_000)
    unpacker = Unpacker(UnpackLimits(1 << 20, stalled_cpu_seconds_max=0.1))
    with (tmp_path / "archive").open("rb") as archive, pytest.raises(ArchiveError, match="too much memory or time"):
        await unpacker.unpack(archive.fileno(), "empty.gz", sandbox, None)


async def test_nothing_is_unpacked_any_more_once_a_cancelled_caller_has_come_back(sandbox: Path) -> None:
    reading, writing = os.pipe()
    unpacking = asyncio.create_task(Unpacker(LIMITS).unpack(reading, "slow.gz", sandbox, None))
    # More than the pipe holds: once it is written, somebody has begun to read.
    await asyncio.to_thread(os.write, writing, gzip.compress(os.urandom(200_000))[:-8])
    os.close(reading)
    unpacking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unpacking
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"x")
    os.close(writing)


def test_nothing_is_unpacked_for_an_agent_that_is_no_more(sandbox: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(tar_of_names("file"))
    order = unpacker.Order(
        name="a.tar",
        folder=str(sandbox),
        bytes_max=1,
        members_max=1,
        memory_bytes_max=MEMORY_BYTES_MAX,
        stalled_cpu_seconds_max=30,
        agent_pid=1,
    )
    with (tmp_path / "archive").open("rb") as archive:
        done = subprocess.run(
            [sys.executable, "-m", unpacker.__name__, order.encode()], stdin=archive, capture_output=True, check=False
        )
    assert (done.returncode, done.stdout, done.stderr) == (unpacker.ORPHANED, b"", b"")
    assert os.listdir(sandbox) == []
