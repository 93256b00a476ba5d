"""LAUNCH and LAUNCH_GROUP: each task is checked against the offers, recorded, and sent to its agent."""

from mesos.v1 import mesos_pb2 as mesos
from mezzo import equality, limits
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.errors import InvalidRequest
from mezzo.resources import ResourceError, Resources
from mezzo_registry.core.context import Context
from mezzo_registry.core.state.entities import Executor, Framework, Task
from mezzo_registry.core.tasks import statuses, termination
from mezzo_registry.core.tasks.pool import Pool
from mezzo_registry.core.validation.task import (
    check_command_or_executor,
    check_executor,
    check_group_task,
    check_revocable,
    check_task,
)
from mezzo_registry.core.views import observers

Message = agent_session.RegistryMessage
Status = mesos.TaskStatus


def launch(context: Context, pool: Pool, info: mesos.TaskInfo, field: str) -> None:
    """Start a task on its own executor, or on none; or say why not."""
    framework, agent = pool.framework, pool.agent
    try:
        limits.check(info, field)
        _check_id_is_new(framework, info, field)
        resources = check_task(info, agent.id, pool.role, field)
        if not resources:
            raise InvalidRequest(f"{field}.resources", "must not be empty: a task uses some resources")
        check_command_or_executor(info, field)
        message = _run_task(pool, info)
        executor = None
        needed = resources
        if info.HasField("executor"):
            executor, new = _executor(pool, info.executor, message.run_task.task.executor, f"{field}.executor")
            needed = resources + executor.resources if new else resources
        check_revocable(needed, f"{field}.resources")
        pool.remaining = _pay(pool, needed, field)
    except InvalidRequest as error:
        _invalid(context, framework, info, Status.REASON_TASK_INVALID, str(error))
        return
    if executor is not None:
        _enter_executor(context, executor)
    _enter_task(context, pool, message.run_task.task, resources, message, executor)
    context.send_framework_info(agent, framework)
    context.to_agent(agent, message)


def launch_group(context: Context, pool: Pool, group: mesos.Offer.Operation.LaunchGroup, field: str) -> None:
    """Start tasks together on one executor; or say of all of them why not."""
    framework, agent = pool.framework, pool.agent
    tasks = group.task_group.tasks
    message = Message()
    run = message.run_task_group
    run.framework_id.value = framework.id
    run.executor.CopyFrom(group.executor)
    _allocate(pool, run.executor)
    run.task_group.CopyFrom(group.task_group)
    try:
        if not tasks:
            raise InvalidRequest(f"{field}.task_group.tasks", "must not be empty")
        limits.check(group.executor, f"{field}.executor")
        resources = _check_group(pool, group, field)
        executor, new = _executor(pool, group.executor, run.executor, f"{field}.executor")
        needed = Resources.sum([executor.resources, *resources] if new else resources)
        check_revocable(needed, f"{field}.task_group.tasks")
        pool.remaining = _pay(pool, needed, field)
    except InvalidRequest as error:
        for info in tasks:
            _invalid(context, framework, info, Status.REASON_TASK_GROUP_INVALID, str(error))
        return
    _enter_executor(context, executor)
    for info, held in zip(run.task_group.tasks, resources, strict=True):
        for resource in info.resources:
            resource.allocation_info.role = pool.role
        _enter_task(context, pool, info, held, message, executor)
    context.send_framework_info(agent, framework)
    context.to_agent(agent, message)


def _check_group(pool: Pool, group: mesos.Offer.Operation.LaunchGroup, field: str) -> list[Resources]:
    if group.executor.type != mesos.ExecutorInfo.DEFAULT and not group.executor.HasField("command"):
        raise InvalidRequest(f"{field}.executor.type", "must be DEFAULT, or CUSTOM with a command")
    seen: set[str] = set()
    resources = []
    for number, info in enumerate(group.task_group.tasks):
        where = f"{field}.task_group.tasks[{number}]"
        limits.check(info, where)
        _check_id_is_new(pool.framework, info, where)
        if info.task_id.value in seen:
            raise InvalidRequest(f"{where}.task_id.value", f"'{info.task_id.value}' is listed twice in the group")
        seen.add(info.task_id.value)
        resources.append(check_task(info, pool.agent.id, pool.role, where))
        if not resources[-1]:
            raise InvalidRequest(f"{where}.resources", "must not be empty: a task uses some resources")
        check_group_task(info, group.executor, where)
    return resources


