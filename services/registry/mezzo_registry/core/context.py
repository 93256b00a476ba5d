"""The context of one event: everything that a decision may look at, and the effects so far."""

from collections import Counter

from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.operator.v1 import operator_pb2 as operator
from mezzo_registry.core import effects
from mezzo_registry.core.events import Timer
from mezzo_registry.core.settings import Identity, Settings
from mezzo_registry.core.state.cluster import ClusterState
from mezzo_registry.core.state.entities import Agent, Framework


class Context:
    """The cluster state, the time, and the effects so far. One object serves all events of a registry."""

    __slots__ = ("counters", "effects", "identity", "now", "settings", "state")

    def __init__(self, identity: Identity, settings: Settings) -> None:
        self.identity = identity
        self.settings = settings
        self.state = ClusterState()
        self.counters: Counter[str] = Counter()
        """Mesos' own metric names → how often it happened in this term."""
        self.now = identity.elected_at
        """Seconds since the epoch."""
        self.effects: list[effects.Effect] = []

    def emit(self, effect: effects.Effect) -> None:
        """Add an effect."""
        self.effects.append(effect)

    def to_agent(self, agent: Agent, message: agent_session.RegistryMessage) -> None:
        """Send to an agent; an agent without a stream is resynced when it comes back."""
        if agent.session is not None:
            self.effects.append(effects.SendToAgent(agent.session, message))

    def send_framework_info(self, agent: Agent, framework: Framework) -> None:
        """Send an agent the framework's current FrameworkInfo, unless this session has it."""
        framework_id = framework.info.id.value
        if agent.sent_versions.get(framework_id) != framework.info_version and agent.session is not None:
            agent.sent_versions[framework_id] = framework.info_version
            update = agent_session.FrameworkUpdate(framework_info=framework.info)
            self.effects.append(
                effects.SendToAgent(agent.session, agent_session.RegistryMessage(framework_update=update))
            )

    def to_framework(self, framework: Framework, event: scheduler.Event) -> None:
        """Send to a framework; without a stream it learns what it missed when it reconciles."""
        if framework.stream_id is not None:
            framework.counts.events[event.type] += 1
            self.effects.append(effects.SendToFramework(framework.stream_id, event))

    def to_allocator(self, message: allocator.RegistryMessage) -> None:
        """Send to the allocator; an absent one gets a snapshot when it comes back."""
        if self.state.allocator_connected:
            self.effects.append(effects.SendToAllocator(message))

    @property
    def observed(self) -> bool:
        """Whether anybody watches. Nothing is built for observers when nobody does."""
        return bool(self.state.observers)

    def publish(self, change: operator.StateChange) -> None:
        """Send a change to every observer."""
        self.effects.append(effects.Publish(change))

    def start_timer(self, purpose: str, after_seconds: float, subject: str = "") -> None:
        """Start a timer, or restart it."""
        self.effects.append(effects.StartTimer(Timer(purpose, subject), after_seconds))

    def cancel_timer(self, purpose: str, subject: str = "") -> None:
        """Cancel a timer."""
        self.effects.append(effects.CancelTimer(Timer(purpose, subject)))

    def note(self, event: str, **details: object) -> None:
        """Log what an operator may want to know."""
        self.effects.append(effects.Note("info", event, details))

    def warn(self, event: str, **details: object) -> None:
        """Log that a peer did something wrong, or that something was lost."""
        self.effects.append(effects.Note("warning", event, details))
