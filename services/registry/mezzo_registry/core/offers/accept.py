"""ACCEPT: which offers it stands on, what it wants done with them, and what is left over.

A call that stands on offers that are not valid starts nothing: each of its tasks is lost (REASON_INVALID_OFFERS). A
task that makes no sense, or does not fit, is an error of its own (REASON_TASK_INVALID) and does not touch the others.
"""

import math
from collections.abc import Iterable, Iterator

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.errors import InvalidRequest, shorten
from mezzo.limits import TASKS_PER_CALL_MAX, check_pieces
from mezzo.resources import Resources
from mezzo_registry.core import mesos_messages
from mezzo_registry.core.context import Context
from mezzo_registry.core.offers import offering
from mezzo_registry.core.state.entities import Framework, Offer
from mezzo_registry.core.tasks import launch, statuses, termination
from mezzo_registry.core.tasks.pool import Pool
from mezzo_registry.core.views import allocator_messages

Operation = mesos.Offer.Operation
Status = mesos.TaskStatus
DEFAULT_FILTERS = mesos.Filters(refuse_seconds=5.0)
"""What a framework that says nothing of filters is taken to have said."""


Filtering = (
    scheduler.Call.Accept
    | scheduler.Call.Decline
    | scheduler.Call.AcceptInverseOffers
    | scheduler.Call.DeclineInverseOffers
)


def check_filters(call: Filtering, field: str) -> None:
    """Refuse a filter whose time is not a number: it would have no end.

    Raises:
        InvalidRequest: naming it.
    """
    if math.isnan(call.filters.refuse_seconds):
        raise InvalidRequest(f"{field}.filters.refuse_seconds", "is not a number")


def filters_of(call: Filtering) -> mesos.Filters:
    """Return the filters of a call, or the default ones."""
    return call.filters if call.HasField("filters") else DEFAULT_FILTERS


def check_limits(call: scheduler.Call.Accept) -> None:
    """Refuse a call that is too large for one turn.

    Raises:
        InvalidRequest: it has too many tasks, or they have too many ranges and items of sets together.
    """
    tasks = sum(len(one.launch.task_infos) + len(one.launch_group.task_group.tasks) for one in call.operations)
    if tasks > TASKS_PER_CALL_MAX:
        raise InvalidRequest("accept.operations", f"has {tasks} tasks; at most {TASKS_PER_CALL_MAX} are allowed")
    check_pieces(_resources(call), "accept.operations")


def accept(context: Context, framework: Framework, call: scheduler.Call.Accept) -> None:
    """Use offers.

    Raises:
        InvalidRequest: the call has too many tasks, or too many pieces of resources.
    """
    check_limits(call)
    try:
        accepted = _valid_offers(context, framework, call)
    except InvalidRequest as error:
        _refuse_all(context, framework, call, str(error))
        return
    pool = _take(context, framework, accepted)
    for index, operation in enumerate(call.operations):
        framework.counts.operations[operation.type] += 1
        if operation.type == Operation.LAUNCH:
            for number, task in enumerate(operation.launch.task_infos):
                launch.launch(context, pool, task, f"accept.operations[{index}].launch.task_infos[{number}]")
        elif operation.type == Operation.LAUNCH_GROUP:
            launch.launch_group(context, pool, operation.launch_group, f"accept.operations[{index}].launch_group")
        else:
            _not_done(context, pool, operation)
    if pool.remaining:
        context.state.release(pool.agent, pool.remaining)
        allocator_messages.recovered(context, framework, pool.agent, pool.role, pool.remaining, filters_of(call))


