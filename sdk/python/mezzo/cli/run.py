"""`mezzo run`: run a command on the cluster as if it ran here; several times, and again, if that is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzo.cli import env_files, exit_codes, job_file, periods
from mezzo.cli.errors import ApiError, print_error
from mezzo.cli.examples import Example, examples
from mezzo.cli.jobs.spec import MAX_COUNT, JobSpec, Restart
from mezzo.cli.settings import Settings

if TYPE_CHECKING:
    from mezzo.cli.jobs.job import Job

FAILOVER_SECONDS = 60.0
DETACHED_FAILOVER_SECONDS = 86400.0


def _read_file(context: typer.Context, path: str | None) -> str | None:
    """Take the fields of a job file for the defaults of the flags: what is typed goes before them."""
    if path is not None and not context.resilient_parsing:
        file = job_file.JobFile.read(path)
        context.meta[job_file.OPTION] = file
        context.default_map = file.defaults(context)
    return path


def _period(option: str) -> Any:
    return lambda text: text if isinstance(text, float) else periods.seconds(text, option)


@examples(
    Example("mezzo run -- echo hello", "Run a command, and see what it writes.", "^hello$"),
    Example("mezzo run --shell 'exit 3'", "A run ends as its command does.", code=3),
    Example(
        "mezzo run --count 3 --constraint 'hostname~.*' -- hostname",
        "Run it three times, on agents whose host names match an expression.",
        r"^\[run-\w+-2\] ",
    ),
    Example(
        "mezzo run --restart on-failure --max-restarts 1 --shell 'exit 4'",
        "Start it again when it fails, once.",
        r"restart 1 of 1",
        code=4,
    ),
    Example("mezzo run --timeout 1s -- sleep 60", "Give it a second.", "ran for longer than --timeout", code=124),
    Example(
        "echo '{command: [echo, hello], cpus: 0.2}' | mezzo run --file -",
        "Run what a job file says: each flag is a field of it.",
        "^hello$",
    ),
    Example(
        "mezzo run --dry-run --cpus 1000 -- true",
        "See what would be launched, and whether any agent could take it.",
        "too small, even when empty: cpus",
        code=1,
    ),
)
def run(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(help="Program to run, and its arguments.")],
    _file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            is_eager=True,
            callback=_read_file,
            metavar="FILE",
            help="Job file in YAML or JSON, each flag a field of it, and command; - reads it from standard input. "
            "Flags go before its fields.",
        ),
    ] = None,
    cpus: Annotated[float, typer.Option(help="CPUs for each task; fractions are allowed.")] = 0.1,
    mem: Annotated[float, typer.Option(help="Memory for each task, in MiB.")] = 32,
    resources: Annotated[
        str, typer.Option(help="More resources for each task: disk:100;ports:[31000-31001], or JSON.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the task; by default that of the program.")] = "",
    count: Annotated[int, typer.Option(min=1, max=MAX_COUNT, help="Number of tasks that run the command.")] = 1,
    role: Annotated[str, typer.Option(help="Role that resources are offered to.")] = "*",
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            help="Agents to run on: ATTRIBUTE=VALUE, !=VALUE, ~REGEX or !~REGEX, where ATTRIBUTE may be hostname, "
            "@region or @zone; unique:ATTRIBUTE puts no two tasks where it is the same. May be repeated; all hold."
        ),
    ] = None,
    restart: Annotated[
        Restart,
        typer.Option(
            help="Whether a task that has ended is started again, after 1 s, and then after longer and longer: "
            "on-failure leaves out those that somebody killed.",
        ),
    ] = Restart.NEVER,
    max_restarts: Annotated[
        int | None, typer.Option(min=0, help="Number of restarts of each task at most; by default without a limit.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            parser=_period("--timeout"),
            metavar="TIME",
            help="Time that a task may run, such as 90s or 5m; then it is killed, and has failed.",
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", help="Environment variable of the tasks, NAME=VALUE; may be repeated."),
    ] = None,
    env_file: Annotated[
        list[str] | None,
        typer.Option(
            "--env-file",
            metavar="FILE",
            help="File of environment variables, a line each: NAME=VALUE, or NAME for the value that it has here; "
            "may be repeated, and --env goes before it.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="Label of the tasks, NAME=VALUE; may be repeated.")
    ] = None,
    uri: Annotated[
        list[str] | None, typer.Option(help="URI to fetch into each sandbox before the task starts; may be repeated.")
    ] = None,
    user: Annotated[str, typer.Option(help="User to run the tasks as; by default the agent's.")] = "",
    shell: Annotated[bool, typer.Option("--shell", help="Run the arguments as one shell command line.")] = False,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach",
            "-d",
            help="Run in the background: print the id of the run, for mezzo attach and mezzo stop, and return. Its "
            "scheduler is a process on this machine.",
        ),
    ] = False,
    failover_timeout: Annotated[
        float | None,
        typer.Option(
            parser=_period("--failover-timeout"),
            metavar="TIME",
            help="Time that the tasks go on when their scheduler is gone: this command, or the process in the "
            "background; by default 60s, and with --detach 1d.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Launch nothing: print a task, and whether agents could take all of them now; if not, exit with 1.",
        ),
    ] = False,
) -> None:
    """Run a command on the cluster, follow its output, and exit with its exit code.

    Of several tasks each line of output begins with the task's id, and the exit code is that of the first that failed.
    """
    # The messages of the scheduler API take longer to import than most verbs take in all.
    from mezzo.cli.jobs import attached
    from mezzo.cli.jobs import dry_run as dry
    from mezzo.cli.jobs.job import Job
    from mezzo.cli.jobs.tasks import new_run_id

    settings: Settings = context.obj
    failover_by_default = DETACHED_FAILOVER_SECONDS if detach else FAILOVER_SECONDS
    try:
        variables = [each for path in env_file or () for each in env_files.read(path)]
        spec = JobSpec(
            command, cpus, mem, resources, name, role, _without_repeats([*variables, *(env or ())]), uri or [], user,
            shell, count, restart, max_restarts, constraint or [], label or [], timeout,
            failover_timeout if failover_timeout is not None else failover_by_default,
        )  # fmt: skip
        job = Job(spec, new_run_id(spec))
    except typer.BadParameter as error:
        found = job_file.line_of(context, error.param_hint)  # type: ignore[arg-type]
        raise found[0].error(found[1], error.message) if found else error from None
    if dry_run:
        raise typer.Exit(dry.run(settings, job))
    if detach:
        raise typer.Exit(_detach(settings, job))
    raise typer.Exit(attached.run(settings, job))


def _detach(settings: Settings, job: Job) -> int:
    import asyncio

    from mezzo.cli.api import exit_on_failure
    from mezzo.cli.jobs import background

    with exit_on_failure(settings):
        asyncio.run(background.check_gateway(settings))
        try:
            folder = background.detach(settings, job)
        except ApiError as error:
            print_error(str(error))
            return exit_codes.NOT_RUN
        except OSError as error:
            print_error(f"the state of the run cannot be kept: {error.filename}: {error.strerror}")
            return exit_codes.NOT_RUN
    typer.echo(folder.path.name)
    return 0


def _without_repeats(pairs: list[str]) -> list[str]:
    """Of several values of one variable, the last; what is no pair stays, to be refused by its option."""
    return list({pair.partition("=")[0] if "=" in pair else pair: pair for pair in pairs}.values())
