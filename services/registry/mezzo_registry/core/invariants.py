"""What is always true of the books, whatever happens. Slow, and thorough: for tests and the simulator."""

from collections import Counter

from mezzo.resources import Resources

from .accounts import Sums
from .books import Agent, Books
from .failures import InvariantViolation
from .roles import contradictions
from .states import AgentState, FrameworkState


def validate(books: Books) -> None:
    """Check all books against each other.

    Raises:
        InvariantViolation: they contradict themselves.
    """
    for agent in books.agents.values():
        _agent(books, agent)
    _frameworks(books)
    _roles(books)
    _sums(books)
    _tasks(books)
    _offers(books)
    _inverse_offers(books)
    _must(set(books.agents).isdisjoint(books.unreachable), "an agent is both admitted and unreachable")
    _must(
        books.recovered <= {agent.id for agent in books.agents.values() if agent.registered_at is None},
        "an agent that has registered is counted as recovered",
    )


def _must(condition: bool, message: str) -> None:
    if not condition:
        raise InvariantViolation(message)


def _agent(books: Books, agent: Agent) -> None:
    held = Resources.sum(resources for _, _, resources in books.holdings(agent))
    _must(agent.total.contains(held), f"agent {agent.id}: {held} are held of {agent.total}")
    _must(
        agent.available + held == agent.total,
        f"agent {agent.id}: available {agent.available} and held {held} do not add up to {agent.total}",
    )
    _must(books.agents_by_number.get(agent.number) is agent, f"agent {agent.id} is not known by its number")
    _must(agent.state is not AgentState.REMOVED, f"agent {agent.id} is removed, but still in the books")
    _must(agent.connected <= (agent.session is not None), f"agent {agent.id} is connected without a session")
    if agent.session is not None:
        _must(books.agents_by_session.get(agent.session) is agent, f"agent {agent.id} is not known by its session")
    if not agent.connected:
        _must(not agent.offers, f"agent {agent.id} is offered, but {agent.state.value}")


def _frameworks(books: Books) -> None:
    roles: dict[str, int] = {}
    for framework in books.frameworks.values():
        name = f"framework {framework.id}"
        _must(framework.state is not FrameworkState.COMPLETED, f"{name} is completed, but still in the books")
        _must(
            framework.connected == (framework.stream_id is not None),
            f"{name} is {framework.state.value}, but has a stream",
        )
        if framework.stream_id is not None:
            _must(
                books.frameworks_by_stream.get(framework.stream_id) is framework, f"{name} is not known by its stream"
            )
        else:
            _must(not framework.offers, f"{name} has offers without a stream")
        for role in framework.roles:
            roles[role] = roles.get(role, 0) + 1
        counts: dict[str, int] = {}
        agents = [task.agent for task in framework.tasks.values()]
        agents += [executor.agent for executor in framework.executors.values()]
        for agent in agents:
            counts[agent.id] = counts.get(agent.id, 0) + 1
        _must(counts == framework.agents, f"{name} counts {framework.agents}, but has {counts}")
    _must(roles == books.roles, f"roles are counted as {books.roles}, but are {roles}")
    _must(set(books.frameworks).isdisjoint(books.completed), "a framework is both alive and completed")
    for framework in books.completed.values():
        _must(
            not framework.tasks and not framework.executors,
            f"framework {framework.id} is completed, but runs something",
        )


def _roles(books: Books) -> None:
    for configuration in (books.configuration, books.ordered):
        for role, one in configuration.quotas.items():
            _must(bool(one), f"role {role} has a quota that says nothing")
            for name, guarantee in one.guarantees.items():
                limit = one.limits.get(name)
                _must(limit is None or guarantee <= limit, f"role {role} is guaranteed more {name} than it may have")
        for role, weight in configuration.weights.items():
            _must(weight > 0, f"role {role} has a weight of {weight}")
        for role, how in contradictions(configuration.quotas):
            _must(False, f"role {role}: {how}")


def _sums(books: Books) -> None:
    used, offered = Sums(), Sums()
    for agent in books.agents.values():
        for task in agent.tasks.values():
            if not task.terminal:
                used.add(task.role, task.resources)
        for executor in agent.executors.values():
            used.add(executor.role, executor.resources)
        for offer in agent.offers.values():
            offered.add(offer.role, offer.resources)
    states = Counter(task.state for one in books.frameworks.values() for task in one.tasks.values())
    _must(states == +books.task_states, f"tasks are counted as {books.task_states}, but are {states}")
    _must(used == books.used, f"{books.used} are counted as used, but {used} are")
    _must(offered == books.offered, f"{books.offered} are counted as offered, but {offered} are")


def _tasks(books: Books) -> None:
    of_agents = {(agent.id, *key) for agent in books.agents.values() for key in agent.tasks}
    of_frameworks = {
        (task.agent.id, *task.key) for framework in books.frameworks.values() for task in framework.tasks.values()
    }
    _must(of_agents == of_frameworks, f"agents and frameworks differ in tasks: {of_agents ^ of_frameworks}")
    for framework in books.frameworks.values():
        for task in framework.tasks.values():
            _must(
                books.agents.get(task.agent.id) is task.agent,
                f"task {task.id} runs on agent {task.agent.id}, which is none",
            )
            waits = not task.terminal or task.pending is not None or not task.statuses
            _must(waits or task.reported, f"task {task.id} has ended, and nothing is left to wait for")
        both = framework.tasks.keys() & framework.unreachable.keys()
        _must(not both, f"framework {framework.id}: tasks {both} both run and are unreachable")


def _inverse_offers(books: Books) -> None:
    for offer in books.inverse_offers.values():
        framework, agent = offer.framework, offer.agent
        _must(framework.inverse_offers.get(agent.id) is offer, f"inverse offer {offer.id} is not its framework's")
        _must(framework.id in agent.inverse_offers, f"inverse offer {offer.id} is not known to its agent")
        _must(framework.connected and agent.connected, f"inverse offer {offer.id} is out, but cannot be answered")
        _must(books.unavailability(agent) == offer.unavailability, f"inverse offer {offer.id} is about another time")
    of_frameworks = sum(len(one.inverse_offers) for one in books.frameworks.values())
    of_agents = sum(len(one.inverse_offers) for one in books.agents.values())
    _must(len(books.inverse_offers) == of_frameworks == of_agents, "an inverse offer is stale")
    for agent in books.agents.values():
        down = agent.connected and books.plan.is_down(agent.info.hostname, agent.pid)
        _must(not down, f"agent {agent.id} is connected, but its machine is down")
    for plan in (books.plan, books.ordered_plan):
        _must(all(map(plan.has, plan.down)), f"of the machines that are down, {plan.down}, some are not scheduled")


def _offers(books: Books) -> None:
    for offer in books.offers.values():
        _must(offer.id in offer.agent.offers, f"offer {offer.id} is not known to its agent")
        _must(offer.id in offer.framework.offers, f"offer {offer.id} is not known to its framework")
        _must(bool(offer.resources), f"offer {offer.id} offers nothing")
    made = [offer.made_at for offer in books.offers.values()]
    _must(made == sorted(made), "offers are not in the order in which they were made")
    _must(len(books.offers) == sum(len(agent.offers) for agent in books.agents.values()), "an agent has a stale offer")
    _must(
        len(books.offers) == sum(len(one.offers) for one in books.frameworks.values()), "a framework has a stale offer"
    )