def _valid_offers(context: Context, framework: Framework, call: scheduler.Call.Accept) -> list[Offer]:
    if not call.offer_ids:
        raise InvalidRequest("", mesos_messages.NO_OFFERS)
    found: list[Offer] = []
    seen: set[str] = set()
    for offer_id in call.offer_ids:
        if offer_id.value in seen:
            raise InvalidRequest("", mesos_messages.offer_duplicate(offer_id.value))
        seen.add(offer_id.value)
        offer = context.state.offers.get(offer_id.value)
        if offer is None:
            raise InvalidRequest("", mesos_messages.offer_invalid(offer_id.value))
        if offer.framework is not framework:
            owner = offer.framework
            raise InvalidRequest("", mesos_messages.offer_of_another(offer.id, owner.id, framework.id))
        first = found[0] if found else offer
        if offer.agent is not first.agent:
            raise InvalidRequest("", mesos_messages.offers_of_two_agents(offer.id, offer.agent.id, first.agent.id))
        if offer.role != first.role:
            raise InvalidRequest("", mesos_messages.offers_for_two_roles(offer.id, offer.role, first.role))
        found.append(offer)
    return found


def _take(context: Context, framework: Framework, accepted: list[Offer]) -> Pool:
    for offer in accepted:
        context.state.use_offer(offer)
        offering.closed(context, offer, offering.Outcome.ACCEPTED)
    remaining = Resources.sum(offer.resources for offer in accepted)
    return Pool(framework, accepted[0].agent, accepted[0].role, remaining)


def _tasks(call: scheduler.Call.Accept) -> Iterator[mesos.TaskInfo]:
    for operation in call.operations:
        if operation.type == Operation.LAUNCH:
            yield from operation.launch.task_infos
        elif operation.type == Operation.LAUNCH_GROUP:
            yield from operation.launch_group.task_group.tasks


def _resources(call: scheduler.Call.Accept) -> Iterator[Iterable[mesos.Resource]]:
    """Return all lists of resources of a call that are looked at."""
    for task in _tasks(call):
        yield task.resources
        if task.HasField("executor"):
            yield task.executor.resources
    for operation in call.operations:
        if operation.HasField("launch_group"):
            yield operation.launch_group.executor.resources


def _refuse_all(context: Context, framework: Framework, call: scheduler.Call.Accept, reason: str) -> None:
    """Refuse every operation. The offers of the call that were valid are used up all the same."""
    offering.decline(context, framework, call.offer_ids, filters_of(call))
    state = statuses.lost(framework, mesos.TASK_DROPPED)
    for task in _tasks(call):
        status = statuses.status(
            context, task.task_id.value, state, Status.REASON_INVALID_OFFERS,
            mesos_messages.INVALID_OFFERS.format(reason), task.agent_id.value,
        )  # fmt: skip
        termination.count(context, state, status)
        statuses.send(context, framework, status)
    for operation in call.operations:
        if operation.type not in (Operation.LAUNCH, Operation.LAUNCH_GROUP):
            answer_operation(
                context,
                framework,
                operation,
                mesos.OPERATION_DROPPED,
                mesos_messages.OPERATION_INVALID_OFFERS.format(reason),
                "",
            )


def _not_done(context: Context, pool: Pool, operation: mesos.Offer.Operation) -> None:
    name = Operation.Type.Name(operation.type) if operation.type in Operation.Type.values() else "of an unknown type"
    reason = f"operation {name} is not supported by this version of Mezzo"
    answer_operation(context, pool.framework, operation, mesos.OPERATION_ERROR, reason, pool.agent.id)


def answer_operation(
    context: Context,
    framework: Framework,
    operation: mesos.Offer.Operation,
    state: "mesos.OperationState.ValueType",
    reason: str,
    agent_id: str,
) -> None:
    """Report the outcome of an operation: to the framework when it gave it an id, and to the log."""
    outcome = mesos.OperationState.Name(state).lower().removeprefix("operation_")
    for kind in ("", f"{Operation.Type.Name(operation.type).lower()}/"):
        context.counters[f"operations/{kind}{outcome}"] += 1
        context.counters[f"operations/{kind}total"] += 1
    context.warn("operation rejected", framework_id=framework.id, operation_id=operation.id.value, reason=reason)
    if not operation.HasField("id"):
        return
    event = scheduler.Event(type=scheduler.Event.UPDATE_OPERATION_STATUS)
    status = event.update_operation_status.status
    status.operation_id.value = operation.id.value
    status.state = state
    status.message = shorten(reason)
    if agent_id:
        status.agent_id.value = agent_id
    context.to_framework(framework, event)
