"""`mezzo run`: run one command on the cluster as if it ran here."""

from __future__ import annotations

from typing import Annotated

import typer

from mezzo.cli.examples import Example, examples
from mezzo.cli.settings import Settings


@examples(
    Example("mezzo run -- echo hello", "Run a command, and see what it writes.", "^hello$"),
    Example("mezzo run --shell -- 'exit 3'", "Exit as the command does.", code=3),
)
def run(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(help="Program to run, and its arguments.")],
    cpus: Annotated[float, typer.Option(help="CPUs for the task; fractions are allowed.")] = 0.1,
    mem: Annotated[float, typer.Option(help="Memory for the task, in MiB.")] = 32,
    resources: Annotated[
        str, typer.Option(help="More resources for the task: disk:100;ports:[31000-31001], or JSON.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the task; by default that of the program.")] = "",
    role: Annotated[str, typer.Option(help="Role that resources are offered to.")] = "*",
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", help="Environment variable of the task, NAME=VALUE; may be repeated."),
    ] = None,
    uri: Annotated[
        list[str] | None, typer.Option(help="URI to fetch into the task's sandbox before it starts; may be repeated.")
    ] = None,
    user: Annotated[str, typer.Option(help="User to run the task as; by default the agent's.")] = "",
    shell: Annotated[bool, typer.Option(help="Run the arguments as one shell command line.")] = False,
) -> None:
    """Run a command on the cluster, follow its output, and exit with its exit code."""
    # The messages of the scheduler API take longer to import than most verbs take in all.
    from mezzo.cli import job

    settings: Settings = context.obj
    wanted = job.Wanted(command, cpus, mem, resources, name, role, env or [], uri or [], user, shell)
    raise typer.Exit(job.run(settings, wanted))
