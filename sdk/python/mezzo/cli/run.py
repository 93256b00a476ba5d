"""`mezzo run`: run one command on the cluster as if it ran here."""

from __future__ import annotations

from typing import Annotated

import typer

from mezzo.cli.settings import Settings


def run(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(help="The program and its arguments.")],
    cpus: Annotated[float, typer.Option(help="CPUs that it is given.")] = 0.1,
    mem: Annotated[float, typer.Option(help="Memory that it is given, in MiB.")] = 32,
    resources: Annotated[str, typer.Option(help="Further resources, as in disk:100;ports:[31000-31001].")] = "",
    name: Annotated[str, typer.Option(help="What the task is called.")] = "",
    role: Annotated[str, typer.Option(help="The role in which resources are asked for.")] = "*",
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE; may be repeated.")] = None,
    uri: Annotated[list[str] | None, typer.Option(help="Fetched into the sandbox first; may be repeated.")] = None,
    user: Annotated[str, typer.Option(help="The user that it runs as.")] = "",
    shell: Annotated[bool, typer.Option(help="Run the words as one line of a shell.")] = False,
) -> None:
    """Run a command on the cluster, follow its output, and exit with its exit code."""
    # The messages of the scheduler API take longer to import than most verbs take in all.
    from mezzo.cli import job

    settings: Settings = context.obj
    wanted = job.Wanted(command, cpus, mem, resources, name, role, env or [], uri or [], user, shell)
    raise typer.Exit(job.run(settings, wanted))
