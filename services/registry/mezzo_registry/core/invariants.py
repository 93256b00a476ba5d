"""What is always true of the cluster state, whatever happens: every index says what the entities say.

An index is whatever repeats something, so that nobody has to look for it: a dict by another key, a count, a sum, a
record of what was derived. All of them are compared with what they repeat, in one pass over each kind of entity: about
10 µs for each task.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Form, Resources
from mezzo.task_states import TERMINAL
from mezzo_registry.core.failures import InvariantViolation
from mezzo_registry.core.offers import offering
from mezzo_registry.core.settings import Settings
from mezzo_registry.core.state.cluster import ClusterState
from mezzo_registry.core.state.entities import Agent, Framework, InverseOffer, Offer, Task, TaskKey
from mezzo_registry.core.state.maintenance import Plan
from mezzo_registry.core.state.roles import Configuration, contradictions
from mezzo_registry.core.state.sums import Sums
from mezzo_registry.core.state.transitions import AgentState, FrameworkState
from mezzo_registry.core.tasks import updates
from mezzo_registry.core.validation.framework import Capability, has_capability, roles_of

PROBLEMS_MAX: Final = 20
"""Contradictions that one error names."""
ACTIVE_STATES: Final = [state for state in mesos.TaskState.values() if state not in TERMINAL]
_WITH_SESSION: Final = (AgentState.REGISTERING, AgentState.CONNECTED)

Problems = Iterator[str]
"""What is wrong, a sentence each."""


def check(cluster: ClusterState, settings: Settings) -> None:
    """Compare every index with what it repeats.

    Raises:
        InvariantViolation: some differ; it names the first of them.
    """
    problems = list(islice(_problems(cluster, settings), PROBLEMS_MAX))
    if problems:
        raise InvariantViolation("\n  ".join(("the cluster state contradicts itself", *problems)))


def _problems(cluster: ClusterState, settings: Settings) -> Problems:
    yield from _agent_indices(cluster)
    yield from _framework_indices(cluster)
    for agent in cluster.agents.values():
        yield from _agent(cluster, agent)
    for framework in cluster.frameworks.values():
        yield from _framework(framework)
        yield from _tasks(cluster, framework)
    for framework in cluster.completed.values():
        yield from _completed(framework)
    yield from _roles(cluster)
    yield from _sums(cluster)
    yield from _offers(cluster, settings)
    yield from _inverse_offers(cluster, settings)
    yield from _unreachable(cluster)
    yield from _observers(cluster)


def _differences(index: str, found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> Problems:
    """Compare an index with what it must have: nothing less, and nothing stale."""
    if found != wanted:
        wrong = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
        yield f"{index} is wrong about {wrong[:PROBLEMS_MAX]}"


# --- agents -----------------------------------------------------------------------------------------------------------


def _agent_indices(cluster: ClusterState) -> Problems:
    agents = cluster.agents.values()
    by_pid: dict[str, dict[str, Agent]] = {}
    for agent in agents:
        if agent.pid:
            by_pid.setdefault(agent.pid, {})[agent.id] = agent
    sessions = {agent.session: agent for agent in agents if agent.session is not None}
    yield from _differences("agents", cluster.agents, {agent.id: agent for agent in agents})
    yield from _differences("agents_by_number", cluster.agents_by_number, {agent.number: agent for agent in agents})
    yield from _differences("agents_by_session", cluster.agents_by_session, sessions)
    yield from _differences("agents_by_pid", cluster.agents_by_pid, by_pid)
    first_time = {agent.id for agent in agents if agent.registered_at is None}
    of_store = {agent.id for agent in agents if agent.state is AgentState.RECOVERED}
    if not of_store <= cluster.recovered <= first_time:
        yield f"recovered has {sorted(cluster.recovered)}; of the store are {sorted(of_store)}"
    for name, others in (("unreachable", cluster.unreachable), ("gone", cluster.gone)):
        if not cluster.agents.keys().isdisjoint(others):
            yield f"{name} has admitted agents: {sorted(cluster.agents.keys() & others.keys())}"
    numbers = Counter(agent.number for agent in agents)
    numbers.update(framework.number for framework in cluster.frameworks.values())
    if max(numbers.values(), default=1) > 1:
        yield f"several agents or frameworks have the number {numbers.most_common(1)[0][0]}"
    if max(numbers, default=0) > cluster.next_number:
        yield f"next_number is {cluster.next_number}, but {max(numbers)} is taken"


def _agent(cluster: ClusterState, agent: Agent) -> Problems:
    name = f"agent {agent.id}"
    held = Resources.sum(resources for _, _, resources in cluster.holdings(agent))
    if agent.available + held != agent.total:
        yield f"{name}: available {agent.available} and held {held} do not add up to {agent.total}"
    if agent.state is AgentState.REMOVED:
        yield f"{name} is removed, but still listed"
    if agent.session is None if agent.connected else agent.session is not None and agent.state not in _WITH_SESSION:
        yield f"{name} is {agent.state.value}, but its session is {agent.session}"
    if agent.connected and cluster.plan.is_down(agent.info.hostname, agent.pid):
        yield f"{name} is connected, but its machine is down"
    if agent.registered_at is not None and agent.offer_form != offering.offer_form(cluster, agent):
        yield f"{name}: offer_form is not made of what the agent is now"
    yield from _agent_and_frameworks(cluster, agent, name)


def _agent_and_frameworks(cluster: ClusterState, agent: Agent, name: str) -> Problems:
    if agent.offers and not agent.connected:
        yield f"{name} is offered, but {agent.state.value}"
    if not agent.kills.keys() <= agent.tasks.keys():
        yield f"{name}: kills has tasks that are not the agent's: {sorted(agent.kills.keys() - agent.tasks.keys())}"
    if len(agent.acknowledged) > updates.ACKNOWLEDGED_MAX:
        yield f"{name}: acknowledged has {len(agent.acknowledged)} updates"
    for framework_id, version in agent.sent_versions.items():
        framework = cluster.frameworks.get(framework_id)
        if framework is None or version > framework.info_version:
            yield f"{name}: sent_versions has version {version} of framework {framework_id}"
    if not agent.inverse_statuses.keys() <= cluster.frameworks.keys():
        yield f"{name}: inverse_statuses has frameworks that are gone"


# --- frameworks -------------------------------------------------------------------------------------------------------


def _framework_indices(cluster: ClusterState) -> Problems:
    frameworks, completed = cluster.frameworks.values(), cluster.completed.values()
    streams = {one.stream_id: one for one in frameworks if one.stream_id is not None}
    yield from _differences("frameworks", cluster.frameworks, {one.id: one for one in frameworks})
    yield from _differences(
        "frameworks_by_number", cluster.frameworks_by_number, {one.number: one for one in frameworks}
    )
    yield from _differences("frameworks_by_stream", cluster.frameworks_by_stream, streams)
    yield from _differences("completed", cluster.completed, {one.id: one for one in completed})
    if not cluster.frameworks.keys().isdisjoint(cluster.completed):
        yield f"completed has live frameworks: {sorted(cluster.frameworks.keys() & cluster.completed.keys())}"
    yield from _differences("roles", cluster.roles, Counter(role for one in frameworks for role in one.roles))


def _framework(framework: Framework) -> Problems:
    name, info = f"framework {framework.id}", framework.info
    if framework.state is FrameworkState.COMPLETED:
        yield f"{name} is completed, but still listed"
    if framework.connected != (framework.stream_id is not None):
        yield f"{name} is {framework.state.value}, but its stream is {framework.stream_id}"
    if framework.stream_id is None and framework.offers:
        yield f"{name} has offers, but no stream"
    derived = {
        "roles": (framework.roles, roles_of(info)),
        "multi_role": (framework.multi_role, has_capability(info, Capability.MULTI_ROLE)),
        "partition_aware": (framework.partition_aware, has_capability(info, Capability.PARTITION_AWARE)),
        "form": (framework.form is Form.REFINED, has_capability(info, Capability.RESERVATION_REFINEMENT)),
    }
    for field, (found, wanted) in derived.items():
        if found != wanted:
            yield f"{name}: {field} is {found}, but by its FrameworkInfo {wanted}"
    if not framework.suppressed <= set(framework.roles):
        yield f"{name}: suppressed has roles that it does not have"
    agents = Counter(task.agent.id for task in framework.tasks.values())
    agents.update(executor.agent.id for executor in framework.executors.values())
    yield from _differences(f"{name}: agents", framework.agents, agents)
    states = Counter(task.state for task in framework.tasks.values() if not task.terminal)
    counted = {state: framework.counts.tasks[state] for state in ACTIVE_STATES if framework.counts.tasks[state]}
    yield from _differences(f"{name}: counts.tasks", counted, states)


def _completed(framework: Framework) -> Problems:
    name = f"completed framework {framework.id}"
    if framework.state is not FrameworkState.COMPLETED:
        yield f"{name} is {framework.state.value}"
    for field in ("tasks", "executors", "offers", "inverse_offers", "unreachable", "agents", "stream_id"):
        if getattr(framework, field):
            yield f"{name} has {field}"
    yield from _ended_tasks(framework)


# --- tasks and executors ----------------------------------------------------------------------------------------------


def _tasks(cluster: ClusterState, framework: Framework) -> Problems:
    agents = cluster.agents
    for task_id, task in framework.tasks.items():
        agent = task.agent
        if task_id != task.id or task.framework is not framework:
            yield f"framework {framework.id}: tasks has {task.framework.id}/{task.id} as {task_id}"
        if agents.get(agent.id) is not agent or agent.tasks.get((framework.id, task_id)) is not task:
            yield f"task {framework.id}/{task_id} is not among the tasks of its agent {agent.id}"
        if task.launch is not None and task.reported:
            yield f"task {framework.id}/{task_id} is to be launched, but was reported"
        if task.terminal and task.pending is None and task.statuses and not task.reported:
            yield f"task {framework.id}/{task_id} has ended, and nothing is left to wait for"
        if task_id in framework.unreachable:
            yield f"task {framework.id}/{task_id} is both listed and unreachable"
    for (agent_id, executor_id), executor in framework.executors.items():
        agent = executor.agent
        if (agent_id, executor_id) != (agent.id, executor.key[1]) or executor.framework is not framework:
            yield f"framework {framework.id}: executors has {executor.key} of agent {agent.id} as {executor_id}"
        if agents.get(agent.id) is not agent or agent.executors.get(executor.key) is not executor:
            yield f"executor {framework.id}/{executor_id} is not among the executors of its agent {agent.id}"
    yield from _ended_tasks(framework)


def _ended_tasks(framework: Framework) -> Problems:
    for task in framework.completed:
        if not task.terminal:
            yield f"completed task {framework.id}/{task.id} is {mesos.TaskState.Name(task.state)}"


def _unreachable(cluster: ClusterState) -> Problems:
    of_agents: dict[str, dict[TaskKey, Task]] = {}
    for framework in cluster.frameworks.values():
        for task_id, task in framework.unreachable.items():
            if task_id != task.id or task.framework is not framework:
                yield f"framework {framework.id}: unreachable has {task.framework.id}/{task.id} as {task_id}"
            if task.state not in (mesos.TASK_UNREACHABLE, mesos.TASK_LOST):
                yield f"unreachable task {framework.id}/{task_id} is {mesos.TaskState.Name(task.state)}"
            of_agents.setdefault(task.agent.id, {})[task.key] = task
    yield from _differences("unreachable_tasks", cluster.unreachable_tasks, of_agents)


def _sums(cluster: ClusterState) -> Problems:
    of_tasks: Counter[tuple[str, Resources]] = Counter()
    of_offers: Counter[tuple[str, Resources]] = Counter()
    tasks = executors = 0
    for agent in cluster.agents.values():
        tasks += len(agent.tasks)
        executors += len(agent.executors)
        of_tasks.update((task.role, task.resources) for task in agent.tasks.values() if not task.terminal)
        of_tasks.update((executor.role, executor.resources) for executor in agent.executors.values())
        of_offers.update((offer.role, offer.resources) for offer in agent.offers.values())
    yield from _sum("used", cluster.used, of_tasks)
    yield from _sum("offered", cluster.offered, of_offers)
    frameworks = cluster.frameworks.values()
    if tasks != sum(len(one.tasks) for one in frameworks):
        yield "the tasks of agents are not those of frameworks"
    if executors != sum(len(one.executors) for one in frameworks):
        yield "the executors of agents are not those of frameworks"
    states = Counter(task.state for one in frameworks for task in one.tasks.values())
    yield from _differences("task_states", +cluster.task_states, states)


def _sum(name: str, found: Sums, holdings: Counter[tuple[str, Resources]]) -> Problems:
    """Compare a sum with what is held. Most holdings are alike: each form is counted once."""
    wanted = Sums()
    for (role, resources), count in holdings.items():
        wanted.add(role, resources, count)
    if found != wanted:
        yield f"{name} is {found}, but what is held is {wanted}"


# --- offers -----------------------------------------------------------------------------------------------------------


def _offers(cluster: ClusterState, settings: Settings) -> Problems:
    for offer in cluster.offers.values():
        if not offer.resources:
            yield f"offer {offer.id} offers nothing"
        if offer.role not in offer.framework.roles:
            yield f"offer {offer.id} is for a role that its framework does not have"
        if offer.agent.offers.get(offer.id) is not offer or offer.framework.offers.get(offer.id) is not offer:
            yield f"offer {offer.id} is not among the offers of its agent and its framework"
    of_agents = {key: one for agent in cluster.agents.values() for key, one in agent.offers.items()}
    of_frameworks = {key: one for framework in cluster.frameworks.values() for key, one in framework.offers.items()}
    yield from _differences("the offers of agents", of_agents, cluster.offers)
    yield from _differences("the offers of frameworks", of_frameworks, cluster.offers)
    yield from _out(cluster, "offers", cluster.offers, settings, timer_runs=cluster.offer_timer_runs)


def _out(
    cluster: ClusterState,
    name: str,
    out: Mapping[str, Offer] | Mapping[str, InverseOffer],
    settings: Settings,
    *,
    timer_runs: bool,
) -> Problems:
    """Check what offers and inverse offers have in common: ids, their order, and one timer for all."""
    made: list[float] = []
    for offer_id, offer in out.items():
        made.append(offer.made_at)
        if offer_id != offer.id or int(offer_id.rpartition("-O")[2]) >= cluster.next_offer:
            yield f"{name} has {offer.id} as {offer_id}; next_offer is {cluster.next_offer}"
    if made != sorted(made):
        yield f"{name} are not in the order in which they were made"
    if out and settings.offer_timeout is not None and not timer_runs:
        yield f"{name} are out, but no timer runs"


def _inverse_offers(cluster: ClusterState, settings: Settings) -> Problems:
    for offer in cluster.inverse_offers.values():
        framework, agent = offer.framework, offer.agent
        if framework.inverse_offers.get(agent.id) is not offer or framework.id not in agent.inverse_offers:
            yield f"inverse offer {offer.id} is not among those of its agent and its framework"
        if not (framework.connected and agent.connected):
            yield f"inverse offer {offer.id} is out, but cannot be answered"
        if cluster.unavailability(agent) != offer.unavailability:
            yield f"inverse offer {offer.id} is about another time"
    of_frameworks = sum(len(one.inverse_offers) for one in cluster.frameworks.values())
    of_agents = sum(len(one.inverse_offers) for one in cluster.agents.values())
    if not len(cluster.inverse_offers) == of_frameworks == of_agents:
        yield "the inverse offers of agents and frameworks are not those that are out"
    runs = cluster.inverse_offer_timer_runs
    yield from _out(cluster, "inverse offers", cluster.inverse_offers, settings, timer_runs=runs)
    yield from _plan("plan", cluster.plan)
    yield from _plan("pending_plan", cluster.pending_plan)


def _plan(name: str, plan: Plan) -> Problems:
    if not all(map(plan.has, plan.down)):
        yield f"{name}: of the machines that are down, {sorted(plan.down)}, some are not scheduled"


# --- configuration and observers --------------------------------------------------------------------------------------


def _roles(cluster: ClusterState) -> Problems:
    yield from _configuration("configuration", cluster.configuration)
    yield from _configuration("pending_configuration", cluster.pending_configuration)


def _configuration(name: str, configuration: Configuration) -> Problems:
    for role, one in configuration.quotas.items():
        if not one:
            yield f"{name}: role {role} has a quota that says nothing"
        for resource, guarantee in one.guarantees.items():
            limit = one.limits.get(resource)
            if limit is not None and guarantee > limit:
                yield f"{name}: role {role} is guaranteed more {resource} than it may have"
    for role, weight in configuration.weights.items():
        if not weight > 0:
            yield f"{name}: role {role} has a weight of {weight}"
    for role, how in contradictions(configuration.quotas):
        yield f"{name}: role {role}: {how}"


def _observers(cluster: ClusterState) -> Problems:
    if not cluster.pending_snapshots:
        return
    if not cluster.pending_snapshots.keys() <= cluster.observers:
        yield f"pending_snapshots has no observers: {sorted(cluster.pending_snapshots.keys() - cluster.observers)}"
    known = {
        task
        for one in chain(cluster.frameworks.values(), cluster.completed.values())
        for task in chain(one.tasks.values(), one.unreachable.values(), one.completed)
    }
    for observer, tasks in cluster.pending_snapshots.items():
        if not tasks.keys() <= known:
            yield f"pending_snapshots of observer {observer} has tasks that are forgotten"
