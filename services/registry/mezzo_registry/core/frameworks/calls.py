"""The calls of frameworks: who may make them, whether they are well-formed, and what carries them out."""

from collections.abc import Callable, Sequence

from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo import limits
from mezzo.allocator.v1.allocator_pb2 import InverseOfferAnswered as Answered
from mezzo.errors import Forbidden, InvalidRequest, MezzoError
from mezzo.validation.well_formed import check_well_formed
from mezzo_registry.core import mesos_messages
from mezzo_registry.core.context import Context
from mezzo_registry.core.effects import Refuse
from mezzo_registry.core.events import FrameworkCalled
from mezzo_registry.core.frameworks import subscription, teardown
from mezzo_registry.core.offers import accept, inverse_offers, offering
from mezzo_registry.core.state import resource_cache
from mezzo_registry.core.state.entities import Framework
from mezzo_registry.core.tasks import reconciliation, updates
from mezzo_registry.core.views import allocator_messages

Call = scheduler.Call
Handler = Callable[[Context, Framework, scheduler.Call], None]

STREAM_ID_SHOWN_MAX = 100
"""Characters of a foreign stream id in an error."""
ROLE_SHOWN_MAX = 100
"""Characters of a foreign role in a log line."""


def called(context: Context, event: FrameworkCalled) -> None:
    """Carry out a framework's call, or refuse it and change nothing."""
    try:
        framework, handler = _admit(context, event)
        framework.counts.calls[event.call.type] += 1
        handler(context, framework, event.call)
    except MezzoError as error:
        context.counters["calls_refused"] += 1
        context.emit(Refuse(event.request, error))


def _admit(context: Context, event: FrameworkCalled) -> tuple[Framework, Handler]:
    """Return the framework that calls, and what carries its call out.

    Raises:
        InvalidRequest: the call is malformed, or not from the stream of a known framework.
        Forbidden: the framework is not subscribed.
    """
    call = event.call
    entry = _TABLE.get(call.type)
    if entry is None:
        raise _wrong_type(call)
    field, handler = entry
    limits.check_call(call)
    check_well_formed(call)
    if not call.framework_id.value:
        raise InvalidRequest("framework_id.value", "is required")
    if field and not call.HasField(field):  # type: ignore[arg-type]
        raise InvalidRequest(field, f"is required for a call of type {Call.Type.Name(call.type)}")
    framework = context.state.frameworks.get(call.framework_id.value)
    if framework is None:
        raise InvalidRequest("", mesos_messages.FRAMEWORK_NOT_FOUND)
    if framework.stream_id is None:
        raise Forbidden(mesos_messages.FRAMEWORK_NOT_SUBSCRIBED)
    if not event.stream_id:
        raise InvalidRequest("", mesos_messages.STREAM_ID_MISSING)
    if event.stream_id != framework.stream_id:
        raise InvalidRequest("", mesos_messages.stream_id_differs(event.stream_id[:STREAM_ID_SHOWN_MAX], framework.id))
    return framework, handler


def _wrong_type(call: scheduler.Call) -> InvalidRequest:
    if call.type == Call.SUBSCRIBE:
        return InvalidRequest("type", "must not be SUBSCRIBE, which opens another stream")
    return InvalidRequest("type", "missing or unknown")


def _teardown(context: Context, framework: Framework, _call: scheduler.Call) -> None:
    context.counters["messages_unregister_framework"] += 1
    teardown.tear_down(context, framework, "TEARDOWN by the framework")


def _accept(context: Context, framework: Framework, call: scheduler.Call) -> None:
    context.counters["messages_launch_tasks"] += 1
    accept.check_filters(call.accept, "accept")
    accept.accept(context, framework, call.accept)


def _decline(context: Context, framework: Framework, call: scheduler.Call) -> None:
    context.counters["messages_decline_offers"] += 1
    accept.check_filters(call.decline, "decline")
    offering.decline(context, framework, call.decline.offer_ids, accept.filters_of(call.decline))


def _accept_inverse(context: Context, framework: Framework, call: scheduler.Call) -> None:
    _answer_inverse(context, framework, call.accept_inverse_offers, Answered.ANSWER_ACCEPTED, "accept_inverse_offers")


def _decline_inverse(context: Context, framework: Framework, call: scheduler.Call) -> None:
    _answer_inverse(context, framework, call.decline_inverse_offers, Answered.ANSWER_DECLINED, "decline_inverse_offers")


def _answer_inverse(
    context: Context,
    framework: Framework,
    message: scheduler.Call.AcceptInverseOffers | scheduler.Call.DeclineInverseOffers,
    answer: "Answered.Answer.ValueType",
    field: str,
) -> None:
    accept.check_filters(message, field)
    inverse_offers.answer(context, framework, message.inverse_offer_ids, answer, accept.filters_of(message))


def _revive(context: Context, framework: Framework, call: scheduler.Call) -> None:
    context.counters["messages_revive_offers"] += 1
    if _has_roles(context, framework, call.revive.roles, "REVIVE"):
        subscription.revive(context, framework, call.revive.roles)


