"""The calls of operators."""

from collections.abc import Callable

from mesos.v1.master import master_pb2 as master
from mezzo import limits
from mezzo.errors import InvalidRequest, MezzoError, NotFound, Unimplemented
from mezzo.validation.well_formed import check_well_formed
from mezzo_registry.core.context import Context
from mezzo_registry.core.effects import Answer, Refuse
from mezzo_registry.core.events import OperatorCalled, OperatorKilledTask
from mezzo_registry.core.frameworks import teardown
from mezzo_registry.core.operators import maintenance_calls, role_calls
from mezzo_registry.core.state.entities import Framework
from mezzo_registry.core.tasks import updates
from mezzo_registry.core.views import observers

Call = master.Call
Response = master.Response
Read = Callable[[Context, master.Call], master.Response]
"""Gives the answer to a call that changes nothing."""
Change = Callable[[Context, master.Call, int], None]
"""Carries out a call, and orders the answer to its request; now, or when the store has what was changed."""


def called(context: Context, event: OperatorCalled) -> None:
    """Carry out an operator's call, or refuse it and change nothing."""
    try:
        _check(event.call)
        change = _CHANGES.get(event.call.type)
        if change is not None:
            change(context, event.call, event.request)
        else:
            context.emit(Answer(event.request, _READS[event.call.type](context, event.call)))
    except MezzoError as error:
        context.emit(Refuse(event.request, error))


def _check(call: master.Call) -> None:
    if not call.HasField("type") or call.type == Call.UNKNOWN or call.type not in Call.Type.values():
        raise InvalidRequest("type", "missing or unknown")
    limits.check_call(call)
    check_well_formed(call)
    if call.type not in _READS and call.type not in _CHANGES:
        raise Unimplemented(f"call {Call.Type.Name(call.type)} is not supported by this version of Mezzo")


def killed_task(context: Context, event: OperatorKilledTask) -> None:
    """Kill a task of any framework for an operator."""
    if event.kill_policy is not None and event.kill_policy.grace_period.nanoseconds < 0:
        context.emit(Refuse(event.request, InvalidRequest("kill_policy.grace_period", "must not be negative")))
        return
    framework = context.state.frameworks.get(event.framework_id)
    if framework is None:
        context.emit(Refuse(event.request, NotFound(f"framework_id.value: framework '{event.framework_id}' not found")))
        return
    task = framework.tasks.get(event.task_id)
    if task is None or task.terminal:
        context.emit(Refuse(event.request, NotFound(f"task_id.value: the framework runs no task '{event.task_id}'")))
        return
    updates.kill(context, framework, task.id, task.agent.id, event.kill_policy)
    context.note("task killed by an operator", framework_id=framework.id, task_id=task.id)
    context.emit(Answer(event.request))


def _framework(context: Context, framework_id: str, field: str) -> Framework:
    framework = context.state.frameworks.get(framework_id)
    if framework is None:
        raise InvalidRequest(field, f"framework '{framework_id}' not found")
    return framework


def _teardown(context: Context, call: master.Call, request: int) -> None:
    if not call.HasField("teardown"):
        raise InvalidRequest("teardown", "is required for a call of type TEARDOWN")
    framework = _framework(context, call.teardown.framework_id.value, "teardown.framework_id.value")
    teardown.tear_down(context, framework, "TEARDOWN by an operator")
    context.emit(Answer(request))


def _get_metrics(_context: Context, call: master.Call) -> master.Response:
    if not call.HasField("get_metrics"):
        raise InvalidRequest("get_metrics", "is required for a call of type GET_METRICS")
    response = Response(type=Response.GET_METRICS)
    response.get_metrics.SetInParent()  # the shell knows more of them, and says all
    return response


def _get_health(_context: Context, _call: master.Call) -> master.Response:
    response = Response(type=Response.GET_HEALTH)
    response.get_health.healthy = True
    return response


def _get_flags(context: Context, _call: master.Call) -> master.Response:
    response = Response(type=Response.GET_FLAGS)
    response.get_flags.SetInParent()
    for name, value in sorted(observers.flags_of(context).items()):
        response.get_flags.flags.add(name=name, value=value)
    return response


def _get_master(context: Context, _call: master.Call) -> master.Response:
    response = Response(type=Response.GET_MASTER)
    response.get_master.master_info.CopyFrom(context.identity.master_info)
    response.get_master.start_time = context.identity.started_at
    response.get_master.elected_time = context.identity.elected_at
    return response


_CHANGES: dict["master.Call.Type.ValueType", Change] = {
    Call.TEARDOWN: _teardown,
    Call.UPDATE_WEIGHTS: role_calls.update_weights,
    Call.SET_QUOTA: role_calls.set_quota,
    Call.REMOVE_QUOTA: role_calls.remove_quota,
    Call.UPDATE_QUOTA: role_calls.update_quota,
    Call.UPDATE_MAINTENANCE_SCHEDULE: maintenance_calls.update_schedule,
    Call.START_MAINTENANCE: maintenance_calls.start,
    Call.STOP_MAINTENANCE: maintenance_calls.stop,
}
_READS: dict["master.Call.Type.ValueType", Read] = {
    Call.GET_METRICS: _get_metrics,
    Call.GET_HEALTH: _get_health,
    Call.GET_FLAGS: _get_flags,
    Call.GET_MASTER: _get_master,
    Call.GET_WEIGHTS: role_calls.get_weights,
    Call.GET_QUOTA: role_calls.get_quota,
    Call.GET_MAINTENANCE_SCHEDULE: maintenance_calls.get_schedule,
    Call.GET_MAINTENANCE_STATUS: maintenance_calls.get_status,
}
