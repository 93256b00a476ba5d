"""Inverse offers: frameworks are asked to leave agents that will be unavailable, and say whether they can."""

import itertools
from collections.abc import Iterable

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.allocator import allocator_pb2 as mesos_allocator
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo_registry.core.context import Context
from mezzo_registry.core.events import TimerFired
from mezzo_registry.core.settings import TIMER_SECONDS_MIN
from mezzo_registry.core.state.entities import Agent, Framework, InverseOffer
from mezzo_registry.core.state.times import time_info
from mezzo_registry.core.views import allocator_messages

Event = scheduler.Event
Answered = allocator.InverseOfferAnswered
Status = mesos_allocator.InverseOfferStatus

INVERSE_OFFER_TIMEOUT = "inverse offer timeout"
"""The timer of --offer_timeout, for the oldest inverse offer."""

_STATUSES = {Answered.ANSWER_ACCEPTED: Status.ACCEPT, Answered.ANSWER_DECLINED: Status.DECLINE}
_NAMES = {Answered.ANSWER_ACCEPTED: "accepted", Answered.ANSWER_DECLINED: "declined"}


def allocated(context: Context, allocations: Iterable[allocator.InverseAllocation]) -> None:
    """Make inverse offers of the allocator's advice, where it still fits the cluster state."""
    outgoing: dict[int, scheduler.Event] = {}
    for allocation in allocations:
        offer = _make(context, allocation)
        if offer is not None:
            event = outgoing.setdefault(allocation.framework, Event(type=Event.INVERSE_OFFERS))
            event.inverse_offers.inverse_offers.append(_message(offer))
    for number, event in outgoing.items():
        context.to_framework(context.state.frameworks_by_number[number], event)


def _make(context: Context, allocation: allocator.InverseAllocation) -> InverseOffer | None:
    cluster = context.state
    framework = cluster.frameworks_by_number.get(allocation.framework)
    agent = cluster.agents_by_number.get(allocation.agent)
    if framework is None or agent is None or agent.id in framework.inverse_offers:
        return None  # both sides know that it is gone, or it is out already
    unavailability = cluster.unavailability(agent)
    if not framework.connected or not agent.connected or unavailability != allocation.unavailability:
        allocator_messages.inverse_offer_answered(context, framework, agent, Answered.ANSWER_UNSPECIFIED)
        return None
    offer = InverseOffer(
        id=f"{context.identity.registry_id}-O{cluster.next_offer}",
        framework=framework,
        agent=agent,
        unavailability=allocation.unavailability,
        made_at=context.now,
    )
    cluster.next_offer += 1
    cluster.add_inverse_offer(offer)
    context.counters["inverse_offers_sent"] += 1
    if not cluster.inverse_offer_timer_runs:
        _watch_oldest(context)
    return offer


def _message(offer: InverseOffer) -> mesos.InverseOffer:
    """Make the message, without resources: all that the framework has on the agent is meant."""
    message = mesos.InverseOffer(unavailability=offer.unavailability)
    message.id.value = offer.id
    message.framework_id.value = offer.framework.id
    message.agent_id.value = offer.agent.id
    if offer.agent.offer_form.HasField("url"):
        message.url.CopyFrom(offer.agent.offer_form.url)
    return message


def answer(
    context: Context,
    framework: Framework,
    offer_ids: Iterable[mesos.OfferID],
    reply: "Answered.Answer.ValueType",
    filters: mesos.Filters,
) -> None:
    """Record whether a framework will have left by then. What is no longer out needs no answer."""
    for offer_id in offer_ids:
        offer = context.state.inverse_offers.get(offer_id.value)
        if offer is None or offer.framework is not framework:
            continue
        status = Status(status=_STATUSES[reply], timestamp=time_info(context.now))
        status.framework_id.value = framework.id
        offer.agent.inverse_statuses[framework.id] = status
        context.state.drop_inverse_offer(offer)
        context.counters[f"inverse_offers_{_NAMES[reply]}"] += 1
        allocator_messages.inverse_offer_answered(context, framework, offer.agent, reply, filters)


def rescind(context: Context, offers: Iterable[InverseOffer]) -> None:
    """Rescind inverse offers, and notify their frameworks."""
    for offer in list(offers):
        context.state.drop_inverse_offer(offer)
        context.counters["inverse_offers_rescinded"] += 1
        event = Event(type=Event.RESCIND_INVERSE_OFFER)
        event.rescind_inverse_offer.inverse_offer_id.value = offer.id
        context.to_framework(offer.framework, event)
        allocator_messages.inverse_offer_answered(context, offer.framework, offer.agent, Answered.ANSWER_UNSPECIFIED)


def forget(context: Context, framework: Framework) -> None:
    """Forget what a framework that is gone has answered."""
    if context.state.plan:
        for agent in context.state.agents.values():
            agent.inverse_statuses.pop(framework.id, None)


def timed_out(context: Context, _event: TimerFired) -> None:
    """Rescind inverse offers that were not answered in time: the allocator makes new ones."""
    timeout = context.settings.offer_timeout
    assert timeout is not None
    due = context.now - timeout + TIMER_SECONDS_MIN
    rescind(context, itertools.takewhile(lambda offer: offer.made_at <= due, context.state.inverse_offers.values()))
    _watch_oldest(context)


def _watch_oldest(context: Context) -> None:
    """Start the one timer that serves all: they are kept in the order in which they were made."""
    timeout, oldest = context.settings.offer_timeout, next(iter(context.state.inverse_offers.values()), None)
    context.state.inverse_offer_timer_runs = timeout is not None and oldest is not None
    if timeout is not None and oldest is not None:
        context.start_timer(INVERSE_OFFER_TIMEOUT, max(TIMER_SECONDS_MIN, oldest.made_at + timeout - context.now))


def of_agent(context: Context, agent: Agent) -> list[InverseOffer]:
    """Return the outstanding inverse offers about an agent."""
    return [context.state.frameworks[one].inverse_offers[agent.id] for one in agent.inverse_offers]
