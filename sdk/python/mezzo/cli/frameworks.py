"""`mezzo frameworks` and `mezzo teardown`: who shares the cluster, who holds what, and ending one of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from mezzo.cli.asking import ask, confirm
from mezzo.cli.completing import framework_ids
from mezzo.cli.examples import Example, examples
from mezzo.cli.lists import Entry, Listing, NoHeaders, Options, SortBy, Watch, list_all
from mezzo.cli.lookup import framework_id_of
from mezzo.cli.output import Format, Output, age, amount, moment, visible
from mezzo.operator.wording import counted

if TYPE_CHECKING:
    from mezzo.cli.api import Api

COLUMNS = ("id", "name", "roles", "state", "tasks", "age", "used", "offered")
WIDE_COLUMNS = (*COLUMNS, "user", "hostname", "capabilities", "registered")
NONE = "–"

Framework = dict[str, Any]


@examples(
    Example("mezzo frameworks", "List who shares the cluster.", r"^\S+ +mezzo run web ", on=("web",)),
    Example("mezzo frameworks --all -o name", "Print the ids of all frameworks, completed ones included.", r"-\d{4}$"),
    Example("mezzo frameworks --sort-by -used", "List them, who uses most first.", "^ID "),
)
def frameworks(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Include completed frameworks.")] = False,
    sort_by: SortBy = "",
    output: Output = Format.TABLE,
    no_headers: NoHeaders = False,
    watch: Watch = False,
) -> None:
    """List the frameworks."""
    # With --watch a framework that completes is shown once more, unless it had before.
    over: set[str] | None = None

    async def question(api: Api) -> Listing:
        nonlocal over
        active, completed = "frameworks", "completed_frameworks"
        kinds = (active, completed) if everything or watch else (active,)
        listed = await api.rows("/frameworks", *kinds)
        if over is None:
            over = {each["id"] for each in listed if not everything and each["unregistered_time"]}
        return listing_of([each for each in listed if each["id"] not in over])

    list_all(context, Options(output, no_headers, watch, sort_by), question)


def listing_of(listed: list[Framework]) -> Listing:
    """The list of these frameworks."""
    now = time.time()
    return Listing(COLUMNS, WIDE_COLUMNS, [entry_of(framework, now) for framework in listed])


def entry_of(framework: Framework, now: float) -> Entry:
    order = {
        "tasks": float(len(framework["tasks"])),
        "age": now - framework["registered_time"],
        "used": framework["used_resources"].get("cpus", 0.0),
        "offered": framework["offered_resources"].get("cpus", 0.0),
    }
    return Entry(row_of(framework, now), framework, order)


def row_of(framework: Framework, now: float) -> dict[str, str | Text]:
    return {
        "id": framework["id"],
        "name": framework["name"],
        "roles": ", ".join(roles_of(framework)),
        "state": state_of(framework),
        "tasks": str(len(framework["tasks"])),
        "age": age(framework["registered_time"], now),
        "used": amount(framework["used_resources"]),
        "offered": amount(framework["offered_resources"]),
        "user": framework["user"] or NONE,
        "hostname": framework["hostname"] or NONE,
        "capabilities": ", ".join(framework["capabilities"]) or NONE,
        "registered": moment(framework["registered_time"]),
    }


def roles_of(framework: Framework) -> list[str]:
    """The roles that it is subscribed in."""
    return list(framework["roles"]) if "roles" in framework else [framework.get("role", "*")]


def state_of(framework: Framework) -> Text:
    if framework["unregistered_time"]:
        return Text("completed")
    if not framework["connected"]:
        return Text("disconnected", "red")
    return Text("active", "green") if framework["active"] else Text("inactive", "yellow")


@examples(
    Example(
        "mezzo teardown --yes 'mezzo run batch'", "End a framework, and all its tasks.", "is torn down", on=("batch",)
    ),
)
def teardown(
    context: typer.Context,
    framework: Annotated[
        str,
        typer.Argument(
            metavar="FRAMEWORK", autocompletion=framework_ids, help="Id of the framework, beginning of one, or name."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Tear a framework down: its tasks are killed, and it may never come back."""

    async def found(api: Api) -> Framework:
        framework_id = await framework_id_of(api, framework)
        kinds = ("frameworks", "completed_frameworks")
        return (await api.rows("/frameworks", *kinds, framework_id=framework_id))[0]

    meant: Framework = ask(context, found)
    name = f"framework {visible(meant['id'])} ({visible(meant['name'])})"
    if meant["unregistered_time"]:
        typer.echo(f"{name} has ended already")
        return
    confirm(f"Tear down {name} and kill its {counted(len(meant['tasks']), 'task')}?", yes=yes)
    call = {"type": "TEARDOWN", "teardown": {"framework_id": {"value": meant["id"]}}}
    ask(context, lambda api: api.call(call))
    typer.echo(f"{name} is torn down")