def _check_id_is_new(framework: Framework, info: mesos.TaskInfo, field: str) -> None:
    task_id = info.task_id.value
    if task_id in framework.tasks:
        raise InvalidRequest(f"{field}.task_id.value", f"the framework already has a task '{task_id}'")
    if task_id in framework.unreachable:
        raise InvalidRequest(f"{field}.task_id.value", f"task '{task_id}' may still run on an unreachable agent")


def _run_task(pool: Pool, info: mesos.TaskInfo) -> agent_session.RegistryMessage:
    """Make the order to run a task: what the framework asked for, and what follows from the offers."""
    message = Message()
    run = message.run_task
    run.framework_id.value = pool.framework.info.id.value
    task = run.task
    task.CopyFrom(info)
    for resource in task.resources:
        resource.allocation_info.role = pool.role
    if task.HasField("executor"):
        _allocate(pool, task.executor)
    return message


def _allocate(pool: Pool, executor: mesos.ExecutorInfo) -> None:
    executor.framework_id.value = pool.framework.info.id.value
    for resource in executor.resources:
        resource.allocation_info.role = pool.role


def _executor(pool: Pool, requested: mesos.ExecutorInfo, info: mesos.ExecutorInfo, field: str) -> tuple[Executor, bool]:
    """Return the executor that a task wants, a running or a new one, and whether it is new.

    Raises:
        InvalidRequest: it makes no sense, or one with this id runs and is another.
    """
    framework = pool.framework
    resources = check_executor(requested, framework.id, pool.role, field)
    running = pool.agent.executors.get((framework.id, info.executor_id.value))
    if running is None:
        return Executor(info, framework, pool.agent, resources, pool.role), True
    if not equality.same(running.info, info):
        raise InvalidRequest(
            field, f"differs from the executor '{info.executor_id.value}' that runs on agent {pool.agent.id}"
        )
    return running, False


def _pay(pool: Pool, needed: Resources, field: str) -> Resources:
    """Return what remains of the offers.

    Raises:
        InvalidRequest: they do not contain what is needed.
    """
    try:
        return pool.remaining - needed
    except ResourceError as error:
        raise InvalidRequest(
            f"{field}.resources",
            f"with its executor it needs {needed.allocated_to(pool.role).brief()}, which is more than the available "
            f"{pool.remaining.allocated_to(pool.role).brief()}",
        ) from error


def _enter_executor(context: Context, executor: Executor) -> None:
    if executor.key not in executor.agent.executors:
        context.state.add_executor(executor, paid=True)
        observers.executor_added(context, executor)


def _enter_task(
    context: Context,
    pool: Pool,
    info: mesos.TaskInfo,
    resources: Resources,
    message: agent_session.RegistryMessage,
    executor: Executor | None,
) -> None:
    task = Task(
        id=info.task_id.value,
        framework=pool.framework,
        agent=pool.agent,
        source=info,
        resources=resources,
        role=pool.role,
        executor_id=executor.info.executor_id.value if executor is not None else "",
        launch=message,
    )
    pool.framework.revived_without_launch = False
    context.state.add_task(task, paid=True)
    observers.task_added(context, task)


def _invalid(
    context: Context, framework: Framework, info: mesos.TaskInfo, reason: "Status.Reason.ValueType", message: str
) -> None:
    status = statuses.status(context, info.task_id.value, mesos.TASK_ERROR, reason, message, info.agent_id.value)
    termination.count(context, mesos.TASK_ERROR, status)
    statuses.send(context, framework, status)
