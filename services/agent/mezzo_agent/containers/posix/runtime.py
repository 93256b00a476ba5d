"""The runtime folder of a container: what the agent, the monitor and the next agent tell each other through the disk.

    <runtime_dir>/containers/<container>@<launch>/
        container     written by the agent before it orders the launch: whatever it needs to take the container up again
        processes     made by the monitor before the task's program runs: see launcher.py
        exit          written by the monitor when the task has ended

Files carry a checksum in their first line, since the next agent acts on what they say: what does not match it is told
from what is not there. Files of agents that wrote none are read as they are.

It lies outside the sandbox, where no task can write (mode 0700). `<launch>` is a random word: should a container of the
same id be launched again, an order for the first one that is still on its way finds no folder any more.
"""

import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Self

from mezzo import private_files
from mezzo_agent.containers.posix.processes import ProcessId

_RECORD = "container"
_PROCESSES = "processes"
_EXIT = "exit"
_ABANDONED = "abandoned"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CHECKSUM = b"crc32 "


class DamagedFile(ValueError):
    """What an earlier agent or a monitor wrote cannot be read any more; the message names the file."""


def _sealed(data: bytes) -> bytes:
    return b"%s%08x\n%s" % (_CHECKSUM, zlib.crc32(data), data)


def _unsealed(path: Path) -> bytes:
    """Raises DamagedFile, and OSError where there is no file."""
    data = path.read_bytes()
    if not data.startswith(_CHECKSUM):
        return data
    line, _, body = data.partition(b"\n")
    if line != b"%s%08x" % (_CHECKSUM, zlib.crc32(body)):
        raise DamagedFile(f"{path} does not match its checksum")
    return body


@dataclass(frozen=True, slots=True)
class Processes:
    """The two processes that every running container has."""

    monitor: ProcessId
    task: ProcessId

    @classmethod
    def parse(cls, target: str) -> Self:
        """Read `<monitor pid>.<start time>-<task pid>.<start time>`. Raises ValueError."""
        monitor, task = (ProcessId(*map(int, name.split("."))) for name in target.split("-"))
        return cls(monitor, task)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a task ended: the wait status as waitpid(2) gives it, or None where there is none, and why."""

    wait_status: int | None
    message: str


def new_name(folder: Path) -> str:
    """The name of a container's folder while it is being made: the longest that it has."""
    return f".new-{folder.name}"


@dataclass(frozen=True, slots=True)
class RuntimeFolder:
    """One container's folder. Every method touches the disk, and only a little: none is slow enough for a thread.

    What each launch does is said to the kernel directly: a dozen paths made of Path objects take longer than the disk.
    """

    path: Path

    @property
    def container_id(self) -> str:
        return self.path.name.rpartition("@")[0]

    @classmethod
    def of_launch(cls, runtime_dir: Path, container_id: str) -> Self:
        """The folder of a launch that is about to be made; it is not there yet."""
        return cls(runtime_dir / "containers" / f"{container_id}@{token_hex(4)}")

    def create(self, record: bytes) -> None:
        """Makes the folder with its record, at once or not at all."""
        new = f"{self.path.parent}/{new_name(self.path)}"
        try:
            os.mkdir(new, 0o700)
        except FileNotFoundError:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.mkdir(new, 0o700)
        with open(f"{new}/{_RECORD}", "wb") as file:
            file.write(_sealed(record))
        os.rename(new, self.path)

    def record(self) -> bytes:
        """Raises DamagedFile, and OSError where there is none."""
        return _unsealed(self.path / _RECORD)

    def replace_record(self, record: bytes) -> None:
        new = self.path / "container.new"
        new.write_bytes(_sealed(record))
        new.replace(self.path / _RECORD)

    def processes(self) -> Processes | None:
        """None if the container never ran. Raises DamagedFile."""
        try:
            target = os.readlink(f"{self.path}/{_PROCESSES}")
        except FileNotFoundError:
            return None
        if target == _ABANDONED:
            return None
        try:
            return Processes.parse(target)
        except (ValueError, TypeError):
            raise DamagedFile(f"{self.path}/processes leads to '{target}'") from None

    def abandon(self) -> bool:
        """Makes sure that a container that has not started never will. False if a monitor has been faster."""
        try:
            os.symlink(_ABANDONED, f"{self.path}/{_PROCESSES}")
        except FileExistsError:
            return os.readlink(f"{self.path}/{_PROCESSES}") == _ABANDONED
        return True

    def exit(self) -> Exit | None:
        """None while the task runs, or if nobody wrote down how it ended."""
        try:
            status, _, message = os.readlink(f"{self.path}/{_EXIT}").partition("\n")
        except FileNotFoundError:
            return None
        try:
            return Exit(None if status == "-" else int(status), message)
        except ValueError:
            return Exit(None, f"the wait status of the task is damaged: {self.path}/exit leads to '{status}'")

    def remove(self) -> None:
        """Forgets the container. It moves out of sight first, so that half a folder is never taken for a container."""
        old = f"{self.path.parent}/.old-{self.path.name}"
        try:
            os.rename(self.path, old)
        except FileNotFoundError:
            return
        try:
            for name in (_RECORD, _PROCESSES, _EXIT):
                os.unlink(f"{old}/{name}")
            os.rmdir(old)
        except OSError:
            _remove(old)  # it holds less than usual, or more


def _remove(folder: str) -> None:
    """The folder holds nothing but what stands at the top of this page: no walk is needed."""
    for name in os.listdir(folder):
        os.unlink(f"{folder}/{name}")
    os.rmdir(folder)


def containers(runtime_dir: Path) -> list[RuntimeFolder]:
    """Every container that an agent has left here, in the order of their names."""
    root = runtime_dir / "containers"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in sorted(os.listdir(root)):
        if name.startswith((".new-", ".old-")):
            with suppress(OSError):  # it is in nobody's way, and counts for nothing
                _remove(str(root / name))
    return [RuntimeFolder(root / name) for name in sorted(os.listdir(root)) if not name.startswith(".")]


def same_boot(runtime_dir: Path) -> bool:
    """Whether the machine has not been restarted since `remember_boot`. Pids and start times say nothing after that.

    Raises DamagedFile.
    """
    try:
        return _unsealed(runtime_dir / "boot_id") == BOOT_ID.read_bytes()
    except FileNotFoundError:
        return False


def remember_boot(runtime_dir: Path) -> None:
    with suppress(DamagedFile):
        if same_boot(runtime_dir):
            return  # an agent starts on a full disk, too
    new = runtime_dir / "boot_id.new"
    with open(new, "wb", opener=private_files.opener) as file:
        file.write(_sealed(BOOT_ID.read_bytes()))
    new.replace(runtime_dir / "boot_id")
