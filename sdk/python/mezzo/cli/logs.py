"""`mezzo logs`: what a task wrote, wherever it ran."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from mezzo.cli.asking import ask
from mezzo.cli.examples import Example, examples

if TYPE_CHECKING:
    from mezzo.cli.api import Api


@examples(
    Example("mezzo logs web", "Print what the task whose id begins with web has written.", "web is up", on=("web",)),
    Example("mezzo logs --follow web", "Print it, and what follows.", "web is up", on=("web",), code=130, follows=True),
)
def logs(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="Id of the task, or the beginning of one.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the task ends.")] = False,
    stderr: Annotated[
        bool, typer.Option("--stderr", help="Print the task's standard error instead of its standard output.")
    ] = False,
) -> None:
    """Print what a task wrote to its standard output."""

    async def question(api: Api) -> None:
        found = await api.find_task(task)
        path = log_path(found["framework_id"], found["id"], "stderr" if stderr else "stdout")
        async for piece in api.stream(path, **({"follow": "true"} if follow else {})):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()

    ask(context, question)


def log_path(framework_id: str, task_id: str, file: str) -> str:
    """Where the gateway serves a file of a task's sandbox."""
    return f"/mezzo/v1/tasks/{quote(framework_id, safe='')}/{quote(task_id, safe='')}/files/{file}"
