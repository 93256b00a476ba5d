"""What the agent orders. The shell carries effects out in order, after every `Persist` of the same turn is on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mesos.v1.executor import executor_pb2 as executor
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo.resources import Resources
from mezzo_agent.core.events import Timer
from mezzo_agent.ports import ContainerConfig, ContainerId


@dataclass(frozen=True, slots=True)
class Persist:
    record: checkpoint.CheckpointRecord


@dataclass(frozen=True, slots=True)
class SendToRegistry:
    message: session.AgentMessage


@dataclass(frozen=True, slots=True)
class SendToExecutor:
    connection: str
    event: executor.Event


@dataclass(frozen=True, slots=True)
class CloseExecutorStream:
    connection: str


@dataclass(frozen=True, slots=True)
class LaunchContainer:
    """Launch it and watch it: ContainerStarted or ContainerNotStarted follows, and ContainerEnded after the former."""

    config: ContainerConfig


@dataclass(frozen=True, slots=True)
class WatchContainer:
    """It runs already: ContainerEnded follows."""

    container_id: ContainerId


@dataclass(frozen=True, slots=True)
class KillContainer:
    container_id: ContainerId
    signal: int


@dataclass(frozen=True, slots=True)
class DestroyContainer:
    container_id: ContainerId


@dataclass(frozen=True, slots=True)
class UpdateContainer:
    container_id: ContainerId
    resources: Resources


@dataclass(frozen=True, slots=True)
class ForgetContainer:
    """How it ended is in the journal."""

    container_id: ContainerId


@dataclass(frozen=True, slots=True)
class StartTimer:
    """TimerFired follows; a timer of the same name is replaced."""

    timer: Timer
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """No error if there is none."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class DiscardSandbox:
    """Nothing writes to it any more: it waits for garbage collection."""

    path: Path


@dataclass(frozen=True, slots=True)
class EndAgent:
    """The process ends. With `forget`, the journal goes too: a later start registers as a new agent."""

    reason: str
    forget: bool


Effect = (
    Persist
    | SendToRegistry
    | SendToExecutor
    | CloseExecutorStream
    | LaunchContainer
    | WatchContainer
    | KillContainer
    | DestroyContainer
    | UpdateContainer
    | ForgetContainer
    | StartTimer
    | CancelTimer
    | DiscardSandbox
    | EndAgent
)
