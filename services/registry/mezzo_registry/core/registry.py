"""The registry: owns the truth about agents, frameworks, tasks and offers. Events in, effects out."""

from collections.abc import Callable, Mapping
from typing import Any

from mezzo_registry.core import election, events, invariants
from mezzo_registry.core.agents import registration, removal, whitelist
from mezzo_registry.core.context import Context
from mezzo_registry.core.effects import Effect
from mezzo_registry.core.frameworks import calls, subscription, teardown
from mezzo_registry.core.offers import inverse_offers, offering
from mezzo_registry.core.operators import maintenance_calls, operator_calls, role_calls
from mezzo_registry.core.settings import Identity, Settings
from mezzo_registry.core.state.cluster import ClusterState
from mezzo_registry.core.state.offer_ages import OfferAges
from mezzo_registry.core.tasks import updates
from mezzo_registry.core.views import allocator_messages, measures, observers


class Registry:
    """One term of leadership. The same events, at the same times, give the same effects.

    Not for several threads. What a peer says wrongly becomes a `Refuse`, a closed stream or a counted drop; what
    `handle` raises is a mistake in here.
    """

    def __init__(self, identity: Identity, settings: Settings | None = None) -> None:
        self._context = Context(identity, settings or Settings())

    @property
    def state(self) -> ClusterState:
        """What is held to be true. For reading."""
        return self._context.state

    @property
    def settings(self) -> Settings:
        """The flags that decisions depend on."""
        return self._context.settings

    @property
    def identity(self) -> Identity:
        """Who leads."""
        return self._context.identity

    def handle(self, event: events.Event, *, now: float) -> list[Effect]:
        """Decide what follows from an event that happened at `now`, in seconds since the epoch.

        Raises:
            InvalidTransition: something was to enter a state that cannot follow its own, with its story.
        """
        context = self._context
        context.now = now
        emitted: list[Effect] = []
        context.effects = emitted
        story = context.state.story
        story.now, story.event = now, event
        _TABLE[type(event)](context, event)
        return emitted

    def measure(self, *, now: float, in_full: bool = False) -> dict[str, float]:
        """Return the metrics, by Mesos' names; with those of single frameworks and roles if `in_full`."""
        self._context.now = now
        return measures.measure(self._context, in_full=in_full)

    def heartbeat_sent(self, stream_id: str) -> None:
        """Count a heartbeat that was sent on a framework's stream: the one event that is not the core's."""
        framework = self._context.state.frameworks_by_stream.get(stream_id)
        if framework is not None:
            framework.counts.events[subscription.HEARTBEAT.type] += 1

    def oldest_offer_seconds(self, *, now: float) -> float:
        """Return the age of the oldest outstanding offer; 0 when there is none."""
        oldest = next(iter(self._context.state.offers.values()), None)
        return max(0.0, now - oldest.made_at) if oldest is not None else 0.0

    @property
    def offer_ages(self) -> Mapping[str, OfferAges]:
        """How old offers were when they ended, by how they did."""
        return self._context.state.offer_ages

    def validate(self) -> None:
        """Compare every index of the cluster state with what it repeats. Changes nothing; takes 5 µs for each task.

        Raises:
            InvariantViolation: some differ; it names them.
        """
        invariants.check(self._context.state, self._context.settings)


def _allocator_connected(context: Context, _event: events.AllocatorConnected) -> None:
    allocator_messages.connected(context)


def _allocator_ready(context: Context, event: events.AllocatorReady) -> None:
    if context.state.allocator_flags != event.flags:
        context.state.allocator_flags = dict(event.flags)
        observers.flags_changed(context)


def _allocator_disconnected(context: Context, _event: events.AllocatorDisconnected) -> None:
    allocator_messages.disconnected(context)


def _timer_fired(context: Context, event: events.TimerFired) -> None:
    _TIMERS[event.timer.purpose](context, event)


_TABLE: dict[type, Callable[[Context, Any], None]] = {
    events.Elected: election.elected,
    events.AgentRegistering: registration.registering,
    events.AgentStored: registration.stored,
    events.AgentHeartbeatReceived: registration.heartbeat,
    events.AgentDisconnected: removal.disconnected,
    events.AgentLeaving: removal.leaving,
    events.AgentMarkedUnreachable: removal.marked_unreachable,
    events.TaskUpdated: updates.task_updated,
    events.ExecutorExited: updates.executor_exited,
    events.ExecutorMessageReceived: updates.message_to_framework,
    events.WhitelistUpdated: whitelist.updated,
    events.FrameworkSubscribing: subscription.subscribing,
    events.FrameworkStreamClosed: subscription.stream_closed,
    events.FrameworkCalled: calls.called,
    events.AllocatorConnected: _allocator_connected,
    events.AllocatorDisconnected: _allocator_disconnected,
    events.AllocatorReady: _allocator_ready,
    events.AllocationsMade: offering.allocations_made,
    events.OperatorCalled: operator_calls.called,
    events.OperatorKilledTask: operator_calls.killed_task,
    events.RolesStored: role_calls.stored,
    events.MaintenanceStored: maintenance_calls.stored,
    events.ObserverJoined: observers.joined,
    events.ObserverReady: observers.ready,
    events.ObserverLeft: observers.left,
    events.TimerFired: _timer_fired,
}

_TIMERS: dict[str, Callable[[Context, events.TimerFired], None]] = {
    removal.PINGS: removal.pinged,
    removal.REMOVAL_PERMIT: removal.removal_permitted,
    removal.REREGISTRATION: removal.reregistration_ended,
    election.GARBAGE: election.garbage_due,
    subscription.FAILOVER: teardown.timed_out,
    offering.OFFER_TIMEOUT: offering.timed_out,
    inverse_offers.INVERSE_OFFER_TIMEOUT: inverse_offers.timed_out,
}
