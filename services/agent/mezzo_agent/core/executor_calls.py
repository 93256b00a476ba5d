"""Whether what an executor says makes sense: nothing here changes anything, and each refusal names the field.

Source: docs/executor-http-api.md of apache/mesos.
"""

from __future__ import annotations

import hmac

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as executor_api
from mezzo import limits
from mezzo.errors import Forbidden, InvalidRequest, Unauthorized, Unavailable
from mezzo.validation.well_formed import check_well_formed
from mezzo_agent.core.model import Executor, ExecutorKind, ExecutorState
from mezzo_agent.core.state import AgentState

_Call = executor_api.Call
_MEMBER = {_Call.SUBSCRIBE: "subscribe", _Call.UPDATE: "update", _Call.MESSAGE: "message"}
UUID_BYTES = 16


def check(call: executor_api.Call) -> None:
    """Check a call as far as it can be told without the state.

    Raises:
        InvalidRequest: it is wrong in itself; the error names the field.
    """
    check_well_formed(call)
    limits.check_call(call)
    if not call.HasField("type") or call.type == _Call.UNKNOWN:
        raise InvalidRequest("type", "missing or unknown")
    member = _MEMBER.get(call.type)
    if member is not None and not call.HasField(member):  # type: ignore[arg-type]
        raise InvalidRequest(member, f"is required for a call of type {_Call.Type.Name(call.type)}")
    if call.type == _Call.UPDATE:
        _check_status(call, call.update.status, "update.status")
    for number, update in enumerate(call.subscribe.unacknowledged_updates):
        _check_status(call, update.status, f"subscribe.unacknowledged_updates[{number}].status")


def _check_status(call: executor_api.Call, status: mesos.TaskStatus, field: str) -> None:
    if len(status.uuid) != UUID_BYTES:
        raise InvalidRequest(f"{field}.uuid", f"must have {UUID_BYTES} bytes, not {len(status.uuid)}")
    if status.HasField("executor_id") and status.executor_id.value != call.executor_id.value:
        raise InvalidRequest(
            f"{field}.executor_id",
            f"must be the calling executor '{call.executor_id.value}', not '{status.executor_id.value}'",
        )
    if status.HasField("source") and status.source != mesos.TaskStatus.SOURCE_EXECUTOR:
        raise InvalidRequest(f"{field}.source", "must be SOURCE_EXECUTOR")
    if status.state == mesos.TASK_STAGING:
        raise InvalidRequest(f"{field}.state", "must not be TASK_STAGING")


def identify(state: AgentState, call: executor_api.Call, token: str | None) -> Executor:
    """Find the executor that calls.

    Raises:
        InvalidRequest: there is none.
        Unauthorized: its token is wrong, or is required and missing.
    """
    framework = state.frameworks.get(call.framework_id.value)
    if framework is None:
        raise InvalidRequest("framework_id", f"unknown framework '{call.framework_id.value}'")
    executor = framework.executors.get(call.executor_id.value)
    if executor is None or executor.kind is not ExecutorKind.CUSTOM or executor.state is ExecutorState.TERMINATED:
        raise InvalidRequest(
            "executor_id", f"unknown executor '{call.executor_id.value}' of framework '{framework.id}'"
        )
    if token is None:
        if state.settings.authenticate_executors:
            raise Unauthorized("the token in MESOS_EXECUTOR_AUTHENTICATION_TOKEN is required")
    elif not hmac.compare_digest(token.encode(), executor.token.encode()):
        raise Unauthorized(f"invalid token for executor '{executor.id}'")
    return executor


def check_update(state: AgentState, executor: Executor, status: mesos.TaskStatus) -> None:
    """Check that an executor may send this update.

    Raises:
        Forbidden: the task belongs to another executor, or this one has never subscribed.
        InvalidRequest: the update names another agent, or a task that is not known.
        Unavailable: the executor has lost its subscription, as when the agent was restarted, and may not know yet: it
            is to subscribe again, and to send the update then.
    """
    if executor.connection is None:
        refusal = Forbidden if executor.state is ExecutorState.REGISTERING else Unavailable
        raise refusal(f"executor '{executor.id}' is not subscribed")
    agent_id = status.agent_id.value
    if agent_id and agent_id != state.agent_id:
        raise InvalidRequest("update.status.agent_id", f"must be this agent '{state.agent_id}', not '{agent_id}'")
    task_id = status.task_id.value
    task = state.task(executor.framework_id, task_id)
    if task is not None and task.executor is not executor:
        raise Forbidden(f"update.status.task_id: task '{task_id}' belongs to another executor")
    if task is None and all(ended.id != task_id for ended in executor.completed_tasks):
        raise InvalidRequest("update.status.task_id", f"unknown task '{task_id}' of executor '{executor.id}'")
