"""`mezzo kill`: end a task, whosever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from mezzo.cli.asking import ask
from mezzo.cli.examples import Example, examples
from mezzo.cli.output import visible

if TYPE_CHECKING:
    from mezzo.cli.api import Api


@examples(
    Example(
        "mezzo kill batch", "Kill the task whose id begins with batch.", r"^batch-\w+ is being killed$", on=("batch",)
    )
)
def kill(
    context: typer.Context, task: Annotated[str, typer.Argument(help="Id of the task, or the beginning of one.")]
) -> None:
    """Kill a task."""

    async def question(api: Api) -> str:
        found = await api.find_task(task)
        await api.post(f"/mezzo/v1/tasks/{quote(found['framework_id'], safe='')}/{quote(found['id'], safe='')}/kill")
        return str(found["id"])

    typer.echo(f"{visible(ask(context, question))} is being killed")
