"""`mezzo maintenance`: which machines will be taken away when, and which are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzo.cli import periods
from mezzo.cli.asking import ask, confirm
from mezzo.cli.completing import agent_ids
from mezzo.cli.errors import ApiError
from mezzo.cli.examples import Example, Verb, VerbGroup, examples
from mezzo.cli.ids import resolve
from mezzo.cli.lists import Entry, Listing, NoHeaders, Options, list_all
from mezzo.cli.output import Format, Output, moment, visible
from mezzo.cli.windows import NANOSECONDS, Window, ip_of, windows

if TYPE_CHECKING:
    from mezzo.cli.api import Api

COLUMNS = ("machine", "ip", "state", "from", "until", "agents")
NONE = "–"

Document = dict[str, Any]
Machine = dict[str, str]

Machines = Annotated[
    list[str],
    typer.Argument(
        metavar="MACHINE", autocompletion=agent_ids, help="Host names, IP addresses, or ids of agents on the machines."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Take machines, too, that no agent is on.")]

maintenance = typer.Typer(
    cls=VerbGroup, help="List maintenance, plan it, and begin and end it.", invoke_without_command=True
)


@maintenance.callback()
@examples(Example("mezzo maintenance", "List what is planned, and which machines are down.", "^MACHINE "))
def list_maintenance(context: typer.Context, output: Output = Format.TABLE, no_headers: NoHeaders = False) -> None:
    """List maintenance, plan it, and begin and end it."""
    if context.invoked_subcommand is not None:
        return

    async def question(api: Api) -> Listing:
        planned, agents = await windows(api, strict=True), await api.agents()
        return Listing(COLUMNS, COLUMNS, [_entry(window, agents) for window in planned])

    list_all(context, Options(output, no_headers), question)


def _entry(window: Window, agents: Sequence[Document]) -> Entry:
    there = [agent["id"] for agent in agents if window.concerns(agent)]
    row = {
        "machine": window.hostname or window.ip,
        "ip": window.ip or NONE,
        "state": "down" if window.down else "draining",
        "from": moment(window.since),
        "until": moment(window.until),
        "agents": ", ".join(there) or NONE,
    }
    document = {"hostname": window.hostname, "ip": window.ip, **window.document(), "agents": there}
    return Entry(row, document, {"from": window.since, "until": window.until or 0.0})


@maintenance.command("schedule", cls=Verb)
@examples(
    Example(
        "mezzo maintenance schedule 127.0.0.1 --start 2h --duration 30m",
        "Have frameworks told that a machine will be away for half an hour, from in two hours on.",
        r"^127\.0\.0\.1 will be in maintenance from ",
    ),
)
def schedule(
    context: typer.Context,
    machines: Machines,
    start: Annotated[
        str,
        typer.Option("--start", metavar="WHEN", help="Beginning: in 2h, or at 2031-05-01T08:00; now by default."),
    ] = "",
    duration: Annotated[
        str, typer.Option("--duration", metavar="PERIOD", help="Length: 30m, 2h; without an end by default.")
    ] = "",
    force: Force = False,
) -> None:
    """Plan maintenance of machines: their frameworks are asked to give them up. Replaces what is planned for them."""
    since = _start(start, time.time())
    window: Document = {"unavailability": {"start": {"nanoseconds": int(since * NANOSECONDS)}}}
    if duration:
        length = int(periods.seconds(duration, "--duration") * NANOSECONDS)
        window["unavailability"]["duration"] = {"nanoseconds": length}

    async def change(api: Api) -> list[Machine]:
        meant = _machines(machines, await api.agents(), force=force)
        planned = _without(meant, await _schedule(api))
        await _update(api, [*planned, {"machine_ids": meant, **window}])
        return meant

    meant = ask(context, change)
    typer.echo(f"{_names(meant)} will be in maintenance from {moment(since)}")


@maintenance.command("cancel", cls=Verb)
@examples(Example("mezzo maintenance cancel 127.0.0.1", "Take back what is planned for a machine.", "is not planned"))
def cancel(context: typer.Context, machines: Machines) -> None:
    """Take back what is planned for machines. Those that are down have to be brought up first."""

    async def change(api: Api) -> list[Machine]:
        planned = await _schedule(api)
        meant = _planned(machines, planned, await api.agents())
        await _update(api, _without(meant, planned))
        return meant

    typer.echo(f"maintenance of {_names(ask(context, change))} is not planned any more")


@maintenance.command("down", cls=Verb)
@examples(
    Example(
        "mezzo maintenance schedule 10.9.8.7 --force && mezzo maintenance down 10.9.8.7 --yes",
        "Begin the maintenance of a machine: its agents are ended, and refused until it is up.",
        r"^10\.9\.8\.7 is down for maintenance$",
    ),
)
def down(
    context: typer.Context,
    machines: Machines,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Begin the maintenance of machines that it is planned for: their agents end, and what runs there is lost."""

    async def found(api: Api) -> tuple[list[Machine], list[Document]]:
        agents = await api.agents()
        meant = _planned(machines, await _schedule(api), agents)
        return meant, [agent for agent in agents if agent["active"] and any(_is_on(agent, one) for one in meant)]

    meant, agents = ask(context, found)
    if agents:
        ids = ", ".join(agent["id"] for agent in agents)
        confirm(f"End agent {visible(ids)} and all tasks there?", yes=yes)
    body = {"type": "START_MAINTENANCE", "start_maintenance": {"machines": meant}}
    ask(context, lambda api: api.call(body))
    typer.echo(f"{_names(meant)} {_is_or_are(meant)} down for maintenance")


