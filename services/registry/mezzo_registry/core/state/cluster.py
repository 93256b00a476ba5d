"""The cluster state: what the registry holds to be true about agents, frameworks, tasks, executors and offers.

It knows how to add and to remove; when to, is decided elsewhere. `Agent.available` is always what the agent has
less what its tasks, executors and offers hold: every change of a holding goes through the methods here.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Resources
from mezzo_registry.core.failures import InvalidTransition
from mezzo_registry.core.state.entities import (
    Agent,
    Executor,
    Framework,
    InverseOffer,
    Offer,
    Task,
    TaskKey,
)
from mezzo_registry.core.state.maintenance import Plan
from mezzo_registry.core.state.offer_ages import OfferAges
from mezzo_registry.core.state.roles import Configuration
from mezzo_registry.core.state.story import Story, text
from mezzo_registry.core.state.sums import Sums
from mezzo_registry.core.state.transitions import (
    AGENT_TRANSITIONS,
    FRAMEWORK_TRANSITIONS,
    TASK_TRANSITIONS,
    AgentState,
    FrameworkState,
    TaskState,
)


class ClusterState:
    """All that the registry knows, and the indices into it."""

    def __init__(self) -> None:
        self.story = Story()
        self.agents: dict[str, Agent] = {}
        self.agents_by_number: dict[int, Agent] = {}
        self.agents_by_session: dict[int, Agent] = {}
        self.agents_by_pid: dict[str, dict[str, Agent]] = {}
        """Address → the agents that registered from it last, by id. Addresses change hands, so there can be several."""
        self.unreachable: OrderedDict[str, float] = OrderedDict()
        self.unreachable_tasks: dict[str, dict[TaskKey, Task]] = {}
        """Agent id → the tasks in the `unreachable` of their frameworks that were on it."""
        self.gone: dict[str, float] = {}
        self.recovered: set[str] = set()
        """Agents known from the store that have not come back."""
        self.whitelist: frozenset[str] | None = None
        """The hosts whose agents may be offered; all, when there is no list."""
        self.frameworks: dict[str, Framework] = {}
        self.frameworks_by_number: dict[int, Framework] = {}
        self.frameworks_by_stream: dict[str, Framework] = {}
        self.completed: OrderedDict[str, Framework] = OrderedDict()
        self.roles: dict[str, int] = {}
        """Role → how many frameworks have it."""
        self.configuration = Configuration()
        """What is configured for roles, as the store has it."""
        self.pending_configuration = Configuration()
        """What is configured once all pending writes are stored."""
        self.task_states: Counter[TaskState] = Counter()
        """How many of the frameworks' tasks are in each state."""
        self.used = Sums()
        """What tasks and executors hold."""
        self.offered = Sums()
        """What offers hold."""
        self.offers: dict[str, Offer] = {}
        """Outstanding, the oldest first."""
        self.offer_ages: defaultdict[str, OfferAges] = defaultdict(OfferAges)
        """Of those that have ended, by how they did."""
        self.offer_timer_runs = False
        self.inverse_offers: dict[str, InverseOffer] = {}
        """Outstanding, the oldest first."""
        self.inverse_offer_timer_runs = False
        self.plan = Plan()
        """The maintenance that is planned, as the store has it."""
        self.pending_plan = Plan()
        """What is planned once all pending writes are stored."""
        self.observers: set[int] = set()
        self.pending_snapshots: dict[int, dict[Task, None]] = {}
        """Observer → the tasks that its snapshot does not contain yet."""
        self.allocator_connected = False
        self.allocator_flags: dict[str, str] = {}
        """As the allocator says them: by name, those that Mesos' master has."""
        self.allocator_cycle = 0
        """The last cycle of the allocator's whose allocations are in this state."""
        self.next_agent = 0
        self.next_framework = 0
        self.next_offer = 0
        self.next_number = 0
        self.removals: deque[str] = deque()
        """Agents that wait for the rate limit to be marked unreachable."""
        self.removal_permit_at = 0.0

    def number(self) -> int:
        """Return a number that no agent or framework has had on a session with the allocator."""
        self.next_number += 1
        return self.next_number

    # --- agents -------------------------------------------------------------------------------------------------------

    def add_agent(self, agent: Agent) -> None:
        """Enter an agent that is admitted."""
        self.story.record(agent.id, None, agent.state)
        self.agents[agent.id] = agent
        self.agents_by_number[agent.number] = agent

    def drop_agent(self, agent: Agent) -> None:
        """Drop an agent whose tasks, executors and offers are gone: it is removed.

        Raises:
            InvalidTransition: it was removed before.
        """
        self.move_agent(agent, AgentState.REMOVED)
        del self.agents[agent.id]
        del self.agents_by_number[agent.number]
        self.set_pid(agent, "")
        self.detach_session(agent)
        self.recovered.discard(agent.id)

    def move_agent(self, agent: Agent, state: AgentState) -> None:
        """Change an agent's state.

        Raises:
            InvalidTransition: the table does not have it.
        """
        if (agent.state, state) not in AGENT_TRANSITIONS:
            raise InvalidTransition("agent", agent.id, text(agent.state), text(state), self.story.of(agent.id))
        self.story.record(agent.id, agent.state, state)
        agent.state = state

    def set_pid(self, agent: Agent, pid: str) -> None:
        """Record the address at which the agent is reached now, instead of the one before. "" for none."""
        if agent.pid:
            before = self.agents_by_pid[agent.pid]
            del before[agent.id]
            if not before:
                del self.agents_by_pid[agent.pid]
        agent.pid = pid
        if pid:
            self.agents_by_pid.setdefault(pid, {})[agent.id] = agent

    def offerable(self, agent: Agent) -> bool:
        """Return whether an agent may be offered."""
        return agent.connected and (self.whitelist is None or agent.info.hostname in self.whitelist)

    def unavailability(self, agent: Agent) -> mesos.Unavailability | None:
        """Return when an agent is planned to be unavailable."""
        return self.plan.unavailability(agent.info.hostname, agent.pid)

    def attach_session(self, agent: Agent, session: int) -> None:
        """Record the session through which the agent is reached."""
        agent.session = session
        agent.sent_versions.clear()
        self.agents_by_session[session] = agent

    def detach_session(self, agent: Agent) -> None:
        """Record that the agent has no session."""
        if agent.session is not None:
            self.agents_by_session.pop(agent.session, None)
            agent.session = None

    # --- frameworks ---------------------------------------------------------------------------------------------------

    def add_framework(self, framework: Framework) -> None:
        """Enter a framework."""
        self.story.record(framework.id, None, framework.state)
        self.frameworks[framework.id] = framework
        self.frameworks_by_number[framework.number] = framework
        for role in framework.roles:
            self.roles[role] = self.roles.get(role, 0) + 1

    def drop_framework(self, framework: Framework) -> list[str]:
        """Drop a framework whose tasks, executors and offers are gone: it is completed, and keeps its roles.

        Returns the roles that no framework has now.

        Raises:
            InvalidTransition: it was completed before.
        """
        self.move_framework(framework, FrameworkState.COMPLETED)
        del self.frameworks[framework.id]
        del self.frameworks_by_number[framework.number]
        for agent in self.agents.values():
            # Under the same id a framework may come back, once nobody remembers this one: its descriptions are others.
            agent.sent_versions.pop(framework.id, None)
        roles = framework.roles
        _, vanished = self.set_roles(framework, ())
        framework.roles = roles
        return vanished

    def move_framework(self, framework: Framework, state: FrameworkState) -> None:
        """Change a framework's state.

        Raises:
            InvalidTransition: the table does not have it.
        """
        if (framework.state, state) not in FRAMEWORK_TRANSITIONS:
            story = self.story.of(framework.id)
            raise InvalidTransition("framework", framework.id, text(framework.state), text(state), story)
        self.story.record(framework.id, framework.state, state)
        framework.state = state

    def set_roles(self, framework: Framework, roles: tuple[str, ...]) -> tuple[list[str], list[str]]:
        """Give a framework other roles. Returns the roles that no framework had before, and those that none has now."""
        appeared = [role for role in roles if role not in self.roles]
        for role in roles:
            self.roles[role] = self.roles.get(role, 0) + 1
        vanished = []
        for role in framework.roles:
            self.roles[role] -= 1
            if not self.roles[role]:
                del self.roles[role]
                vanished.append(role)
        framework.roles = roles
        return appeared, vanished

    # --- holdings -----------------------------------------------------------------------------------------------------

    def add_offer(self, offer: Offer) -> None:
        """Enter an offer, which holds its resources."""
        self.offers[offer.id] = offer
        offer.agent.offers[offer.id] = offer
        offer.framework.offers[offer.id] = offer
        offer.agent.available = offer.agent.available - offer.resources
        self.offered.add(offer.role, offer.resources)

    def drop_offer(self, offer: Offer) -> None:
        """Drop an offer; it holds nothing any longer."""
        del self.offers[offer.id]
        del offer.agent.offers[offer.id]
        del offer.framework.offers[offer.id]
        offer.agent.available = offer.agent.available + offer.resources
        self.offered.add(offer.role, offer.resources, -1)

    def use_offer(self, offer: Offer) -> None:
        """Drop an offer that was accepted. What it held is still held: by what is then entered as `paid`, and the
        rest until `release`.
        """
        del self.offers[offer.id]
        del offer.agent.offers[offer.id]
        del offer.framework.offers[offer.id]
        self.offered.add(offer.role, offer.resources, -1)

    def add_inverse_offer(self, offer: InverseOffer) -> None:
        """Enter an inverse offer."""
        self.inverse_offers[offer.id] = offer
        offer.framework.inverse_offers[offer.agent.id] = offer
        offer.agent.inverse_offers.add(offer.framework.id)

    def drop_inverse_offer(self, offer: InverseOffer) -> None:
        """Drop an inverse offer that was answered or rescinded."""
        del self.inverse_offers[offer.id]
        del offer.framework.inverse_offers[offer.agent.id]
        offer.agent.inverse_offers.discard(offer.framework.id)

    @staticmethod
    def release(agent: Agent, resources: Resources) -> None:
        """Release what is left of used offers."""
        agent.available = agent.available + resources

    def add_task(self, task: Task, *, paid: bool = False) -> None:
        """Enter a task; it holds its resources unless it is terminal. `paid`: out of used offers.

        Raises:
            InvalidTransition: no task begins in its state.
        """
        self._check_task(task, None, task.state)
        self.story.record(task.key, None, task.state)
        task.framework.tasks[task.id] = task
        task.agent.tasks[task.key] = task
        self.task_states[task.state] += 1
        self._count(task.framework, task.agent, 1)
        if not task.terminal:
            task.framework.counts.tasks[task.state] += 1
            self.used.add(task.role, task.resources)
            if not paid:
                task.agent.available = task.agent.available - task.resources

    def move_task(self, task: Task, state: TaskState) -> None:
        """Change a task's state; once that is terminal, it holds nothing any longer.

        A task that is not entered, or was dropped, holds nothing and is counted nowhere: its state alone changes.

        Raises:
            InvalidTransition: the table does not have it.
        """
        self._check_task(task, task.state, state)
        before, task.state = task.state, state
        self.story.record(task.key, before, state)
        if task.framework.tasks.get(task.id) is not task:
            return
        self.task_states[before] -= 1
        self.task_states[state] += 1
        counts = task.framework.counts.tasks
        counts[before] -= 1
        if task.terminal:
            task.agent.available = task.agent.available + task.resources
            self.used.add(task.role, task.resources, -1)
        else:
            counts[state] += 1

    def _check_task(self, task: Task, before: TaskState | None, after: TaskState) -> None:
        if after not in TASK_TRANSITIONS[before]:
            story = self.story.of(task.key, task.agent.id, task.framework.id)
            raise InvalidTransition("task", "/".join(task.key), text(before), text(after), story)

    def drop_task(self, task: Task) -> None:
        """Drop a task; it holds nothing any longer."""
        self.story.record(task.key, task.state, None)
        del task.framework.tasks[task.id]
        del task.agent.tasks[task.key]
        self.task_states[task.state] -= 1
        task.agent.kills.pop(task.key, None)
        self._count(task.framework, task.agent, -1)
        if not task.terminal:
            task.framework.counts.tasks[task.state] -= 1
            task.agent.available = task.agent.available + task.resources
            self.used.add(task.role, task.resources, -1)

    def add_unreachable_task(self, task: Task) -> None:
        """Keep a task that was dropped because its agent is unreachable."""
        task.framework.unreachable[task.id] = task
        self.unreachable_tasks.setdefault(task.agent.id, {})[task.key] = task

    def drop_unreachable_task(self, task: Task) -> None:
        """Forget a task that was last seen on an unreachable agent."""
        del task.framework.unreachable[task.id]
        of_agent = self.unreachable_tasks[task.agent.id]
        del of_agent[task.key]
        if not of_agent:
            del self.unreachable_tasks[task.agent.id]

    def add_executor(self, executor: Executor, *, paid: bool = False) -> None:
        """Enter an executor; it holds its own resources. `paid`: out of used offers."""
        executor.framework.executors[(executor.agent.id, executor.info.executor_id.value)] = executor
        executor.agent.executors[executor.key] = executor
        self._count(executor.framework, executor.agent, 1)
        self.used.add(executor.role, executor.resources)
        if not paid:
            executor.agent.available = executor.agent.available - executor.resources

    def drop_executor(self, executor: Executor) -> None:
        """Drop an executor; it holds nothing any longer."""
        del executor.framework.executors[(executor.agent.id, executor.info.executor_id.value)]
        del executor.agent.executors[executor.key]
        self._count(executor.framework, executor.agent, -1)
        executor.agent.available = executor.agent.available + executor.resources
        self.used.add(executor.role, executor.resources, -1)

    @staticmethod
    def _count(framework: Framework, agent: Agent, change: int) -> None:
        count = framework.agents.get(agent.id, 0) + change
        if count:
            framework.agents[agent.id] = count
        else:
            framework.agents.pop(agent.id, None)

    def holdings(self, agent: Agent) -> Iterator[tuple[Framework, str, Resources]]:
        """Yield what is held of an agent: framework, role, resources without allocation."""
        for task in agent.tasks.values():
            if not task.terminal:
                yield task.framework, task.role, task.resources
        for executor in agent.executors.values():
            if executor.resources:
                yield executor.framework, executor.role, executor.resources
        for offer in agent.offers.values():
            yield offer.framework, offer.role, offer.resources
