"""`mezzo kill`: end tasks, whosever they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import typer

from mezzo.backoff import Backoff
from mezzo.cli import periods
from mezzo.cli.asking import ask, confirm
from mezzo.cli.errors import ApiError, exit_code_of, print_error, print_note
from mezzo.cli.examples import Example, examples
from mezzo.cli.output import ACTIVE_STATES, visible
from mezzo.cli.selection import Framework, Labels, Names, Selection, Task, path_of, select

if TYPE_CHECKING:
    from mezzo.cli.api import Api

IDS_SHOWN_MAX = 20
LOOK_SECONDS_MIN = 0.1
LOOK_SECONDS_MAX = 2.0
"""Between looks at tasks whose ends are waited for."""


@examples(
    Example(
        "mezzo kill batch", "Kill the task whose id begins with batch.", r"^batch-\w+ is being killed$", on=("batch",)
    ),
    Example(
        "mezzo kill --wait --grace 2s nightly",
        "Kill it, with SIGKILL if it has not ended two seconds after SIGTERM, and wait for its end.",
        r"^nightly-\w+ has ended: killed$",
        on=("nightly",),
    ),
)
def kill(
    context: typer.Context,
    tasks: Names = None,
    framework: Framework = None,
    label: Labels = None,
    grace: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Time between SIGTERM and SIGKILL, such as 5s; by default what the task says, or else its agent.",
        ),
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the tasks have ended.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, even where several tasks would be killed.")
    ] = False,
) -> None:
    """Kill tasks: those that are named, or all active ones of a framework or with a label.

    On a terminal it asks before it kills several.
    """
    selection = Selection.of(tasks, framework, label)
    query = {"grace_period": f"{periods.seconds(grace, '--grace'):.9f}secs"} if grace else {}

    async def question(api: Api) -> int:
        selected = await select(api, selection)
        if len(selected) > 1:
            confirm(f"kill these {len(selected)} tasks: {_ids(selected)}?", yes=yes)
        code, killed = await _kill(api, selected, query)
        if wait:
            await _wait(api, killed)
        return code

    raise typer.Exit(ask(context, question))


def _ids(tasks: Sequence[Task]) -> str:
    shown = ", ".join(visible(str(task["id"])) for task in tasks[:IDS_SHOWN_MAX])
    return f"{shown} and {len(tasks) - IDS_SHOWN_MAX} more" if len(tasks) > IDS_SHOWN_MAX else shown


async def _kill(api: Api, tasks: Sequence[Task], query: dict[str, str]) -> tuple[int, list[Task]]:
    """Have each killed. Returns the exit code, and the tasks of which that is under way."""
    code, killed = 0, []
    for task in tasks:
        try:
            if not api.is_stale:  # else whether it has ended is for the registry to say
                _check_active(task)
            await api.post(f"{path_of(task)}/kill", **query)
        except ApiError as error:
            if len(tasks) == 1:
                raise
            print_error(f"{task['id']}: {error}")
            code = code or exit_code_of(error)
        else:
            typer.echo(f"{visible(str(task['id']))} is being killed")
            killed.append(task)
    return code, killed


def _check_active(task: Task) -> None:
    if task["state"] not in ACTIVE_STATES:
        raise ApiError(HTTPStatus.NOT_FOUND, f"{task['id']} has ended already: {_short(task['state'])}")


def _short(state: str) -> str:
    return state.removeprefix("TASK_").lower()


async def _wait(api: Api, tasks: Sequence[Task]) -> None:
    """Look at the tasks until each has ended; say how each did."""
    waiting = {(str(task["framework_id"]), str(task["id"])) for task in tasks}
    unreachable: set[tuple[str, str]] = set()
    pauses = Backoff(LOOK_SECONDS_MIN, LOOK_SECONDS_MAX)
    while waiting:
        for key in list(waiting):
            framework_id, task_id = key
            found = await api.rows("/tasks", "tasks", framework_id=framework_id, task_id=task_id)
            state = found[0]["state"] if found else "TASK_UNKNOWN"
            if state == "TASK_UNREACHABLE" and key not in unreachable:
                unreachable.add(key)
                print_note(f"{task_id}: its agent is unreachable; waiting for it to come back")
            if state not in ACTIVE_STATES:
                waiting.remove(key)
                pauses.reset()
                typer.echo(f"{visible(task_id)} has ended: {_short(state)}")
        if waiting:
            await asyncio.sleep(next(pauses))