@maintenance.command("up", cls=Verb)
@examples(Example("mezzo maintenance up 10.9.8.7", "End the maintenance of a machine.", "may join again$"))
def up(context: typer.Context, machines: Machines) -> None:
    """End the maintenance of machines: their agents may join again, and nothing is planned for them any more."""

    async def change(api: Api) -> list[Machine]:
        meant = _planned(machines, await _schedule(api), await api.agents())
        await api.call({"type": "STOP_MAINTENANCE", "stop_maintenance": {"machines": meant}})
        return meant

    meant = ask(context, change)
    typer.echo(f"{_names(meant)} {_is_or_are(meant)} up again, and agents there may join again")


# ----------------------------------------------------------------------------------------------------------- asking


async def _schedule(api: Api) -> list[Document]:
    """The windows of the schedule."""
    return list((await api.known("/maintenance/schedule")).get("windows", []))


async def _update(api: Api, planned: list[Document]) -> None:
    call = {"schedule": {"windows": planned}}
    await api.call({"type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": call})


def _start(text: str, now: float) -> float:
    """`2h` from now, a moment in local time, or now; in seconds since the epoch. Raises `typer.BadParameter`."""
    if not text:
        return now
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return now + periods.seconds(text, "--start")


def _machines(words: Sequence[str], agents: Sequence[Document], *, force: bool) -> list[Machine]:
    """The machines that are meant. Raises `ApiError`, unless `force`, for one that no agent is on."""
    return [_machine(word, agents, force=force) for word in words]


def _machine(word: str, agents: Sequence[Document], *, force: bool) -> Machine:
    machine = _named(word)
    if any(_is_on(agent, machine) for agent in agents):
        return machine
    try:
        agent_id = resolve(word, (agent["id"] for agent in agents), "agent")
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        if force:
            return machine
        message = f"no agent is on a machine {word}; mezzo agents lists them (--force takes it all the same)"
        raise ApiError(HTTPStatus.NOT_FOUND, message) from None
    agent = next(agent for agent in agents if agent["id"] == agent_id)
    return {name: text for name, text in (("hostname", agent["hostname"]), ("ip", ip_of(agent.get("pid", "")))) if text}


def _planned(words: Sequence[str], planned: Sequence[Document], agents: Sequence[Document]) -> list[Machine]:
    """The machines that are meant, as the schedule names them. Raises `ApiError` for one that it does not have."""
    known = [machine for window in planned for machine in window["machine_ids"]]
    found: list[Machine] = []
    for word in words:
        meant = _machine(word, agents, force=True)
        matching = [machine for machine in known if _overlap(machine, meant)]
        if not matching:
            message = f"no maintenance is planned for {word}; mezzo maintenance lists what is"
            raise ApiError(HTTPStatus.NOT_FOUND, message)
        found += [machine for machine in matching if machine not in found]
    return found


def _without(machines: Sequence[Machine], planned: Sequence[Document]) -> list[Document]:
    """The windows without these machines, and without those windows that have none left."""
    kept = [
        {**window, "machine_ids": [one for one in window["machine_ids"] if one not in machines]} for window in planned
    ]
    return [window for window in kept if window["machine_ids"]]


def _named(word: str) -> Machine:
    try:
        return {"ip": str(ip_address(word))}
    except ValueError:
        return {"hostname": word}


def _is_on(agent: Document, machine: Machine) -> bool:
    told = {"hostname": agent["hostname"].lower(), "ip": ip_of(agent.get("pid", ""))}
    return all(text.lower() == told[name] for name, text in machine.items())


def _overlap(one: Machine, other: Machine) -> bool:
    """Whether what both say of a machine is the same, and there is something that both say."""
    both = one.keys() & other.keys()
    return bool(both) and all(one[name].lower() == other[name].lower() for name in both)


def _names(machines: Sequence[Machine]) -> str:
    return ", ".join(visible(machine.get("hostname") or machine["ip"]) for machine in machines)


def _is_or_are(machines: Sequence[Machine]) -> str:
    return "is" if len(machines) == 1 else "are"
