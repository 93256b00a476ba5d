"""What the agent tells a registry when a session begins: everything that it runs."""

from __future__ import annotations

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.confidential import withhold
from mezzo_agent.core.model import ExecutorKind, Task
from mezzo_agent.core.state import AgentState

_Capability = mesos.AgentInfo.Capability

CAPABILITIES = (
    _Capability.MULTI_ROLE,
    _Capability.HIERARCHICAL_ROLE,
    _Capability.RESERVATION_REFINEMENT,
    _Capability.TASK_RESOURCE_LIMITS,
)


def snapshot(state: AgentState) -> session.Register:
    frameworks = [framework for framework in state.frameworks.values() if not framework.idle]
    executors = [executor for framework in frameworks for executor in framework.executors.values()]
    return session.Register(
        agent_info=state.agent_info,
        version=state.settings.version,
        mesos_version=state.settings.mesos_version,
        capabilities=[_Capability(type=each) for each in CAPABILITIES],
        total_resources=state.agent_info.resources,
        tasks=[_reported(state, task) for framework in frameworks for task in framework.tasks.values()],
        executors=[executor.info for executor in executors if executor.kind is not ExecutorKind.COMMAND],
        frameworks=[framework.info for framework in frameworks],
        pid=state.settings.pid,
    )


def _reported(state: AgentState, task: Task) -> mesos.Task:
    state.at = task
    return task_message(state, task)


def task_message(state: AgentState, task: Task) -> mesos.Task:
    """A task as the public API tells of it."""
    info = task.info
    message = mesos.Task(
        name=info.name,
        task_id=info.task_id,
        framework_id=state.frameworks[task.framework_id].info.id
        if task.framework_id in state.frameworks
        else mesos.FrameworkID(value=task.framework_id),
        agent_id=mesos.AgentID(value=state.agent_id),
        state=task.state,
        resources=info.resources,
        statuses=task.statuses,
        limits=info.limits,
    )
    # A command has no executor to speak of.
    if task.executor is not None and task.executor.kind is not ExecutorKind.COMMAND:
        message.executor_id.value = task.executor.id
    newest = task.pending[0] if task.pending else (task.statuses[-1] if task.statuses else None)
    if newest is not None:
        message.status_update_state = newest.state
        message.status_update_uuid = newest.uuid
    if info.HasField("labels"):
        message.labels.CopyFrom(info.labels)
    if info.HasField("discovery"):
        message.discovery.CopyFrom(info.discovery)
    if info.HasField("container"):
        message.container.CopyFrom(info.container)
        withhold(message.container)
    if info.HasField("health_check"):
        message.health_check.CopyFrom(info.health_check)
        withhold(message.health_check)
    if info.HasField("kill_policy"):
        message.kill_policy.CopyFrom(info.kill_policy)
    command = info.command if info.HasField("command") else info.executor.command
    if command.user:
        message.user = command.user
    return message
