"""`mezzo status`: is the cluster well, and how full is it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from mezzo.cli.asking import ask
from mezzo.cli.examples import Example, examples
from mezzo.cli.members import asked_if_known
from mezzo.cli.output import (
    DocumentFormat,
    DocumentOutput,
    console,
    is_for_programs,
    moment,
    show_document,
    state,
    visible,
)

if TYPE_CHECKING:
    from mezzo.cli.api import Api

SCALARS = (("cpus", ""), ("mem", " MiB"), ("disk", " MiB"), ("gpus", ""))


@examples(
    Example("mezzo status", "See whether the cluster is well, and how full it is.", r"^agents +1 active"),
    Example("mezzo status -o json", "Tell programs.", '"agents_active": 1'),
)
def status(context: typer.Context, output: DocumentOutput = DocumentFormat.TABLE) -> None:
    """Show who leads and who stands by, the number of agents and frameworks, and how much is used."""

    async def question(api: Api) -> dict[str, Any]:
        cluster, version = await api.state(), await api.get("/version")
        return {"state": cluster, "version": version, "members": await asked_if_known(api)}

    answer = ask(context, question)
    report = summary(answer["state"], answer["version"], answer["members"])
    if is_for_programs(output):
        show_document(report, output)
        return
    screen = console()
    for name, told in lines_of(report):
        screen.print(Text.assemble((f"{name:<10}", "bold"), "  ", told))


def lines_of(report: dict[str, Any]) -> Iterator[tuple[str, str | Text]]:
    """What `mezzo status` says to people: a name, and what there is of it."""
    yield "leader", f"{visible(report['leader'])}, since {moment(report['elected_time'])}"
    for service in ("registry", "allocator", "gateway"):
        found = [member for member in report["members"] if member["service"] == service]
        if found:
            yield {"registry": "registries", "allocator": "allocators", "gateway": "gateways"}[service], _told(found)
    yield "version", visible(report["version"])
    yield "agents", _agents(report)
    yield "frameworks", f"{report['frameworks']} ({report['frameworks_connected']} connected)"
    for name, unit in SCALARS:
        total, used, offered = (report[kind][name] for kind in ("total", "used", "offered"))
        if total:
            yield name, f"{used:g} of {total:g}{unit} used, {offered:g} offered"
    counts = [Text.assemble(f"{count} ", state(name)) for name, count in sorted(report["tasks"].items())]
    yield "tasks", Text(", ").join(counts) if counts else "none"


def _told(members: Sequence[dict[str, Any]]) -> str:
    """`10.0.0.1:5060 leading, 10.0.0.2:5060 standby`; of gateways the addresses alone."""
    return ", ".join(
        visible(one["address"] or "–") + ("" if one["standing"] == "CONNECTED" else f" {one['standing'].lower()}")
        for one in members
    )


def _agents(report: dict[str, Any]) -> str:
    told = f"{report['agents_active']} active, {report['agents_unreachable']} unreachable"
    return f"{told}, {report['agents_inactive']} inactive" if report["agents_inactive"] else told


def summary(cluster: dict[str, Any], version: dict[str, Any], members: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The few figures of `/state` that `mezzo status` tells, and who the members are."""
    agents = cluster["slaves"]
    frameworks = cluster["frameworks"]
    return {
        "leader": cluster["leader"],
        "elected_time": cluster["elected_time"],
        "version": version.get("mezzo_version", version["version"]),
        "members": list(members),
        "agents_active": int(cluster["activated_slaves"]),
        "agents_inactive": int(cluster["deactivated_slaves"]),
        "agents_unreachable": int(cluster["unreachable_slaves"]),
        "frameworks": len(frameworks),
        "frameworks_connected": sum(1 for framework in frameworks if framework["connected"]),
        "total": _sum(agent["resources"] for agent in agents),
        "used": _sum(agent["used_resources"] for agent in agents),
        "offered": _sum(agent["offered_resources"] for agent in agents),
        "tasks": dict(Counter(task["state"] for framework in frameworks for task in framework["tasks"])),
    }


def _sum(resources: Any) -> dict[str, float]:
    totals = dict.fromkeys((name for name, _ in SCALARS), 0.0)
    for each in resources:
        for name in totals:
            totals[name] += each.get(name, 0.0)
    return {name: round(total, 3) for name, total in totals.items()}
