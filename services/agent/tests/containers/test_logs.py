import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from mezzo_agent.containers import logs
from mezzo_agent.containers.containerizer import PosixContainerizer
from mezzo_agent.containers.logs import LogLimit, LogRotation, rotate
from mezzo_agent.containers.posix.processes import ProcessId, read_process, stopped
from mezzo_agent.containers.posix.runtime import RuntimeFolder
from mezzo_agent.ports import ContainerConfig

Configure = Callable[..., ContainerConfig]
Until = Callable[[Callable[[], bool]], Awaitable[None]]

PAGE = os.sysconf("SC_PAGE_SIZE")
LINES = 300_000
# Lines of various lengths, several in one write, as fast as it can.
WRITER = f"""
import os
text = [b"%d %s\\n" % (number, b"x" * (number % 97)) for number in range({LINES})]
for start in range(0, {LINES}, 7):
    os.write(1, b"".join(text[start:start + 7]))
"""


@contextlib.contextmanager
def never() -> Iterator[None]:
    raise AssertionError("nobody has to be stopped where the file system can collapse")
    yield


def stream(sandbox: Path, name: str = "stdout") -> bytes:
    """What the task has written, put together from its files."""
    rotated = sorted(sandbox.glob(f"{name}.*"), key=lambda path: -int(path.suffix[1:]))
    return b"".join(path.read_bytes() for path in [*rotated, sandbox / name])


def check_lines(written: bytes) -> None:
    lines = written.splitlines()
    assert len(lines) == LINES
    for number, line in enumerate(lines):
        assert line == b"%d %s" % (number, b"x" * (number % 97)), f"line {number}"


def collapses(folder: Path) -> bool:
    (folder / "stdout").write_bytes(b"x" * 3 * PAGE)
    try:
        return rotate(folder, "stdout", LogLimit(PAGE, 0), never) > 0
    except AssertionError:
        return False


def test_a_file_below_its_limit_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_bytes(b"x" * (2 * PAGE - 1))
    assert rotate(tmp_path, "stdout", LogLimit(2 * PAGE, 2), never) == 0
    assert rotate(tmp_path, "stderr", LogLimit(2 * PAGE, 2), never) == 0
    assert os.listdir(tmp_path) == ["stdout"]