def _suppress(context: Context, framework: Framework, call: scheduler.Call) -> None:
    context.counters["messages_suppress_offers"] += 1
    if _has_roles(context, framework, call.suppress.roles, "SUPPRESS"):
        subscription.suppress(context, framework, call.suppress.roles)


def _has_roles(context: Context, framework: Framework, roles: Sequence[str], call: str) -> bool:
    """Return whether the framework has all these roles. A call that names another is dropped whole, as in Mesos."""
    own = frozenset(framework.roles)
    foreign = next((role for role in roles if role not in own), None)
    if foreign is None:
        return True
    context.counters["dropped_messages"] += 1
    context.warn(
        "call dropped",
        call=call,
        framework_id=framework.id,
        reason=f"the framework does not have the role {foreign[:ROLE_SHOWN_MAX]!r}",
    )
    return False


def _kill(context: Context, framework: Framework, call: scheduler.Call) -> None:
    context.counters["messages_kill_task"] += 1
    kill = call.kill
    policy = kill.kill_policy if kill.HasField("kill_policy") else None
    if policy is not None and policy.grace_period.nanoseconds < 0:
        raise InvalidRequest("kill.kill_policy.grace_period", "must not be negative")
    updates.kill(context, framework, kill.task_id.value, kill.agent_id.value, policy)


def _shutdown(context: Context, framework: Framework, call: scheduler.Call) -> None:
    updates.shutdown_executor(context, framework, call.shutdown)


def _acknowledge(context: Context, framework: Framework, call: scheduler.Call) -> None:
    context.counters["messages_status_update_acknowledgement"] += 1
    _check_uuid(call.acknowledge.uuid, "acknowledge.uuid")
    updates.acknowledge(context, framework, call.acknowledge)


def _reconcile(context: Context, framework: Framework, call: scheduler.Call) -> None:
    context.counters["messages_reconcile_tasks"] += 1
    reconciliation.reconcile(context, framework, call.reconcile.tasks)


def _reconcile_operations(context: Context, framework: Framework, call: scheduler.Call) -> None:
    context.counters["messages_reconcile_operations"] += 1
    reconciliation.reconcile_operations(context, framework, call.reconcile_operations.operations)


def _acknowledge_operation_status(context: Context, framework: Framework, call: scheduler.Call) -> None:
    context.counters["messages_operation_status_update_acknowledgement"] += 1
    acknowledged = call.acknowledge_operation_status
    _check_uuid(acknowledged.uuid, "acknowledge_operation_status.uuid")
    # No status that was sent wants one: an operation ends in the turn that it comes in.
    context.counters["invalid_operation_status_update_acknowledgements"] += 1
    operation_id = acknowledged.operation_id.value
    context.warn(
        "acknowledgement of an unknown operation status dropped", framework_id=framework.id, operation_id=operation_id
    )


def _check_uuid(uuid: bytes, field: str) -> None:
    if len(uuid) != updates.UUID_BYTES:
        raise InvalidRequest(field, f"has {len(uuid)} bytes; a uuid has {updates.UUID_BYTES}")


def _message(context: Context, framework: Framework, call: scheduler.Call) -> None:
    updates.message_to_executor(context, framework, call.message)


def _request(context: Context, framework: Framework, call: scheduler.Call) -> None:
    context.counters["messages_resource_request"] += 1
    requests = call.request.requests
    limits.check_pieces((one.resources for one in requests), "request.requests")
    for index, request in enumerate(requests):
        resource_cache.value_of(request.resources, f"request.requests[{index}].resources")
    allocator_messages.requested(context, framework, list(requests))


def _update_framework(context: Context, framework: Framework, call: scheduler.Call) -> None:
    subscription.update(context, framework, call.update_framework)


_TABLE: dict["scheduler.Call.Type.ValueType", tuple[str, Handler]] = {
    Call.TEARDOWN: ("", _teardown),
    Call.ACCEPT: ("accept", _accept),
    Call.DECLINE: ("decline", _decline),
    Call.ACCEPT_INVERSE_OFFERS: ("accept_inverse_offers", _accept_inverse),
    Call.DECLINE_INVERSE_OFFERS: ("decline_inverse_offers", _decline_inverse),
    Call.REVIVE: ("", _revive),
    Call.SUPPRESS: ("", _suppress),
    Call.KILL: ("kill", _kill),
    Call.SHUTDOWN: ("shutdown", _shutdown),
    Call.ACKNOWLEDGE: ("acknowledge", _acknowledge),
    Call.RECONCILE: ("reconcile", _reconcile),
    Call.ACKNOWLEDGE_OPERATION_STATUS: ("acknowledge_operation_status", _acknowledge_operation_status),
    Call.RECONCILE_OPERATIONS: ("reconcile_operations", _reconcile_operations),
    Call.MESSAGE: ("message", _message),
    Call.REQUEST: ("request", _request),
    Call.UPDATE_FRAMEWORK: ("update_framework", _update_framework),
}
"""Type → the field that must be set, or "", and what carries the call out."""
