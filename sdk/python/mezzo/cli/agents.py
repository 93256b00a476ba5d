"""`mezzo agents`: which machines are there, and what is free on them?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from mezzo.cli.asking import ask
from mezzo.cli.maintenance import Window, window_of, windows
from mezzo.cli.output import Format, Output, amount, moment, show

if TYPE_CHECKING:
    from mezzo.cli.api import Api

COLUMNS = ("id", "hostname", "state", "used", "offered", "total")
WIDE_COLUMNS = (*COLUMNS, "attributes", "version", "pid", "registered")
NONE = "–"

Agent = dict[str, Any]


def agents(context: typer.Context, output: Output = Format.TABLE) -> None:
    """List the agents, and the machines that are down for maintenance."""

    async def question(api: Api) -> tuple[list[Agent], list[Window]]:
        return await api.rows("/slaves", "slaves"), await windows(api)

    listed, planned = ask(context, question)
    now = time.time()
    rows, documents = [], []
    for agent in listed:
        window = window_of(agent, planned)
        rows.append(row_of(agent, window, now))
        documents.append(agent if window is None else {**agent, "maintenance": window.document()})
    # The agents of a machine that is down have ended, or will.
    away = [one for one in planned if one.down and not any(one.concerns(agent) for agent in listed)]
    rows += [row_of_machine(one, now) for one in away]
    show(rows, WIDE_COLUMNS if output is Format.WIDE else COLUMNS, output, documents)


def row_of(agent: Agent, window: Window | None, now: float) -> dict[str, str | Text]:
    return {
        "id": agent["id"],
        "hostname": agent["hostname"],
        "state": state_of(agent, window, now),
        "used": amount(agent["used_resources"]),
        "offered": amount(agent["offered_resources"]),
        "total": amount(agent["resources"]),
        "attributes": ", ".join(f"{name}={value}" for name, value in agent["attributes"].items()) or NONE,
        "version": agent.get("mezzo_version") or agent.get("version", NONE),
        "pid": agent["pid"],
        "registered": moment(agent.get("registered_time")),
    }


def row_of_machine(window: Window, now: float) -> dict[str, str | Text]:
    """A machine that is down, and has no agent any more."""
    row: dict[str, str | Text] = dict.fromkeys(WIDE_COLUMNS, NONE)
    row["hostname"] = window.hostname or window.ip
    row["state"] = Text(window.text(now), "yellow")
    return row


def state_of(agent: Agent, window: Window | None, now: float) -> Text:
    """How the agent stands, and what is planned for its machine."""
    draining = agent.get("drain_info", {}).get("state", "")
    if not agent["active"] and not agent.get("deactivated"):
        state = Text("disconnected", "red")
    elif draining:
        state = Text(draining.lower(), "yellow")
    elif agent.get("deactivated"):
        state = Text("deactivated", "yellow")
    elif window is not None:
        state = Text("draining", "yellow")
    else:
        state = Text("active", "green")
    return state if window is None else Text.assemble(state, ", ", window.text(now))
