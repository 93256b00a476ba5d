"""Tasks that the agent supervises itself: single commands, and the tasks of pods. No executor stands in between.

QUEUED → LAUNCHING (TASK_STARTING) → RUNNING (TASK_RUNNING) → ENDED (a terminal state)
"""

from __future__ import annotations

import signal

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo.resources import Resources
from mezzo_agent.core import environment, mesos_messages, wait_status
from mezzo_agent.core.effects import DestroyContainer, ForgetContainer, KillContainer, LaunchContainer
from mezzo_agent.core.events import TimerKind
from mezzo_agent.core.model import Executor, ExecutorKind, Framework, Kill, KillCause, Phase, Task
from mezzo_agent.core.state import AgentState
from mezzo_agent.core.updates import SOURCE_AGENT, SOURCE_EXECUTOR, Updates
from mezzo_agent.ports import ContainerConfig, Termination

_Capability = mesos.FrameworkInfo.Capability
_Status = mesos.TaskStatus


class Supervision:
    """The life of each supervised task."""

    def __init__(self, state: AgentState, updates: Updates) -> None:
        self._state = state
        self._updates = updates

    def launch(self, task: Task, executor: Executor) -> None:
        state = self._state
        framework = state.framework_of(task)
        state.move_task(task, Phase.LAUNCHING)
        state.counts.launches += 1
        if not task.statuses:
            # Before the launch, so that the acknowledgement is on its way meanwhile.
            self._updates.report(task, mesos.TASK_STARTING, source=SOURCE_EXECUTOR)
        state.emit(LaunchContainer(self._config(framework, executor, task)))

    def _config(self, framework: Framework, executor: Executor, task: Task) -> ContainerConfig:
        info = task.info
        container_id = task.container_id or executor.container_id
        user = info.command.user or framework.info.user or None
        return ContainerConfig(
            container_id=container_id,
            framework_id=framework.id,
            executor_id=executor.id,
            task_id=task.id,
            command=info.command,
            environment=environment.of_task(self._state, framework, executor, task),
            sandbox=environment.task_sandbox(executor, container_id),
            user=user if self._state.settings.switch_user else None,
            resources=Resources.of(info.resources),
            container=info.container if info.HasField("container") else None,
            limits={name: limit.value for name, limit in info.limits.items()},
        )

    def started(self, task: Task, pid: int) -> None:
        task.pid = pid
        self._state.move_task(task, Phase.RUNNING)
        if task.kill is not None:
            return  # it has been destroyed already, and will be reported as killed
        self._updates.report(task, mesos.TASK_RUNNING, source=SOURCE_EXECUTOR)
        if task.info.HasField("max_completion_time"):
            delay = task.info.max_completion_time.nanoseconds / 1e9
            self._state.start_timer(TimerKind.MAX_COMPLETION, task.framework_id, task.id, delay)

    def not_started(self, task: Task, reason: _Status.Reason.ValueType, message: str) -> None:
        if task.kill is not None:
            self._killed_during_launch(task)
        else:
            self._state.counts.container_launch_errors += 1
            self._end(task)
            self._updates.report(task, mesos.TASK_FAILED, mesos_messages.LAUNCH_FAILED.format(message), reason=reason)
            self._kill_siblings(task)

    def ended(self, task: Task, termination: Termination) -> None:
        """Its process has ended, and left this behind."""
        self._end(task)
        state, reason = self._verdict(task, termination)
        known = termination.wait_status is not None
        message = mesos_messages.COMMAND.format(wait_status.describe(termination.wait_status))
        if task.kill is not None and task.kill.cause is KillCause.COMPLETION_TIME:
            message = f"Task ran for longer than its max_completion_time. {message}"
        if termination.message:
            message = f"{message}: {termination.message}" if known else termination.message
        self._updates.report(
            task,
            state,
            message,
            reason=reason,
            source=SOURCE_EXECUTOR if known else SOURCE_AGENT,
            limitation=termination.limitation,
        )
        if state != mesos.TASK_FINISHED:
            self._kill_siblings(task)

    @staticmethod
    def _verdict(
        task: Task, termination: Termination
    ) -> tuple[mesos.TaskState.ValueType, _Status.Reason.ValueType | None]:
        if termination.reason is not None:
            return mesos.TASK_FAILED, termination.reason
        if task.kill is None:
            if wait_status.succeeded(termination.wait_status):
                return mesos.TASK_FINISHED, None
            unknown = termination.wait_status is None
            return mesos.TASK_FAILED, _Status.REASON_COMMAND_EXECUTOR_FAILED if unknown else None
        if task.kill.cause is KillCause.COMPLETION_TIME:
            return mesos.TASK_FAILED, _Status.REASON_MAX_COMPLETION_TIME_REACHED
        return mesos.TASK_KILLED, None

    def _end(self, task: Task) -> None:
        state = self._state
        state.move_task(task, Phase.ENDED)
        for kind in (TimerKind.KILL_GRACE, TimerKind.MAX_COMPLETION):
            state.cancel_timer(kind, task.framework_id, task.id)
        if task.container_id is not None and state.containers.pop(task.container_id, None) is not None:
            state.emit(ForgetContainer(task.container_id))

    def kill(self, task: Task, policy: mesos.KillPolicy | None, cause: KillCause = KillCause.REQUESTED) -> None:
        """End a task in two steps. A second kill changes the grace period, and nothing else."""
        grace_period = self._grace_period(task, policy)
        self._begin_kill(task, Kill(cause, grace_period), all_of_group=True)

    def _begin_kill(self, task: Task, kill: Kill, *, all_of_group: bool) -> None:
        state = self._state
        if task.phase is Phase.ENDED:
            return
        first = task.kill is None
        task.kill = kill if first else Kill(task.kill.cause, kill.grace_period_seconds)  # type: ignore[union-attr]
        record = checkpoint.KillRecord(
            framework_id=state.framework_of(task).info.id,
            task_id=task.info.task_id,
            grace_period_seconds=kill.grace_period_seconds,
        )
        state.persist(checkpoint.CheckpointRecord(kill=record))
        state.write_row(task.key, f"is to be killed: {task.kill.cause.value}")
        self.apply_kill(task)
        if first and all_of_group:
            self._kill_siblings(task)

    def apply_kill(self, task: Task) -> None:
        """Also after a restart, for a kill that the journal remembers."""
        state = self._state
        if task.kill is None or task.container_id is None:
            return
        if task.phase is Phase.QUEUED:
            self._killed_during_launch(task)
        elif task.phase is Phase.LAUNCHING:
            state.emit(DestroyContainer(task.container_id))
        elif task.phase is Phase.RUNNING:
            announced = any(status.state == mesos.TASK_KILLING for status in task.statuses)
            if not announced and state.framework_of(task).has(_Capability.TASK_KILLING_STATE):
                self._updates.report(task, mesos.TASK_KILLING, source=SOURCE_EXECUTOR)
            state.emit(KillContainer(task.container_id, signal.SIGTERM))
            delay = task.kill.grace_period_seconds
            state.start_timer(TimerKind.KILL_GRACE, task.framework_id, task.id, delay)

    def _killed_during_launch(self, task: Task) -> None:
        self._end(task)
        reason = _Status.REASON_TASK_KILLED_DURING_LAUNCH
        self._updates.report(task, mesos.TASK_KILLED, mesos_messages.KILLED_BEFORE_DELIVERY, reason=reason)

    def _grace_period(self, task: Task, policy: mesos.KillPolicy | None) -> float:
        own = task.info.kill_policy if task.info.HasField("kill_policy") else None
        for each in (policy, own):
            if each is not None and each.HasField("grace_period"):
                return max(0.0, each.grace_period.nanoseconds / 1e9)
        return self._state.settings.kill_grace_period

    def _kill_siblings(self, task: Task) -> None:
        """The tasks of a group die together."""
        executor = task.executor
        if task.group == 0 or executor is None or executor.kind is not ExecutorKind.POD:
            return
        for sibling in executor.live_tasks():
            if sibling.group == task.group and sibling is not task and sibling.kill is None:
                kill = Kill(KillCause.REQUESTED, self._grace_period(sibling, None))
                self._begin_kill(sibling, kill, all_of_group=False)

    def kill_grace_expired(self, task: Task) -> None:
        if task.phase is Phase.RUNNING and task.container_id is not None:
            self._state.emit(DestroyContainer(task.container_id))

    def completion_time_expired(self, task: Task) -> None:
        if task.phase is Phase.RUNNING and task.kill is None:
            self.kill(task, None, KillCause.COMPLETION_TIME)
