"""Offers: made of the allocator's advice, taken back when what they stand on is gone."""

import enum
import itertools
from collections.abc import Iterable

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.resources import ResourceError
from mezzo.validation.well_formed import is_well_formed
from mezzo_registry.core.context import Context
from mezzo_registry.core.events import AllocationsMade, TimerFired
from mezzo_registry.core.offers import inverse_offers
from mezzo_registry.core.settings import TIMER_SECONDS_MIN
from mezzo_registry.core.state import resource_cache, upid
from mezzo_registry.core.state.cluster import ClusterState
from mezzo_registry.core.state.entities import Agent, Framework, Offer
from mezzo_registry.core.views import allocator_messages, observers

OFFER_TIMEOUT = "offer timeout"
"""The timer of --offer_timeout, for the oldest offer."""


def offer_form(cluster: ClusterState, agent: Agent) -> mesos.Offer:
    """Make the part of an offer that is the same in all offers of an agent."""
    form = mesos.Offer(hostname=agent.info.hostname)
    form.agent_id.CopyFrom(agent.info.id)
    form.attributes.extend(agent.info.attributes)
    if agent.info.HasField("domain"):
        form.domain.CopyFrom(agent.info.domain)
    unavailability = cluster.unavailability(agent)
    if unavailability is not None:
        form.unavailability.CopyFrom(unavailability)
    pid = upid.parse(agent.pid)
    if pid is not None:
        form.url.scheme = "http"
        form.url.address.hostname = agent.info.hostname
        form.url.address.ip = pid.host
        form.url.address.port = pid.port
        form.url.path = f"/{pid.process}"
    return form


def allocations_made(context: Context, event: AllocationsMade) -> None:
    """Make offers of the allocator's advice, where it still fits the cluster state; return the rest."""
    if not is_well_formed(event.allocations):
        context.warn("allocations refused", reason="malformed message")
        return
    outgoing: dict[int, scheduler.Event] = {}
    for allocation in event.allocations.allocations:
        offer = _make(context, allocation)
        if offer is None:
            continue
        events = outgoing.get(allocation.framework)
        if events is None:
            events = outgoing[allocation.framework] = scheduler.Event(type=scheduler.Event.OFFERS)
        events.offers.offers.append(offer.message)
        observers.offer_added(context, offer)
    inverse_offers.allocated(context, event.allocations.inverse_allocations)
    if event.allocations.HasField("cycle"):
        context.state.allocator_cycle = event.allocations.cycle.number
    for number, offers in outgoing.items():
        context.to_framework(context.state.frameworks_by_number[number], offers)


def _make(context: Context, allocation: allocator.Allocation) -> Offer | None:
    cluster, role = context.state, allocation.role
    framework = cluster.frameworks_by_number.get(allocation.framework)
    agent = cluster.agents_by_number.get(allocation.agent)
    if framework is None or agent is None:
        return None  # both sides know that it is gone; what it held went with it
    try:
        resources = resource_cache.value_of(allocation.resources)
    except ResourceError as error:
        context.warn("allocation refused", agent_id=agent.id, framework_id=framework.id, error=str(error))
        return None
    fits = agent.connected and framework.connected and role in framework.roles and agent.available.contains(resources)
    if not fits or not resources:
        context.counters["allocations_refused"] += 1
        allocator_messages.recovered(context, framework, agent, role, resources)
        return None
    offer = Offer(
        id=f"{context.identity.registry_id}-O{cluster.next_offer}",
        framework=framework,
        agent=agent,
        role=role,
        resources=resources,
        message=mesos.Offer(),
        made_at=context.now,
    )
    cluster.next_offer += 1
    _fill(offer)
    cluster.add_offer(offer)
    context.counters["offers_sent"] += 1
    framework.counts.offers_sent += 1
    if not cluster.offer_timer_runs:
        _watch_oldest(context)
    return offer


def _fill(offer: Offer) -> None:
    message, framework, agent = offer.message, offer.framework, offer.agent
    message.CopyFrom(agent.offer_form)
    message.id.value = offer.id
    message.framework_id.value = framework.id
    if framework.multi_role:
        message.resources.extend(resource_cache.allocated(offer.resources, offer.role, framework.form))
        message.allocation_info.role = offer.role
    else:
        message.resources.extend(resource_cache.plain(offer.resources, framework.form))
    if agent.executors:
        for framework_id, executor_id in agent.executors:
            if framework_id == framework.id:
                message.executor_ids.add(value=executor_id)


class Outcome(enum.Enum):
    """How an offer ended."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    RESCINDED = "rescinded"
    """The registry took it back."""
    TIMED_OUT = "timed_out"
    """Nobody answered it for --offer_timeout."""
    WITHDRAWN = "withdrawn"
    """There is nobody any more to answer it."""


def remove(context: Context, offer: Offer, outcome: Outcome, filters: mesos.Filters | None = None) -> None:
    """Remove an offer; what it held goes back to the allocator, with `filters` when it was declined."""
    context.state.drop_offer(offer)
    silent = outcome is Outcome.TIMED_OUT
    framework, agent = offer.framework, offer.agent
    allocator_messages.recovered(context, framework, agent, offer.role, offer.resources, filters, unanswered=silent)
    closed(context, offer, outcome)


def closed(context: Context, offer: Offer, outcome: Outcome) -> None:
    """Do what every offer needs that is no longer out, however it ended."""
    context.counters[f"offers_{outcome.value}"] += 1
    counts = offer.framework.counts
    if outcome is Outcome.ACCEPTED:
        counts.offers_accepted += 1
    elif outcome is Outcome.DECLINED:
        counts.offers_declined += 1
    elif outcome is not Outcome.WITHDRAWN:
        counts.offers_rescinded += 1
    context.state.offer_ages[outcome.value].add(context.now - offer.made_at)
    observers.offer_removed(context, offer)


def rescind(context: Context, offer: Offer, outcome: Outcome = Outcome.RESCINDED) -> None:
    """Rescind an offer, and notify its framework."""
    remove(context, offer, outcome)
    event = scheduler.Event(type=scheduler.Event.RESCIND)
    event.rescind.offer_id.value = offer.id
    context.to_framework(offer.framework, event)


def timed_out(context: Context, _event: TimerFired) -> None:
    """Rescind the offers that are older than --offer_timeout."""
    timeout = context.settings.offer_timeout
    assert timeout is not None
    due = context.now - timeout + TIMER_SECONDS_MIN
    late = list(itertools.takewhile(lambda offer: offer.made_at <= due, context.state.offers.values()))
    for offer in late:
        context.note("offer timed out", offer_id=offer.id, framework_id=offer.framework.id, agent_id=offer.agent.id)
        rescind(context, offer, Outcome.TIMED_OUT)
    _watch_oldest(context)


def _watch_oldest(context: Context) -> None:
    """Start the one timer that serves all offers: they are kept in the order in which they were made."""
    timeout, oldest = context.settings.offer_timeout, next(iter(context.state.offers.values()), None)
    context.state.offer_timer_runs = timeout is not None and oldest is not None
    if timeout is not None and oldest is not None:
        context.start_timer(OFFER_TIMEOUT, max(TIMER_SECONDS_MIN, oldest.made_at + timeout - context.now))


def decline(context: Context, framework: Framework, offer_ids: Iterable[mesos.OfferID], filters: mesos.Filters) -> None:
    """Decline offers. Those that are no longer out need no declining."""
    for offer_id in offer_ids:
        offer = context.state.offers.get(offer_id.value)
        if offer is not None and offer.framework is framework:
            remove(context, offer, Outcome.DECLINED, filters)
