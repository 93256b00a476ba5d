"""How frameworks come: subscribe, come back, are known from their agents; and what they change of themselves."""

from collections.abc import Iterable

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo import limits
from mezzo.errors import InvalidRequest, shorten
from mezzo.resources import Form
from mezzo.validation.well_formed import check_well_formed
from mezzo_registry.core import mesos_messages
from mezzo_registry.core.context import Context
from mezzo_registry.core.effects import CloseFrameworkStream, Refuse, SendToFramework
from mezzo_registry.core.events import FrameworkStreamClosed, FrameworkSubscribing
from mezzo_registry.core.offers import inverse_offers, offering
from mezzo_registry.core.state.entities import Framework
from mezzo_registry.core.state.transitions import FrameworkState
from mezzo_registry.core.tasks import statuses
from mezzo_registry.core.validation.framework import (
    Capability,
    check_framework_info,
    check_offer_constraints,
    check_principal,
    check_suppressed_roles,
    check_update,
    has_capability,
    roles_of,
)
from mezzo_registry.core.views import allocator_messages, observers

Event = scheduler.Event
FAILOVER = "framework failover"
"""The timer of a framework's failover_timeout; its subject is the id."""
HEARTBEAT = Event(type=Event.HEARTBEAT)


def subscribing(context: Context, event: FrameworkSubscribing) -> None:
    """Subscribe a framework. A malformed call is refused; an invalid subscription is answered with an ERROR event."""
    context.counters[
        "messages_reregister_framework" if event.call.framework_id.value else "messages_register_framework"
    ] += 1
    try:
        _check_call(event.call)
    except InvalidRequest as error:
        context.emit(Refuse(event.request, error))
        return
    subscribe = event.call.subscribe
    info = subscribe.framework_info
    try:
        _check_subscription(context, subscribe)
    except InvalidRequest as error:
        _reject(context, event.stream_id, str(error))
        return
    framework = context.state.frameworks.get(info.id.value) if info.id.value else None
    if framework is None:
        _subscribe_new(context, event, subscribe)
    else:
        _subscribe_again(context, event, framework, subscribe)


def _check_call(call: scheduler.Call) -> None:
    if call.type != scheduler.Call.SUBSCRIBE:
        raise InvalidRequest("type", "must be SUBSCRIBE")
    limits.check_call(call)
    check_well_formed(call)
    if not call.HasField("subscribe"):
        raise InvalidRequest("subscribe", "is required for a call of type SUBSCRIBE")
    if call.framework_id.value != call.subscribe.framework_info.id.value:
        raise InvalidRequest(
            "subscribe.framework_info.id.value",
            f"is '{call.subscribe.framework_info.id.value}', but framework_id is '{call.framework_id.value}'",
        )


def _check_subscription(context: Context, subscribe: scheduler.Call.Subscribe) -> None:
    info, field = subscribe.framework_info, "subscribe.framework_info"
    check_framework_info(info, field)
    if info.id.value in context.state.completed:
        raise InvalidRequest("", mesos_messages.FRAMEWORK_REMOVED)
    check_suppressed_roles(subscribe.suppressed_roles, info, "subscribe.suppressed_roles")
    limits = context.settings.offer_constraints
    check_offer_constraints(subscribe.offer_constraints, info, "subscribe.offer_constraints", limits)
    known = context.state.frameworks.get(info.id.value)
    if known is not None and known.registered_at is not None:
        check_principal(known.info, info, field)


def _reject(context: Context, stream_id: str, message: str) -> None:
    error = Event(type=Event.ERROR)
    error.error.message = shorten(message)
    context.emit(SendToFramework(stream_id, error))
    context.emit(CloseFrameworkStream(stream_id))


def _make(context: Context, info: mesos.FrameworkInfo, state: FrameworkState) -> Framework:
    kept = mesos.FrameworkInfo()
    kept.CopyFrom(info)
    framework = Framework(number=context.state.number(), info=kept, state=state, roles=())
    appeared = _apply_info(context, framework)
    context.state.add_framework(framework)
    observers.roles_changed(context, appeared)
    return framework


