"""Which tasks a verb is about: those that are named, those of a framework, those with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from mezzo.cli import labels
from mezzo.cli.completing import any_task_ids, framework_ids
from mezzo.cli.errors import ApiError
from mezzo.cli.ids import resolve
from mezzo.cli.lookup import framework_id_of
from mezzo.cli.output import ACTIVE_STATES

if TYPE_CHECKING:
    from mezzo.cli.api import Api

Task = dict[str, Any]
"""As `/tasks` tells of it."""

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="TASK", autocompletion=any_task_ids, help="Ids of tasks, or beginnings of them."),
]
Framework = Annotated[
    str | None,
    typer.Option("--framework", autocompletion=framework_ids, help="Tasks of this framework only (id or name)."),
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", help="Tasks with this label only, NAME=VALUE or NAME; may be repeated."),
]


@dataclass(frozen=True, slots=True)
class Selection:
    """What tasks are selected by."""

    names: Sequence[str] = ()
    framework: str = ""
    wanted_labels: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Sequence[str] | None, framework: str | None, wanted_labels: Sequence[str] | None) -> Selection:
        """As it was typed. Raises `typer.BadParameter` where nothing was, and for labels that are none.

        An empty framework is a variable that is not set: it must not stand for all of them.
        """
        if framework == "":
            raise typer.BadParameter("is empty; expected the id or the name of a framework", param_hint="--framework")
        if not names and not framework and not wanted_labels:
            raise typer.BadParameter("name at least one task, or use --framework or --label", param_hint="TASK")
        return cls(names or (), framework or "", labels.selector(wanted_labels or ()))


async def select(api: Api, selection: Selection, *, ended: bool = False) -> list[Task]:
    """The selected tasks, each once. A name may mean a task that has ended; with `ended` the rest may, too.

    Raises:
        ApiError: a name means no task, or several; or there is no such framework; or nothing is selected.
    """
    tasks = await api.rows("/tasks", "tasks", limit="-1")
    if selection.framework:
        framework_id = await framework_id_of(api, selection.framework)
        tasks = [task for task in tasks if task["framework_id"] == framework_id]
    if selection.wanted_labels:
        tasks = [task for task in tasks if labels.match(selection.wanted_labels, task.get("labels", ()))]
    if selection.names:
        found = [one(tasks, name) for name in selection.names]
        return list({(task["framework_id"], task["id"]): task for task in found}.values())
    found = [task for task in tasks if ended or task["state"] in ACTIVE_STATES]
    if not found:
        raise ApiError(HTTPStatus.NOT_FOUND, f"no {'' if ended else 'active '}task matches")
    return sorted(found, key=lambda task: str(task["id"]))


def one(tasks: Sequence[Task], name: str) -> Task:
    """The task of this id, or the one whose id begins with it; an active one before ended ones.

    Raises:
        ApiError: 404, there is none; 409, there are several.
    """
    found = [task for task in tasks if task["id"].startswith(name)] if name else []
    exact = [task for task in found if task["id"] == name]
    active = [task for task in exact or found if task["state"] in ACTIVE_STATES]
    candidates = active or exact or found
    task_id = resolve(name, (task["id"] for task in candidates), "task")
    same = [task for task in candidates if task["id"] == task_id]
    if len(same) > 1:
        several = ", ".join(sorted(task["framework_id"] for task in same))
        raise ApiError(HTTPStatus.CONFLICT, f"{task_id} is ambiguous: frameworks {several} have it; use --framework")
    return same[0]


def path_of(task: Task) -> str:
    """Where the gateway serves what is about one task."""
    return task_path(task["framework_id"], task["id"])


def task_path(framework_id: str, task_id: str) -> str:
    """Where the gateway serves what is about the task of these ids."""
    return f"/mezzo/v1/tasks/{quote(framework_id, safe='')}/{quote(task_id, safe='')}"
