"""The environment of a container: what Mesos promises to tasks and executors, and nothing else.

Source: docs/app-framework-development-guide.md and docs/executor-http-api.md of apache/mesos; the names and forms are
those that executors in the wild read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from mesos.v1 import mesos_pb2 as mesos
from mezzo import durations
from mezzo.errors import InvalidRequest
from mezzo_agent.core.model import Executor, ExecutorKind, Framework, Task
from mezzo_agent.core.state import AgentState

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base(configured: Mapping[str, str] | None) -> dict[str, str]:
    """What every task and executor finds: what --executor_environment_variables says, and a PATH if it says none.

    Nothing of the agent's own environment, where credentials may be. Source: executorEnvironment() of apache/mesos,
    src/slave/slave.cpp, since 1.0.
    """
    return {"PATH": DEFAULT_PATH, **(configured or {})}


def of_task(state: AgentState, framework: Framework, executor: Executor, task: Task) -> dict[str, str]:
    """For a command that the agent itself supervises."""
    environment = _of_container(state, framework, executor, task.info.resources, task.container_id or "")
    environment["MESOS_TASK_ID"] = task.id
    environment |= variables(task.info.command)
    return environment


def of_executor(state: AgentState, framework: Framework, executor: Executor) -> dict[str, str]:
    """For a custom executor: how to find the agent, and how to prove who it is."""
    settings = state.settings
    resources = [*executor.info.resources, *(r for task in executor.tasks.values() for r in task.info.resources)]
    environment = _of_container(state, framework, executor, resources, executor.container_id)
    environment |= {
        "LIBPROCESS_IP": settings.ip,
        "LIBPROCESS_PORT": "0",
        "MESOS_SUBSCRIPTION_BACKOFF_MAX": durations.text_of(settings.executor_reregistration_timeout),
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": durations.text_of(shutdown_grace_period(state, executor)),
        "MESOS_EXECUTOR_AUTHENTICATION_TOKEN": executor.token,
    }
    if framework.info.checkpoint:
        environment["MESOS_RECOVERY_TIMEOUT"] = durations.text_of(settings.recovery_timeout)
    if settings.domain_socket is not None:
        environment["MESOS_DOMAIN_SOCKET"] = str(settings.domain_socket)
    if settings.grpc_port is not None:
        environment["MEZZO_AGENT_GRPC_ENDPOINT"] = f"{settings.ip}:{settings.grpc_port}"
    # The executor's own variables win, but not over its identity.
    return {**environment, **variables(executor.info.command), **_identity(state, framework, executor)}


def shutdown_grace_period(state: AgentState, executor: Executor) -> float:
    if executor.info.HasField("shutdown_grace_period"):
        return executor.info.shutdown_grace_period.nanoseconds / 1e9
    return state.settings.executor_shutdown_grace_period


def _identity(state: AgentState, framework: Framework, executor: Executor) -> dict[str, str]:
    return {
        "MESOS_FRAMEWORK_ID": framework.id,
        "MESOS_EXECUTOR_ID": executor.id,
        "MESOS_SLAVE_ID": state.agent_id,
        "MESOS_SLAVE_PID": state.settings.pid,
        "MESOS_AGENT_ENDPOINT": state.settings.endpoint,
        "MESOS_CHECKPOINT": "1" if framework.info.checkpoint else "0",
    }


def _of_container(
    state: AgentState, framework: Framework, executor: Executor, resources: Iterable[mesos.Resource], container_id: str
) -> dict[str, str]:
    sandbox = str(task_sandbox(executor, container_id))
    environment = {
        **state.settings.base_environment,
        **_identity(state, framework, executor),
        "MESOS_DIRECTORY": sandbox,
        "MESOS_SANDBOX": sandbox,
        "MESOS_CONTAINER_IP": state.settings.ip,
    }
    role = next((each.allocation_info.role for each in resources if each.HasField("allocation_info")), None)
    if role is not None:
        environment["MESOS_ALLOCATION_ROLE"] = role
    return environment


def task_sandbox(executor: Executor, container_id: str) -> Path:
    """A pod's tasks have their sandboxes inside the pod's; any other container has its executor's."""
    if executor.kind is ExecutorKind.POD:
        return executor.sandbox / "containers" / container_id
    return executor.sandbox


def variables(command: mesos.CommandInfo) -> dict[str, str]:
    """The variables that a command brings itself; those that `check_secrets` has admitted."""
    return {
        each.name: each.secret.value.data.decode("utf-8", errors="surrogateescape")
        if each.type == each.SECRET
        else each.value
        for each in command.environment.variables
    }


def check_secrets(command: mesos.CommandInfo, field: str) -> None:
    """Refuse variables with secrets of a kind that this agent cannot look up.

    Raises:
        InvalidRequest: there is one.
    """
    for number, each in enumerate(command.environment.variables):
        if each.type == each.SECRET and each.secret.type != mesos.Secret.VALUE:
            where = f"{field}.environment.variables[{number}].secret"
            raise InvalidRequest(where, "secrets by reference are not supported: the agent has no resolver for them")
