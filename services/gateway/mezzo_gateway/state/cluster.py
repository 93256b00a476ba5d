"""The copy of the cluster: each change of `Operator.Watch` is applied here, and nothing else changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mesos.v1.mesos_pb2 import ExecutorInfo, Offer, Task, TaskState, TaskStatus
from mezzo.operator.v1.operator_pb2 import (
    TASK_LIST_COMPLETED,
    TASK_LIST_UNREACHABLE,
    AgentChanged,
    AgentGone,
    ExecutorAdded,
    ExecutorRemoved,
    FlagsChanged,
    FrameworkChanged,
    FrameworkForgotten,
    OfferAdded,
    OfferRemoved,
    RoleChanged,
    SnapshotBegin,
    StateChange,
    TaskAdded,
    TaskForgotten,
    TaskUpdated,
)
from mezzo.operator.v1.operator_pb2 import (
    TaskList as ListKind,
)
from mezzo.task_states import TERMINAL
from mezzo_gateway.state.records import (
    Agent,
    AgentRecord,
    ExecutorRecord,
    Framework,
    FrameworkRecord,
    Holdings,
    LostAgent,
    OfferRecord,
    RoleRecord,
    TaskList,
    TaskRecord,
)
from mezzo_gateway.state.resource_counter import Portions, shown


@dataclass(frozen=True, slots=True)
class AgentAppeared:
    """An agent is there that was not, or not as more than a memory of the store."""

    agent: AgentRecord


@dataclass(frozen=True, slots=True)
class AgentDisappeared:
    """An agent was removed or marked unreachable."""

    agent_id: str


@dataclass(frozen=True, slots=True)
class FrameworkAppeared:
    """A framework subscribed for the first time."""

    framework: FrameworkRecord


@dataclass(frozen=True, slots=True)
class FrameworkUpdated:
    """Something that is known of a framework changed."""

    framework: FrameworkRecord


@dataclass(frozen=True, slots=True)
class FrameworkDisappeared:
    """A framework completed."""

    framework: FrameworkRecord


@dataclass(frozen=True, slots=True)
class TaskAppeared:
    """A task is there that was not."""

    task: TaskRecord


@dataclass(frozen=True, slots=True)
class TaskAdvanced:
    """A task has a new status."""

    task: TaskRecord
    status: TaskStatus


Fact = (
    AgentAppeared
    | AgentDisappeared
    | FrameworkAppeared
    | FrameworkUpdated
    | FrameworkDisappeared
    | TaskAppeared
    | TaskAdvanced
)


class Cluster:
    """All that is known of a cluster since one snapshot.

    What is kept of a change is copied: a part of a message keeps the whole message in memory.

    Public attributes are for reading. Changes may come in any order within a snapshot: a task that comes before its
    agent or framework is kept, and shown once they are there.
    """

    def __init__(self, begin: SnapshotBegin) -> None:
        self.begin = SnapshotBegin()
        self.begin.CopyFrom(begin)
        self.flags = dict(begin.flags)
        self.agents: dict[str, AgentRecord] = {}
        self.unreachable_agents: dict[str, LostAgent] = {}
        # Marked gone by an operator.
        self.gone_agents: dict[str, LostAgent] = {}
        self.frameworks: dict[str, FrameworkRecord] = {}
        self.completed_frameworks: dict[str, FrameworkRecord] = {}
        self.agent_holdings: dict[str, Holdings] = {}
        self.offers: dict[str, OfferRecord] = {}
        self.roles: dict[str, RoleRecord] = {}
        self._portions = Portions()

    def apply(self, change: StateChange) -> Fact | None:
        """Apply one change; what an observer of the cluster would be told of it, if anything."""
        kind = change.WhichOneof("change")
        apply = _APPLY.get(kind) if kind else None
        # A newer registry may tell of more than this gateway knows.
        return apply(self, getattr(change, kind)) if apply and kind else None

    # ------------------------------------------------------------------------------------------------ look-ups

    def framework(self, framework_id: str) -> FrameworkRecord | None:
        """The framework, completed or not."""
        return self.frameworks.get(framework_id) or self.completed_frameworks.get(framework_id)

    def all_frameworks(self) -> Iterable[FrameworkRecord]:
        """Every framework, those that are not completed first."""
        yield from self.frameworks.values()
        yield from self.completed_frameworks.values()

    def task(self, framework_id: str, task_id: str) -> TaskRecord | None:
        """The task; of several completed ones with its id, the latest."""
        framework = self.framework(framework_id)
        if framework is None:
            return None
        found = framework.active.records.get(task_id) or framework.unreachable.records.get(task_id)
        if found is not None:
            return found
        return next(
            (r for r in reversed(framework.finished.records.values()) if r.task.task_id.value == task_id),
            None,
        )

    # -------------------------------------------------------------------------------------------------- agents

    def _flags_changed(self, change: FlagsChanged) -> None:
        self.flags = dict(change.flags)

    def _agent_changed(self, change: AgentChanged) -> Fact | None:
        agent_id = change.agent.agent_info.id.value
        known = self.agents.get(agent_id)
        agent = Agent()
        agent.CopyFrom(change.agent)
        del agent.total_resources[:]
        agent.total_resources.extend(shown(change.agent.total_resources))
        record = AgentRecord(agent, change.connected, change.recovered, change.mezzo_version)
        self.agents[agent_id] = record
        self.unreachable_agents.pop(agent_id, None)
        appeared = not change.recovered and (known is None or known.recovered)
        return AgentAppeared(record) if appeared else None

    def _agent_gone(self, change: AgentGone) -> Fact | None:
        agent_id = change.agent_id.value
        known = self.agents.pop(agent_id, None)
        was = self.unreachable_agents.pop(agent_id, None)
        if change.unreachable or change.gone:
            hostname = known.message.agent_info.hostname if known else was.hostname if was else ""
            since = change.since if change.HasField("since") else None
            lost = self.gone_agents if change.gone else self.unreachable_agents
            lost[agent_id] = LostAgent(since, hostname)
        self._forget_holdings_of_nobody(agent_id)
        return AgentDisappeared(agent_id) if known else None

    def _holdings_of_agent(self, agent_id: str) -> Holdings:
        holdings = self.agent_holdings.get(agent_id)
        if holdings is None:
            holdings = self.agent_holdings[agent_id] = Holdings()
        return holdings

    def _both_holdings(self, framework: FrameworkRecord, agent_id: str) -> tuple[tuple[Holdings, str], ...]:
        """The holdings that a task or executor counts in, each with the peer that it counts for there."""
        return (self._holdings_of_agent(agent_id), framework.framework_id), (framework.holdings, agent_id)

    def _forget_holdings_of_nobody(self, agent_id: str) -> None:
        holdings = self.agent_holdings.get(agent_id)
        if holdings is not None and agent_id not in self.agents and not holdings.peers and not holdings.offered:
            del self.agent_holdings[agent_id]

    def _invalidate_agent(self, agent_id: str) -> None:
        agent = self.agents.get(agent_id)
        if agent is not None:
            agent.invalidate()

    # ---------------------------------------------------------------------------------------------- frameworks

    def _framework_of(self, framework_id: str) -> FrameworkRecord:
        framework = self.framework(framework_id)
        if framework is None:
            framework = self.frameworks[framework_id] = FrameworkRecord(framework_id)
        return framework

    def _framework_changed(self, change: FrameworkChanged) -> Fact | None:
        framework_id = change.framework.framework_info.id.value
        record = self._framework_of(framework_id)
        is_new, was_completed = record.message is None, record.completed
        record.message = Framework()
        record.message.CopyFrom(change.framework)
        record.completed = change.completed
        record.client_address = change.client_address
        if change.completed and not was_completed:
            self.completed_frameworks[framework_id] = self.frameworks.pop(framework_id)
            return None if is_new else FrameworkDisappeared(record)
        if was_completed and not change.completed:
            self.frameworks[framework_id] = self.completed_frameworks.pop(framework_id)
            return FrameworkAppeared(record)
        if change.completed:
            return None
        return FrameworkAppeared(record) if is_new else FrameworkUpdated(record)

    def _framework_forgotten(self, change: FrameworkForgotten) -> Fact | None:
        framework_id = change.framework_id.value
        framework = self.framework(framework_id)
        if framework is None:
            return None
        for task_list in framework.task_lists:
            for record in list(task_list.records.values()):
                self._forget_task(framework, record)
        for agent_id, executor_id in list(framework.executors):
            self._remove_executor(framework, agent_id, executor_id)
        for offer_id in list(framework.offers):
            self._remove_offer(offer_id)
        self.frameworks.pop(framework_id, None)
        self.completed_frameworks.pop(framework_id, None)
        return None

    # --------------------------------------------------------------------------------------------------- tasks

    def _task_added(self, change: TaskAdded) -> Fact | None:
        task = Task()
        task.CopyFrom(change.task)
        framework = self._framework_of(task.framework_id.value)
        record = TaskRecord(task, change.list, self._portions.split(task.resources))
        known = self._find(framework, task.task_id.value, task.agent_id.value, change.list)
        if known is not None:
            self._forget_task(framework, known)
        self._add_to_list(framework, record)
        self._count_in(framework, record)
        return TaskAppeared(record) if known is None else None

    def _task_updated(self, change: TaskUpdated) -> Fact | None:
        framework = self._framework_of(change.framework_id.value)
        record = self._find(framework, change.status.task_id.value, change.agent_id.value, change.list)
        if record is None:
            return None
        task, status = record.task, change.status
        latest = change.latest if change.HasField("latest") else status
        is_news = task.state != latest.state or not task.statuses or task.statuses[-1].uuid != status.uuid
        stays = not change.list or change.list == record.list
        holds_on = stays and record.holds_resources and latest.state not in TERMINAL
        if holds_on:
            self._count_state(framework, record, latest.state)
        else:
            self._count_out(framework, record)
        task.state = latest.state
        _append_status(task, status)
        if change.unacknowledged:
            task.status_update_state = status.state
            if status.HasField("uuid"):
                task.status_update_uuid = status.uuid
        if not stays:
            self._remove_from_list(framework, record)
            record.list = change.list
            self._add_to_list(framework, record)
        if holds_on:
            self._show_anew(framework, record)
        else:
            self._count_in(framework, record)
        return TaskAdvanced(record, status) if is_news else None

    def _task_forgotten(self, change: TaskForgotten) -> Fact | None:
        framework = self.framework(change.framework_id.value)
        if framework is not None:
            key = _list_key(change.list, change.task_id.value, change.agent_id.value)
            record = _list_of(framework, change.list).records.get(key)
            if record is not None:
                self._forget_task(framework, record)
        return None

    def _find(
        self, framework: FrameworkRecord, task_id: str, agent_id: str, target: ListKind.ValueType
    ) -> TaskRecord | None:
        """The task as it stands now. A completed task is another one, unless it is itself told of as completed."""
        found = framework.active.records.get(task_id) or framework.unreachable.records.get(task_id)
        if found is None and target == TASK_LIST_COMPLETED:
            found = framework.finished.records.get((task_id, agent_id))
        return found

    def _add_to_list(self, framework: FrameworkRecord, record: TaskRecord) -> None:
        task = record.task
        _list_of(framework, record.list).records[_list_key(record.list, task.task_id.value, task.agent_id.value)] = (
            record
        )

    def _remove_from_list(self, framework: FrameworkRecord, record: TaskRecord) -> None:
        task, task_list = record.task, _list_of(framework, record.list)
        del task_list.records[_list_key(record.list, task.task_id.value, task.agent_id.value)]
        task_list.invalidate()

    def _forget_task(self, framework: FrameworkRecord, record: TaskRecord) -> None:
        self._count_out(framework, record)
        self._remove_from_list(framework, record)
        self._forget_holdings_of_nobody(record.task.agent_id.value)

    def _count_in(self, framework: FrameworkRecord, record: TaskRecord) -> None:
        """Count a task in that is new or has changed, and have its JSON made again."""
        task = record.task
        for holdings, peer in self._both_holdings(framework, task.agent_id.value):
            holdings.states[task.state] += 1
            holdings.peers[peer] += 1
            if record.holds_resources:
                holdings.used.add(record.holding)
        self._show_anew(framework, record)

    def _count_state(self, framework: FrameworkRecord, record: TaskRecord, state: TaskState.ValueType) -> None:
        """Count a task as being in another state, where nothing else of it changes."""
        for holdings, _ in self._both_holdings(framework, record.task.agent_id.value):
            holdings.states[record.task.state] -= 1
            holdings.states[state] += 1

    def _show_anew(self, framework: FrameworkRecord, record: TaskRecord) -> None:
        statuses = record.task.statuses
        _list_of(framework, record.list).invalidate()
        record.invalidate()
        record.first_timestamp = statuses[0].timestamp if statuses else 0.0
        self._invalidate_agent(record.task.agent_id.value)

    def _count_out(self, framework: FrameworkRecord, record: TaskRecord) -> None:
        task = record.task
        for holdings, peer in self._both_holdings(framework, task.agent_id.value):
            holdings.states[task.state] -= 1
            _release_peer(holdings, peer)
            if record.holds_resources:
                holdings.used.remove(record.holding)

    # ----------------------------------------------------------------------------------------------- executors

    def _executor_added(self, change: ExecutorAdded) -> Fact | None:
        info, agent_id = ExecutorInfo(), change.agent_id.value
        info.CopyFrom(change.executor_info)
        framework = self._framework_of(info.framework_id.value)
        if (agent_id, info.executor_id.value) in framework.executors:
            self._remove_executor(framework, agent_id, info.executor_id.value)
        record = ExecutorRecord(info, agent_id, self._portions.split(info.resources))
        framework.executors[agent_id, info.executor_id.value] = record
        for holdings, peer in self._both_holdings(framework, agent_id):
            holdings.peers[peer] += 1
            holdings.used.add(record.holding)
        self._invalidate_agent(agent_id)
        return None

    def _executor_removed(self, change: ExecutorRemoved) -> Fact | None:
        framework = self.framework(change.framework_id.value)
        agent_id, executor_id = change.agent_id.value, change.executor_id.value
        if framework is not None and (agent_id, executor_id) in framework.executors:
            self._remove_executor(framework, agent_id, executor_id)
        return None

    def _remove_executor(self, framework: FrameworkRecord, agent_id: str, executor_id: str) -> None:
        record = framework.executors.pop((agent_id, executor_id))
        for holdings, peer in self._both_holdings(framework, agent_id):
            _release_peer(holdings, peer)
            holdings.used.remove(record.holding)
        self._invalidate_agent(agent_id)

    # ----------------------------------------------------------------------------------------- offers and roles

    def _offer_added(self, change: OfferAdded) -> Fact | None:
        offer = Offer()
        offer.CopyFrom(change.offer)
        self._remove_offer(offer.id.value)
        framework = self._framework_of(offer.framework_id.value)
        made_at = change.made_at if change.HasField("made_at") else None
        record = OfferRecord(offer, self._portions.split(offer.resources), made_at)
        self.offers[offer.id.value] = framework.offers[offer.id.value] = record
        framework.holdings.offered.add(record.holding)
        self._holdings_of_agent(offer.agent_id.value).offered.add(record.holding)
        self._invalidate_agent(offer.agent_id.value)
        return None

    def _offer_removed(self, change: OfferRemoved) -> Fact | None:
        self._remove_offer(change.offer_id.value)
        return None

    def _remove_offer(self, offer_id: str) -> None:
        record = self.offers.pop(offer_id, None)
        if record is None:
            return
        framework = self._framework_of(record.offer.framework_id.value)
        del framework.offers[offer_id]
        framework.holdings.offered.remove(record.holding)
        agent_id = record.offer.agent_id.value
        self._holdings_of_agent(agent_id).offered.remove(record.holding)
        self._invalidate_agent(agent_id)

    def _role_changed(self, change: RoleChanged) -> Fact | None:
        if change.forgotten:
            self.roles.pop(change.role, None)
        else:
            guarantees, limits = dict(change.quota_guarantees), dict(change.quota_limits)
            self.roles[change.role] = RoleRecord(change.weight, guarantees, limits)
        return None


_APPLY: dict[str, Callable[[Cluster, Any], Fact | None]] = {
    "flags_changed": Cluster._flags_changed,  # noqa: SLF001  its own table
    "agent_changed": Cluster._agent_changed,  # noqa: SLF001  its own table
    "agent_gone": Cluster._agent_gone,  # noqa: SLF001  its own table
    "framework_changed": Cluster._framework_changed,  # noqa: SLF001  its own table
    "framework_forgotten": Cluster._framework_forgotten,  # noqa: SLF001  its own table
    "task_added": Cluster._task_added,  # noqa: SLF001  its own table
    "task_updated": Cluster._task_updated,  # noqa: SLF001  its own table
    "task_forgotten": Cluster._task_forgotten,  # noqa: SLF001  its own table
    "executor_added": Cluster._executor_added,  # noqa: SLF001  its own table
    "executor_removed": Cluster._executor_removed,  # noqa: SLF001  its own table
    "offer_added": Cluster._offer_added,  # noqa: SLF001  its own table
    "offer_removed": Cluster._offer_removed,  # noqa: SLF001  its own table
    "role_changed": Cluster._role_changed,  # noqa: SLF001  its own table
}


def _list_of(framework: FrameworkRecord, kind: ListKind.ValueType) -> TaskList:
    if kind == TASK_LIST_UNREACHABLE:
        return framework.unreachable
    return framework.finished if kind == TASK_LIST_COMPLETED else framework.active


def _list_key(kind: ListKind.ValueType, task_id: str, agent_id: str) -> object:
    return (task_id, agent_id) if kind == TASK_LIST_COMPLETED else task_id


def _release_peer(holdings: Holdings, peer: str) -> None:
    holdings.peers[peer] -= 1
    if not holdings.peers[peer]:
        del holdings.peers[peer]


def _append_status(task: Task, status: TaskStatus) -> None:
    """Add a status as Mesos keeps them: one per state in a row, without the framework's data."""
    statuses = task.statuses
    if statuses and statuses[-1].state == status.state:
        del statuses[-1]
    statuses.add().CopyFrom(status)
    statuses[-1].ClearField("data")
