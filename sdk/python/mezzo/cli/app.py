"""The verbs of the `mezzo` command. Each is a module; this one only lists them."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from mezzo.cli import (
    agents,
    completion,
    contexts,
    describe,
    events,
    frameworks,
    health,
    kill,
    local,
    logs,
    maintenance,
    members,
    migrate,
    roles,
    run,
    runs,
    sandboxes,
    service,
    status,
    tasks,
    version,
    why,
)
from mezzo.cli.command import MezzoGroup
from mezzo.cli.examples import Verb
from mezzo.cli.settings import DEFAULT_API

EXIT_CODES = (
    "Exit codes: 0, done; 1, the cluster refuses; 2, usage error; 3, a port is in use (local); 66, there is nothing of "
    "that name; 69, no gateway or no leader can be reached; 124, --timeout is over (run); 125, the command was not run "
    "(run); 127, the service is not installed; 130, interrupted. Otherwise mezzo run exits as its command does, or "
    "with 128 and the signal that ended it."
)

app = typer.Typer(
    cls=MezzoGroup,
    name="mezzo",
    help="Look at a Mezzo cluster, run things on it, and start its services.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# Verbs that ask no cluster: for them it does not matter which one is meant.
# Or ask the gateway that a run was given.
ASK_NOBODY = frozenset(
    {"context", "completion", "local", "health", "migrate", "runs", "attach", "stop", *service.SERVICES}
)


@app.callback()
def settings(
    context: typer.Context,
    api: Annotated[
        str,
        typer.Option(
            "--api",
            envvar="MEZZO_API",
            help="Address of a gateway, host:port or a URL; several, with commas, are tried in turn. Or "
            "zk://host:port,…/path, where registries are elected.",
            show_default=DEFAULT_API,
        ),
    ] = "",
    named: Annotated[
        str,
        typer.Option(
            "--context",
            envvar="MEZZO_CONTEXT",
            metavar="NAME",
            help="Cluster to ask, by the name that `mezzo context` gave it.",
            autocompletion=contexts.names,
        ),
    ] = "",
    _version: Annotated[
        bool, typer.Option("--version", callback=version.show, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Look at a Mezzo cluster, run things on it, and start its services."""
    # Standard error is the verbs', and of `run` the command's: the SDK logs each attempt that fails.
    logging.getLogger("mezzo").addHandler(logging.NullHandler())
    context.obj = contexts.chosen(context, api, named, ask=context.invoked_subcommand not in ASK_NOBODY)


LOOK, RUN, CHANGE, HERE = "Look at a cluster", "Run and follow tasks", "Change a cluster", "This machine"

app.command("status", cls=Verb, rich_help_panel=LOOK)(status.status)
app.command("members", cls=Verb, rich_help_panel=LOOK)(members.members)
app.command("agents", cls=Verb, rich_help_panel=LOOK)(agents.agents)
app.command("frameworks", cls=Verb, rich_help_panel=LOOK)(frameworks.frameworks)
app.command("tasks", cls=Verb, rich_help_panel=LOOK)(tasks.tasks)
app.command("roles", cls=Verb, rich_help_panel=LOOK)(roles.roles)
app.add_typer(describe.describe, name="describe", rich_help_panel=LOOK)
app.command("why", cls=Verb, rich_help_panel=LOOK)(why.why)
app.command("events", cls=Verb, rich_help_panel=LOOK)(events.events)
app.command("health", cls=Verb, rich_help_panel=LOOK)(health.health)
app.command("run", cls=Verb, rich_help_panel=RUN, context_settings={"allow_interspersed_args": False})(run.run)
app.command("runs", cls=Verb, rich_help_panel=RUN)(runs.runs)
app.command("attach", cls=Verb, rich_help_panel=RUN)(runs.attach)
app.command("stop", cls=Verb, rich_help_panel=RUN)(runs.stop)
app.command("logs", cls=Verb, rich_help_panel=RUN)(logs.logs)
app.command("ls", cls=Verb, rich_help_panel=RUN)(sandboxes.ls)
app.command("cat", cls=Verb, rich_help_panel=RUN)(sandboxes.cat)
app.command("get", cls=Verb, rich_help_panel=RUN)(sandboxes.get)
app.command("kill", cls=Verb, rich_help_panel=RUN)(kill.kill)
app.command("teardown", cls=Verb, rich_help_panel=CHANGE)(frameworks.teardown)
app.add_typer(roles.quota, name="quota", rich_help_panel=CHANGE)
app.add_typer(roles.weights, name="weights", rich_help_panel=CHANGE)
app.add_typer(maintenance.maintenance, name="maintenance", rich_help_panel=CHANGE)
app.add_typer(contexts.context, name="context", rich_help_panel=HERE)
app.command("local", cls=Verb, rich_help_panel=HERE)(local.local)
app.add_typer(migrate.migrate, name="migrate", rich_help_panel=HERE)
app.command("completion", cls=Verb, rich_help_panel=HERE)(completion.completion)
service.add_to(app)
