"""The `mezzo` command. Every verb is a module; this one only lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from mezzo.cli import agents, frameworks, kill, local, logs, roles, run, service, status, tasks, why
from mezzo.cli.asking import DEFAULT_API, Settings

app = typer.Typer(
    name="mezzo",
    help="Look at a Mezzo cluster, run things on it, and start its services.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def settings(
    context: typer.Context,
    api: Annotated[
        str, typer.Option("--api", envvar="MEZZO_API", help="Where a gateway answers: host:port or a URL.")
    ] = DEFAULT_API,
) -> None:
    """Look at a Mezzo cluster, run things on it, and start its services."""
    context.obj = Settings.of(api)


app.command("status")(status.status)
app.command("agents")(agents.agents)
app.command("frameworks")(frameworks.frameworks)
app.command("tasks")(tasks.tasks)
app.command("roles")(roles.roles)
app.add_typer(roles.quota, name="quota")
app.add_typer(roles.weights, name="weights")
app.command("why")(why.why)
app.command("run", context_settings={"allow_interspersed_args": False})(run.run)
app.command("logs")(logs.logs)
app.command("kill")(kill.kill)
app.command("local")(local.local)
service.add_to(app)


def main() -> None:
    app()
