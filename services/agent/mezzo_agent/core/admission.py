"""Tasks that the registry sends: refused with the reason, or written down and given to whoever runs them."""

from __future__ import annotations

from collections.abc import Sequence

from mesos.v1 import mesos_pb2 as mesos
from mezzo import limits
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo.errors import InvalidRequest
from mezzo.resources import Resources
from mezzo.resources.limits import check_limits
from mezzo.validation.commands import check_command, check_container
from mezzo.validation.identifiers import check_executor_id, check_framework_id, check_task_id
from mezzo_agent.core import environment, mesos_messages
from mezzo_agent.core.executors import Executors
from mezzo_agent.core.model import Executor, ExecutorKind, ExecutorState, Framework, Phase, Task
from mezzo_agent.core.state import AgentState
from mezzo_agent.core.supervision import Supervision
from mezzo_agent.core.updates import Updates

_Capability = mesos.FrameworkInfo.Capability
_Status = mesos.TaskStatus
COMMAND_CHARACTERS_SHOWN = 15


class Admission:
    """From RunTask and RunTaskGroup to a launch."""

    def __init__(self, state: AgentState, updates: Updates, supervision: Supervision, executors: Executors) -> None:
        self._state = state
        self._updates = updates
        self._supervision = supervision
        self._executors = executors

    def run_task(self, message: session.RunTask) -> None:
        info = message.task
        executor_info = info.executor if info.HasField("executor") else None
        self._run(message.framework_id, executor_info, [info], group=0)

    def run_task_group(self, message: session.RunTaskGroup) -> None:
        self._state.group_count += 1
        self._run(message.framework_id, message.executor, message.task_group.tasks, group=self._state.group_count)

    def refuse(self, message: session.RegistryMessage, reason: str) -> None:
        """Launch nothing of a RunTask or RunTaskGroup: each of its tasks ends in TASK_ERROR, for this reason."""
        framework_id, infos, code = _launch_of(message)
        framework = self._state.frameworks.get(framework_id.value)
        if framework is None or framework.shutting_down:
            self._reject_unknown_framework(framework_id, infos)
            return
        infos = [info for info in infos if info.task_id.value not in framework.tasks]
        if infos:
            self._refuse(framework, _executor_of(message), infos, mesos.TASK_ERROR, code, reason)

    def decline(self, message: session.RegistryMessage, reason: str) -> None:
        """As `refuse`, but with nothing kept: the refusal is sent once."""
        framework_id, infos, code = _launch_of(message)
        self._send_declined(framework_id, infos, mesos.TASK_ERROR, code, reason)

    def _run(
        self,
        framework_id: mesos.FrameworkID,
        executor_info: mesos.ExecutorInfo | None,
        infos: Sequence[mesos.TaskInfo],
        group: int,
    ) -> None:
        framework = self._state.frameworks.get(framework_id.value)
        if framework is None or framework.shutting_down or self._state.removal_reason is not None:
            self._reject_unknown_framework(framework_id, infos)
            return
        infos = [info for info in infos if info.task_id.value not in framework.tasks]  # the registry sends again
        if not infos:
            return
        invalid = _Status.REASON_TASK_GROUP_INVALID if group else _Status.REASON_TASK_INVALID
        try:
            check_framework_id(framework_id, "framework_id")
            for info in infos:
                check(info, executor_info)
            _check_ids_differ(infos)
        except InvalidRequest as error:
            self._refuse(framework, executor_info, infos, mesos.TASK_ERROR, invalid, str(error))
            return
        executor = framework.executors.get(executor_info.executor_id.value) if executor_info is not None else None
        if executor is not None and executor.state in (ExecutorState.TERMINATING, ExecutorState.TERMINATED):
            state = mesos.TASK_DROPPED if framework.has(_Capability.PARTITION_AWARE) else mesos.TASK_LOST
            ending = executor.state is ExecutorState.TERMINATING
            message = mesos_messages.EXECUTOR_TERMINATING if ending else mesos_messages.EXECUTOR_TERMINATED
            self._refuse(framework, executor_info, infos, state, _Status.REASON_EXECUTOR_TERMINATED, message)
            return
        clash = _clash(framework, executor_info, infos)
        if clash is not None:
            self._refuse(framework, executor_info, infos, mesos.TASK_ERROR, invalid, clash)
            return
        self._state.persist_framework(framework)
        if executor_info is None:
            for info in infos:
                self._run_command(framework, info)
        else:
            self._run_with(framework, executor, executor_info, infos, group)

    def _run_command(self, framework: Framework, info: mesos.TaskInfo) -> None:
        executor = command_executor(self._state, framework, info, self._state.new_container_id())
        framework.executors[executor.id] = executor
        task = self._enter(framework, executor, info, executor.container_id, group=0)
        self._supervision.launch(task, executor)

    def _run_with(
        self,
        framework: Framework,
        executor: Executor | None,
        executor_info: mesos.ExecutorInfo,
        infos: Sequence[mesos.TaskInfo],
        group: int,
    ) -> None:
        new = executor is None
        executor = executor or self._new_executor(framework, executor_info)
        supervised = executor.kind is ExecutorKind.POD
        tasks = [
            self._enter(framework, executor, info, self._state.new_container_id() if supervised else None, group)
            for info in infos
        ]
        if supervised:
            for task in tasks:
                self._supervision.launch(task, executor)
        elif new:
            self._executors.launch(executor)
        else:
            self._executors.deliver(executor)

    def _new_executor(self, framework: Framework, executor_info: mesos.ExecutorInfo) -> Executor:
        state = self._state
        kind = _kind(executor_info)
        info = mesos.ExecutorInfo()
        info.CopyFrom(executor_info)
        info.framework_id.value = framework.id
        container_id = state.new_container_id()
        executor = Executor(
            framework_id=framework.id,
            info=info,
            kind=kind,
            container_id=container_id,
            sandbox=state.sandbox(framework.id, info.executor_id.value, container_id),
            token=state.new_token(),
        )
        framework.executors[executor.id] = executor
        if kind is ExecutorKind.CUSTOM:
            state.containers[container_id] = executor
        state.persist(checkpoint.CheckpointRecord(executor=record_of_executor(executor)))
        return executor

    def _enter(
        self, framework: Framework, executor: Executor, info: mesos.TaskInfo, container_id: str | None, group: int
    ) -> Task:
        """Add the task to the state and to the journal."""
        task = Task(info, framework.id, executor, container_id, group)
        framework.tasks[task.id] = task
        executor.tasks[task.id] = task
        if container_id is not None:
            self._state.containers[container_id] = task
        self._state.persist(checkpoint.CheckpointRecord(task=record_of_task(framework, task)))
        return task

    def _refuse(
        self,
        framework: Framework,
        executor_info: mesos.ExecutorInfo | None,
        infos: Sequence[mesos.TaskInfo],
        state: mesos.TaskState.ValueType,
        reason: _Status.Reason.ValueType,
        message: str,
    ) -> None:
        """None of them runs. The refusal is an update like any other, repeated until it is acknowledged.

        The registry holds resources for their executor, too: one that is not started now is reported as exited.
        """
        self._state.persist_framework(framework)
        for info in {each.task_id.value: each for each in infos}.values():
            task = Task(info, framework.id, None, phase=Phase.ENDED)
            framework.tasks[task.id] = task
            self._state.persist(checkpoint.CheckpointRecord(task=record_of_task(framework, task)))
            self._updates.report(task, state, message, reason=reason)
        if executor_info is not None and executor_info.executor_id.value not in framework.executors:
            self._executors.report_exit(framework.id, executor_info.executor_id.value, None)

    def _reject_unknown_framework(self, framework_id: mesos.FrameworkID, infos: Sequence[mesos.TaskInfo]) -> None:
        """There is no framework for whom a refusal could be kept; the registry knows what to make of it."""
        reason = f"The agent has no framework '{framework_id.value}' that may launch tasks"
        self._send_declined(framework_id, infos, mesos.TASK_LOST, _Status.REASON_INVALID_FRAMEWORKID, reason)

    def _send_declined(
        self,
        framework_id: mesos.FrameworkID,
        infos: Sequence[mesos.TaskInfo],
        state: mesos.TaskState.ValueType,
        reason: _Status.Reason.ValueType,
        message: str,
    ) -> None:
        for info in infos:
            status = mesos.TaskStatus(
                task_id=info.task_id,
                state=state,
                source=_Status.SOURCE_AGENT,
                reason=reason,
                message=message,
                agent_id=self._state.agent_info.id,
                timestamp=self._state.now,
            )
            update = session.TaskUpdate(framework_id=framework_id, status=status)
            self._state.send(session.AgentMessage(task_update=update))


