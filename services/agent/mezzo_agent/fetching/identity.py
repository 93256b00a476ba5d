"""Threads that touch files with a task's rights, in an agent that runs as root.

The kernel keeps the identity for file access per thread; only the C library pretends that a process has one. So a
thread of root's agent can open, read and write as the task's user does: a URI of a file that the user may not read
fails as it should, what is made belongs to the user, and a trick with links reaches no further than the user does.
Source: setfsuid(2), capabilities(7), "C library/kernel differences" of setgroups(2).
"""

import asyncio
import ctypes
import os
import platform
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Self, TypeVar

from mezzo_agent.adapters.users import Credentials

_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159, "ppc64le": 81, "s390x": 206}
_libc = ctypes.CDLL(None, use_errno=True)

P = ParamSpec("P")
R = TypeVar("R")


class FileWorker:
    """A thread that works with somebody's rights. Use it as a context manager; it costs a thread while it lives."""

    def __init__(self, credentials: Credentials | None) -> None:
        """`credentials` of None, or of the agent's own user, leave the thread as it is."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="files")
        self.unwanted = threading.Event()
        """Set when a caller of `run` was cancelled; what runs long looks at it."""
        self._credentials = None if credentials is None or credentials.uid == os.geteuid() else credentials

    async def __aenter__(self) -> Self:
        if self._credentials is not None:
            await self.run(_become, self._credentials)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False)  # it is idle: `run` has waited

    async def run(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Calls the function in the thread, and waits for it even when cancelled.

        Nothing that it uses (a descriptor above all) may be taken away before it has returned.
        """
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._pool, lambda: function(*arguments, **named))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self.unwanted.set()
            await asyncio.wait([running])
            raise


def _become(who: Credentials) -> None:
    number = _SETGROUPS.get(platform.machine())
    if number is None:
        raise OSError(f"cannot give up root's groups on {platform.machine()}")
    groups = (ctypes.c_uint32 * len(who.groups))(*who.groups)
    if _libc.syscall(ctypes.c_long(number), ctypes.c_size_t(len(who.groups)), groups) != 0:
        raise OSError(ctypes.get_errno(), "setgroups: " + os.strerror(ctypes.get_errno()))
    _libc.setfsgid(ctypes.c_uint32(who.gid))
    _libc.setfsuid(ctypes.c_uint32(who.uid))
    # Neither call reports failure; asking again for an impossible id returns the present one.
    if _libc.setfsuid(ctypes.c_uint32(0xFFFFFFFF)) != who.uid or _libc.setfsgid(ctypes.c_uint32(0xFFFFFFFF)) != who.gid:
        raise PermissionError(f"this agent may not use files as user {who.uid}")
