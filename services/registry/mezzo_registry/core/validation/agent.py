"""What an agent tells of itself when it registers. One that contradicts itself is refused before it can do harm."""

from mesos.v1 import mesos_pb2 as mesos
from mezzo import addresses, limits
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.errors import InvalidRequest
from mezzo.resources import Resources
from mezzo.task_states import TERMINAL
from mezzo.validation.identifiers import check_agent_id, check_executor_id, check_framework_id, check_task_id
from mezzo.validation.well_formed import check_well_formed
from mezzo_registry.core.state import resource_cache, upid
from mezzo_registry.core.state.transitions import REPORTED_BY_AGENTS
from mezzo_registry.core.validation.framework import check_framework_info


def check_register(register: agent_session.Register) -> Resources:
    """Refuse an agent whose snapshot is invalid. Returns its total resources, without allocation.

    Raises:
        InvalidRequest: with the first field that is wrong.
    """
    limits.check(register, "register")
    check_well_formed(register, "register.")
    info = register.agent_info
    if not info.hostname:
        raise InvalidRequest("register.agent_info.hostname", "must not be empty")
    if not addresses.is_host(info.hostname):
        raise InvalidRequest(
            "register.agent_info.hostname", f"{info.hostname[:100]!r} is not a host name or IP address"
        )
    if not 0 <= info.port <= 65_535:
        raise InvalidRequest("register.agent_info.port", f"is {info.port}; must be from 0 to 65535")
    if register.pid and upid.parse(register.pid) is None:
        raise InvalidRequest("register.pid", f"{register.pid[:100]!r} is not like slave(1)@10.0.0.7:5051")
    if info.id.value:
        check_agent_id(info.id, "register.agent_info.id")
    elif register.tasks or register.executors:
        raise InvalidRequest("register.tasks", "must be empty for an agent without an id, as its executors")
    resource_cache.value_of(info.resources, "register.agent_info.resources")
    total = resource_cache.value_of(register.total_resources, "register.total_resources")
    if any(resource.HasField("allocation_info") for resource in register.total_resources):
        raise InvalidRequest("register.total_resources", "must not be allocated")
    _check_holdings(register, total, _check_frameworks(register))
    return total


def check_domain(agent: mesos.AgentInfo, registry: mesos.MasterInfo, *, required: bool) -> None:
    """Refuse an agent whose distance cannot be known. One without a domain is where the registry is.

    Raises:
        InvalidRequest: it says where it is while the registry does not, or it does not although that is `required`.
    """
    field = "register.agent_info.domain"
    if agent.domain.HasField("fault_domain"):
        if not registry.domain.HasField("fault_domain"):
            raise InvalidRequest(field, "the agent has a domain, but the registry has none (--domain)")
        for name in ("region", "zone"):
            if not getattr(agent.domain.fault_domain, name).name:
                raise InvalidRequest(f"{field}.fault_domain.{name}.name", "must not be empty")
    elif required:
        raise InvalidRequest(field, "is required by this registry (--require_agent_domain)")


def _check_frameworks(register: agent_session.Register) -> set[str]:
    frameworks = set()
    for index, framework in enumerate(register.frameworks):
        check_framework_id(framework.id, f"register.frameworks[{index}].id")
        check_framework_info(framework, f"register.frameworks[{index}]")
        frameworks.add(framework.id.value)
    return frameworks


def _check_holdings(register: agent_session.Register, total: Resources, frameworks: set[str]) -> None:
    parts: list[Resources] = []
    seen_tasks, seen_executors = set(), set()
    for index, task in enumerate(register.tasks):
        field = f"register.tasks[{index}]"
        check_task_id(task.task_id, f"{field}.task_id")
        if task.framework_id.value not in frameworks:
            raise InvalidRequest(
                f"{field}.framework_id.value", f"'{task.framework_id.value}' is not among register.frameworks"
            )
        if task.agent_id.value != register.agent_info.id.value:
            raise InvalidRequest(f"{field}.agent_id.value", f"'{task.agent_id.value}' is not the agent that registers")
        key = (task.framework_id.value, task.task_id.value)
        if key in seen_tasks:
            raise InvalidRequest(f"{field}.task_id.value", f"task '{task.task_id.value}' is listed twice")
        seen_tasks.add(key)
        if task.state not in REPORTED_BY_AGENTS:
            raise InvalidRequest(f"{field}.state", f"{mesos.TaskState.Name(task.state)} is set by the registry alone")
        resources = resource_cache.value_of(task.resources, f"{field}.resources")
        if task.state not in TERMINAL:
            parts.append(resources)
    for index, executor in enumerate(register.executors):
        field = f"register.executors[{index}]"
        check_executor_id(executor.executor_id, f"{field}.executor_id")
        if executor.framework_id.value not in frameworks:
            raise InvalidRequest(
                f"{field}.framework_id.value", f"'{executor.framework_id.value}' is not among register.frameworks"
            )
        key = (executor.framework_id.value, executor.executor_id.value)
        if key in seen_executors:
            raise InvalidRequest(f"{field}.executor_id.value", f"executor '{key[1]}' is listed twice")
        seen_executors.add(key)
        parts.append(resource_cache.value_of(executor.resources, f"{field}.resources"))
    held = Resources.sum(parts)
    if not total.contains(held):
        raise InvalidRequest(
            "register.total_resources",
            f"{total.brief()} is less than its tasks and executors hold: {held.brief()}",
        )
