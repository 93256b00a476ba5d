"""`mezzo agents`: which machines are there, what is free on them, and which are missing since when?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from mezzo.cli.completing import several_of
from mezzo.cli.examples import Example, examples
from mezzo.cli.lists import Entry, Listing, NoHeaders, Options, SortBy, Watch, list_all
from mezzo.cli.output import Format, Output, amount, moment
from mezzo.cli.windows import Window, window_of, windows

if TYPE_CHECKING:
    from mezzo.cli.api import Api

STATES = ("active", "disconnected", "draining", "drained", "deactivated", "recovered", "unreachable", "gone")
COLUMNS = ("id", "hostname", "state", "used", "offered", "total")
WIDE_COLUMNS = (*COLUMNS, "attributes", "version", "pid", "registered")
NONE = "–"

Agent = dict[str, Any]


@examples(
    Example("mezzo agents", "List the agents, and those that are missing.", r"^\S+ +127\.0\.0\.1 +active "),
    Example("mezzo agents --state unreachable,gone", "List the agents that are missing, since when.", "^ID "),
    Example("mezzo agents --sort-by -used -o wide", "Show all columns, the busiest agent first.", "ATTRIBUTES"),
    Example("mezzo agents -o name", "Print the ids of all agents.", r"-S\d+$"),
)
def agents(
    context: typer.Context,
    states: Annotated[
        str,
        typer.Option(
            "--state",
            "-s",
            metavar="STATES",
            autocompletion=several_of(*STATES),
            help="List agents in these states only: active,draining.",
        ),
    ] = "",
    sort_by: SortBy = "",
    output: Output = Format.TABLE,
    no_headers: NoHeaders = False,
    watch: Watch = False,
) -> None:
    """List the agents, those that are unreachable or gone, and the machines that are down for maintenance."""
    wanted = wanted_states(states)

    async def question(api: Api) -> Listing:
        listing = listing_of(await api.agents(), await windows(api), time.time())
        if not wanted:
            return listing
        entries = [entry for entry in listing.entries if wanted & set(str(entry.row["state"]).split(", ")[0].split())]
        return Listing(COLUMNS, WIDE_COLUMNS, entries)

    list_all(context, Options(output, no_headers, watch, sort_by), question)


def wanted_states(text: str) -> frozenset[str]:
    """`active,draining` as they are shown. Raises `typer.BadParameter`."""
    words = {word for part in text.split(",") if (word := part.strip().lower())}
    if unknown := sorted(words - set(STATES)):
        problem = f"{unknown[0]!r} is not a state of agents; must be one of {', '.join(STATES)}"
        raise typer.BadParameter(problem, param_hint="--state")
    return frozenset(words)


def listing_of(listed: list[Agent], planned: list[Window], now: float) -> Listing:
    """The list of these agents, and of the machines that are down and have none."""
    entries = []
    for agent in listed:
        window = window_of(agent, planned)
        document = agent if window is None else {**agent, "maintenance": window.document()}
        order = {"registered": agent.get("registered_time", 0.0)}
        for column, key in (("used", "used_resources"), ("offered", "offered_resources"), ("total", "resources")):
            order[column] = agent.get(key, {}).get("cpus", 0.0)
        entries.append(Entry(row_of(agent, window, now), document, order))
    # The agents of a machine that is down have ended, or will.
    away = [one for one in planned if one.down and not any(one.concerns(agent) for agent in listed)]
    entries += [Entry(row_of_machine(one, now), None) for one in away]
    return Listing(COLUMNS, WIDE_COLUMNS, entries)


def row_of(agent: Agent, window: Window | None, now: float) -> dict[str, str | Text]:
    # Of an agent that is not there, little is known.
    return {
        "id": agent["id"],
        "hostname": agent["hostname"] or NONE,
        "state": state_of(agent, window, now),
        "used": amount(agent.get("used_resources", {})),
        "offered": amount(agent.get("offered_resources", {})),
        "total": amount(agent.get("resources", {})),
        "attributes": ", ".join(f"{name}={value}" for name, value in agent.get("attributes", {}).items()) or NONE,
        "version": agent.get("mezzo_version") or agent.get("version", NONE),
        "pid": agent.get("pid", NONE),
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
    state = _state_of(agent, window)
    return state if window is None else Text.assemble(state, ", ", window.text(now))


def _state_of(agent: Agent, window: Window | None) -> Text:
    standing = agent["standing"]
    draining = agent.get("drain_info", {}).get("state", "")
    if standing in ("UNREACHABLE", "GONE"):
        since = f" since {moment(agent['since'])}" if "since" in agent else ""
        return Text(f"{standing.lower()}{since}", "red")
    if standing == "RECOVERED":
        return Text("recovered", "yellow")
    if not agent["active"] and not agent.get("deactivated"):
        return Text("disconnected", "red")
    if draining:
        return Text(draining.lower(), "yellow")
    if agent.get("deactivated"):
        return Text("deactivated", "yellow")
    return Text("active", "green") if window is None else Text("draining", "yellow")