def _apply_info(context: Context, framework: Framework) -> list[str]:
    """Derive what follows from the FrameworkInfo. Returns the roles that a framework, or none, has now."""
    framework.multi_role = has_capability(framework.info, Capability.MULTI_ROLE)
    refined = has_capability(framework.info, Capability.RESERVATION_REFINEMENT)
    framework.form = Form.REFINED if refined else Form.LEGACY
    framework.partition_aware = has_capability(framework.info, Capability.PARTITION_AWARE)
    roles = roles_of(framework.info)
    if framework.id in context.state.frameworks:
        appeared, vanished = context.state.set_roles(framework, roles)
        return [*appeared, *vanished]
    framework.roles = roles
    return [role for role in roles if role not in context.state.roles]


def recover(context: Context, info: mesos.FrameworkInfo) -> Framework:
    """Enter a framework that is known from an agent alone: it has until its time-out to come back."""
    framework = _make(context, info, FrameworkState.RECOVERED)
    context.start_timer(
        FAILOVER, max(info.failover_timeout, context.settings.agent_reregister_timeout), subject=framework.id
    )
    allocator_messages.framework_changed(context, framework)
    observers.framework_changed(context, framework)
    return framework


def _subscribe_new(context: Context, event: FrameworkSubscribing, subscribe: scheduler.Call.Subscribe) -> None:
    info = mesos.FrameworkInfo()
    info.CopyFrom(subscribe.framework_info)
    if not info.id.value:
        info.id.value = _new_id(context)
    framework = _make(context, info, FrameworkState.CONNECTED)
    framework.registered_at = context.now
    framework.reregistered_at = context.now
    _connect(context, framework, event, subscribe)
    context.note("framework subscribed", framework_id=framework.id, name=info.name, roles=list(framework.roles))


def _new_id(context: Context) -> str:
    """An id that no framework has, also none that somebody has guessed before it was given away."""
    cluster = context.state
    while True:
        framework_id = f"{context.identity.registry_id}-{cluster.next_framework:04d}"
        cluster.next_framework += 1
        if framework_id not in cluster.frameworks and framework_id not in cluster.completed:
            return framework_id


def _subscribe_again(
    context: Context, event: FrameworkSubscribing, framework: Framework, subscribe: scheduler.Call.Subscribe
) -> None:
    """Resubscribe a framework, or another of its schedulers: one stream, and no offers from before."""
    if framework.stream_id is not None:
        context.state.frameworks_by_stream.pop(framework.stream_id, None)
        framework.counts.events[Event.ERROR] += 1
        _reject(context, framework.stream_id, mesos_messages.FRAMEWORK_FAILED_OVER)
        framework.stream_id = None
    for offer in list(framework.offers.values()):
        offering.remove(context, offer, offering.Outcome.WITHDRAWN)
    inverse_offers.rescind(context, framework.inverse_offers.values())
    context.cancel_timer(FAILOVER, framework.id)
    first_time = framework.registered_at is None
    user, checkpoint = framework.info.user, framework.info.checkpoint
    _update_info(context, framework, subscribe.framework_info)
    if not first_time:
        framework.info.user, framework.info.checkpoint = user, checkpoint
    else:
        framework.registered_at = context.now
    framework.reregistered_at = context.now
    context.state.move_framework(framework, FrameworkState.CONNECTED)
    _connect(context, framework, event, subscribe)
    _update_agents(context, framework)
    for task in framework.tasks.values():
        if task.pending is not None:
            statuses.send(context, framework, task.pending)
    context.note("framework resubscribed", framework_id=framework.id, name=framework.info.name)


def _connect(
    context: Context, framework: Framework, event: FrameworkSubscribing, subscribe: scheduler.Call.Subscribe
) -> None:
    framework.stream_id = event.stream_id
    framework.client_address = event.client_address
    framework.suppressed = set(subscribe.suppressed_roles)
    framework.constraints = _constraints(subscribe)
    framework.counts.calls[scheduler.Call.SUBSCRIBE] += 1
    context.state.frameworks_by_stream[event.stream_id] = framework
    subscribed = Event(type=Event.SUBSCRIBED)
    subscribed.subscribed.framework_id.value = framework.id
    subscribed.subscribed.heartbeat_interval_seconds = context.settings.scheduler_heartbeat_interval
    subscribed.subscribed.master_info.CopyFrom(context.identity.master_info)
    context.to_framework(framework, subscribed)
    context.to_framework(framework, HEARTBEAT)
    allocator_messages.framework_changed(context, framework)
    observers.framework_changed(context, framework)


