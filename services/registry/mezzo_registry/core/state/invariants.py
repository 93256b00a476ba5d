"""What is always true of the cluster state, whatever happens."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Resources
from mezzo.task_states import TERMINAL
from mezzo_registry.core.failures import InvariantViolation
from mezzo_registry.core.state.cluster import ClusterState
from mezzo_registry.core.state.entities import Agent, Task, TaskKey
from mezzo_registry.core.state.roles import contradictions
from mezzo_registry.core.state.sums import Sums
from mezzo_registry.core.state.transitions import AgentState, FrameworkState

ACTIVE_STATES = [state for state in mesos.TaskState.values() if state not in TERMINAL]


def validate(cluster: ClusterState) -> None:
    """Check the cluster state and every index into it against each other.

    Raises:
        InvariantViolation: they contradict each other.
    """
    for agent in cluster.agents.values():
        _agent(cluster, agent)
    _agent_indices(cluster)
    _framework_indices(cluster)
    _frameworks(cluster)
    _roles(cluster)
    _sums(cluster)
    _tasks(cluster)
    _offers(cluster)
    _inverse_offers(cluster)
    _unreachable(cluster)
    _observers(cluster)


def _must(condition: bool, message: str) -> None:
    if not condition:
        raise InvariantViolation(message)


def _same(index: str, found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> None:
    """An index has what it must have: nothing less, and nothing that is stale."""
    if found != wanted:
        wrong = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
        raise InvariantViolation(f"{index} is wrong about {wrong}")


def _agent_indices(cluster: ClusterState) -> None:
    agents = cluster.agents.values()
    by_pid: dict[str, dict[str, Agent]] = {}
    for agent in agents:
        if agent.pid:
            by_pid.setdefault(agent.pid, {})[agent.id] = agent
    _same("agents", cluster.agents, {agent.id: agent for agent in agents})
    _same("agents_by_number", cluster.agents_by_number, {agent.number: agent for agent in agents})
    _same(
        "agents_by_session",
        cluster.agents_by_session,
        {agent.session: agent for agent in agents if agent.session is not None},
    )
    _same("agents_by_pid", cluster.agents_by_pid, by_pid)
    never_back = {agent.id for agent in agents if agent.registered_at is None}
    of_store = {agent.id for agent in agents if agent.state is AgentState.RECOVERED}
    _must(of_store <= cluster.recovered <= never_back, f"agents {cluster.recovered} are counted as recovered")
    _must(set(cluster.agents).isdisjoint(cluster.unreachable), "an agent is both admitted and unreachable")
    _must(set(cluster.agents).isdisjoint(cluster.gone), "an agent is both admitted and gone")
    _must(
        cluster.agents_by_number.keys().isdisjoint(cluster.frameworks_by_number),
        "an agent and a framework have the same number",
    )


def _framework_indices(cluster: ClusterState) -> None:
    frameworks = cluster.frameworks.values()
    _same("frameworks", cluster.frameworks, {framework.id: framework for framework in frameworks})
    _same("frameworks_by_number", cluster.frameworks_by_number, {one.number: one for one in frameworks})
    _same(
        "frameworks_by_stream",
        cluster.frameworks_by_stream,
        {one.stream_id: one for one in frameworks if one.stream_id is not None},
    )
    _same("completed", cluster.completed, {one.id: one for one in cluster.completed.values()})


def _unreachable(cluster: ClusterState) -> None:
    of_agents: dict[str, dict[TaskKey, Task]] = {}
    for framework in cluster.frameworks.values():
        for task_id, task in framework.unreachable.items():
            _must(task_id == task.id and task.framework is framework, f"task {task.id} is unreachable as {task_id}")
            of_agents.setdefault(task.agent.id, {})[task.key] = task
    _same("unreachable_tasks", cluster.unreachable_tasks, of_agents)


def _observers(cluster: ClusterState) -> None:
    _must(cluster.pending_snapshots.keys() <= cluster.observers, "a snapshot is under way for nobody")
    pending = {task for tasks in cluster.pending_snapshots.values() for task in tasks}
    known = {
        task
        for one in (*cluster.frameworks.values(), *cluster.completed.values())
        for task in (*one.tasks.values(), *one.unreachable.values(), *one.completed)
    }
    _must(pending <= known, f"a pending snapshot has tasks that are forgotten: {[task.id for task in pending - known]}")


def _agent(cluster: ClusterState, agent: Agent) -> None:
    held = Resources.sum(resources for _, _, resources in cluster.holdings(agent))
    _must(agent.total.contains(held), f"agent {agent.id}: {held} are held of {agent.total}")
    _must(
        agent.available + held == agent.total,
        f"agent {agent.id}: available {agent.available} and held {held} do not add up to {agent.total}",
    )
    _must(agent.state is not AgentState.REMOVED, f"agent {agent.id} is removed, but still listed")
    _must(agent.connected <= (agent.session is not None), f"agent {agent.id} is connected without a session")
    if not agent.connected:
        _must(not agent.offers, f"agent {agent.id} is offered, but {agent.state.value}")
    _must(agent.kills.keys() <= agent.tasks.keys(), f"agent {agent.id} is to kill tasks that it does not have")
    _must(
        agent.sent_versions.keys() <= cluster.frameworks.keys(),
        f"agent {agent.id} has versions of frameworks that are gone",
    )
    _must(
        agent.inverse_statuses.keys() <= cluster.frameworks.keys(),
        f"agent {agent.id} was answered by frameworks now gone",
    )


def _frameworks(cluster: ClusterState) -> None:
    roles: dict[str, int] = {}
    for framework in cluster.frameworks.values():
        name = f"framework {framework.id}"
        _must(framework.state is not FrameworkState.COMPLETED, f"{name} is completed, but still listed")
        _must(
            framework.connected == (framework.stream_id is not None),
            f"{name} is {framework.state.value}, but has a stream",
        )
        if framework.stream_id is None:
            _must(not framework.offers, f"{name} has offers without a stream")
        _same(f"{name}: tasks", framework.tasks, {task.id: task for task in framework.tasks.values()})
        for role in framework.roles:
            roles[role] = roles.get(role, 0) + 1
        counts: dict[str, int] = {}
        agents = [task.agent for task in framework.tasks.values()]
        agents += [executor.agent for executor in framework.executors.values()]
        for agent in agents:
            counts[agent.id] = counts.get(agent.id, 0) + 1
        _must(counts == framework.agents, f"{name} counts {framework.agents}, but has {counts}")
    _must(roles == cluster.roles, f"roles are counted as {cluster.roles}, but are {roles}")
    _must(set(cluster.frameworks).isdisjoint(cluster.completed), "a framework is both alive and completed")
    for framework in cluster.completed.values():
        _must(
            not framework.tasks and not framework.executors,
            f"framework {framework.id} is completed, but runs something",
        )


def _roles(cluster: ClusterState) -> None:
    for configuration in (cluster.configuration, cluster.pending_configuration):
        for role, one in configuration.quotas.items():
            _must(bool(one), f"role {role} has a quota that says nothing")
            for name, guarantee in one.guarantees.items():
                limit = one.limits.get(name)
                _must(limit is None or guarantee <= limit, f"role {role} is guaranteed more {name} than it may have")
        for role, weight in configuration.weights.items():
            _must(weight > 0, f"role {role} has a weight of {weight}")
        for role, how in contradictions(configuration.quotas):
            _must(False, f"role {role}: {how}")


def _sums(cluster: ClusterState) -> None:
    used, offered = Sums(), Sums()
    for agent in cluster.agents.values():
        for task in agent.tasks.values():
            if not task.terminal:
                used.add(task.role, task.resources)
        for executor in agent.executors.values():
            used.add(executor.role, executor.resources)
        for offer in agent.offers.values():
            offered.add(offer.role, offer.resources)
    states = Counter(task.state for one in cluster.frameworks.values() for task in one.tasks.values())
    _must(states == +cluster.task_states, f"tasks are counted as {cluster.task_states}, but are {states}")
    for framework in cluster.frameworks.values():
        counted = framework.counts.tasks
        active = Counter(task.state for task in framework.tasks.values() if not task.terminal)
        shown = {state: counted[state] for state in ACTIVE_STATES if counted[state]}
        _must(active == shown, f"framework {framework.id}: tasks are counted as {shown}, but are {active}")
    _must(used == cluster.used, f"{cluster.used} are counted as used, but {used} are")
    _must(offered == cluster.offered, f"{cluster.offered} are counted as offered, but {offered} are")


def _tasks(cluster: ClusterState) -> None:
    frameworks = cluster.frameworks.values()
    _same(
        "the tasks of agents",
        {(agent.id, *key): task for agent in cluster.agents.values() for key, task in agent.tasks.items()},
        {(task.agent.id, *task.key): task for one in frameworks for task in one.tasks.values()},
    )
    _same(
        "the executors of agents",
        {(agent.id, *key): one for agent in cluster.agents.values() for key, one in agent.executors.items()},
        {
            (agent_id, one.id, executor_id): executor
            for one in frameworks
            for (agent_id, executor_id), executor in one.executors.items()
        },
    )
    for framework in cluster.frameworks.values():
        for task in framework.tasks.values():
            _must(
                cluster.agents.get(task.agent.id) is task.agent,
                f"task {task.id} runs on agent {task.agent.id}, which is none",
            )
            waits = not task.terminal or task.pending is not None or not task.statuses
            _must(waits or task.reported, f"task {task.id} has ended, and nothing is left to wait for")
        both = framework.tasks.keys() & framework.unreachable.keys()
        _must(not both, f"framework {framework.id}: tasks {both} both run and are unreachable")


def _inverse_offers(cluster: ClusterState) -> None:
    for offer in cluster.inverse_offers.values():
        framework, agent = offer.framework, offer.agent
        _must(framework.inverse_offers.get(agent.id) is offer, f"inverse offer {offer.id} is not its framework's")
        _must(framework.id in agent.inverse_offers, f"inverse offer {offer.id} is not known to its agent")
        _must(framework.connected and agent.connected, f"inverse offer {offer.id} is out, but cannot be answered")
        _must(cluster.unavailability(agent) == offer.unavailability, f"inverse offer {offer.id} is about another time")
    of_frameworks = sum(len(one.inverse_offers) for one in cluster.frameworks.values())
    of_agents = sum(len(one.inverse_offers) for one in cluster.agents.values())
    _must(len(cluster.inverse_offers) == of_frameworks == of_agents, "an inverse offer is stale")
    for agent in cluster.agents.values():
        down = agent.connected and cluster.plan.is_down(agent.info.hostname, agent.pid)
        _must(not down, f"agent {agent.id} is connected, but its machine is down")
    for plan in (cluster.plan, cluster.pending_plan):
        _must(all(map(plan.has, plan.down)), f"of the machines that are down, {plan.down}, some are not scheduled")


def _offers(cluster: ClusterState) -> None:
    for offer in cluster.offers.values():
        _must(bool(offer.resources), f"offer {offer.id} offers nothing")
        _must(offer.role in offer.framework.roles, f"offer {offer.id} is for a role that its framework does not have")
    of_agents = {key: one for agent in cluster.agents.values() for key, one in agent.offers.items()}
    of_frameworks = {key: one for framework in cluster.frameworks.values() for key, one in framework.offers.items()}
    _same("the offers of agents", of_agents, cluster.offers)
    _same("the offers of frameworks", of_frameworks, cluster.offers)
    made = [offer.made_at for offer in cluster.offers.values()]
    _must(made == sorted(made), "offers are not in the order in which they were made")
