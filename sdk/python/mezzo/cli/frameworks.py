"""`mezzo frameworks`: who shares the cluster, and who holds what?"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from mezzo.cli.asking import ask
from mezzo.cli.output import Format, Output, amount, moment, show

COLUMNS = ("id", "name", "roles", "state", "tasks", "used", "offered")
WIDE_COLUMNS = (*COLUMNS, "user", "hostname", "capabilities", "registered")


def frameworks(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Include completed frameworks.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """List the frameworks."""
    kinds = ("frameworks", "completed_frameworks") if everything else ("frameworks",)
    listed = ask(context, lambda api: api.rows("/frameworks", *kinds))
    columns = WIDE_COLUMNS if output is Format.WIDE else COLUMNS
    show([row_of(framework) for framework in listed], columns, output, listed)


def row_of(framework: dict[str, Any]) -> dict[str, str | Text]:
    return {
        "id": framework["id"],
        "name": framework["name"],
        "roles": ", ".join(framework["roles"] if "roles" in framework else [framework.get("role", "*")]),
        "state": state_of(framework),
        "tasks": str(len(framework["tasks"])),
        "used": amount(framework["used_resources"]),
        "offered": amount(framework["offered_resources"]),
        "user": framework["user"] or "–",
        "hostname": framework["hostname"] or "–",
        "capabilities": ", ".join(framework["capabilities"]) or "–",
        "registered": moment(framework["registered_time"]),
    }


def state_of(framework: dict[str, Any]) -> Text:
    if framework["unregistered_time"]:
        return Text("completed")
    if not framework["connected"]:
        return Text("disconnected", "red")
    return Text("active", "green") if framework["active"] else Text("inactive", "yellow")
