"""What the agent's core and shell need from outside: something that runs containers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import shorten
from mezzo.resources import Resources

ContainerId = str


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """Everything that is needed to start a container."""

    container_id: ContainerId
    framework_id: str
    executor_id: str
    task_id: str | None
    """Set for a command task; None for a custom executor."""
    command: mesos.CommandInfo
    """With the URIs to fetch."""
    environment: Mapping[str, str]
    """The whole environment, the command's own variables included."""
    sandbox: Path
    user: str | None
    """None: the agent's own."""
    resources: Resources
    container: mesos.ContainerInfo | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    """By resource name: how far it may go above its resources. Infinity: without bound."""

    @property
    def stdout(self) -> Path:
        return self.sandbox / "stdout"

    @property
    def stderr(self) -> Path:
        return self.sandbox / "stderr"


@dataclass(frozen=True, slots=True)
class Launched:
    """A container that has started."""

    container_id: ContainerId
    pid: int
    """Of its first process, as the agent's machine numbers it."""


@dataclass(frozen=True, slots=True)
class Termination:
    """How a container ended."""

    wait_status: int | None
    """As wait(2) encodes it; None when nobody knows."""
    message: str = ""
    """Says more than the status does; empty where there is no more to say."""
    reason: mesos.TaskStatus.Reason.ValueType | None = None
    limitation: mesos.TaskResourceLimitation | None = None


class RecoveredState(StrEnum):
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """It was to be started, and never was, or nothing is left that could tell."""


@dataclass(frozen=True, slots=True)
class RecoveredContainer:
    """What an agent that starts finds of a container that an earlier one launched."""

    container_id: ContainerId
    state: RecoveredState
    pid: int | None = None
    termination: Termination | None = None
    """Set for ENDED."""


class LaunchError(Exception):
    """A container could not be started; nothing of it is left running."""

    def __init__(self, reason: mesos.TaskStatus.Reason.ValueType, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def reason_of(error: BaseException) -> str:
    """What to say of an error that no one foresaw: its type too, since the text alone may say nothing."""
    text = str(error)
    return shorten(f"{type(error).__name__}: {text}") if text else type(error).__name__


class Containerizer(Protocol):
    """Runs containers that outlive the agent process."""

    async def launch(self, config: ContainerConfig) -> Launched:
        """Fetch the URIs into the sandbox and start the process.

        Everything that is needed to find the container again is on disk before its process starts.

        Raises:
            LaunchError: it failed, whatever it was.
        """
        ...

    async def recover(self, checkpointed: Iterable[ContainerId]) -> dict[ContainerId, RecoveredContainer]:
        """What became of containers launched by an earlier agent. Those that are not asked for are destroyed."""
        ...

    async def wait(self, container_id: ContainerId) -> Termination:
        """Complete when the container has ended; at once where it ended before. Also across restarts."""
        ...

    async def kill(self, container_id: ContainerId, signal: int) -> None:
        """Send a signal: to the task's process group; SIGKILL to its whole process tree."""
        ...

    async def destroy(self, container_id: ContainerId) -> None:
        """End everything that runs in it. One that is unknown, or has ended, is no error."""
        ...

    def forget(self, container_id: ContainerId) -> None:
        """Drop what is remembered of a container that has ended: how it ended is on the agent's disk by now."""
        ...

    async def usage(self, container_id: ContainerId) -> mesos.ResourceStatistics:
        """What it uses now."""
        ...

    async def status(self, container_id: ContainerId) -> mesos.ContainerStatus:
        """What is known of it."""
        ...

    async def update(self, container_id: ContainerId, resources: Resources) -> None:
        """Change what it may use."""
        ...

    async def close(self) -> None:
        """Let go of everything; containers go on."""
        ...
