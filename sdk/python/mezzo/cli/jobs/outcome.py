"""How a task ended, in an exit code and in words."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from mesos.v1 import mesos_pb2 as mesos
from mezzo.cli import exit_codes
from mezzo.cli.errors import print_error
from mezzo.cli.fields import without_path
from mezzo.cli.jobs.job import Instance
from mezzo.cli.jobs.tasks import OPTIONS
from mezzo.task_reasons import reason

_EXITED = re.compile(r"exited with status (\d+)")
_KILLED = re.compile(r"terminated with signal (.+?)\s*$")
SOURCES = {
    mesos.TaskStatus.SOURCE_MASTER: "the registry says",
    mesos.TaskStatus.SOURCE_AGENT: "its agent says",
    mesos.TaskStatus.SOURCE_EXECUTOR: "its executor says",
}


def exit_code_of_job(instances: Sequence[Instance]) -> int:
    """That of the only task, or of the first of several that failed; each failure is told."""
    codes = []
    for instance in instances:
        end = instance.end
        codes.append(exit_code(end))
        # A single task's exit code says it all.
        if len(instances) > 1 and end is not None and end.state == mesos.TASK_FAILED and _code_in(end.message):
            print_error(f"task {end.task_id.value} {summary(end)}")
    return next((code for code in codes if code), 0)


def exit_code(status: mesos.TaskStatus | None) -> int:
    """What a shell would give for the same command: its exit code, or 128 and the signal that ended it."""
    if status is None:
        return exit_codes.NOT_RUN
    if status.state == mesos.TASK_FINISHED:
        return 0
    if status.reason == mesos.TaskStatus.REASON_MAX_COMPLETION_TIME_REACHED:
        print_error(f"task {status.task_id.value} was killed: it ran for longer than --timeout allows")
        return exit_codes.TIMED_OUT
    if status.state == mesos.TASK_KILLED:
        print_error(killed(status))
    code = _code_in(status.message)
    if code is not None:
        return code
    if status.state != mesos.TASK_KILLED:
        print_error(f"{mesos.TaskState.Name(status.state)}: {without_path(status.message, OPTIONS)}")
    return exit_codes.NOT_RUN


def _code_in(message: str) -> int | None:
    if exited := _EXITED.search(message):
        return int(exited[1])
    if signalled := _KILLED.search(message):
        names = {signal.strsignal(number): int(number) for number in signal.valid_signals()}
        return 128 + names.get(signalled[1].strip(), 0)
    return None


def killed(status: mesos.TaskStatus) -> str:
    """`task x was killed: its executor says that …`."""
    because = f", because {reason(status.reason)}" if status.HasField("reason") else ""
    said = f"; {SOURCES.get(status.source, 'it is said')}: {status.message}" if status.message else ""
    return f"task {status.task_id.value} was killed{because}{said}"


def summary(status: mesos.TaskStatus) -> str:
    """`exited with 3`, or else its state and message."""
    if exited := _EXITED.search(status.message):
        return f"exited with {exited[1]}"
    state = mesos.TaskState.Name(status.state).removeprefix("TASK_").lower()
    return f"ended: {state}{f', {status.message}' if status.message else ''}"