@pytest.mark.parametrize("can_collapse", [True, False], ids=["collapsing", "truncating"])
def test_the_head_moves_to_the_first_file_and_the_older_files_move_on(
    tmp_path: Path, can_collapse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_collapse:
        monkeypatch.setattr(logs, "_COLLAPSE_RANGE", 0x80000000)  # no such mode: EOPNOTSUPP
    limit = LogLimit(4 * PAGE, 3)
    written = b""
    for letter in (b"a", b"b", b"c"):
        more = letter * (5 * PAGE)
        written += more
        with (tmp_path / "stdout").open("ab") as file:
            file.write(more)
        rotate(tmp_path, "stdout", limit, contextlib.nullcontext)
        assert written.endswith(stream(tmp_path))
        assert (tmp_path / "stdout").stat().st_size <= PAGE
    assert sorted(os.listdir(tmp_path)) == ["stdout", "stdout.1", "stdout.2", "stdout.3"]
    assert all(path.stat().st_size <= limit.bytes_max for path in tmp_path.iterdir())


def test_of_a_file_that_grew_far_beyond_its_limit_only_the_newest_part_is_kept(tmp_path: Path) -> None:
    written = os.urandom(100 * PAGE + 5)
    (tmp_path / "stdout").write_bytes(written)
    rotate(tmp_path, "stdout", LogLimit(2 * PAGE, 3), contextlib.nullcontext)
    kept = stream(tmp_path)
    assert written.endswith(kept)
    assert 6 * PAGE <= len(kept) <= 7 * PAGE
    assert {path.stat().st_size for path in tmp_path.glob("stdout.*")} == {2 * PAGE}


def test_without_rotated_files_the_head_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_bytes(b"a" * 8 * PAGE + b"the end")
    rotate(tmp_path, "stdout", LogLimit(PAGE, 0), contextlib.nullcontext)
    assert os.listdir(tmp_path) == ["stdout"]
    assert (tmp_path / "stdout").stat().st_size < 8 * PAGE


@pytest.mark.parametrize("can_collapse", [True, False], ids=["collapsing", "stopping"])
async def test_no_line_of_a_fast_writer_is_lost_or_doubled(
    containers: PosixContainerizer,
    configure: Configure,
    runtime_dir: Path,
    can_collapse: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if not can_collapse:
        monkeypatch.setattr(logs, "_COLLAPSE_RANGE", 0x80000000)
    elif not collapses(tmp_path):
        pytest.skip("this file system cannot collapse a range")
    config = configure(argv=(sys.executable, ["python", "-I", "-S", "-c", WRITER]))
    await containers.launch(config)
    containers._logs.forget(config.container_id)  # it keeps fewer files
    (folder,) = (runtime_dir / "containers").iterdir()
    processes = RuntimeFolder(folder).processes()
    assert processes is not None
    rotation = LogRotation({"stdout": LogLimit(256 << 10, 10_000)})
    ended = asyncio.ensure_future(containers.wait(config.container_id))
    while not ended.done():
        await asyncio.to_thread(rotation.check, [(config.sandbox, processes.monitor)])
    assert (await ended).wait_status == 0
    # How often depends on the machine; that it was rotated while it wrote does not.
    assert list(config.sandbox.glob("stdout.*"))
    check_lines(stream(config.sandbox))


async def test_the_containerizer_rotates_both_files_by_itself(
    containers: PosixContainerizer, configure: Configure, until: Until
) -> None:
    containers._logs._limits = {"stdout": LogLimit(PAGE, 1), "stderr": LogLimit(PAGE, 1)}
    containers._logs._interval_secs = 0.01
    config = configure("head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2; sleep 1000")
    await containers.launch(config)
    await until(lambda: (config.sandbox / "stdout.1").exists() and (config.sandbox / "stderr.1").exists())


def test_a_link_in_place_of_a_log_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"x" * 10 * PAGE)
    sandbox = tmp_path / "sandbox"
    sandbox.mkdir()
    (sandbox / "stdout").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        rotate(sandbox, "stdout", LogLimit(PAGE, 1), never)
    assert precious.stat().st_size == 10 * PAGE


def test_a_fifo_in_place_of_a_log_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "stdout")
    assert rotate(tmp_path, "stdout", LogLimit(PAGE, 1), never) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another owner")
def test_a_file_of_another_owner_is_left_alone_and_rotated_files_belong_to_the_task(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_bytes(b"x" * 10 * PAGE)
    os.chown(tmp_path, 65534, 65534)
    assert rotate(tmp_path, "stdout", LogLimit(PAGE, 1), never) == 0
    os.chown(tmp_path / "stdout", 65534, 65534)
    assert rotate(tmp_path, "stdout", LogLimit(PAGE, 1), contextlib.nullcontext) > 0
    assert (tmp_path / "stdout.1").stat().st_uid == 65534


def test_what_a_killed_agent_left_half_copied_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_bytes(b"x" * 10 * PAGE)
    (tmp_path / ".stdout.new-0").write_bytes(b"half")
    rotate(tmp_path, "stdout", LogLimit(10 * PAGE, 1), contextlib.nullcontext)
    assert set((tmp_path / "stdout.1").read_bytes()) == {ord("x")}


@pytest.mark.parametrize(("bytes_max", "files_max"), [(PAGE - 1, 1), (PAGE, -1)])
def test_a_limit_that_makes_no_sense_is_refused(bytes_max: int, files_max: int) -> None:
    with pytest.raises(ValueError, match="log file"):
        LogLimit(bytes_max, files_max)


def state(pid: int) -> str:
    process = read_process(pid)
    assert process is not None
    return process.state


def test_stopped_processes_run_again_afterwards_save_those_that_stood_still_before() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        asleep = int(parent.stdout.readline())
        os.kill(asleep, 19)
        while state(asleep) != "T":
            os.sched_yield()
        found = read_process(os.getpid())
        assert found is not None
        with stopped(ProcessId(parent.pid, found.start_time)):
            children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
            assert {state(int(child)) for child in children} == {"T"}
        others = [int(child) for child in children if int(child) != asleep]
        while any(state(pid) == "T" for pid in others):
            os.sched_yield()
        assert state(asleep) == "T"
        for pid in [*others, asleep]:
            os.kill(pid, 9)
