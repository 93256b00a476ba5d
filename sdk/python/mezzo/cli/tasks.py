"""`mezzo tasks`: what runs where, and how did it end?"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from mezzo.cli.asking import ask
from mezzo.cli.errors import ApiError
from mezzo.cli.examples import Example, examples
from mezzo.cli.output import ACTIVE_STATES, Format, Output, amount, moment, show, state

if TYPE_CHECKING:
    from mezzo.cli.api import Api

COLUMNS = ("id", "name", "framework", "agent", "state", "resources")
WIDE_COLUMNS = (*COLUMNS, "role", "executor", "updated")


@examples(
    Example("mezzo tasks", "List what runs.", r"web-\w+ +web .* running", on=("web",)),
)
def tasks(
    context: typer.Context,
    framework: Annotated[
        str, typer.Option("--framework", "-f", help="List tasks of this framework only (id or name).")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", "-a", help="Include tasks that have ended.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """List the tasks."""

    async def question(api: Api) -> dict[str, Any]:
        answer = await api.state()
        if framework and framework not in {known for pair in names_of(answer).items() for known in pair}:
            raise ApiError(HTTPStatus.NOT_FOUND, f"framework {framework} not found")
        return answer

    answer = ask(context, question)
    names = names_of(answer)
    listed = [
        task
        for task in all_tasks(answer)
        if (everything or task["state"] in ACTIVE_STATES)
        and framework in ("", task["framework_id"], names[task["framework_id"]])
    ]
    hosts = {agent["id"]: agent["hostname"] for agent in answer["slaves"]}
    rows = [row_of(task, names, hosts) for task in listed]
    show(rows, WIDE_COLUMNS if output is Format.WIDE else COLUMNS, output, listed)


def names_of(cluster: dict[str, Any]) -> dict[str, str]:
    """The name of every framework, by its id."""
    return {each["id"]: each["name"] for each in cluster["frameworks"] + cluster["completed_frameworks"]}


def all_tasks(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    """Every task in an answer of `/state`, the ended ones last."""
    frameworks = cluster["frameworks"] + cluster["completed_frameworks"]
    kinds = ("tasks", "unreachable_tasks", "completed_tasks")
    return [task for kind in kinds for framework in frameworks for task in framework[kind]]


def row_of(task: dict[str, Any], names: dict[str, str], hosts: dict[str, str]) -> dict[str, str | Text]:
    statuses = task.get("statuses", [])
    return {
        "id": task["id"],
        "name": task["name"],
        "framework": names[task["framework_id"]],
        "agent": hosts.get(task["slave_id"], task["slave_id"]),
        "state": state(task["state"]),
        "resources": amount(task["resources"]),
        "role": task.get("role", "*"),
        "executor": task.get("executor_id") or "–",
        "updated": moment(statuses[-1]["timestamp"] if statuses else None),
    }
