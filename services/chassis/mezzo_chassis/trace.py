"""Where the time of one launch goes: a timestamp for each hop of a task, read by `make trace`.

Off unless MEZZO_TRACE names a folder; a hop then costs one call that returns at once. Every service appends its hops to
a file of its own, one line each: nanoseconds of the monotonic clock, the hop, what was on its way, and whose it was (a
task's id, or a container's). All processes of one machine read the same clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mesos.v1.mesos_pb2 import TaskState

FOLDER_VARIABLE = "MEZZO_TRACE"
SUFFIX = ".hops"

_open: list[int] = []
# The descriptor of this process's file, while it traces.


def begin(service: str) -> None:
    """Start to write, if the environment says so. Raises OSError."""
    if path := file_of(service):
        _open.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))


def end() -> None:
    """Write no more."""
    while _open:
        os.close(_open.pop())


def file_of(process: str) -> str:
    """The file for the hops of a process; "" while nothing is traced."""
    folder = os.environ.get(FOLDER_VARIABLE, "")
    return str(Path(folder) / f"{process}{SUFFIX}") if folder else ""


def hop(name: str, subject: Any) -> None:
    """Note that a message, or the container of this id, has come this far."""
    if not _open:
        return
    now = time.monotonic_ns()
    for what, whose in _subjects(subject):
        os.write(_open[0], f"{now}\t{name}\t{what}\t{whose}\n".encode())


def _subjects(subject: Any) -> Iterator[tuple[str, str]]:
    """What is on its way, and whose, for each task that a message is about."""
    if isinstance(subject, str):
        yield "", subject
    elif (read := _READERS.get(subject.DESCRIPTOR.full_name)) is not None:
        yield from read(subject)


def _of_call(call: Any) -> Iterator[tuple[str, str]]:
    if call.HasField("acknowledge"):
        yield "ACKNOWLEDGE", call.acknowledge.task_id.value
    for operation in call.accept.operations:
        for task in operation.launch.task_infos:
            yield "ACCEPT", task.task_id.value


def _of_event(event: Any) -> Iterator[tuple[str, str]]:
    if event.HasField("update"):
        yield from _of_status(event.update.status)


def _of_status(status: Any) -> Iterator[tuple[str, str]]:
    yield TaskState.Name(status.state), status.task_id.value


def _of_registry_message(message: Any) -> Iterator[tuple[str, str]]:
    if message.HasField("run_task"):
        yield "RUN_TASK", message.run_task.task.task_id.value
    elif message.HasField("acknowledge_update"):
        yield "ACKNOWLEDGE", message.acknowledge_update.task_id.value


def _of_agent_message(message: Any) -> Iterator[tuple[str, str]]:
    if message.HasField("task_update"):
        yield from _of_status(message.task_update.status)


def _of_record(record: Any) -> Iterator[tuple[str, str]]:
    if record.HasField("task"):
        yield "RUN_TASK", record.task.task.task_id.value
    elif record.HasField("update"):
        yield from _of_status(record.update.status)
    elif record.HasField("acknowledgement"):
        yield "ACKNOWLEDGE", record.acknowledgement.task_id.value


_READERS: dict[str, Callable[[Any], Iterator[tuple[str, str]]]] = {
    "mesos.v1.scheduler.Call": _of_call,
    "mesos.v1.scheduler.Event": _of_event,
    "mezzo.agent.v1.RegistryMessage": _of_registry_message,
    "mezzo.agent.v1.AgentMessage": _of_agent_message,
    "mezzo.agent.v1.CheckpointRecord": _of_record,
}
