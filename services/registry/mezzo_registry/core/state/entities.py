"""What a cluster is made of: agents, frameworks, tasks, executors, offers and inverse offers.

Each is a plain record. `ClusterState` enters, changes and drops them, and keeps the indices that depend on them.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.allocator.allocator_pb2 import InverseOfferStatus
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.resources import Form, Resources
from mezzo.task_states import TERMINAL
from mezzo_registry.core.state.framework_metrics import FrameworkCounts
from mezzo_registry.core.state.transitions import AgentState, FrameworkState

TaskKey = tuple[str, str]
"""Framework id, task id."""
ExecutorKey = tuple[str, str]
"""Framework id, executor id."""


@dataclass(slots=True, eq=False, repr=False)
class Agent:
    """An agent that is admitted."""

    number: int
    """Its name on the session with the allocator."""
    info: mesos.AgentInfo
    total: Resources
    state: AgentState
    last_seen_at: float
    """When a message of it last came. Seconds since the epoch."""
    available: Resources
    """What nobody holds, without allocations."""
    session: int | None = None
    version: str = ""
    """Of Mesos, whose API it speaks."""
    mezzo_version: str = ""
    pid: str = ""
    capabilities: tuple[mesos.AgentInfo.Capability, ...] = ()
    registered_at: float | None = None
    reregistered_at: float | None = None
    was_unreachable: bool = False
    """It is coming back from being unreachable: the frameworks of its tasks are to be notified."""
    removal_scheduled: bool = False
    """Its silence was too long; it waits for the rate limit."""
    tasks: dict[TaskKey, "Task"] = field(default_factory=dict)
    executors: dict[ExecutorKey, "Executor"] = field(default_factory=dict)
    offers: dict[str, "Offer"] = field(default_factory=dict)
    sent_versions: dict[str, int] = field(default_factory=dict)
    """Framework id → the `info_version` that was sent on this session."""
    kills: dict[TaskKey, agent_session.RegistryMessage] = field(default_factory=dict)
    """Kills that no terminal update has answered; sent again when the agent comes back."""
    acknowledged: dict[TaskKey, bytes] = field(default_factory=dict)
    """The updates that frameworks acknowledged last, by their uuid: the agent may not have received that."""
    inverse_offers: set[str] = field(default_factory=set)
    """The frameworks that are asked to leave it and have not answered, by id."""
    inverse_statuses: dict[str, InverseOfferStatus] = field(default_factory=dict)
    """Framework id → what it said last when it was asked to leave."""
    offer_form: mesos.Offer = field(default_factory=mesos.Offer)
    """The part of an offer that is the same in all offers of this agent."""

    @property
    def id(self) -> str:
        """The registry id of its admission, "-S" and a number."""
        return self.info.id.value

    @property
    def connected(self) -> bool:
        """Whether messages reach it."""
        return self.state is AgentState.CONNECTED


@dataclass(slots=True, eq=False, repr=False)
class Framework:
    """A framework, subscribed or known from the agents that run its tasks."""

    number: int
    """Its name on the session with the allocator."""
    info: mesos.FrameworkInfo
    state: FrameworkState
    roles: tuple[str, ...]
    partition_aware: bool = False
    multi_role: bool = False
    form: Form = Form.LEGACY
    """How it understands reservations."""
    stream_id: str | None = None
    client_address: str = ""
    info_version: int = 0
    """Counts the changes of its FrameworkInfo."""
    suppressed: set[str] = field(default_factory=set)
    revived_without_launch: bool = False
    """It sent REVIVE, and has launched nothing since."""
    constraints: scheduler.OfferConstraints | None = None
    registered_at: float | None = None
    reregistered_at: float | None = None
    unregistered_at: float | None = None
    tasks: dict[str, "Task"] = field(default_factory=dict)
    """Not terminal, or not yet acknowledged."""
    unreachable: "OrderedDict[str, Task]" = field(default_factory=OrderedDict)
    """Last seen on agents that are out of reach."""
    completed: "deque[Task]" = field(default_factory=deque)
    executors: dict[tuple[str, str], "Executor"] = field(default_factory=dict)
    """By agent id and executor id."""
    offers: dict[str, "Offer"] = field(default_factory=dict)
    inverse_offers: dict[str, "InverseOffer"] = field(default_factory=dict)
    """By agent id."""
    agents: dict[str, int] = field(default_factory=dict)
    """Agent id → how many of its tasks and executors are there."""
    counts: FrameworkCounts = field(default_factory=FrameworkCounts)

    @property
    def id(self) -> str:
        """A registry id, a dash and four digits; or the id that it brought along."""
        return self.info.id.value

    @property
    def connected(self) -> bool:
        """Whether events reach it."""
        return self.state is FrameworkState.CONNECTED


@dataclass(slots=True, eq=False, repr=False)
class Task:
    """A task, from its acceptance until its terminal update is acknowledged; after that, a memory of it."""

    id: str
    framework: Framework
    agent: Agent
    source: mesos.TaskInfo | mesos.Task
    """What is known of it besides: what the framework asked for, or what the agent reported."""
    resources: Resources
    """What it holds, without allocation: `role` says it for all."""
    role: str
    executor_id: str
    """Empty for a command task."""
    state: "mesos.TaskState.ValueType" = mesos.TASK_STAGING
    """The newest state that anybody knows."""
    statuses: list[mesos.TaskStatus] = field(default_factory=list)
    """The newest of each run of equal states, as they were forwarded."""
    pending: mesos.TaskStatus | None = None
    """The update that was forwarded and is not acknowledged."""
    announced: "mesos.TaskState.ValueType | None" = None
    """The state of the next update, as the agent told it when it came back; None once an update has come."""
    launch: agent_session.RegistryMessage | None = None
    """The order that started it, until the agent has shown that it knows the task."""
    reported: bool = False
    """Whether the agent has shown that it knows the task."""

    @property
    def key(self) -> TaskKey:
        """Framework id, task id."""
        return (self.framework.info.id.value, self.id)

    @property
    def terminal(self) -> bool:
        """Whether it has ended, as far as anybody knows."""
        return self.state in TERMINAL


@dataclass(slots=True, eq=False, repr=False)
class Executor:
    """A framework's executor on an agent. Command tasks have none."""

    info: mesos.ExecutorInfo
    framework: Framework
    agent: Agent
    resources: Resources
    """What the executor itself holds, without allocation."""
    role: str

    @property
    def key(self) -> ExecutorKey:
        """Framework id, executor id."""
        return (self.framework.info.id.value, self.info.executor_id.value)


@dataclass(slots=True, eq=False, repr=False)
class Offer:
    """An outstanding offer."""

    id: str
    framework: Framework
    agent: Agent
    role: str
    resources: Resources
    """Without allocation: `role` says it for all."""
    message: mesos.Offer
    """As it was sent."""
    made_at: float
    """Seconds since the epoch."""


@dataclass(slots=True, eq=False, repr=False)
class InverseOffer:
    """An outstanding inverse offer: a framework is asked to leave an agent, with all that it has there."""

    id: str
    framework: Framework
    agent: Agent
    unavailability: mesos.Unavailability
    made_at: float
    """Seconds since the epoch."""
