"""`mezzo agents`: which machines are there, and what is free on them?"""

from __future__ import annotations

from typing import Any

import typer
from rich.text import Text

from mezzo.cli.asking import ask
from mezzo.cli.output import Format, Output, amount, moment, show

COLUMNS = ("id", "hostname", "state", "used", "offered", "total")
WIDE_COLUMNS = (*COLUMNS, "attributes", "version", "pid", "registered")


def agents(context: typer.Context, output: Output = Format.TABLE) -> None:
    """List the agents."""
    answer = ask(context, lambda api: api.get("/slaves"))
    columns = WIDE_COLUMNS if output is Format.WIDE else COLUMNS
    show([row_of(agent) for agent in answer["slaves"]], columns, output, answer)


def row_of(agent: dict[str, Any]) -> dict[str, str | Text]:
    return {
        "id": agent["id"],
        "hostname": agent["hostname"],
        "state": state_of(agent),
        "used": amount(agent["used_resources"]),
        "offered": amount(agent["offered_resources"]),
        "total": amount(agent["resources"]),
        "attributes": ", ".join(f"{name}={value}" for name, value in agent["attributes"].items()) or "–",
        "version": agent.get("version", "–"),
        "pid": agent["pid"],
        "registered": moment(agent.get("registered_time")),
    }


def state_of(agent: dict[str, Any]) -> Text:
    if agent.get("deactivated"):
        return Text("deactivated", "yellow")
    return Text("active", "green") if agent["active"] else Text("disconnected", "red")
