"""`mezzo status`: is the cluster well, and how full is it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from mezzo.cli.asking import ask
from mezzo.cli.output import Format, Output, console, moment, show_json, state, visible

if TYPE_CHECKING:
    from mezzo.cli.api import Api

SCALARS = (("cpus", ""), ("mem", " MiB"), ("disk", " MiB"), ("gpus", ""))


def status(context: typer.Context, output: Output = Format.TABLE) -> None:
    """Show the leader, the number of agents and frameworks, and how much is used."""

    async def question(api: Api) -> dict[str, Any]:
        return {"state": await api.state(), "version": await api.get("/version")}

    answer = ask(context, question)
    report = summary(answer["state"], answer["version"])
    if output is Format.JSON:
        show_json(report)
        return
    screen = console()
    for name, told in lines_of(report):
        screen.print(Text.assemble((f"{name:<10}", "bold"), "  ", told))


def lines_of(report: dict[str, Any]) -> Iterator[tuple[str, str | Text]]:
    """What `mezzo status` says to people: a name, and what there is of it."""
    yield "leader", f"{visible(report['leader'])}, since {moment(report['elected_time'])}"
    yield "version", visible(report["version"])
    yield "agents", f"{report['agents_active']} active, {report['agents_unreachable']} unreachable"
    yield "frameworks", f"{report['frameworks']} ({report['frameworks_connected']} connected)"
    for name, unit in SCALARS:
        total, used, offered = (report[kind][name] for kind in ("total", "used", "offered"))
        if total:
            yield name, f"{used:g} of {total:g}{unit} used, {offered:g} offered"
    counts = [Text.assemble(f"{count} ", state(name)) for name, count in sorted(report["tasks"].items())]
    yield "tasks", Text(", ").join(counts) if counts else "none"


def summary(cluster: dict[str, Any], version: dict[str, Any]) -> dict[str, Any]:
    """The few figures of `/state` that `mezzo status` tells."""
    agents = cluster["slaves"]
    frameworks = cluster["frameworks"]
    return {
        "leader": cluster["leader"],
        "elected_time": cluster["elected_time"],
        "version": version.get("mezzo_version", version["version"]),
        "agents_active": int(cluster["activated_slaves"]),
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
