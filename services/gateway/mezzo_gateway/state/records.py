"""What the state copy keeps of each agent, framework and task, with what was last rendered of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from mesos.v1.master.master_pb2 import Response
from mesos.v1.mesos_pb2 import ExecutorInfo, FrameworkInfo, Offer, Task
from mezzo.operator.v1.operator_pb2 import TASK_LIST_ACTIVE
from mezzo.operator.v1.operator_pb2 import TaskList as ListKind
from mezzo.task_states import TERMINAL
from mezzo_gateway.state.resource_counter import Holding, ResourceCounter

Agent = Response.GetAgents.Agent
Framework = Response.GetFrameworks.Framework


class TaskRecord:
    """A task, the list it stands in, and what was rendered of it while nothing has changed."""

    __slots__ = ("first_timestamp", "holding", "legacy_json", "list", "task", "v1_json", "v1_wire")

    def __init__(self, task: Task, kind: ListKind.ValueType, holding: Holding) -> None:
        self.task = task
        self.list = kind
        self.holding = holding
        # When it was first heard of, in seconds since the epoch; 0 before that.
        self.first_timestamp = 0.0
        self.legacy_json: bytes | None = None
        self.v1_json: bytes | None = None
        self.v1_wire: bytes | None = None

    def invalidate(self) -> None:
        """Forget what was rendered."""
        self.legacy_json = self.v1_json = self.v1_wire = None

    @property
    def holds_resources(self) -> bool:
        """Whether its resources are in use: it may run, on an agent that is there."""
        return self.list == TASK_LIST_ACTIVE and self.task.state not in TERMINAL


class TaskList:
    """The tasks of one list of one framework, in order of arrival, with their JSON joined while nothing has changed."""

    __slots__ = ("legacy_joined", "records", "v1_joined")

    def __init__(self) -> None:
        # Active and unreachable tasks go by task id; completed ones by task and agent id, as an id may be used again.
        self.records: dict[object, TaskRecord] = {}
        self.legacy_joined: bytes | None = None
        self.v1_joined: bytes | None = None

    def invalidate(self) -> None:
        """Forget the joined JSON."""
        self.legacy_joined = self.v1_joined = None


@dataclass(slots=True)
class Holdings:
    """What an agent or a framework has in use and on offer, and how its tasks stand."""

    used: ResourceCounter = field(default_factory=ResourceCounter)
    offered: ResourceCounter = field(default_factory=ResourceCounter)
    # Tasks of every list by state.
    states: Counter[int] = field(default_factory=Counter)
    # How many tasks and executors lie with each peer: framework ids for an agent, agent ids for a framework.
    peers: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class ExecutorRecord:
    """An executor on an agent."""

    executor_info: ExecutorInfo
    agent_id: str
    holding: Holding


@dataclass(slots=True)
class OfferRecord:
    """An outstanding offer."""

    offer: Offer
    holding: Holding
    # When the registry made it, in seconds since the epoch; None where the registry is too old to say.
    made_at: float | None = None


@dataclass(slots=True)
class AgentRecord:
    """An agent, with what was rendered of it while nothing has changed: for `/state`, for `/slaves`, for the v1 API."""

    message: Agent
    connected: bool
    recovered: bool
    mezzo_version: str = ""
    # What only another AgentChanged changes, for `/state` and, with `full`, for `/slaves`.
    fixed: dict[str, object] | None = None
    fixed_full: dict[str, object] | None = None
    # What is reserved on it, by role and name, in thousandths.
    reserved: dict[str, dict[str, int]] | None = None
    legacy_json: bytes | None = None
    full_json: bytes | None = None
    v1_json: bytes | None = None
    v1_wire: bytes | None = None

    def invalidate(self) -> None:
        """Forget what says what is used and offered."""
        self.legacy_json = self.full_json = self.v1_json = self.v1_wire = None


@dataclass(frozen=True, slots=True)
class LostAgent:
    """An agent that is unreachable or gone."""

    # In seconds since the epoch; None where the registry is too old to say.
    since: float | None
    # Empty where it was lost before this copy began: registries do not store it.
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class RoleRecord:
    """What is configured for a role; amounts by the name of the resource. One that is not named has none."""

    weight: float = 1.0
    guarantees: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_quota(self) -> bool:
        return bool(self.guarantees or self.limits)


@dataclass(slots=True)
class FrameworkRecord:
    """A framework with its tasks, executors and offers."""

    framework_id: str
    # Not set while only tasks of it are known.
    message: Framework | None = None
    client_address: str = ""
    completed: bool = False
    active: TaskList = field(default_factory=TaskList)
    unreachable: TaskList = field(default_factory=TaskList)
    finished: TaskList = field(default_factory=TaskList)
    executors: dict[tuple[str, str], ExecutorRecord] = field(default_factory=dict)
    offers: dict[str, OfferRecord] = field(default_factory=dict)
    holdings: Holdings = field(default_factory=Holdings)

    @property
    def task_lists(self) -> tuple[TaskList, TaskList, TaskList]:
        """Its lists of tasks: active, unreachable, completed."""
        return self.active, self.unreachable, self.finished

    def roles(self) -> list[str]:
        """The roles it is subscribed to."""
        if self.message is None:
            return []
        info = self.message.framework_info
        return list(info.roles) if multi_role(info) else [info.role]


def multi_role(info: FrameworkInfo) -> bool:
    """Whether `roles` rather than `role` counts."""
    return any(capability.type == FrameworkInfo.Capability.MULTI_ROLE for capability in info.capabilities)
