"""A whole cluster on this machine: one process for each service, started in order, ended together."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mezzo import private_files
from mezzo.backoff import Backoff

START_TIMEOUT_SECONDS = 60.0
# A service that has ended is started anew after such delays; not where it ends so often within so long.
RESTART_SECONDS_MIN = 0.1
RESTART_SECONDS_MAX = 5.0
RESTART_WINDOW_SECONDS = 60.0
RESTARTS_MAX = 8
# The agent gives executors 5 s to end (--executor_shutdown_grace_period), and then kills them.
AGENT_STOP_TIMEOUT_SECONDS = 10.0
STOP_TIMEOUT_SECONDS = 2.0
HEALTH_RETRY_SECONDS = 0.05
LOG_TAIL_LINES = 15
PID_BYTES_MAX = 32


class ClusterError(Exception):
    """The cluster could not be started; the message says what is in the way."""


class PortInUse(ClusterError):
    """Somebody else listens on a port that was named."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a service listens on, and what it is called in messages."""

    name: str
    number: int
    flag: str | None  # None: another free port will do as well


@dataclass(slots=True)
class Layout:
    """Where everything of a local cluster is. Ports that people type are fixed; the others move when they are taken."""

    work_dir: Path
    ip: str = "127.0.0.1"
    gateway_port: int = 5050
    agent_port: int = 5051
    resources: str = ""
    ports: dict[str, int] = field(default_factory=dict)

    def choose_ports(self) -> None:
        """Check or choose every port; raises `ClusterError` naming the one that is in use."""
        wanted = [
            Port("gateway", self.gateway_port, "--port"),
            Port("agent", self.agent_port, "--agent-port"),
            Port("gateway_grpc", 5055, None),
            Port("agent_grpc", 5056, None),
            Port("registry", 5060, None),
            Port("allocator", 5061, None),
            Port("registry_metrics", 9060, None),
            Port("allocator_metrics", 9061, None),
            Port("gateway_metrics", 9062, None),
            Port("agent_metrics", 9063, None),
        ]
        held: list[socket.socket] = []
        try:
            for port in wanted:
                holder = socket.socket()
                held.append(holder)
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.ports[port.name] = self._claim(holder, port)
        finally:
            for holder in held:
                holder.close()

    def _claim(self, holder: socket.socket, port: Port) -> int:
        try:
            holder.bind((self.ip, port.number))
        except OSError as error:
            if port.flag:
                raise _refusal(error, f"port {port.number} for the {port.name} ({port.flag})", port.number) from None
            holder.bind((self.ip, 0))
        return int(holder.getsockname()[1])

    def address(self, name: str) -> str:
        return f"{self.ip}:{self.ports[name]}"


def _refusal(error: OSError, what: str, port: int) -> ClusterError:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(f"{what} is in use{_holder_of(port)}")
    return ClusterError(f"{what} cannot be used: {error.strerror}")


def _holder_of(port: int) -> str:
    """Which process listens there, where this user may know it."""
    with contextlib.suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and local and local[1] == port and connection.pid:
                return f" (held by {_described(psutil.Process(connection.pid))})"
    return ""


def _described(process: psutil.Process) -> str:
    """Who a process is, and whom to end to be rid of it: of a service of `mezzo local`, that."""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        for each in process.parents():
            if _is_mezzo_local(each.cmdline()):
                return f"an earlier mezzo local, process {each.pid}"
    return f"{process.name()}, process {process.pid}"


def _is_mezzo_local(words: list[str]) -> bool:
    """Whether a command line is `mezzo … local …`, however it was started."""
    command = next((n for n, word in enumerate(words) if Path(word).name == "mezzo" or word == "mezzo.cli"), None)
    return command is not None and "local" in words[command + 1 :]