def _constraints(
    call: scheduler.Call.Subscribe | scheduler.Call.UpdateFramework,
) -> scheduler.OfferConstraints | None:
    if not call.HasField("offer_constraints"):
        return None
    constraints = scheduler.OfferConstraints()
    constraints.CopyFrom(call.offer_constraints)
    return constraints


def _update_info(context: Context, framework: Framework, info: mesos.FrameworkInfo) -> None:
    framework.info.CopyFrom(info)
    framework.info_version += 1
    observers.roles_changed(context, _apply_info(context, framework))


def _update_agents(context: Context, framework: Framework) -> None:
    """Send the FrameworkInfo to the agents that run something of the framework; others get it when they need it."""
    for agent_id in framework.agents:
        context.send_framework_info(context.state.agents[agent_id], framework)


def update(context: Context, framework: Framework, call: scheduler.Call.UpdateFramework) -> None:
    """Update a framework's description without a new stream. What is as it was is told to nobody but the allocator.

    Raises:
        InvalidRequest: the description makes no sense, or changes what cannot change.
    """
    info, field = call.framework_info, "update_framework.framework_info"
    if info.id.value != framework.id:
        raise InvalidRequest(
            f"{field}.id.value", f"is '{info.id.value}', but the call's framework_id is '{framework.id}'"
        )
    check_framework_info(info, field)
    check_update(framework.info, info, field)
    check_suppressed_roles(call.suppressed_roles, info, "update_framework.suppressed_roles")
    limits = context.settings.offer_constraints
    check_offer_constraints(call.offer_constraints, info, "update_framework.offer_constraints", limits)
    constraints, suppressed = _constraints(call), set(call.suppressed_roles)
    described = framework.info != info
    told = described or framework.constraints != constraints or framework.suppressed != suppressed
    if described:
        _update_info(context, framework, info)
    framework.suppressed, framework.constraints = suppressed, constraints
    own = frozenset(framework.roles)
    for offer in list(framework.offers.values()):
        if offer.role not in own:
            offering.rescind(context, offer)
    allocator_messages.framework_changed(context, framework)
    if told:
        observers.framework_changed(context, framework)
    if described:
        _update_agents(context, framework)


def suppress(context: Context, framework: Framework, roles: Iterable[str]) -> None:
    """Stop offers to a framework in some roles, or in all when it names none."""
    roles = list(roles)
    framework.suppressed |= set(roles or framework.roles)
    allocator_messages.suppressed(context, framework, roles)


def revive(context: Context, framework: Framework, roles: Iterable[str]) -> None:
    """Resume offers to a framework in some roles, or in all when it names none."""
    roles = list(roles)
    framework.suppressed -= set(roles or framework.roles)
    allocator_messages.revived(context, framework, roles, in_vain=framework.revived_without_launch)
    framework.revived_without_launch = True


def stream_closed(context: Context, event: FrameworkStreamClosed) -> None:
    """Disconnect a framework. It has its failover time-out to come back; its tasks run on."""
    framework = context.state.frameworks_by_stream.pop(event.stream_id, None)
    if framework is None:
        return
    framework.stream_id = None
    context.state.move_framework(framework, FrameworkState.DISCONNECTED)
    framework.counts.offers_rescinded += len(framework.offers)  # as Mesos counts them
    for offer in list(framework.offers.values()):
        offering.remove(context, offer, offering.Outcome.WITHDRAWN)
    inverse_offers.rescind(context, framework.inverse_offers.values())
    allocator_messages.framework_changed(context, framework)
    observers.framework_changed(context, framework)
    context.start_timer(FAILOVER, framework.info.failover_timeout, subject=framework.id)
    context.note(
        "framework disconnected",
        framework_id=framework.id,
        name=framework.info.name,
        failover_timeout_seconds=framework.info.failover_timeout,
    )
