"""The agent's core: one method takes every event and says what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo.errors import MezzoError
from mezzo.validation.well_formed import check_well_formed
from mezzo_agent.core import invariants, recovery, registration
from mezzo_agent.core.admission import Admission
from mezzo_agent.core.condemned import Condemned, condemn
from mezzo_agent.core.effects import DestroyContainer, DiscardSandbox, Effect, EndAgent, ForgetContainer, SendToRegistry
from mezzo_agent.core.event_names import name_of
from mezzo_agent.core.events import (
    ContainerActionFailed,
    ContainerEnded,
    ContainerNotStarted,
    ContainersRecovered,
    ContainerStarted,
    Event,
    ExecutorCalled,
    ExecutorDisconnected,
    ExecutorSubscribed,
    LaunchDeclined,
    LaunchRefused,
    RegistryMessageReceived,
    RemovalOrdered,
    SessionClosed,
    SessionOpened,
    TimerFired,
    TimerKind,
)
from mezzo_agent.core.executors import Executors
from mezzo_agent.core.model import Executor, ExecutorKind, Framework, Task
from mezzo_agent.core.state import AgentState, Settings
from mezzo_agent.core.subjects import Subject
from mezzo_agent.core.supervision import Supervision
from mezzo_agent.core.updates import Updates
from mezzo_agent.ports import ContainerId, RecoveredContainer, RecoveredState


class Agent:
    """Owns the truth about what runs on this machine."""

    def __init__(self, settings: Settings, agent_info: mesos.AgentInfo, new_id: Callable[[], bytes]) -> None:
        """`new_id` gives 16 random bytes; `agent_info` has no id yet unless the journal brings one."""
        self.state = state = AgentState(settings, agent_info, new_id)
        self._updates = Updates(state, self._retired)
        self._supervision = Supervision(state, self._updates)
        self._executors = Executors(state, self._updates)
        self._admission = Admission(state, self._updates, self._supervision, self._executors)
        self._reconnection = recovery.Reconnection(state, self._updates, self._supervision, self._executors)
        self._condemned = Condemned()
        self._on_event: dict[type, Callable[[Any], None]] = {
            SessionOpened: self._session_opened,
            SessionClosed: self._session_closed,
            RegistryMessageReceived: self._registry_message_received,
            LaunchRefused: self._launch_refused,
            LaunchDeclined: self._launch_declined,
            ContainerStarted: self._container_started,
            ContainerNotStarted: self._container_not_started,
            ContainerEnded: self._container_ended,
            ContainerActionFailed: self._container_action_failed,
            ContainersRecovered: self._containers_recovered,
            ExecutorSubscribed: self._executor_subscribed,
            ExecutorCalled: self._executor_called,
            ExecutorDisconnected: self._executor_disconnected,
            TimerFired: self._timer_fired,
            RemovalOrdered: self._removal_ordered,
        }
        self._on_registry_message: dict[str, Callable[..., None]] = {
            "registered": self._registered,
            "framework_update": self._framework_update,
            "run_task": self._admission.run_task,
            "run_task_group": self._admission.run_task_group,
            "kill_task": self._kill_task,
            "shutdown_executor": self._shutdown_executor,
            "shutdown_framework": self._shutdown_framework,
            "acknowledge_update": self._acknowledge_update,
            "framework_message": self._framework_message,
            "heartbeat": lambda _: None,
            "shutdown": self._shutdown,
        }
        self._on_timer: dict[TimerKind, Callable[[str, str], None]] = {
            TimerKind.UPDATE_RETRY: self._updates.retry,
            TimerKind.KILL_GRACE: self._with_task(self._supervision.kill_grace_expired),
            TimerKind.MAX_COMPLETION: self._with_task(self._supervision.completion_time_expired),
            TimerKind.EXECUTOR_REGISTRATION: self._with_executor(self._executors.registration_timed_out),
            TimerKind.EXECUTOR_REREGISTRATION: self._with_executor(self._executors.reregistration_timed_out),
            TimerKind.EXECUTOR_SHUTDOWN: self._with_executor(self._executors.shutdown_timed_out),
        }

    def handle(self, event: Event, *, now: float) -> list[Effect]:
        """Decide what follows from an event that happened at `now`, in seconds since the epoch: effects, in order.

        Raises:
            MezzoError: the event is refused, as a wrong call of an executor is; nothing has changed.
        """
        self.state.now = now
        self.state.at = None
        self.state.event = name_of(event)
        try:
            self._on_event[type(event)](event)
            self._end_if_removed()
        except MezzoError:
            self.state.at = None  # it is no defect
            raise
        finally:
            effects, self.state.effects = self.state.effects, []
        self.state.at = None
        return effects

    def validate(self) -> None:
        """Check the state and every index into it against each other.

        Raises:
            InvariantViolation: they contradict each other; with the last rows of the story.
        """
        invariants.check(self.state)

    # --- across restarts

    def restore(
        self, records: Sequence[checkpoint.CheckpointRecord], defects: Mapping[Subject, str] | None = None
    ) -> None:
        """Read the journal of an earlier process; ContainersRecovered is to follow, before any other event.

        `defects`: what earlier processes ended over, each with what is to be said of it. Whom that was about is ended.
        """
        self._condemned = condemn(defects or {}, records)
        recovery.Restoration(self.state, self._condemned).restore(records)

    @property
    def ends_condemned(self) -> bool:
        """Whether the journal still says of somebody what this recovery does not apply: it is to be rewritten."""
        return bool(self._condemned)

    def checkpoint(self) -> list[checkpoint.CheckpointRecord]:
        """A journal that is as short as can be."""
        records = list(recovery.records(self.state))
        self.state.at = None
        return records

    def containers(self) -> list[ContainerId]:
        """Every container that runs, or may run."""
        return list(self.state.containers)

    def sandboxes(self) -> set[Path]:
        """Every sandbox that is in use."""
        frameworks = self.state.frameworks.values()
        return {executor.sandbox for framework in frameworks for executor in framework.executors.values()}

    # --- events

    def _session_opened(self, _event: SessionOpened) -> None:
        state = self.state
        state.registered = False
        state.write_row((), "a session begins")
        for framework in [each for each in state.frameworks.values() if each.idle]:
            self._remove(framework)  # the registry tells of it again when it matters
        state.unreported_exits.clear()
        register = registration.snapshot(state)
        state.emit(SendToRegistry(session.AgentMessage(register=register)))

    def _session_closed(self, _event: SessionClosed) -> None:
        self.state.registered = False
        self.state.write_row((), "the session ended")

    def _registry_message_received(self, event: RegistryMessageReceived) -> None:
        check_well_formed(event.message)
        kind = event.message.WhichOneof("message")
        if kind is not None:  # None: said by a later version
            self._on_registry_message[kind](getattr(event.message, kind))

    def _launch_refused(self, event: LaunchRefused) -> None:
        self._admission.refuse(event.message, event.reason)

    def _launch_declined(self, event: LaunchDeclined) -> None:
        self._admission.decline(event.message, event.reason)

    def _container_started(self, event: ContainerStarted) -> None:
        self.state.at = subject = self.state.containers.get(event.container_id)
        if isinstance(subject, Task):
            self._supervision.started(subject, event.pid)
        elif isinstance(subject, Executor):
            subject.pid = event.pid
        else:  # given up while it was being launched
            self.state.emit(DestroyContainer(event.container_id))

    def _container_not_started(self, event: ContainerNotStarted) -> None:
        self.state.at = subject = self.state.containers.get(event.container_id)
        if isinstance(subject, Task):
            self._supervision.not_started(subject, event.reason, event.message)
            self._close_if_over(subject.executor)
        elif isinstance(subject, Executor):
            self._executors.not_started(subject, event.reason, event.message)
            self._close(subject)

    def _container_ended(self, event: ContainerEnded) -> None:
        self.state.at = subject = self.state.containers.get(event.container_id)
        if isinstance(subject, Task):
            self._supervision.ended(subject, event.termination)
            self._close_if_over(subject.executor)
        elif isinstance(subject, Executor):
            self._executors.ended(subject, event.termination)
            self._close(subject)
        else:  # given up, or destroyed as the one above
            self.state.emit(ForgetContainer(event.container_id))

    def _container_action_failed(self, event: ContainerActionFailed) -> None:
        """A signal is followed by the end of the grace period; nothing depends on a change of resources."""

    def _containers_recovered(self, event: ContainersRecovered) -> None:
        state = self.state
        self._reconnection.report_condemned(self._condemned)
        for container_id, subject in list(state.containers.items()):
            state.at = subject
            found = event.found.get(container_id) or RecoveredContainer(container_id, RecoveredState.UNKNOWN)
            if isinstance(subject, Task):
                self._reconnection.task(subject, found, intact=event.intact)
                self._close_if_over(subject.executor)
            elif not self._reconnection.executor(subject, found, intact=event.intact):
                self._close(subject)

    def _executor_subscribed(self, event: ExecutorSubscribed) -> None:
        self._executors.subscribed(event)

    def _executor_called(self, event: ExecutorCalled) -> None:
        self._executors.called(event)

    def _executor_disconnected(self, event: ExecutorDisconnected) -> None:
        self._executors.disconnected(event)

    def _timer_fired(self, event: TimerFired) -> None:
        timer = event.timer
        self._on_timer[timer.kind](timer.framework_id, timer.subject_id)

    def _removal_ordered(self, event: RemovalOrdered) -> None:
        self._begin_removal(event.reason)

    # --- what the registry says

    def _registered(self, message: session.Registered) -> None:
        state = self.state
        known = state.agent_id
        if known and known != message.agent_id.value and any(not each.idle for each in state.frameworks.values()):
            reason = f"the registry assigned the id {message.agent_id.value}, but tasks of agent {known} are running"
            state.emit(EndAgent(reason, forget=False))
            return
        state.registered = True
        state.write_row((), f"is registered as {message.agent_id.value}")
        state.master_info = message.master_info
        if known != message.agent_id.value:
            state.agent_info.id.CopyFrom(message.agent_id)
            record = checkpoint.AgentRecord(agent_info=state.agent_info)
            state.persist(checkpoint.CheckpointRecord(agent=record))
        self._updates.resend_all()
        self._executors.report_exits()

    def _framework_update(self, message: session.FrameworkUpdate) -> None:
        state = self.state
        framework = state.frameworks.get(message.framework_info.id.value)
        if framework is None:
            self._add_framework(message.framework_info)
            return
        framework.info = message.framework_info
        if framework.persisted:
            framework.persisted = False
            state.persist_framework(framework)

    def _add_framework(self, info: mesos.FrameworkInfo) -> None:
        """A new one; or one that was idle for so long that it had been put away."""
        state = self.state
        framework = recovery.new_framework(state, info)
        state.write_row((framework.id,), "is known")
        for old in list(state.completed_frameworks):
            if old.id == framework.id:
                framework.completed_executors.extendleft(reversed(old.completed_executors))
                state.completed_frameworks.remove(old)

    def _kill_task(self, message: session.KillTask) -> None:
        task = self.state.task(message.framework_id.value, message.task_id.value)
        if task is None or task.executor is None or task.terminal:
            return  # it has ended; its last update is on its way, or has arrived
        policy = message.kill_policy if message.HasField("kill_policy") else None
        if task.executor.kind is ExecutorKind.CUSTOM:
            self._executors.kill(task.executor, task, policy)
        else:
            self._supervision.kill(task, policy)
            self._close_if_over(task.executor)

    def _shutdown_executor(self, message: session.ShutdownExecutor) -> None:
        framework = self.state.frameworks.get(message.framework_id.value)
        executor = framework.executors.get(message.executor_id.value) if framework is not None else None
        if executor is not None:
            self._end_executor(executor)

    def _end_executor(self, executor: Executor) -> None:
        if executor.kind is ExecutorKind.CUSTOM:
            self._executors.shutdown(executor)
            return
        for task in executor.live_tasks():
            self._supervision.kill(task, None)
        self._close_if_over(executor)

    def _shutdown_framework(self, message: session.ShutdownFramework) -> None:
        framework = self.state.frameworks.get(message.framework_id.value)
        if framework is not None:
            self._end_framework(framework)

    def _end_framework(self, framework: Framework) -> None:
        if framework.shutting_down:
            return
        framework.shutting_down = True
        self.state.write_row((framework.id,), "is being shut down")
        self._updates.abandon(framework)
        for executor in list(framework.executors.values()):
            self._end_executor(executor)
        self._remove_if_over(framework)

    def _acknowledge_update(self, message: session.AcknowledgeUpdate) -> None:
        self._updates.acknowledge(message.framework_id.value, message.task_id.value, message.uuid)

    def _framework_message(self, message: session.FrameworkMessage) -> None:
        framework = self.state.frameworks.get(message.framework_id.value)
        executor = framework.executors.get(message.executor_id.value) if framework is not None else None
        if executor is None or executor.kind is not ExecutorKind.CUSTOM:
            self.state.counts.invalid_framework_messages += 1
        else:
            self._executors.message(executor, message.data)

    def _shutdown(self, message: session.Shutdown) -> None:
        self._begin_removal(message.reason)

    # --- ends

    def _with_task(self, action: Callable[[Task], None]) -> Callable[[str, str], None]:
        def fire(framework_id: str, task_id: str) -> None:
            task = self.state.task(framework_id, task_id)
            if task is not None:
                action(task)
                self._close_if_over(task.executor)

        return fire

    def _with_executor(self, action: Callable[[Executor], None]) -> Callable[[str, str], None]:
        def fire(framework_id: str, executor_id: str) -> None:
            framework = self.state.frameworks.get(framework_id)
            executor = framework.executors.get(executor_id) if framework is not None else None
            if executor is not None:
                action(executor)

        return fire

    def _retired(self, task: Task) -> None:
        framework = self.state.framework_of(task)
        recovery.retire(self.state, task)
        self._remove_if_over(framework)

    def _close_if_over(self, executor: Executor | None) -> None:
        """A supervised executor is over when the last of its tasks is."""
        if executor is not None and executor.kind is not ExecutorKind.CUSTOM and not executor.live_tasks():
            self._close(executor)

    def _close(self, executor: Executor) -> None:
        """Nothing of it runs any more; its tasks' updates may still wait for their acknowledgements."""
        state = self.state
        framework = state.frameworks.get(executor.framework_id)
        if framework is None or framework.executors.get(executor.id) is not executor:
            return
        del framework.executors[executor.id]
        state.write_row(executor.key, "is closed")
        if executor.kind is ExecutorKind.POD:
            # It has no process that could end; the registry holds its resources all the same.
            self._executors.report_exit(framework.id, executor.id, 0)
        framework.completed_executors.append(executor)
        if state.containers.pop(executor.container_id, None) is not None:
            state.emit(ForgetContainer(executor.container_id))
        if executor.kind is not ExecutorKind.COMMAND:
            removed = checkpoint.ExecutorRemoved(framework_id=framework.info.id, executor_id=executor.info.executor_id)
            state.persist(checkpoint.CheckpointRecord(executor_removed=removed))
        state.emit(DiscardSandbox(executor.sandbox))
        self._remove_if_over(framework)

    def _remove_if_over(self, framework: Framework) -> None:
        if framework.shutting_down and framework.idle and framework.id in self.state.frameworks:
            self._remove(framework)

    def _remove(self, framework: Framework) -> None:
        state = self.state
        del state.frameworks[framework.id]
        state.write_row((framework.id,), "is removed")
        if framework.completed_executors:
            state.completed_frameworks.append(framework)
        if framework.persisted:
            removed = checkpoint.FrameworkRemoved(framework_id=framework.info.id)
            state.persist(checkpoint.CheckpointRecord(framework_removed=removed))

    def _begin_removal(self, reason: str) -> None:
        if self.state.removal_reason is None:
            self.state.removal_reason = reason
            self.state.write_row((), "is being removed from the cluster")
            for framework in list(self.state.frameworks.values()):
                self._end_framework(framework)

    def _end_if_removed(self) -> None:
        state = self.state
        if state.removal_reason is None or any(framework.executors for framework in state.frameworks.values()):
            return
        state.send(session.AgentMessage(leave=session.Leave(reason=state.removal_reason)))
        state.emit(EndAgent(state.removal_reason, forget=True))
