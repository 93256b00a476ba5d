"""What Mesos' states of tasks mean to everybody."""

from __future__ import annotations

from mesos.v1 import mesos_pb2 as mesos

TERMINAL = frozenset(
    {
        mesos.TASK_FINISHED,
        mesos.TASK_FAILED,
        mesos.TASK_KILLED,
        mesos.TASK_ERROR,
        mesos.TASK_LOST,
        mesos.TASK_DROPPED,
        mesos.TASK_GONE,
        mesos.TASK_GONE_BY_OPERATOR,
    }
)
"""A task in one of these holds no resources, and its state never changes again."""
