"""What is to be run, as it was typed or stands in a job file, and what of it is no sense at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

MAX_COUNT = 10_000
"""Of tasks of one run."""


class Restart(StrEnum):
    """When a task that has ended is started again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A command, and all that the flags of `mezzo run` say of it."""

    command: list[str]
    cpus: float = 0.1
    mem: float = 32.0
    resources: str = ""
    name: str = ""
    role: str = "*"
    env: list[str] = field(default_factory=list)
    """`NAME=VALUE` each."""
    uris: list[str] = field(default_factory=list)
    user: str = ""
    shell: bool = False
    count: int = 1
    restart: Restart = Restart.NEVER
    max_restarts: int | None = None
    """Of each task; None: as often as it takes."""
    constraints: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    """`NAME=VALUE` each."""
    timeout_seconds: float | None = None
    failover_seconds: float = 60.0
    """How long the tasks are left to themselves when their scheduler is gone."""

    @property
    def title(self) -> str:
        """What the tasks are called."""
        return self.name or next(iter(self.command[0].split()), "run")

    def document(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @classmethod
    def of(cls, document: dict[str, Any]) -> JobSpec:
        """As it was kept. Raises `TypeError` or `ValueError` for what another version has kept."""
        return cls(**{**document, "restart": Restart(document["restart"])})
