"""Status updates: each on disk before it is sent, in order, one of a task under way at a time, until acknowledged.

Source: docs/high-availability-framework-guide.md of apache/mesos, "status update acknowledgement".
"""

from __future__ import annotations

from collections.abc import Callable

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo.errors import shorten
from mezzo_agent.core.events import TimerKind
from mezzo_agent.core.model import ExecutorKind, Framework, Task
from mezzo_agent.core.state import AgentState

SOURCE_AGENT = mesos.TaskStatus.SOURCE_AGENT
SOURCE_EXECUTOR = mesos.TaskStatus.SOURCE_EXECUTOR


class Updates:
    """One stream of updates for each task."""

    def __init__(self, state: AgentState, retired: Callable[[Task], None]) -> None:
        """`retired` is told of a task when the last thing about it is settled."""
        self._state = state
        self._retired = retired

    def report(
        self,
        task: Task,
        state: mesos.TaskState.ValueType,
        message: str = "",
        *,
        reason: mesos.TaskStatus.Reason.ValueType | None = None,
        source: mesos.TaskStatus.Source.ValueType = SOURCE_AGENT,
        limitation: mesos.TaskResourceLimitation | None = None,
    ) -> None:
        """The agent's own word on a task."""
        status = mesos.TaskStatus(task_id=task.info.task_id, state=state, source=source, uuid=self._state.new_id())
        if message:
            status.message = shorten(message)
        if reason is not None:
            status.reason = reason
        if limitation is not None:
            status.limitation.CopyFrom(limitation)
        self.record(task, status)

    def record(self, task: Task, status: mesos.TaskStatus) -> None:
        """Enter an update, complete what the agent knows better, and send it when its turn has come.

        `status` has its `uuid`. What comes after a terminal update is not entered.
        """
        state = self._state
        if task.terminal:
            return
        self._complete(task, status)
        task.apply_status(status)
        state.write_row(task.key, mesos.TaskState.Name(status.state))
        state.counts.valid_status_updates += 1
        if task.terminal:
            state.counts.tasks[status.state] += 1
        if state.framework_of(task).shutting_down:
            if task.terminal:
                self._retired(task)
            return
        record = checkpoint.UpdateRecord(framework_id=state.framework_of(task).info.id, status=status)
        state.persist(checkpoint.CheckpointRecord(update=record))
        task.pending.append(status)
        if len(task.pending) == 1:
            task.attempts = 0
            self._send(task)

    def _complete(self, task: Task, status: mesos.TaskStatus) -> None:
        status.agent_id.value = self._state.agent_id
        if not status.HasField("timestamp"):
            status.timestamp = self._state.now
        executor = task.executor
        if executor is None:
            return
        status.executor_id.value = executor.id
        container_id = task.container_id or executor.container_id
        container = status.container_status
        # Whatever an executor says of parents: a chain of them, deep enough, could be sent but not be read again.
        container.container_id.CopyFrom(mesos.ContainerID(value=container_id))
        if executor.kind is ExecutorKind.POD:
            container.container_id.parent.value = executor.container_id
        if not container.network_infos:
            address = container.network_infos.add().ip_addresses.add()
            address.protocol = mesos.NetworkInfo.IPv4
            address.ip_address = self._state.settings.ip
        pid = executor.pid if executor.kind is ExecutorKind.CUSTOM else task.pid
        if pid is not None:
            container.executor_pid = pid

    def _send(self, task: Task) -> None:
        state = self._state
        if not state.registered:
            return
        framework = state.framework_of(task)
        status = task.pending[0]
        update = session.TaskUpdate(framework_id=framework.info.id, status=status)
        if len(task.pending) > 1:
            update.latest.CopyFrom(task.pending[-1])
        state.send(session.AgentMessage(task_update=update))
        settings = state.settings
        delay = min(settings.update_retry_min * 2.0**task.attempts, settings.update_retry_max)
        state.start_timer(TimerKind.UPDATE_RETRY, task.framework_id, task.id, delay)
        task.attempts += 1

    def retry(self, framework_id: str, task_id: str) -> None:
        """Nobody has acknowledged the first pending update for long enough."""
        task = self._state.task(framework_id, task_id)
        if task is not None and task.pending:
            self._state.counts.updates_resent += 1
            self._send(task)

    def resend_all(self) -> None:
        """After a new session: whatever is pending may never have arrived."""
        for framework in self._state.frameworks.values():
            for task in framework.tasks.values():
                self._state.at = task
                if task.pending:
                    task.attempts = 0
                    self._send(task)

    def acknowledge(self, framework_id: str, task_id: str, uuid: bytes) -> None:
        """The framework has the update. Acknowledgements of anything but the one under way are ignored."""
        state = self._state
        task = state.task(framework_id, task_id)
        if task is None or not task.pending or task.pending[0].uuid != uuid:
            state.counts.acknowledgements_ignored += 1
            return
        status = task.pending.popleft()
        task.attempts = 0
        state.write_row(task.key, f"{mesos.TaskState.Name(status.state)} is acknowledged")
        record = checkpoint.AcknowledgementRecord(
            framework_id=state.framework_of(task).info.id, task_id=task.info.task_id, uuid=uuid
        )
        state.persist(checkpoint.CheckpointRecord(acknowledgement=record))
        if task.pending:
            self._send(task)
            return
        state.cancel_timer(TimerKind.UPDATE_RETRY, framework_id, task_id)
        if task.terminal:
            self._retired(task)

    def abandon(self, framework: Framework) -> None:
        """The framework is gone: nobody will acknowledge anything any more."""
        for task in list(framework.tasks.values()):
            if task.pending:
                self._state.cancel_timer(TimerKind.UPDATE_RETRY, framework.id, task.id)
                task.pending.clear()
            if task.terminal:
                self._retired(task)
