"""Tasks and executors that a framework wants started: what can be said of them before looking at the offer."""

from collections.abc import Sequence

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import InvalidRequest
from mezzo.resources import Resources
from mezzo.resources.limits import check_limits
from mezzo.validation.commands import check_command, check_container
from mezzo.validation.identifiers import check_executor_id, check_task_id
from mezzo_registry.core.state import resource_cache
from mezzo_registry.core.validation.checks import check_check, check_health_check
from mezzo_registry.core.validation.labels import check_labels


def check_task(task: mesos.TaskInfo, agent_id: str, role: str, field: str) -> Resources:
    """Refuse a task that is invalid on this agent. Returns its resources, without allocation.

    Raises:
        InvalidRequest: with the first field that is wrong.
    """
    check_task_id(task.task_id, f"{field}.task_id")
    if task.agent_id.value != agent_id:
        raise InvalidRequest(
            f"{field}.agent_id.value", f"is '{task.agent_id.value}', but the offers are of agent '{agent_id}'"
        )
    resources = check_resources(task.resources, role, f"{field}.resources")
    if task.HasField("kill_policy") and task.kill_policy.grace_period.nanoseconds < 0:
        raise InvalidRequest(f"{field}.kill_policy.grace_period", "must not be negative")
    if task.HasField("max_completion_time") and task.max_completion_time.nanoseconds < 0:
        raise InvalidRequest(f"{field}.max_completion_time", "must not be negative")
    if task.HasField("check"):
        check_check(task.check, f"{field}.check")
    if task.HasField("health_check"):
        check_health_check(task.health_check, f"{field}.health_check")
    if task.HasField("command"):
        check_command(task.command, f"{field}.command")
    if task.HasField("container"):
        check_container(task.container, f"{field}.container")
    if task.HasField("labels"):
        check_labels(task.labels, f"{field}.labels.labels")
    if task.limits:
        _check_limits(task, resources, f"{field}.limits")
    return resources


def check_resources(messages: Sequence[mesos.Resource], role: str, field: str) -> Resources:
    """Refuse resources that are wrong in themselves or for another role. Returns them, without allocation.

    Raises:
        InvalidRequest: they are.
    """
    for index, message in enumerate(messages):
        if message.HasField("allocation_info") and message.allocation_info.role != role:
            raise InvalidRequest(
                f"{field}[{index}].allocation_info.role",
                f"is '{message.allocation_info.role}', but the offers are for the role '{role}'",
            )
    return resource_cache.value_of(messages, field)


def check_revocable(resources: Resources, field: str) -> None:
    """Refuse to mix what can be taken back at any time with the same kind of what cannot.

    Raises:
        InvalidRequest: some resource is asked for both ways.
    """
    revocable = resources.revocable()
    if not revocable:
        return
    both = set(revocable.names()) & set(resources.nonrevocable().names())
    if both:
        raise InvalidRequest(field, f"{', '.join(sorted(both))}: must be all revocable or all not revocable")


def _check_limits(task: mesos.TaskInfo, resources: Resources, field: str) -> None:
    check_limits(task.limits, field)
    for name, limit in task.limits.items():
        if limit.value * 1000 < resources.thousandths_of(name):
            raise InvalidRequest(
                f"{field}['{name}']",
                f"is {limit.value:g}, less than the {resources.thousandths_of(name) / 1000:g} of 'resources'",
            )


def check_command_or_executor(task: mesos.TaskInfo, field: str) -> None:
    """Refuse a task that has both a command and an executor, or neither.

    Raises:
        InvalidRequest: it has.
    """
    if task.HasField("executor") == task.HasField("command"):
        raise InvalidRequest(field, "exactly one of 'command' and 'executor' is required")


def check_executor(executor: mesos.ExecutorInfo, framework_id: str, role: str, field: str) -> Resources:
    """Refuse an invalid executor. Returns its own resources, without allocation.

    Raises:
        InvalidRequest: with the first field that is wrong.
    """
    check_executor_id(executor.executor_id, f"{field}.executor_id")
    if executor.HasField("framework_id") and executor.framework_id.value != framework_id:
        raise InvalidRequest(
            f"{field}.framework_id.value", f"is '{executor.framework_id.value}', but the framework is '{framework_id}'"
        )
    if executor.HasField("shutdown_grace_period") and executor.shutdown_grace_period.nanoseconds < 0:
        raise InvalidRequest(f"{field}.shutdown_grace_period", "must not be negative")
    if executor.type == mesos.ExecutorInfo.DEFAULT:
        if executor.HasField("command"):
            raise InvalidRequest(f"{field}.command", "must not be set for an executor of type DEFAULT")
        if executor.container.type == mesos.ContainerInfo.DOCKER and executor.HasField("container"):
            raise InvalidRequest(f"{field}.container.type", "must be MESOS for an executor of type DEFAULT")
    elif not executor.HasField("command"):
        raise InvalidRequest(f"{field}.command", "is required for an executor of type CUSTOM")
    if executor.HasField("command"):
        check_command(executor.command, f"{field}.command")
    if executor.HasField("container"):
        check_container(executor.container, f"{field}.container")
    if executor.HasField("labels"):
        check_labels(executor.labels, f"{field}.labels.labels")
    return check_resources(executor.resources, role, f"{field}.resources")


def check_group_task(task: mesos.TaskInfo, executor: mesos.ExecutorInfo, field: str) -> None:
    """Refuse a task that cannot be part of a group.

    Raises:
        InvalidRequest: it has an executor of its own, or wants what a container within a container cannot have.
    """
    if task.HasField("executor") and task.executor.executor_id.value != executor.executor_id.value:
        raise InvalidRequest(f"{field}.executor", "must be the group's executor, or not be set")
    if not task.HasField("command"):
        raise InvalidRequest(f"{field}.command", "is required for a task of a group")
    if task.HasField("container"):
        if task.container.type == mesos.ContainerInfo.DOCKER:
            raise InvalidRequest(f"{field}.container.type", "must be MESOS for a task of a group")
        if task.container.network_infos:
            raise InvalidRequest(f"{field}.container.network_infos", "must not be set: a group shares its executor's")
