"""Waiting for a container to end, and leaving nothing of it behind.

The monitor does both while it lives (launcher.py). Here is what the agent does about monitors: it waits for them
through pidfds, orders them to end their container, and does their work where one has been killed.
"""

import asyncio
import os
import signal
import time
from contextlib import suppress

import structlog

from mezzo_agent.containers.posix.processes import ProcessId, descendants, orphans, read_process
from mezzo_agent.containers.posix.runtime import Exit, Processes, RuntimeFolder

_log = structlog.get_logger(__name__)

DESTROY_SECS_MAX = 10.0
"""How long a monitor may take to end its container before the agent does it."""
ORPHAN_KILL_SECS_MAX = 10.0
MONITOR_LOST = "the monitor of the container was killed: the exit status is unknown; the container was killed"


class Supervision:
    """One running container, from the moment its processes are known until it has ended."""

    def __init__(self, folder: RuntimeFolder, processes: Processes, mark: str) -> None:
        """`mark` is a string that only this container's processes have in their environment."""
        self._folder = folder
        self._processes = processes
        self._mark = mark
        self._ended = asyncio.Event()
        self.survivors: list[int] = []
        """Pids of what could not be killed; known when `wait` returns."""
        self._loop = asyncio.get_running_loop()
        self._pidfd = processes.monitor.open()
        if self._pidfd is None:
            self._ended.set()
        else:
            self._loop.add_reader(self._pidfd, self._monitor_ended)

    @property
    def processes(self) -> Processes:
        return self._processes

    async def wait(self) -> Exit:
        """How the task ended, once nothing of the container is left, or what is left cannot be killed."""
        await self._ended.wait()
        found = self._folder.exit()
        if found is None or _group_exists(self._processes.task.pid):
            self.survivors = await asyncio.to_thread(kill_orphans, self._processes.task, self._mark)
            if self.survivors:
                _log.error("container processes survive SIGKILL", folder=str(self._folder.path), pids=self.survivors)
        return found or Exit(None, MONITOR_LOST)

    def kill(self, number: int) -> None:
        """Sends a signal to every process of the container, to the task's group at once."""
        task = self._processes.task
        members = [read_process(pid) for pid in descendants(self._processes.monitor.pid)] if self.running else []
        if task.exists():
            with suppress(ProcessLookupError):
                os.killpg(task.pid, number)
        for member in members:
            if member is not None and member.group != task.pid:
                member.id.signal(number)

    async def destroy(self) -> None:
        """Ends the whole tree; returns when the monitor has ended."""
        self._order_to_end(signal.SIGTERM)
        try:
            async with asyncio.timeout(DESTROY_SECS_MAX):
                await self._ended.wait()
        except TimeoutError:
            _log.warning("monitor did not end its container in time; killing it", folder=str(self._folder.path))
            self._order_to_end(signal.SIGKILL)
            await self._ended.wait()

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    def close(self) -> None:
        """Stops waiting, and nothing else."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _order_to_end(self, number: int) -> None:
        if self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _monitor_ended(self) -> None:
        if self._pidfd is not None:
            # It is our child only if the launcher has died and we are the machine's first process.
            with suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        self.close()
        self._ended.set()


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def kill_orphans(task: ProcessId, mark: str) -> list[int]:
    """SIGKILL to all that is left of a container without a monitor, again until nothing is. Blocks; in a thread.

    Returns the pids of those that do not die within ORPHAN_KILL_SECS_MAX.
    """
    deadline = time.monotonic() + ORPHAN_KILL_SECS_MAX
    while left := orphans(task, mark):
        for process in left:
            process.signal(signal.SIGKILL)
        if time.monotonic() > deadline:
            return [process.pid for process in left]
        time.sleep(0.01)
    return []
