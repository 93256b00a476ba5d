"""Custom executors: programs of a framework that run its tasks and speak the executor API with the agent.

REGISTERING → RUNNING → TERMINATING → gone; its tasks wait QUEUED until it has subscribed.
"""

from __future__ import annotations

from itertools import groupby

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as api
from mezzo import durations
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo_agent.core import environment, executor_calls, mesos_messages, wait_status
from mezzo_agent.core.effects import (
    CloseExecutorStream,
    DestroyContainer,
    LaunchContainer,
    SendToExecutor,
    UpdateContainer,
)
from mezzo_agent.core.events import ExecutorCalled, ExecutorDisconnected, ExecutorSubscribed, TimerKind
from mezzo_agent.core.holdings import held_by
from mezzo_agent.core.model import Executor, ExecutorState, Kill, KillCause, Phase, Task
from mezzo_agent.core.state import AgentState
from mezzo_agent.core.updates import SOURCE_EXECUTOR, Updates
from mezzo_agent.ports import ContainerConfig, Termination

_Event = api.Event
_Status = mesos.TaskStatus


class Executors:
    """The life of each custom executor, from its launch to its exit."""

    def __init__(self, state: AgentState, updates: Updates) -> None:
        self._state = state
        self._updates = updates

    # --- launching

    def launch(self, executor: Executor) -> None:
        state = self._state
        framework = state.frameworks[executor.framework_id]
        info = executor.info
        state.move_executor(executor, ExecutorState.REGISTERING)
        user = info.command.user or framework.info.user or None
        config = ContainerConfig(
            container_id=executor.container_id,
            framework_id=framework.id,
            executor_id=executor.id,
            task_id=None,
            command=info.command,
            environment=environment.of_executor(state, framework, executor),
            sandbox=executor.sandbox,
            user=user if state.settings.switch_user else None,
            resources=held_by(executor),
            container=info.container if info.HasField("container") else None,
        )
        state.counts.launches += 1
        state.emit(LaunchContainer(config))
        timeout = state.settings.executor_registration_timeout
        state.start_timer(TimerKind.EXECUTOR_REGISTRATION, framework.id, executor.id, timeout)

    def deliver(self, executor: Executor) -> None:
        """Tell a subscribed executor of the tasks that wait for it."""
        waiting = [task for task in executor.tasks.values() if task.phase is Phase.QUEUED]
        if not waiting or executor.connection is None or executor.state is not ExecutorState.RUNNING:
            return
        self._state.emit(UpdateContainer(executor.container_id, held_by(executor)))
        for group, tasks in groupby(waiting, key=lambda task: task.group):
            self._deliver(executor, group, list(tasks))

    def _deliver(self, executor: Executor, group: int, tasks: list[Task]) -> None:
        for task in tasks:
            self._state.move_task(task, Phase.LAUNCHING)
        if group:
            tasks_of_group = mesos.TaskGroupInfo(tasks=[task.info for task in tasks])
            launch = _Event.LaunchGroup(task_group=tasks_of_group)
            self._send(executor, _Event(type=_Event.LAUNCH_GROUP, launch_group=launch))
            return
        for task in tasks:
            self._send(executor, _Event(type=_Event.LAUNCH, launch=_Event.Launch(task=task.info)))

    def _send(self, executor: Executor, event: api.Event) -> None:
        if executor.connection is not None:
            self._state.emit(SendToExecutor(executor.connection, event))

    # --- what it says

    def subscribed(self, event: ExecutorSubscribed) -> None:
        """A new stream: the older one, if there is one, ends."""
        state, call = self._state, event.call
        executor_calls.check(call)
        executor = executor_calls.identify(state, call, event.token)
        self._disconnect(executor)
        executor.connection = event.connection
        for kind in (TimerKind.EXECUTOR_REGISTRATION, TimerKind.EXECUTOR_REREGISTRATION):
            state.cancel_timer(kind, executor.framework_id, executor.id)
        framework = state.frameworks[executor.framework_id]
        subscribed = _Event.Subscribed(
            executor_info=executor.info, framework_info=framework.info, agent_info=state.agent_info
        )
        subscribed.container_id.value = executor.container_id
        self._send(executor, _Event(type=_Event.SUBSCRIBED, subscribed=subscribed))
        if executor.state is ExecutorState.TERMINATING:
            self._send(executor, _Event(type=_Event.SHUTDOWN))
            return
        if executor.state is ExecutorState.REGISTERING:
            state.move_executor(executor, ExecutorState.RUNNING)
        for update in call.subscribe.unacknowledged_updates:
            self._receive_update(executor, update.status)
        self._deliver_again(executor, {task.task_id.value for task in call.subscribe.unacknowledged_tasks})

    def _deliver_again(self, executor: Executor, known: set[str]) -> None:
        """Deliver again what an older stream may have lost."""
        for task in executor.tasks.values():
            undelivered = task.phase is Phase.LAUNCHING and not task.statuses and task.id not in known
            if undelivered:
                self._state.move_task(task, Phase.QUEUED)
        self.deliver(executor)
        for task in executor.live_tasks():
            if task.kill is not None:
                self._send_kill(executor, task)

    def called(self, event: ExecutorCalled) -> None:
        state, call = self._state, event.call
        executor_calls.check(call)
        executor = executor_calls.identify(state, call, event.token)
        if call.type == api.Call.UPDATE:
            try:
                executor_calls.check_update(state, executor, call.update.status)
            except Exception:
                state.counts.invalid_status_updates += 1
                raise
            self._receive_update(executor, call.update.status)
        elif call.type == api.Call.MESSAGE:
            state.counts.valid_framework_messages += 1
            framework_id = state.frameworks[executor.framework_id].info.id
            message = session.ExecutorMessage(
                framework_id=framework_id, executor_id=executor.info.executor_id, data=call.message.data
            )
            state.send(session.AgentMessage(executor_message=message))

    def _receive_update(self, executor: Executor, status: mesos.TaskStatus) -> None:
        """Enter an update and acknowledge it; one that is known already is acknowledged again."""
        task = executor.tasks.get(status.task_id.value)
        if task is not None and not task.has_update(status.uuid):
            status.source = SOURCE_EXECUTOR
            if task.phase in (Phase.QUEUED, Phase.LAUNCHING):
                self._state.move_task(task, Phase.RUNNING)
            self._updates.record(task, status)
            if task.terminal and task.phase is not Phase.ENDED:
                self._state.move_task(task, Phase.ENDED)
                self._state.emit(UpdateContainer(executor.container_id, held_by(executor)))
        acknowledged = _Event.Acknowledged(task_id=status.task_id, uuid=status.uuid)
        self._send(executor, _Event(type=_Event.ACKNOWLEDGED, acknowledged=acknowledged))

    def disconnected(self, event: ExecutorDisconnected) -> None:
        """Its stream has broken. It may subscribe again; if it has ended, its container says so."""
        for framework in self._state.frameworks.values():
            for executor in framework.executors.values():
                if executor.connection == event.connection:
                    executor.connection = None

    def _disconnect(self, executor: Executor) -> None:
        if executor.connection is not None:
            self._state.emit(CloseExecutorStream(executor.connection))
            executor.connection = None

    # --- what it is told

    def message(self, executor: Executor, data: bytes) -> None:
        """From its framework; lost where it is not subscribed, as messages may be."""
        if executor.connection is None:
            self._state.counts.invalid_framework_messages += 1
            return
        self._state.counts.valid_framework_messages += 1
        self._send(executor, _Event(type=_Event.MESSAGE, message=_Event.Message(data=data)))

    def kill(self, executor: Executor, task: Task, policy: mesos.KillPolicy | None) -> None:
        state = self._state
        if task.phase is Phase.QUEUED:
            state.move_task(task, Phase.ENDED)
            self._updates.report(
                task,
                mesos.TASK_KILLED,
                mesos_messages.KILLED_BEFORE_DELIVERY,
                reason=_Status.REASON_TASK_KILLED_DURING_LAUNCH,
            )
            if not executor.live_tasks() and executor.state is ExecutorState.REGISTERING:
                self.shutdown(executor)  # it has nothing to do, and never had
            return
        grace_period = policy.grace_period.nanoseconds / 1e9 if policy is not None else -1.0
        task.kill = Kill(KillCause.REQUESTED, grace_period)
        record = checkpoint.KillRecord(
            framework_id=state.framework_of(task).info.id,
            task_id=task.info.task_id,
            grace_period_seconds=grace_period,
        )
        state.persist(checkpoint.CheckpointRecord(kill=record))
        state.write_row(task.key, f"is to be killed: {task.kill.cause.value}")
        self._send_kill(executor, task)

    def _send_kill(self, executor: Executor, task: Task) -> None:
        kill = _Event.Kill(task_id=task.info.task_id)
        if task.kill is not None and task.kill.grace_period_seconds >= 0:
            kill.kill_policy.grace_period.nanoseconds = round(task.kill.grace_period_seconds * 1e9)
        self._send(executor, _Event(type=_Event.KILL, kill=kill))

    def shutdown(self, executor: Executor) -> None:
        """Ask it to end, and see to it that it does."""
        if executor.state is ExecutorState.TERMINATING:
            return
        state = self._state
        state.move_executor(executor, ExecutorState.TERMINATING)
        if executor.connection is None:
            state.emit(DestroyContainer(executor.container_id))
            return
        self._send(executor, _Event(type=_Event.SHUTDOWN))
        delay = environment.shutdown_grace_period(state, executor)
        state.start_timer(TimerKind.EXECUTOR_SHUTDOWN, executor.framework_id, executor.id, delay)

    # --- when it does not do what it should

    def registration_timed_out(self, executor: Executor) -> None:
        if executor.state is ExecutorState.REGISTERING:
            seconds = self._state.settings.executor_registration_timeout
            message = mesos_messages.EXECUTOR_REGISTRATION_TIMEOUT.format(durations.text_of(seconds))
            self._destroy(executor, _Status.REASON_EXECUTOR_REGISTRATION_TIMEOUT, message)

    def reregistration_timed_out(self, executor: Executor) -> None:
        if executor.connection is None:
            seconds = self._state.settings.executor_reregistration_timeout
            message = mesos_messages.EXECUTOR_REREGISTRATION_TIMEOUT.format(durations.text_of(seconds))
            self._destroy(executor, _Status.REASON_EXECUTOR_REREGISTRATION_TIMEOUT, message)

    def _destroy(self, executor: Executor, reason: _Status.Reason.ValueType, message: str) -> None:
        executor.kill_reason = (reason, message)
        self._state.write_row(executor.key, f"is to be killed: {_Status.Reason.Name(reason)}")
        if executor.state is not ExecutorState.TERMINATING:
            self._state.move_executor(executor, ExecutorState.TERMINATING)
        self._state.emit(DestroyContainer(executor.container_id))

    def shutdown_timed_out(self, executor: Executor) -> None:
        self._state.emit(DestroyContainer(executor.container_id))

    # --- its end

    def not_started(self, executor: Executor, reason: _Status.Reason.ValueType, message: str) -> None:
        self._state.counts.container_launch_errors += 1
        self.ended(executor, Termination(None, mesos_messages.LAUNCH_FAILED.format(message), reason))

    def ended(self, executor: Executor, termination: Termination) -> None:
        """Its process is gone; so are its tasks. The caller removes it from the state."""
        state = self._state
        state.move_executor(executor, ExecutorState.TERMINATED)
        self._disconnect(executor)
        for kind in (
            TimerKind.EXECUTOR_REGISTRATION,
            TimerKind.EXECUTOR_REREGISTRATION,
            TimerKind.EXECUTOR_SHUTDOWN,
        ):
            state.cancel_timer(kind, executor.framework_id, executor.id)
        state.counts.executors_terminated += 1
        reason, message = executor.kill_reason or (
            _Status.REASON_EXECUTOR_TERMINATED if termination.reason is None else termination.reason,
            termination.message or f"Executor {wait_status.describe(termination.wait_status)}",
        )
        for task in executor.live_tasks():
            state.move_task(task, Phase.ENDED)
            task_state = mesos.TASK_FAILED if task.kill is None else mesos.TASK_KILLED
            self._updates.report(task, task_state, message, reason=reason, limitation=termination.limitation)
        self.report_exit(executor.framework_id, executor.id, termination.wait_status)

    def report_exit(self, framework_id: str, executor_id: str, status: int | None) -> None:
        """Tell the registry that an executor holds nothing any more; `status` is as wait(2) encodes it."""
        exited = session.ExecutorExited(wait_status=-1 if status is None else status)
        exited.framework_id.value = framework_id
        exited.executor_id.value = executor_id
        if self._state.registered:
            self._state.send(session.AgentMessage(executor_exited=exited))
        else:
            self._state.unreported_exits.append(exited)

    def report_exits(self) -> None:
        """Once the registry has answered Registered: tell it what ended since the snapshot was sent."""
        for exited in self._state.unreported_exits:
            self._state.send(session.AgentMessage(executor_exited=exited))
        self._state.unreported_exits.clear()