def _launch_of(
    message: session.RegistryMessage,
) -> tuple[mesos.FrameworkID, Sequence[mesos.TaskInfo], _Status.Reason.ValueType]:
    if message.HasField("run_task"):
        return message.run_task.framework_id, [message.run_task.task], _Status.REASON_TASK_INVALID
    group = message.run_task_group
    return group.framework_id, group.task_group.tasks, _Status.REASON_TASK_GROUP_INVALID


def _executor_of(message: session.RegistryMessage) -> mesos.ExecutorInfo | None:
    if message.HasField("run_task"):
        return message.run_task.task.executor if message.run_task.task.HasField("executor") else None
    return message.run_task_group.executor


def _kind(info: mesos.ExecutorInfo) -> ExecutorKind:
    return ExecutorKind.POD if info.type == mesos.ExecutorInfo.DEFAULT else ExecutorKind.CUSTOM


def _clash(
    framework: Framework, executor_info: mesos.ExecutorInfo | None, infos: Sequence[mesos.TaskInfo]
) -> str | None:
    """What else runs under an id that the tasks, or their executor, would have; None where nothing does."""
    if executor_info is None:
        for info in infos:
            if info.task_id.value in framework.executors:
                return f"task.task_id.value: an executor with the id '{info.task_id.value}' is running"
        return None
    running = framework.executors.get(executor_info.executor_id.value)
    if running is None or running.kind is _kind(executor_info):
        return None
    return f"executor.executor_id.value: an executor of another type with the id '{running.id}' is running"


