"""`--constraint`: which agents it means, here and as the cluster is told it; and `--dry-run`, which places by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import typer

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mezzo import attributes, jsonpb
from mezzo.cli.jobs import dry_run
from mezzo.cli.jobs.constraints import Constraint, for_cluster
from mezzo.cli.jobs.job import Job
from mezzo.cli.jobs.spec import JobSpec
from mezzo.offer_constraints import compile_constraints
from mezzo.resources import parse

Agent = master.Response.GetAgents.Agent
SPEC = JobSpec(["true"], cpus=1.0, mem=10.0)


def agent_info(hostname: str = "h1", text: str = "rack:a;level:3;ports:[1-2]") -> mesos.AgentInfo:
    info = mesos.AgentInfo(hostname=hostname, attributes=attributes.parse(text) if text else [])
    info.domain.fault_domain.region.name, info.domain.fault_domain.zone.name = "eu", "eu-1"
    return info


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("rack=a", ""),
        ("rack==a", ""),
        ("rack=b", "has rack a"),
        ("rack!=b", ""),
        ("rack!=a", "has rack a"),
        ("rack~[ab]", ""),
        ("rack~aa", "has rack a"),
        ("rack!~b.*", ""),
        ("rack!~a|b", "has rack a"),
        ("level=3", ""),
        ("level=4", "has level 3"),
        ("ports~.1-2.", ""),
        ("nothing=x", "has no nothing"),
        ("nothing~.*", "has no nothing"),
        ("nothing!=x", ""),
        ("nothing!~.*", ""),
        ("hostname=h1", ""),
        ("@hostname=h2", "has @hostname h1"),
        ("@region=eu", ""),
        ("@zone!=eu-1", "has @zone eu-1"),
        ("unique:rack", ""),
        ("unique:nothing", "has no nothing"),
        ("rack=", "has rack a"),
    ],
)
def test_a_constraint_holds_or_says_what_the_agent_has(text: str, refusal: str) -> None:
    assert Constraint.parse(text).refusal(agent_info(), ()) == refusal


@pytest.mark.parametrize("text", ["", "rack", "=a", "~", "unique:", "two words=a"])
def test_what_is_no_constraint_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected ATTRIBUTE=VALUE"):
        Constraint.parse(text)


def test_an_expression_that_is_none_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match=r"'rack~\[': not a regular expression"):
        Constraint.parse("rack~[")


@pytest.mark.parametrize(
    "text", ["rack=a", "rack=b", "rack!=a", "rack!=b", "rack~[ab]", "rack~b", "rack!~a", "rack!~b", "hostname=h1",
             "hostname=h2", "@region=eu", "@zone~x", "nothing=x", "nothing!=x"],
)  # fmt: skip
def test_the_cluster_is_told_the_same_as_is_looked_at_here(text: str) -> None:
    constraint = Constraint.parse(text)
    told = for_cluster([constraint], "web")
    assert told is not None
    admitted = compile_constraints(told, ["web"], "constraints")["web"].admit(agent_info())
    assert admitted is (constraint.refusal(agent_info(), ()) == "")


def test_all_constraints_hold_and_unique_is_nothing_for_the_cluster() -> None:
    told = for_cluster([Constraint.parse(text) for text in ("rack=a", "unique:rack", "level~.*")], "web")
    assert told is not None
    (group,) = told.role_constraints["web"].groups
    assert len(group.attribute_constraints) == 2
    assert for_cluster([Constraint.parse("unique:rack")], "web") is None


# ------------------------------------------------------------------------------------------------------------- dry run


def agent(hostname: str, total: str = "cpus:4;mem:100", used: str = "", **more: Any) -> Agent:
    return Agent(
        agent_info=agent_info(hostname, more.pop("text", "rack:a")),
        active=more.pop("active", True),
        version="1",
        total_resources=parse(total).messages(),
        allocated_resources=parse(used).messages() if used else [],
    )


def planned(*agents: Agent, **spec: Any) -> tuple[dict[str, int], dict[str, int]]:
    found = dry_run.plan(Job(replace(SPEC, **spec), "r"), agents)
    return dict(found.placed), dict(found.refusals)


def test_tasks_are_placed_where_they_fit_as_long_as_they_do() -> None:
    assert planned(agent("h1"), agent("h2"), count=6) == ({"h1": 4, "h2": 2}, {"too little is free: cpus 0 of 1": 1})
    assert planned(agent("h1", used="cpus:3.5;mem:1"), agent("h2"), count=1)[0] == {"h2": 1}


@pytest.mark.parametrize(
    ("of_it", "spec", "why"),
    [
        ({"used": "cpus:3.5"}, {}, "too little is free: cpus 0.5 of 1"),
        ({}, {"cpus": 5.0}, "too small, even when empty: cpus 4 of 5"),
        ({}, {"resources": "disk:1"}, "too small, even when empty: disk 0 of 1"),
        ({"active": False}, {}, "not connected"),
        ({"text": "rack:b"}, {"constraints": ["rack=a"]}, "has rack b (--constraint)"),
    ],
)
def test_why_an_agent_takes_nothing_is_said(of_it: dict[str, Any], spec: dict[str, Any], why: str) -> None:
    assert planned(agent("h1", **of_it), **spec) == ({}, {why: 1})


def test_of_unique_places_each_is_used_once() -> None:
    agents = [agent("h1"), agent("h2"), agent("h3", text="rack:b")]
    placed, refusals = planned(*agents, count=4, constraints=["unique:rack"])
    assert placed == {"h1": 1, "h3": 1}
    assert refusals == {
        "has rack a, as another task of the run (--constraint)": 2,
        "has rack b, as another task of the run (--constraint)": 1,
    }


class Answering:
    """A gateway with two agents and one role that has a quota."""

    async def ask(self, call: dict[str, Any]) -> Any:
        assert call == {"type": "GET_AGENTS"}
        agents = master.Response.GetAgents(agents=[agent("h1"), agent("h2", used="cpus:4")])
        return jsonpb.to_dict(master.Response(type=master.Response.GET_AGENTS, get_agents=agents))

    async def rows(self, path: str, *_keys: str) -> list[dict[str, Any]]:
        assert path == "/roles"
        return [
            {"name": "eng", "quota": {"limit": {"cpus": 4}, "consumed": {"cpus": 3}}},
            {"name": "eng/web", "quota": {"limit": {}, "consumed": {}}},
            {"name": "ads", "quota": {"limit": {"cpus": 0}, "consumed": {}}},
        ]


@pytest.mark.parametrize(
    ("role", "count", "quotas"),
    [
        ("eng/web", 1, []),
        ("eng/web", 2, ["the quota limit of role eng is cpus 4, of which cpus 3 is used"]),
        ("x", 9, []),
    ],
)
async def test_quota_limits_above_the_role_are_looked_at(role: str, count: int, quotas: list[str]) -> None:
    job = Job(replace(SPEC, role=role, count=count), "r")
    assert await dry_run._quotas(Answering(), job) == quotas  # type: ignore[arg-type]
    assert len(await dry_run._agents(Answering())) == 2  # type: ignore[arg-type]


def test_the_exit_code_says_whether_all_would_be_launched(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(replace(SPEC, count=2), "r")
    assert dry_run.tell(job, dry_run.plan(job, [agent("h1")]), []) == 0
    assert dry_run.tell(job, dry_run.plan(job, [agent("h1")]), ["the quota limit is reached"]) == 1
    assert dry_run.tell(job, dry_run.plan(job, [agent("h1", used="cpus:3")]), []) == 1
    assert dry_run.tell(job, dry_run.plan(job, []), []) == 1
    assert capsys.readouterr().err.splitlines() == [
        "mezzo: nothing was launched; 2 tasks would be, on h1 (2)",
        "mezzo: the quota limit is reached",
        "mezzo: nothing was launched; 2 of 2 tasks would fit now, on h1 (2)",
        "mezzo: nothing was launched; 1 of 2 tasks would fit now, on h1; the rest would wait",
        "mezzo: 1 agent: too little is free: cpus 0 of 1",
        "mezzo: nothing was launched; 0 of 2 tasks would fit now; the rest would wait",
        "mezzo: there are no agents",
    ]
