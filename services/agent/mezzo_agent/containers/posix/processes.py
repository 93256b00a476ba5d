"""Processes as the kernel shows them: names that cannot be mistaken, trees, and what they use. Linux's /proc only."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

STOP_SECONDS_MAX = 1.0


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, named so that a pid that the kernel gives again cannot be taken for it.

    `start_time` is in clock ticks since boot: /proc/<pid>/stat, field 22.
    """

    pid: int
    start_time: int

    def exists(self) -> bool:
        found = read_process(self.pid)
        return found is not None and found.start_time == self.start_time and not found.ended

    def open(self) -> int | None:
        """A pidfd, or None if the process has ended. The caller closes it."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        found = read_process(self.pid)
        if found is None or found.start_time != self.start_time or found.ended:
            os.close(pidfd)
            return None
        return pidfd

    def signal(self, number: int) -> bool:
        """Sends a signal; False if the process does not exist any more."""
        pidfd = self.open()
        if pidfd is None:
            return False
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True


NO_PROCESS = ProcessId(-1, 0)
"""Names none, no group and no session."""


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc/<pid>/stat: times in clock ticks; `waited_*` are those of children that were waited for."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    user_ticks: int
    system_ticks: int
    waited_user_ticks: int
    waited_system_ticks: int
    threads: int
    start_time: int
    resident_pages: int

    @property
    def id(self) -> ProcessId:
        return ProcessId(self.pid, self.start_time)

    @property
    def ended(self) -> bool:
        """True for a zombie: it holds its pid, and nothing else, until its parent takes the status."""
        return self.state in "ZX"


def read_process(pid: int) -> Process | None:
    """None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            line = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    field = line[line.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        state=field[0].decode(),
        parent=int(field[1]),
        group=int(field[2]),
        session=int(field[3]),
        user_ticks=int(field[11]),
        system_ticks=int(field[12]),
        waited_user_ticks=int(field[13]),
        waited_system_ticks=int(field[14]),
        threads=int(field[17]),
        start_time=int(field[19]),
        resident_pages=int(field[21]),
    )


class ProcessTable:
    """Every process of the machine at one moment. A scan costs about 20 µs for each process."""

    def __init__(self, processes: Iterable[Process]) -> None:
        self._processes = {process.pid: process for process in processes}
        self._children: dict[int, list[int]] = {}
        for process in self._processes.values():
            self._children.setdefault(process.parent, []).append(process.pid)

    @classmethod
    def scan(cls) -> Self:
        found = (read_process(int(name)) for name in os.listdir("/proc") if name.isdecimal())
        return cls(process for process in found if process is not None)

    def get(self, pid: int) -> Process | None:
        return self._processes.get(pid)

    def __iter__(self) -> Iterator[Process]:
        return iter(self._processes.values())

    def descendants(self, pid: int) -> list[Process]:
        """Children, their children and so on; not the process itself."""
        found: list[Process] = []
        unvisited = list(self._children.get(pid, ()))
        while unvisited:
            child = unvisited.pop()
            found.append(self._processes[child])
            unvisited += self._children.get(child, ())
        return found


def descendants(pid: int) -> list[int]:
    """Pids of the children of a process, their children and so on, read as they are now.

    It costs as much as the tree is large, whatever else runs on the machine. A process that is being born or dies
    meanwhile may be missed (proc(5) says so of `children`): whoever must have every one looks again until nothing is
    found.
    """
    found: list[int] = []
    unvisited = [pid]
    while unvisited:
        children = _children(unvisited.pop())
        found += children
        unvisited += children
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                children += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        return children  # it has ended meanwhile
    return children


def orphans(task: ProcessId, mark: str) -> list[ProcessId]:
    """What is left of a container whose monitor is dead: its processes have been handed to init, one by one.

    They are the task, the members of its session, those that carry `mark` in their environment (a string that belongs
    to this container alone, such as the path of its sandbox), and the descendants of all of these.
    """
    table = ProcessTable.scan()
    wanted = mark.encode()
    leader = table.get(task.pid)
    # A pid is not given again while a session is named by it. So if somebody else has it, the task's session is empty.
    same_session = leader is None or leader.id == task
    roots = [
        process
        for process in table
        if process.id == task
        or (same_session and process.session == task.pid and process.start_time >= task.start_time)
        or (wanted and process.start_time >= task.start_time and wanted in _environment(process.pid))
    ]
    found = {process.id for process in roots}
    for root in roots:
        found.update(process.id for process in table.descendants(root.pid))
    return [process for process in found if process.exists() and process.pid != os.getpid()]


def _environment(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return file.read(1 << 20)
    except OSError:
        return b""  # ended meanwhile, or another user's: not ours to judge


@contextmanager
def stopped(monitor: ProcessId) -> Iterator[None]:
    """Keeps every process of a container from running. Those that were stopped already stay stopped afterwards.

    Raises TimeoutError if one of them does not stop (it hangs in the kernel); all run again then.
    """
    deadline = time.monotonic() + STOP_SECONDS_MAX
    halted: set[ProcessId] = set()
    try:
        while not _halt(monitor, halted):
            if time.monotonic() > deadline:
                raise TimeoutError(f"a process below {monitor.pid} does not stop")
            time.sleep(0.001)
        yield
    finally:
        for process in halted:
            process.signal(signal.SIGCONT)


def _halt(monitor: ProcessId, halted: set[ProcessId]) -> bool:
    """Sends SIGSTOP to all that run; True when there was none, which also means that nobody can have been born."""
    all_halted = True
    for pid in descendants(monitor.pid):
        process = read_process(pid)
        if process is None or process.ended or process.state in "Tt":
            continue
        all_halted = False
        if process.id not in halted and process.id.signal(signal.SIGSTOP):
            halted.add(process.id)
    return all_halted
