"""`mezzo run --dry-run`: what would be launched, and whether any agent could take it now."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mesos.v1.master import master_pb2 as master
from mezzo import jsonpb
from mezzo.cli import exit_codes
from mezzo.cli.api import Api, connect, exit_on_failure
from mezzo.cli.errors import print_note
from mezzo.cli.jobs.constraints import values_of
from mezzo.cli.jobs.job import Job
from mezzo.cli.jobs.tasks import needed
from mezzo.cli.output import show_json
from mezzo.cli.settings import Settings
from mezzo.operator.wording import amounts, counted, number
from mezzo.resources import Resources, from_thousandths

Agent = master.Response.GetAgents.Agent


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the tasks of a job would go now."""

    placed: Counter[str]
    """How many, by host."""
    refusals: Counter[str]
    """Why agents can take no more of them, by how many agents."""


def run(settings: Settings, job: Job) -> int:
    """Print what would be launched, and where; the exit code is 1 where some of it would have to wait."""
    task = jsonpb.to_dict(job.instances[0].launch.task)
    del task["agent_id"]  # which is not known yet
    show_json(task)

    async def question() -> tuple[Plan, list[str]]:
        async with connect(settings) as api:
            return plan(job, await _agents(api)), await _quotas(api, job)

    with exit_on_failure(settings):
        found, quotas = asyncio.run(question())
    return tell(job, found, quotas)


def tell(job: Job, found: Plan, quotas: Sequence[str]) -> int:
    """Say what was found; the exit code for it."""
    for text in quotas:
        print_note(text)
    count, placed = job.spec.count, found.placed.total()
    where = ", ".join(host if tasks == 1 else f"{host} ({tasks})" for host, tasks in sorted(found.placed.items()))
    if placed == count and not quotas:
        print_note(f"nothing was launched; {counted(count, 'task')} would be, on {where}")
        return 0
    fits = f"{placed} of {counted(count, 'task')} would fit now{f', on {where}' if where else ''}"
    print_note(
        f"nothing was launched; {fits}; the rest would wait" if placed < count else f"nothing was launched; {fits}"
    )
    for why, agents in found.refusals.most_common():
        print_note(f"{counted(agents, 'agent')}: {why}")
    if not found.refusals and not found.placed:
        print_note("there are no agents")
    return exit_codes.FAILED


def plan(job: Job, agents: Iterable[Agent]) -> Plan:
    """Place as many tasks as fit, agent by agent, as offers of all that is free would be answered."""
    task, left = needed(job.spec), job.spec.count
    unique = [each.attribute for each in job.constraints if each.operator == "unique"]
    taken: dict[str, set[str]] = {attribute: set() for attribute in unique}
    found = Plan(Counter(), Counter())
    for agent in agents:
        refusal = _refusal(job, agent, taken)
        free = Resources.of(agent.total_resources).unallocated() - Resources.of(agent.allocated_resources).unallocated()
        while left and not refusal:
            if not free.contains(task):
                refusal = _too_little(agent, free, task)
                break
            free -= task
            left -= 1
            found.placed[agent.agent_info.hostname] += 1
            for attribute in unique:
                taken[attribute].update(values_of(agent.agent_info, attribute))
            refusal = _refusal(job, agent, taken) if unique else ""
        if refusal and left:
            found.refusals[refusal] += 1
    return found


def _refusal(job: Job, agent: Agent, taken: dict[str, set[str]]) -> str:
    """Why an agent would take none, however much it has free."""
    if not agent.active:
        return "not connected"
    for each in job.constraints:
        if why := each.refusal(agent.agent_info, taken.get(each.attribute, ())):
            return f"{why} (--constraint)"
    return ""


def _too_little(agent: Agent, free: Resources, task: Resources) -> str:
    total = Resources.of(agent.total_resources).unallocated()
    if not total.contains(task):
        return f"too small, even when empty: {_short(total, task)}"
    return f"too little is free: {_short(free, task)}"


def _short(has: Resources, task: Resources) -> str:
    """`cpus 0.5 of 2, ports`: what is short, of what is needed."""
    available, wanted = has.scalars().quantities(), task.scalars().quantities()
    short = [
        f"{name} {number(from_thousandths(available.get(name)))} of {number(from_thousandths(amount))}"
        for name, amount in wanted.items()
        if available.get(name) < amount
    ]
    return ", ".join(short) or f"not all of {task}"


async def _agents(api: Api) -> Sequence[Agent]:
    answer = await api.ask({"type": "GET_AGENTS"})
    return jsonpb.from_dict(master.Response, answer).get_agents.agents


async def _quotas(api: Api, job: Job) -> list[str]:
    """The quota limits, of the job's role and of those above it, that it would not fit into."""
    parts = job.spec.role.split("/")
    above = {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
    wanted = {
        name: from_thousandths(amount) * job.spec.count
        for name, amount in needed(job.spec).scalars().quantities().items()
    }
    found = []
    for role in await api.rows("/roles", "roles"):
        quota = role.get("quota") or {}
        limit, consumed = quota.get("limit") or {}, quota.get("consumed") or {}
        over = {
            name: limit[name]
            for name, amount in wanted.items()
            if name in limit and consumed.get(name, 0) + amount > limit[name]
        }
        if role["name"] in above and over:
            used = amounts({name: consumed.get(name, 0) for name in over})
            found.append(f"the quota limit of role {role['name']} is {amounts(over)}, of which {used} is used")
    return found