class Cluster:
    """The four services as child processes, each logging to `<work_dir>/logs/<service>.log`."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._restarts: set[asyncio.Task[None]] = set()
        self._lock: int | None = None

    async def start(self, started: Callable[[str, str], None]) -> None:
        """Start every service and wait until it is healthy; calls `started(service, address)` after each.

        The ports are chosen already (`Layout.choose_ports`). Raises `ClusterError`.
        """
        self.make_folders()
        self.lock()
        commands = self._commands()
        for service, flags in commands.items():
            await self._spawn(service, flags, self.open_log(service))
        for service in commands:
            name = f"{service}_grpc" if service in ("gateway", "agent") else service
            await self._healthy(service, self.layout.address(name))
            started(service, self.layout.address(service))

    def make_folders(self) -> None:
        """What other users of the machine have no business with is closed to them. Raises `ClusterError`."""
        passable = passable_mode()
        if not self.layout.work_dir.is_dir():  # one that exists may be anybody's, and hold more than ours: as /tmp does
            _make(self.layout.work_dir, passable)
        _make(self.layout.work_dir / "agent", passable)
        _make(self.layout.work_dir / "logs", private_files.FOLDER_MODE)
        _make(self.layout.work_dir / "registry", private_files.FOLDER_MODE)

    def lock(self) -> None:
        """Keep other clusters out of the work directory until `stop`. Raises `ClusterError` where one is in it."""
        lock = private_files.opener(str(self.layout.work_dir / "logs" / "lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, PID_BYTES_MAX, 0).decode()
            os.close(lock)
            holder = f" (process {pid})" if pid else ""
            raise ClusterError(
                f"another mezzo local{holder} uses {self.layout.work_dir}; give each its own with --work-dir"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def _commands(self) -> dict[str, list[str]]:
        layout, ports = self.layout, self.layout.ports
        shared = [f"--ip={layout.ip}", "--log_format=json"]
        agent = [f"--hostname={layout.ip}", f"--work_dir={layout.work_dir / 'agent'}"]
        if layout.resources:
            agent.append(f"--resources={layout.resources}")
        if os.geteuid() != 0:
            agent.append("--switch_user=false")
        return {
            "allocator": [*shared, f"--grpc_port={ports['allocator']}", f"--metrics_port={ports['allocator_metrics']}"],
            "registry": [
                *shared,
                f"--grpc_port={ports['registry']}",
                f"--metrics_port={ports['registry_metrics']}",
                f"--allocator={layout.address('allocator')}",
                f"--hostname={layout.ip}",
                f"--advertise_ip={layout.ip}",
                f"--advertise_port={ports['gateway']}",
                f"--work_dir={layout.work_dir / 'registry'}",
            ],
            "gateway": [
                *shared,
                f"--port={ports['gateway']}",
                f"--grpc_port={ports['gateway_grpc']}",
                f"--metrics_port={ports['gateway_metrics']}",
                f"--master={layout.address('registry')}",
            ],
            "agent": [
                *shared,
                f"--port={ports['agent']}",
                f"--grpc_port={ports['agent_grpc']}",
                f"--metrics_port={ports['agent_metrics']}",
                f"--master={layout.address('registry')}",
                *agent,
            ],
        }

    async def _spawn(self, service: str, flags: list[str], log: BinaryIO) -> None:
        with log:
            # In a session of its own: Ctrl-C reaches this process alone, which ends them in order.
            self._processes[service] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"mezzo_{service}",
                *flags,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def open_log(self, service: str) -> BinaryIO:
        """A new log of this service; the one of the cluster before becomes `<service>.log.1`."""
        path = self.log_of(service)
        if path.exists() and path.stat().st_size:
            path.chmod(private_files.FILE_MODE)
            path.replace(path.with_name(f"{path.name}.1"))
        private_files.make_file(path)
        path.chmod(private_files.FILE_MODE)
        return path.open("wb")

    def log_of(self, service: str) -> Path:
        return self.layout.work_dir / "logs" / f"{service}.log"

    async def _healthy(self, service: str, address: str) -> None:
        async with asyncio.timeout(START_TIMEOUT_SECONDS), grpc.aio.insecure_channel(address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while True:
                self._raise_if_ended(service)
                with contextlib.suppress(grpc.aio.AioRpcError):
                    answer = await health.Check(health_pb2.HealthCheckRequest())
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                await asyncio.sleep(HEALTH_RETRY_SECONDS)

    def _raise_if_ended(self, service: str) -> None:
        code = self._processes[service].returncode
        if code is not None:
            tail = "\n".join(self.log_of(service).read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
            raise ClusterError(f"the {service} exited with code {code}:\n{tail}")

    async def keep_up(self, ended: Callable[[str, int], None]) -> None:
        """Start a service that has ended anew, until cancelled; calls `ended(service, code)` before.

        Raises `ClusterError` for one that ends RESTARTS_MAX times within RESTART_WINDOW_SECONDS.
        """
        keeping = [asyncio.create_task(self._keep_up(each, flags, ended)) for each, flags in self._commands().items()]
        try:
            await asyncio.gather(*keeping)
        finally:
            for task in keeping:
                task.cancel()

    async def _keep_up(self, service: str, flags: list[str], ended: Callable[[str, int], None]) -> None:
        clock, delays = asyncio.get_running_loop().time, Backoff(RESTART_SECONDS_MIN, RESTART_SECONDS_MAX)
        ends: deque[float] = deque(maxlen=RESTARTS_MAX)
        while True:
            code = await self._processes[service].wait()
            ends.append(clock())
            if len(ends) == RESTARTS_MAX and ends[-1] - ends[0] < RESTART_WINDOW_SECONDS:
                raise ClusterError(f"the {service} ends again and again; see {self.log_of(service)}")
            ended(service, code)
            if len(ends) > 1 and ends[-1] - ends[-2] > RESTART_WINDOW_SECONDS:
                delays.reset()
            await asyncio.sleep(next(delays))
            restart = asyncio.create_task(self._spawn(service, flags, self.log_of(service).open("ab")))
            self._restarts.add(restart)
            restart.add_done_callback(self._restarts.discard)
            await asyncio.shield(restart)  # `stop` has to know of the process

    async def stop(self) -> None:
        """End every service: the agent with all its tasks, the others after it; then let go of the work directory."""
        await asyncio.gather(*self._restarts, return_exceptions=True)
        agent = self._processes.get("agent")
        others = [process for name, process in self._processes.items() if name != "agent"]
        try:
            if agent:
                await end(agent, signal.SIGUSR1, AGENT_STOP_TIMEOUT_SECONDS)
            await asyncio.gather(*(end(process, signal.SIGTERM, STOP_TIMEOUT_SECONDS) for process in others))
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None


def passable_mode() -> int:
    """Of the folders that the sandboxes lie below: tasks of root's agent run as other users."""
    return 0o711 if os.geteuid() == 0 else private_files.FOLDER_MODE


async def end(process: asyncio.subprocess.Process, how: signal.Signals, timeout_seconds: float) -> None:
    """Ask a process to end; kill it, and everything that it started, when it has not ended in time."""
    if process.returncode is not None:
        return
    process.send_signal(how)
    try:
        async with asyncio.timeout(timeout_seconds):
            await process.wait()
    except TimeoutError:
        _kill_tree(process.pid)
        await process.wait()


def _kill_tree(pid: int) -> None:
    """Kill a process and its descendants. It is stopped first, so that it starts nothing meanwhile."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        root.suspend()
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _make(folder: Path, mode: int) -> None:
    try:
        private_files.make_folder(folder, mode)
    except OSError as error:
        raise ClusterError(f"cannot create {folder} (--work-dir): {error.strerror}") from None
