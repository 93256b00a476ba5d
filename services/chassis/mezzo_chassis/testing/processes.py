"""Services as processes of their own, to be killed, paused and started again."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Protocol, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 10.0
RETRY_SECONDS = 0.02
PRELOADED = ("mezzo_allocator.app", "mezzo_registry.app", "mezzo_gateway.app", "mezzo_agent.app", "numba")
"""What most of a start is spent on: the fork server imports it once, before anything has made a thread."""


class Running(Protocol):
    """A started process, however it was started."""

    @property
    def pid(self) -> int: ...

    def exit_code(self) -> int | None:
        """None while it runs; the negative number of the signal that killed it."""
        ...

    def wait(self, seconds_max: float) -> int:
        """Its exit code, once it has ended. Raises `subprocess.TimeoutExpired`."""
        ...


class Executed:
    """A program that was started as a shell would start it."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def exit_code(self) -> int | None:
        return self._process.poll()

    def wait(self, seconds_max: float) -> int:
        return self._process.wait(seconds_max)


class Forked:
    """A service forked from a process that has imported it already: a tenth of the CPU time of starting Python anew.

    It is a process like any other, in a session of its own; only its command line is the fork server's.
    """

    def __init__(self, module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._name = module
        work = (module, list(arguments), str(log), dict(environment))
        self._process = _fork_server().Process(target=_run_module, args=work, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def exit_code(self) -> int | None:
        return self._process.exitcode

    def wait(self, seconds_max: float) -> int:
        self._process.join(seconds_max)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._name, seconds_max)
        return code


@cache
def _fork_server() -> ForkServerContext:
    """One for this process; it ends with it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _run_module(module: str, arguments: list[str], log: str, environment: dict[str, str]) -> None:
    """The life of a forked service: what a shell would have arranged, and then its `main`."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(importlib.import_module(module).main(arguments))


class ServiceProcess:
    """A program, its output in a file, and where its gRPC health is asked."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        health_address: str | None = None,
        environment: Mapping[str, str] | None = None,
        module: str = "",
    ) -> None:
        """`module`: where the `main` is that is forked with the flags, instead of executing the command."""
        self.name = name
        self.command = list(command)
        self.module = module
        self.log = log
        self.health_address = health_address
        self.environment: dict[str, str] = {**os.environ, **(environment or {})}
        """For the next start."""
        self._process: Running | None = None

    @classmethod
    def service(
        cls,
        service: str,
        flags: Mapping[str, object],
        *,
        folder: Path,
        name: str = "",
        grpc_port: int | None = None,
        forked: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """`python -m mezzo_<service>` with flags; its log is `<folder>/<name>.log`.

        It is forked from a process that has imported the service already, unless a test is about its start.
        """
        label = name or service
        command = [sys.executable, "-m", f"mezzo_{service}", *(f"--{flag}={value}" for flag, value in flags.items())]
        address = f"127.0.0.1:{grpc_port}" if grpc_port else None
        module = f"mezzo_{service}.app" if forked else ""
        log = folder / f"{label}.log"
        return cls(label, command, log=log, health_address=address, module=module, environment=environment)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.exit_code() is None

    def start(self) -> Self:
        """Start it, again if it has ended."""
        assert not self.running
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.module:
            # Without the interpreter, -m and the name of the package.
            self._process = Forked(self.module, self.command[3:], self.log, self.environment)
        else:
            self._process = Executed(self.command, self.log, self.environment)
        return self

    def wait_healthy(self, seconds_max: float = START_SECONDS_MAX) -> Self:
        """Return when its gRPC health says SERVING; raises with the end of its log when it ends or takes too long."""
        assert self.health_address is not None
        deadline = time.monotonic() + seconds_max
        with grpc.insecure_channel(self.health_address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < deadline:
                if not self.running:
                    raise RuntimeError(f"{self.name} ended with code {self.wait()}:\n{self.tail()}")
                try:
                    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1)
                except grpc.RpcError:
                    time.sleep(RETRY_SECONDS)
                    continue
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return self
                time.sleep(RETRY_SECONDS)
        raise TimeoutError(f"{self.name} is not healthy after {seconds_max} s:\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def send(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As `kill -9`."""
        if self.running:
            self.send(signal.SIGKILL)
        self.wait()

    def pause(self) -> None:
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def wait(self, seconds_max: float = STOP_SECONDS_MAX) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait(seconds_max) if self._process else 0

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it politely, and by force when it does not end; returns its exit code."""
        if not self.running:
            return self.wait()
        self.send(signal.SIGCONT)
        self.send(how)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.send(signal.SIGCONT)
            self.kill()
