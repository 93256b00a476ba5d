"""Services as processes of their own, to be killed, paused and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 10.0
RETRY_SECONDS = 0.02


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
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.health_address = health_address
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def service(
        cls, service: str, flags: Mapping[str, object], *, folder: Path, name: str = "", grpc_port: int | None = None
    ) -> Self:
        """`python -m mezzo_<service>` with flags; its log is `<folder>/<name>.log`."""
        label = name or service
        command = [sys.executable, "-m", f"mezzo_{service}", *(f"--{flag}={value}" for flag, value in flags.items())]
        address = f"127.0.0.1:{grpc_port}" if grpc_port else None
        return cls(label, command, log=folder / f"{label}.log", health_address=address)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it, again if it has ended."""
        assert not self.running
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
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
        assert self._process is not None
        self._process.send_signal(number)

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
