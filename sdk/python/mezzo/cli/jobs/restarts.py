"""Whether a task that has ended is started again, and when."""

from __future__ import annotations

from dataclasses import dataclass

from mesos.v1 import mesos_pb2 as mesos
from mezzo.backoff import Backoff
from mezzo.cli.jobs.spec import Restart

RESTART_SECONDS_MIN = 1.0
RESTART_SECONDS_MAX = 60.0
STEADY_SECONDS = 60.0
"""What has run for so long begins with the shortest delay again."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """What the flags say of restarts."""

    restart: Restart
    max_restarts: int | None

    def restarts(self, end: mesos.TaskStatus, restarts: int) -> bool:
        """Whether a task that ended so, and was started again `restarts` times, is started once more.

        One that somebody killed failed at nothing; one that the cluster takes for an error would be one again.
        """
        if self.max_restarts is not None and restarts >= self.max_restarts:
            return False
        if end.state == mesos.TASK_ERROR or self.restart is Restart.NEVER:
            return False
        if self.restart is Restart.ALWAYS:
            return True
        return end.state not in (mesos.TASK_FINISHED, mesos.TASK_KILLED)


class RestartDelays:
    """The delays of one task: longer from restart to restart, until it has run for a while."""

    def __init__(self) -> None:
        self._backoff = Backoff(RESTART_SECONDS_MIN, RESTART_SECONDS_MAX)

    def next(self, ran_seconds: float) -> float:
        """The seconds to wait, after an attempt that ran for so long."""
        if ran_seconds >= STEADY_SECONDS:
            self._backoff.reset()
        return next(self._backoff)