def check(info: mesos.TaskInfo, executor: mesos.ExecutorInfo | None) -> None:
    """Check that the agent can run it at all, by the rules that the registry has too.

    Raises:
        InvalidRequest: it cannot; the error names the field.
    """
    limits.check(info, "task")
    check_task_id(info.task_id, "task.task_id")
    Resources.of(info.resources, "task.resources")
    check_limits(info.limits, "task.limits")
    check_command(info.command, "task.command")
    environment.check_secrets(info.command, "task.command")
    if executor is not None:
        limits.check(executor, "executor")
        check_executor_id(executor.executor_id, "executor.executor_id")
        Resources.of(executor.resources, "executor.resources")
        check_command(executor.command, "executor.command")
        environment.check_secrets(executor.command, "executor.command")
    if info.HasField("container"):
        _check_container(info.container, "task.container")
    if executor is not None and executor.HasField("container"):
        _check_container(executor.container, "executor.container")
    if executor is None or executor.type == mesos.ExecutorInfo.DEFAULT:
        if not info.HasField("command"):
            raise InvalidRequest("task.command", "is required for a task without a custom executor")
        if executor is not None and executor.HasField("command"):
            raise InvalidRequest("executor.command", "must not be set for an executor of type DEFAULT")
    elif not executor.HasField("command"):
        raise InvalidRequest("executor.command", "is required for an executor of type CUSTOM")


def _check_ids_differ(infos: Sequence[mesos.TaskInfo]) -> None:
    seen: set[str] = set()
    for number, info in enumerate(infos):
        if info.task_id.value in seen:
            raise InvalidRequest(
                f"task_group.tasks[{number}].task_id.value", f"'{info.task_id.value}' is listed twice in the group"
            )
        seen.add(info.task_id.value)


def _check_container(container: mesos.ContainerInfo, field: str) -> None:
    """Check that it asks for nothing that the agent does not have: a task must not run without its image or volume.

    Raises:
        InvalidRequest: it does; the error names the field.
    """
    check_container(container, field)
    if container.type == mesos.ContainerInfo.DOCKER:
        raise InvalidRequest(f"{field}.type", "DOCKER is not supported: the agent has the POSIX containerizer alone")
    if container.mesos.HasField("image"):
        raise InvalidRequest(f"{field}.mesos.image", "container images are not supported by the POSIX containerizer")
    for name, what in (("volumes", "container volumes"), ("network_infos", "container networks")):
        if getattr(container, name):
            raise InvalidRequest(f"{field}.{name}", f"{what} are not supported by the POSIX containerizer")


def command_executor(state: AgentState, framework: Framework, info: mesos.TaskInfo, container_id: str) -> Executor:
    """What stands for the executor of a single command: there is no process, but everybody expects a name."""
    line = info.command.value
    if len(line) > COMMAND_CHARACTERS_SHOWN:
        line = line[: COMMAND_CHARACTERS_SHOWN - 3] + "..."
    shown = f"sh -c '{line}'" if info.command.shell else line
    executor_info = mesos.ExecutorInfo(
        executor_id=mesos.ExecutorID(value=info.task_id.value),
        framework_id=framework.info.id,
        name=f"Command Executor (Task: {info.task_id.value}) (Command: {shown})",
        source=info.task_id.value,
    )
    sandbox = state.sandbox(framework.id, info.task_id.value, container_id)
    return Executor(framework.id, executor_info, ExecutorKind.COMMAND, container_id, sandbox)


def record_of_executor(executor: Executor) -> checkpoint.ExecutorRecord:
    kinds = {
        ExecutorKind.POD: checkpoint.ExecutorRecord.KIND_POD,
        ExecutorKind.CUSTOM: checkpoint.ExecutorRecord.KIND_CUSTOM,
    }
    return checkpoint.ExecutorRecord(
        framework_id=executor.info.framework_id,
        executor_info=executor.info,
        kind=kinds[executor.kind],
        container_id=executor.container_id,
        token=executor.token,
    )


def record_of_task(framework: Framework, task: Task) -> checkpoint.TaskRecord:
    record = checkpoint.TaskRecord(
        framework_id=framework.info.id, task=task.info, container_id=task.container_id or "", group=task.group
    )
    if task.executor is not None:
        record.executor_id.value = task.executor.id
    return record
