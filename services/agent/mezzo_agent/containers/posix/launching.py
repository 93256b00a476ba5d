"""The agent's side of the launcher: orders out, reports in, and another launcher when one has died.

What is said on the wire stands in launcher.py.
"""

import asyncio
import marshal
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog

from mezzo import private_files
from mezzo_agent.adapters.users import Credentials
from mezzo_agent.containers.posix.launcher import ABANDONED, ENDED, FAILED, ORDER_BYTES_MAX, STARTED
from mezzo_agent.containers.posix.runtime import Processes
from mezzo_chassis import trace

_log = structlog.get_logger(__name__)

PROGRAM = Path(__file__).with_name("launcher.py")
_INTERPRETER_VARIABLES = ("LD_LIBRARY_PATH",)
"""What an interpreter may need to start. No task sees the launcher's environment."""
_LINKED_AT_START = {"LD_BIND_NOW": "1"}
"""Otherwise each monitor and each task looks up the functions of the C library anew."""
REPORT_BYTES_MAX = 1 << 16
LAUNCH_SECS_MAX = 60.0
"""How long a launcher may take from an order to the task's program; one that takes longer hangs, and is replaced."""
ORDERS_MAX = 64
"""How many launches are under way at a time. Others wait here, or those at the end of ten thousand would be overdue
though the launcher works all the time."""
CLOSE_SECS_MAX = 2.0
"""How long to wait for launches under way when the agent ends; what hangs then is the next agent's affair."""


class StartError(Exception):
    """The task's program was not started; the message says why."""


class LauncherDied(Exception):
    """The launcher ended before it did anything about the order: it may be given to another."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a monitor is to start. `rlimits` are (resource, soft, hard) with the numbers of setrlimit(2)."""

    folder: Path
    program: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    sandbox: Path
    credentials: Credentials | None = None
    rlimits: tuple[tuple[int, int, int], ...] = ()

    def encode(self, token: int) -> bytes:
        who = self.credentials
        body = marshal.dumps(
            (
                token,
                str(self.folder),
                self.program,
                list(self.argv),
                self.environment,
                str(self.sandbox),
                None if who is None else (who.uid, who.gid, list(who.groups)),
                list(self.rlimits),
            )
        )
        if len(body) > ORDER_BYTES_MAX:
            raise StartError(f"the command and its environment take {len(body)} bytes, more than {ORDER_BYTES_MAX}")
        return len(body).to_bytes(4, "little") + token.to_bytes(8, "little") + body


class Launcher:
    """One launcher process. When it has died, `alive` is False and every order that it had not begun fails."""

    def __init__(self, runtime_dir: Path) -> None:
        self._log_file = runtime_dir / "launcher.log"
        self._pending: dict[int, asyncio.Future[Processes]] = {}
        self._places = asyncio.Semaphore(ORDERS_MAX)
        self._tokens = 0
        self._exited = asyncio.Event()
        self._drained = asyncio.Event()
        self.alive = False

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reports, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, open(self._log_file, "ab", opener=private_files.opener) as log:  # noqa: ASYNC230  once
            self._process = subprocess.Popen(  # noqa: ASYNC220  the vfork takes a millisecond, once
                [sys.executable, "-I", "-S", str(PROGRAM), str(theirs.fileno()), trace.file_of("launcher")],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                env={name: os.environ[name] for name in _INTERPRETER_VARIABLES if name in os.environ}
                | _LINKED_AT_START,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._reports.setblocking(False)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._ended)
        self._loop.add_reader(self._reports, self._read_reports)
        self._orders, _ = await self._loop.connect_write_pipe(asyncio.BaseProtocol, self._process.stdin)
        self.alive = True

    @property
    def pid(self) -> int:
        return self._process.pid

    async def launch(self, order: Order) -> Processes:
        """Returns once the task's program runs. Raises StartError or LauncherDied."""
        async with self._places:
            return await self._launch(order)

    async def _launch(self, order: Order) -> Processes:
        if not self.alive:
            raise LauncherDied("the launcher has died")
        self._tokens += 1
        token = self._tokens
        message = order.encode(token)
        started: asyncio.Future[Processes] = self._loop.create_future()
        self._pending[token] = started
        self._orders.write(message)
        try:
            async with asyncio.timeout(LAUNCH_SECS_MAX):
                return await started
        except TimeoutError:
            # Orders that it had not begun are given to the next one.
            _log.error("launcher does not respond; killing it", pid=self._process.pid, pending=len(self._pending))
            self.alive = False
            self._process.kill()
            raise LauncherDied(f"the launcher did not report within {LAUNCH_SECS_MAX:g} seconds") from None
        finally:
            self._pending.pop(token, None)

    async def close(self) -> None:
        """Ends the launcher; monitors and their tasks go on."""
        self._orders.close()
        try:
            async with asyncio.timeout(CLOSE_SECS_MAX):
                await self._exited.wait()
                await self._drained.wait()
        except TimeoutError:
            _log.warning("launch did not finish before shutdown", pending=len(self._pending))
            self._no_more_reports()

    def _read_reports(self) -> None:
        while True:
            try:
                packet = self._reports.recv(REPORT_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError as error:
                _log.warning("cannot read reports of the launcher", error=str(error))
                packet = b""
            if not packet:
                self._no_more_reports()
                return
            token, kind, text = marshal.loads(packet)  # noqa: S302  our own launcher wrote it
            self._take(token, kind, text)

    def _take(self, token: int, kind: int, text: str) -> None:
        waiting = self._pending.get(token)
        if waiting is None or waiting.done():
            return  # nobody waits any more, or the monitor has reported already
        if kind == STARTED:
            waiting.set_result(Processes.parse(text))
        elif kind in (FAILED, ABANDONED):
            waiting.set_exception(StartError(text))
        elif kind == ENDED:
            waiting.set_exception(StartError(f"{text}; {self._log_file} may say why"))

    def _ended(self) -> None:
        """The launcher's process has ended. Monitors that it forked may still have something to report."""
        self.alive = False
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        status = self._process.wait()
        if not self._orders.is_closing():
            self._orders.abort()
        self._exited.set()
        if status != 0:
            _log.warning("launcher died", pid=self._process.pid, returncode=status, pending=len(self._pending))

    def _no_more_reports(self) -> None:
        """Nobody holds the other end: neither the launcher nor a monitor that has yet to report."""
        self.alive = False
        if self._drained.is_set():
            return
        self._loop.remove_reader(self._reports)
        self._reports.close()
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(LauncherDied("the launcher died before it reported"))
        self._drained.set()


class Launchers:
    """A launcher that is always there: another one is started when there is none, or the last one has died."""

    def __init__(self, runtime_dir: Path) -> None:
        self._runtime_dir = runtime_dir
        self._starting = asyncio.Lock()
        self._current: Launcher | None = None

    async def current(self) -> Launcher:
        async with self._starting:
            if self._current is None or not self._current.alive:
                launcher = Launcher(self._runtime_dir)
                await launcher.start()
                self._current = launcher
            return self._current

    async def close(self) -> None:
        if self._current is not None:
            await self._current.close()
            self._current = None
