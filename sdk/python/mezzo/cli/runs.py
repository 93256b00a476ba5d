"""`mezzo runs`, `mezzo attach` and `mezzo stop`: runs whose scheduler is a process in the background."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzo.cli import exit_codes
from mezzo.cli.asking import ask
from mezzo.cli.errors import ApiError, exit_code_of, print_error, print_note, without_credentials
from mezzo.cli.examples import Example, examples
from mezzo.cli.lists import Entry, Listing, NoHeaders, Options, SortBy, show_listing
from mezzo.cli.output import Format, Output, moment
from mezzo.cli.settings import Settings

if TYPE_CHECKING:
    from mezzo.cli.jobs.home import Run, RunFolder

COLUMNS = ("id", "state", "tasks", "started")
WIDE_COLUMNS = (*COLUMNS, "framework id", "api", "scheduler", "log")


@examples(Example("mezzo runs", "List the runs that were detached on this machine and have not ended.", "^ID +STATE"))
def runs(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Include runs that have ended.")] = False,
    sort_by: SortBy = "",
    output: Output = Format.TABLE,
    no_headers: NoHeaders = False,
) -> None:
    """List the detached runs of this user on this machine.

    The scheduler of a detached run is a process on this machine. When that has ended, as after a reboot, the state is
    "no scheduler": the tasks go on for --failover-timeout, and mezzo attach starts a scheduler that takes them over.
    """
    from mezzo.cli.jobs.home import RunHome

    found = []
    for folder in RunHome().folders():
        try:
            found.append((folder, folder.load()))
        except ApiError as error:
            print_error(str(error))
    listed = [
        Entry(_row(folder, run), _document(folder, run), {"started": run.started})
        for folder, run in found
        if everything or not run.ended
    ]
    show_listing(Listing(COLUMNS, WIDE_COLUMNS, listed), Options(output, no_headers, sort_by=sort_by))


def _row(folder: RunFolder, run: Run) -> dict[str, str]:
    pid = folder.scheduler_pid()
    return {
        "id": run.id,
        "state": _state(run, pid),
        "tasks": ", ".join(f"{count} {what}" for what, count in _tasks(run).items()),
        "started": moment(run.started),
        "framework id": run.framework_id or "–",
        "api": without_credentials(run.api),
        "scheduler": f"process {pid}" if pid is not None else "–",
        "log": str(folder.log),
    }


def _document(folder: RunFolder, run: Run) -> dict[str, Any]:
    pid = folder.scheduler_pid()
    return {
        "id": run.id,
        "state": _state(run, pid),
        "exit_code": run.exit_code,
        "tasks": [
            {"id": each["task_id"], "restarts": each["restarts"], "state": _task_state(run, each)}
            for each in run.job["instances"]
        ],
        "started": run.started,
        "framework_id": run.framework_id,
        "api": without_credentials(run.api),
        "scheduler_pid": pid,
        "log": str(folder.log),
    }


def _state(run: Run, pid: int | None) -> str:
    if run.ended:
        return f"ended, exit code {run.exit_code}"
    return "no scheduler" if pid is None else "running"


def _tasks(run: Run) -> Counter[str]:
    return Counter(_task_state(run, each).removeprefix("TASK_").lower() for each in run.job["instances"])


def _task_state(run: Run, instance: dict[str, Any]) -> str:
    if run.ended and not instance["over"]:
        return "unknown"  # it was torn down without a scheduler, which would have heard of its end
    if instance["statuses"]:
        return str(instance["statuses"][-1]["state"])
    return "waiting" if instance["waiting"] else "TASK_STAGING"


def _ids(incomplete: str) -> list[str]:
    """What a shell completes ids of runs with: those that have not ended."""
    from mezzo.cli.jobs.home import RunHome

    found = []
    for folder in RunHome().folders():
        with contextlib.suppress(ApiError):  # of another version
            if not folder.load().ended:
                found.append(folder.path.name)
    return [each for each in found if each.startswith(incomplete)]


RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Id of the run, or the beginning of one.", autocompletion=_ids)
]


@examples(
    Example("mezzo attach $(mezzo run --detach -- echo hello)", "Follow a run that was detached.", "^hello$"),
)
def attach(context: typer.Context, run: RunArgument) -> None:
    """Follow the output of a detached run until it ends, and exit with its exit code.

    Ctrl-C leaves it running. A run that has lost its scheduler gets a new one first, which takes the tasks over.
    """
    from mezzo.cli.api import exit_on_failure
    from mezzo.cli.jobs import background

    folder = _found(run)
    context.obj = settings = _settings_of(folder)
    if not folder.load().ended and folder.scheduler_pid() is None:
        with exit_on_failure(settings):
            background.start_scheduler(folder)
        print_note(f"run {folder.path.name} had no scheduler; a new one has taken its tasks over")
    raise typer.Exit(ask(context, lambda api: background.attach(api, folder)))


@examples(
    Example(
        "mezzo stop $(mezzo run --detach -- sleep 3600)",
        "End a run that was detached, and its tasks.",
        r"^run-\w+ has ended$",
    ),
)
def stop(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(metavar="RUN", help="Ids of runs, or beginnings of them.", autocompletion=_ids)
    ],
) -> None:
    """End detached runs: kill their tasks, and wait until they have ended."""
    from mezzo.cli.jobs import background

    code = 0
    for folder in [_found(name) for name in names]:
        run = folder.load()
        if run.ended:
            typer.echo(f"{run.id} had ended already, exit code {run.exit_code}")
            continue
        context.obj = _settings_of(folder)
        if ask(context, functools.partial(background.stop, folder=folder)).ended:
            typer.echo(f"{run.id} has ended")
        else:
            print_error(f"the scheduler of run {run.id} ended before its tasks did; see {folder.log}")
            code = exit_codes.FAILED
    raise typer.Exit(code)


def _found(name: str) -> RunFolder:
    from mezzo.cli.jobs.home import RunHome

    try:
        return RunHome().find(name)
    except ApiError as error:
        print_error(str(error))
        raise typer.Exit(exit_code_of(error)) from None


def _settings_of(folder: RunFolder) -> Settings:
    """The gateways that the run was given: it may be of another cluster than what is asked otherwise."""
    try:
        return Settings.of(folder.load().api)
    except ApiError as error:
        print_error(str(error))
        raise typer.Exit(exit_code_of(error)) from None
