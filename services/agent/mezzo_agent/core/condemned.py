"""Tasks and executors that a defect was about: the recovery after it ends them, and recovers the rest.

What the journal says of them is not applied, since that, or what follows from it, may be what the agent cannot do.
Their containers are destroyed as any that the journal does not name. Of each of their tasks one thing is reported: its
last update, if that was terminal already, or else that it has failed, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo.task_states import TERMINAL
from mezzo_agent.core.subjects import Subject

SILENT = frozenset({"shutdown_framework", "condemned"})
"""Nothing is reported: there is nobody to be told any more, or to report was the defect."""

_Record = checkpoint.CheckpointRecord
_Key = tuple[str, str]
"""The id of a framework, and that of one of its tasks or executors."""


@dataclass(slots=True)
class CondemnedTask:
    record: checkpoint.TaskRecord
    message: str
    """What its framework is told; empty where it is told nothing."""
    terminal: mesos.TaskStatus | None = None
    """Its last update, if that is terminal: it has not been acknowledged."""


@dataclass(slots=True)
class Condemned:
    """What is ended by this recovery."""

    tasks: dict[_Key, CondemnedTask] = field(default_factory=dict)
    frameworks: dict[str, mesos.FrameworkInfo] = field(default_factory=dict)
    """Where their own records are among those that are not applied."""
    of_frameworks: dict[str, str] = field(default_factory=dict)
    """What is to be said of the tasks of a framework, of those of an executor, or of one task; nothing, where empty."""
    of_executors: dict[_Key, str] = field(default_factory=dict)
    of_tasks: dict[_Key, str] = field(default_factory=dict)
    _apply: dict[str, Callable[..., bool]] = field(init=False)

    def __post_init__(self) -> None:
        self._apply = {
            "framework": self._framework,
            "executor": self._executor,
            "task": self._task,
            "update": self._update,
            "acknowledgement": self._acknowledgement,
            "kill": self._kill,
            "executor_removed": self._executor_removed,
            "framework_removed": self._framework_removed,
        }

    def __bool__(self) -> bool:
        return bool(self.of_frameworks or self.of_executors or self.of_tasks)

    def takes(self, record: _Record) -> bool:
        """Whether a record is about somebody who is condemned, so that it is not to be applied."""
        apply = self._apply.get(record.WhichOneof("record") or "")
        return apply is not None and apply(getattr(record, record.WhichOneof("record") or ""))

    def _framework(self, record: checkpoint.FrameworkRecord) -> bool:
        framework_id = record.framework_info.id.value
        if framework_id not in self.of_frameworks:
            return False
        self.frameworks[framework_id] = record.framework_info
        return True

    def _executor(self, record: checkpoint.ExecutorRecord) -> bool:
        return self._is_condemned(record.framework_id.value, record.executor_info.executor_id.value)

    def _executor_removed(self, record: checkpoint.ExecutorRemoved) -> bool:
        return self._is_condemned(record.framework_id.value, record.executor_id.value)

    def _is_condemned(self, framework_id: str, executor_id: str) -> bool:
        return framework_id in self.of_frameworks or (framework_id, executor_id) in self.of_executors

    def _task(self, record: checkpoint.TaskRecord) -> bool:
        framework_id = record.framework_id.value
        key = (framework_id, record.task.task_id.value)
        message = self.of_tasks.get(key)
        if message is None:
            message = self.of_executors.get((framework_id, record.executor_id.value))
        if message is None:
            message = self.of_frameworks.get(framework_id)
        if message is None:
            return False
        self.tasks.setdefault(key, CondemnedTask(record, message))
        return True

    def _update(self, record: checkpoint.UpdateRecord) -> bool:
        task = self.tasks.get((record.framework_id.value, record.status.task_id.value))
        if task is not None and task.terminal is None and record.status.state in TERMINAL:
            task.terminal = record.status
        return task is not None

    def _acknowledgement(self, record: checkpoint.AcknowledgementRecord) -> bool:
        key = (record.framework_id.value, record.task_id.value)
        task = self.tasks.get(key)
        if task is not None and task.terminal is not None and task.terminal.uuid == record.uuid:
            del self.tasks[key]
        return task is not None

    def _kill(self, record: checkpoint.KillRecord) -> bool:
        return (record.framework_id.value, record.task_id.value) in self.tasks

    def _framework_removed(self, record: checkpoint.FrameworkRemoved) -> bool:
        framework_id = record.framework_id.value
        self.tasks = {key: task for key, task in self.tasks.items() if key[0] != framework_id}
        return framework_id in self.of_frameworks


def condemn(subjects: Mapping[Subject, str], records: Sequence[_Record]) -> Condemned:
    """Those whom `subjects` name, each with what is to be said of it, and those who cannot go on without them.

    A task of a custom executor, which runs it, ends with that executor; a task of a group with the whole group.
    """
    condemned = Condemned()
    ending = [subject for subject in subjects if subject.ends]
    if not ending:
        return condemned
    custom, groups = _custom_executors(records), _Groups(records)
    for subject in sorted(ending, key=lambda each: each.event in SILENT):
        message = "" if subject.event in SILENT else subjects[subject]
        framework_id = subject.framework_id
        if subject.executor_id:
            condemned.of_executors[framework_id, subject.executor_id] = message
        for task_id in subject.task_ids:
            executor_id = groups.executors.get((framework_id, task_id), "")
            if (framework_id, executor_id) in custom:
                condemned.of_executors[framework_id, executor_id] = message
            for sibling in groups.siblings(framework_id, task_id):
                condemned.of_tasks[framework_id, sibling] = message
        if not subject.executor_id and not subject.task_ids:
            condemned.of_frameworks[framework_id] = message
    return condemned


def _custom_executors(records: Iterable[_Record]) -> set[_Key]:
    infos = (record.executor for record in records if record.HasField("executor"))
    kind = checkpoint.ExecutorRecord.KIND_CUSTOM
    return {(each.framework_id.value, each.executor_info.executor_id.value) for each in infos if each.kind == kind}


class _Groups:
    """Which tasks belong together, and to whom."""

    def __init__(self, records: Iterable[_Record]) -> None:
        self.executors: dict[_Key, str] = {}
        self._numbers: dict[_Key, int] = {}
        self._tasks: dict[tuple[str, int], list[str]] = {}
        for record in records:
            if record.HasField("task"):
                self._add(record.task)

    def _add(self, record: checkpoint.TaskRecord) -> None:
        framework_id, task_id = record.framework_id.value, record.task.task_id.value
        self.executors[framework_id, task_id] = record.executor_id.value
        if record.group:
            self._numbers[framework_id, task_id] = record.group
            self._tasks.setdefault((framework_id, record.group), []).append(task_id)

    def siblings(self, framework_id: str, task_id: str) -> list[str]:
        """The tasks of its group, itself among them."""
        number = self._numbers.get((framework_id, task_id), 0)
        return self._tasks.get((framework_id, number), [task_id])
