"""The state from the journal and back, and what to do about containers that an earlier agent process left.

Records are applied in order; containers are asked for afterwards, and then every task goes on where it was, or is
reported as what became of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo_agent.core import mesos_messages
from mezzo_agent.core.admission import command_executor, record_of_executor, record_of_task
from mezzo_agent.core.condemned import Condemned, CondemnedTask
from mezzo_agent.core.effects import ForgetContainer, WatchContainer
from mezzo_agent.core.events import TimerKind
from mezzo_agent.core.executors import Executors
from mezzo_agent.core.model import Executor, ExecutorKind, Framework, Kill, KillCause, Phase, Task
from mezzo_agent.core.state import AgentState
from mezzo_agent.core.supervision import Supervision
from mezzo_agent.core.updates import Updates
from mezzo_agent.ports import RecoveredContainer, RecoveredState, Termination

_Record = checkpoint.CheckpointRecord
_Status = mesos.TaskStatus


class Restoration:
    """Applies records to an empty state. A record that names what is not there is ignored: it came too late."""

    def __init__(self, state: AgentState, condemned: Condemned) -> None:
        """What the records say of those who are condemned is not applied."""
        self._state = state
        self._condemned = condemned
        self._apply: dict[str, Callable[..., None]] = {
            "agent": self._agent,
            "framework": self._framework,
            "executor": self._executor,
            "task": self._task,
            "update": self._update,
            "acknowledgement": self._acknowledgement,
            "kill": self._kill,
            "executor_removed": self._executor_removed,
            "framework_removed": self._framework_removed,
        }

    def restore(self, records: Iterable[_Record]) -> None:
        for record in records:
            self._state.at = record
            kind = record.WhichOneof("record")
            if kind is None or self._condemned.takes(record):  # None: written by a later version
                continue
            if self._state.agent_id or kind == "agent":  # else a damaged journal no longer says whose tasks these are
                self._apply[kind](getattr(record, kind))
        self._derive_phases()

    def _agent(self, record: checkpoint.AgentRecord) -> None:
        self._state.agent_info.id.CopyFrom(record.agent_info.id)

    def _framework(self, record: checkpoint.FrameworkRecord) -> None:
        framework = self._state.frameworks.get(record.framework_info.id.value)
        if framework is None:
            framework = new_framework(self._state, record.framework_info)
        framework.info = record.framework_info
        framework.persisted = True

    def _executor(self, record: checkpoint.ExecutorRecord) -> None:
        framework = self._state.frameworks.get(record.framework_id.value)
        if framework is None:
            return
        kind = ExecutorKind.POD if record.kind == checkpoint.ExecutorRecord.KIND_POD else ExecutorKind.CUSTOM
        executor_id = record.executor_info.executor_id.value
        sandbox = self._state.sandbox(framework.id, executor_id, record.container_id)
        executor = Executor(framework.id, record.executor_info, kind, record.container_id, sandbox, record.token)
        framework.executors[executor.id] = executor

    def _task(self, record: checkpoint.TaskRecord) -> None:
        framework = self._state.frameworks.get(record.framework_id.value)
        if framework is None or record.task.task_id.value in framework.tasks:
            return
        executor: Executor | None = None
        if record.HasField("executor_id"):
            executor = framework.executors.get(record.executor_id.value)
            if executor is not None and executor.kind is ExecutorKind.COMMAND:
                executor = None  # that of an earlier task of this name, whose end is not in the journal
            if executor is None and record.container_id:
                executor = command_executor(self._state, framework, record.task, record.container_id)
                framework.executors[executor.id] = executor
        task = Task(record.task, framework.id, executor, record.container_id or None, record.group)
        self._state.group_count = max(self._state.group_count, record.group)
        framework.tasks[task.id] = task
        if executor is not None:
            executor.tasks[task.id] = task

    def _update(self, record: checkpoint.UpdateRecord) -> None:
        task = self._state.task(record.framework_id.value, record.status.task_id.value)
        if task is None or task.has_update(record.status.uuid):
            return
        task.apply_status(record.status)
        task.pending.append(record.status)

    def _acknowledgement(self, record: checkpoint.AcknowledgementRecord) -> None:
        task = self._state.task(record.framework_id.value, record.task_id.value)
        if task is None:
            return
        task.pending = deque(status for status in task.pending if status.uuid != record.uuid)
        if task.terminal and not task.pending:
            retire(self._state, task)

    def _kill(self, record: checkpoint.KillRecord) -> None:
        task = self._state.task(record.framework_id.value, record.task_id.value)
        if task is not None:
            cause = KillCause.REQUESTED if task.kill is None else task.kill.cause
            task.kill = Kill(cause, record.grace_period_seconds)

    def _executor_removed(self, record: checkpoint.ExecutorRemoved) -> None:
        framework = self._state.frameworks.get(record.framework_id.value)
        if framework is not None:
            framework.executors.pop(record.executor_id.value, None)

    def _framework_removed(self, record: checkpoint.FrameworkRemoved) -> None:
        self._state.frameworks.pop(record.framework_id.value, None)

    def _derive_phases(self) -> None:
        """Phases and containers, which follow from the rest."""
        state = self._state
        for framework in state.frameworks.values():
            for task in list(framework.tasks.values()):
                state.at = task
                if task.executor is None and not task.terminal:
                    # Torn off while it was being refused: the registry sends it again. Or a damaged journal lost its
                    # executor, or its end: it is reported as nothing that runs here, and the registry ends it.
                    del framework.tasks[task.id]
                elif task.terminal:
                    task.phase = Phase.ENDED
                elif task.container_id is not None:
                    state.containers[task.container_id] = task
                    task.phase = Phase.LAUNCHING
                else:
                    task.phase = Phase.RUNNING if task.statuses else Phase.LAUNCHING
            for executor in list(framework.executors.values()):
                state.at = executor
                if executor.kind is ExecutorKind.CUSTOM:
                    state.containers[executor.container_id] = executor
                elif not executor.live_tasks():
                    del framework.executors[executor.id]


def new_framework(state: AgentState, info: mesos.FrameworkInfo) -> Framework:
    framework = Framework(info, deque(maxlen=state.settings.max_completed_executors_per_framework))
    state.frameworks[framework.id] = framework
    return framework


def retire(state: AgentState, task: Task) -> None:
    """Nothing about the task is open any more: it moves to what its executor has completed."""
    del state.frameworks[task.framework_id].tasks[task.id]
    if task.executor is not None:
        task.executor.tasks.pop(task.id, None)
        task.executor.completed_tasks.append(task)


def records(state: AgentState) -> Iterable[_Record]:
    """The shortest journal that leads to the present state."""
    yield _Record(agent=checkpoint.AgentRecord(agent_info=state.agent_info))
    for framework in state.frameworks.values():
        if framework.idle:
            continue
        yield _Record(framework=checkpoint.FrameworkRecord(framework_info=framework.info))
        for executor in framework.executors.values():
            state.at = executor
            if executor.kind is not ExecutorKind.COMMAND:
                yield _Record(executor=record_of_executor(executor))
        for task in framework.tasks.values():
            state.at = task
            yield from _records_of_task(framework, task)


def _records_of_task(framework: Framework, task: Task) -> Iterable[_Record]:
    yield _Record(task=record_of_task(framework, task))
    pending = {status.uuid for status in task.pending}
    acknowledged = [status for status in task.statuses if status.uuid not in pending]
    for status in (*acknowledged, *task.pending):
        yield _Record(update=checkpoint.UpdateRecord(framework_id=framework.info.id, status=status))
    for status in acknowledged:
        yield _Record(
            acknowledgement=checkpoint.AcknowledgementRecord(
                framework_id=framework.info.id, task_id=task.info.task_id, uuid=status.uuid
            )
        )
    if task.kill is not None:
        yield _Record(
            kill=checkpoint.KillRecord(
                framework_id=framework.info.id,
                task_id=task.info.task_id,
                grace_period_seconds=task.kill.grace_period_seconds,
            )
        )


class Reconnection:
    """Takes up the containers that an earlier agent process launched.

    What had not been launched yet is launched now; from a damaged journal nothing is, since it may have run and ended.
    """

    def __init__(self, state: AgentState, updates: Updates, supervision: Supervision, executors: Executors) -> None:
        self._state = state
        self._updates = updates
        self._supervision = supervision
        self._executors = executors

    def report_condemned(self, condemned: Condemned) -> None:
        """Their containers are gone, and nothing else is known of them any more."""
        state = self._state
        state.reports_condemned = True
        for each in condemned.tasks.values():
            framework_id = each.record.framework_id.value
            state.at = task = Task(each.record.task, framework_id, None, phase=Phase.ENDED)
            info = condemned.frameworks.get(framework_id)
            framework = state.frameworks.get(framework_id) or (info and new_framework(state, info))
            if framework and each.message:
                self._report_condemned(framework, task, each)
        state.reports_condemned = False

    def _report_condemned(self, framework: Framework, task: Task, condemned: CondemnedTask) -> None:
        state = self._state
        framework.tasks[task.id] = task
        state.persist_framework(framework)
        state.persist(_Record(task=record_of_task(framework, task)))
        if condemned.terminal is not None:
            self._updates.record(task, condemned.terminal)
        else:
            self._updates.report(task, mesos.TASK_FAILED, condemned.message, reason=_Status.REASON_EXECUTOR_TERMINATED)

    def task(self, task: Task, found: RecoveredContainer, *, intact: bool) -> None:
        if found.state is RecoveredState.RUNNING:
            self._task_runs(task, found)
        elif found.state is RecoveredState.ENDED:
            self._supervision.ended(task, found.termination or Termination(None))
        elif any(status.state == mesos.TASK_RUNNING for status in task.statuses):
            self._task_is_gone(task)
        elif task.kill is not None:
            self._state.move_task(task, Phase.QUEUED)
            self._supervision.apply_kill(task)
        elif not intact:
            self._task_is_gone(task)
        elif task.executor is not None:
            self._state.emit(ForgetContainer(found.container_id))
            self._supervision.launch(task, task.executor)

    def _task_is_gone(self, task: Task) -> None:
        reason = _Status.REASON_AGENT_RESTARTED
        self._supervision.ended(task, Termination(None, mesos_messages.UNKNOWN_CONTAINER, reason))

    def _task_runs(self, task: Task, found: RecoveredContainer) -> None:
        state = self._state
        running = next((status for status in task.statuses if status.state == mesos.TASK_RUNNING), None)
        kill, task.kill = task.kill, None
        if running is None:
            self._supervision.started(task, found.pid or 0)
        else:
            state.move_task(task, Phase.RUNNING)
            task.pid = found.pid
            if task.info.HasField("max_completion_time"):
                over = running.timestamp + task.info.max_completion_time.nanoseconds / 1e9
                delay = max(0.0, over - state.now)
                state.start_timer(TimerKind.MAX_COMPLETION, task.framework_id, task.id, delay)
        state.emit(WatchContainer(found.container_id))
        if kill is not None:
            task.kill = kill
            self._supervision.apply_kill(task)

    def executor(self, executor: Executor, found: RecoveredContainer, *, intact: bool) -> bool:
        """Whether it goes on. It has a while to subscribe again."""
        state = self._state
        if found.state is RecoveredState.RUNNING:
            executor.pid = found.pid
            state.emit(WatchContainer(found.container_id))
            timeout = state.settings.executor_reregistration_timeout
            state.start_timer(TimerKind.EXECUTOR_REREGISTRATION, executor.framework_id, executor.id, timeout)
            return True
        live = list(executor.live_tasks())
        # One without tasks was idle, and has nothing to be started for.
        unknown = found.state is RecoveredState.UNKNOWN
        if unknown and intact and live and not any(task.statuses for task in live):
            for task in live:
                state.move_task(task, Phase.QUEUED)
            state.emit(ForgetContainer(found.container_id))
            self._executors.launch(executor)
            return True
        self._executors.ended(executor, found.termination or Termination(None, mesos_messages.UNKNOWN_CONTAINER))
        return False
