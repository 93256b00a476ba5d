"""`mezzo registry|allocator|agent|gateway`: start a service that is installed beside the SDK."""

from __future__ import annotations

from collections.abc import Callable

import typer

from mezzo.cli import exit_codes

SERVICES = {
    "registry": "Start a registry: the master, which holds the state of the cluster.",
    "allocator": "Start an allocator: it decides which framework is offered what.",
    "agent": "Start an agent: it runs tasks on this machine.",
    "gateway": "Start a gateway: HTTP for everything that speaks HTTP.",
}

# A service reads its own flags, `--help` among them.
ITS_OWN_FLAGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def add_to(app: typer.Typer) -> None:
    for name, text in SERVICES.items():
        app.command(name, help=text, context_settings=ITS_OWN_FLAGS, rich_help_panel="Services")(_starter(name))


def _starter(name: str) -> Callable[[typer.Context], None]:
    def start(context: typer.Context) -> None:
        from importlib.metadata import entry_points

        found = entry_points(group="mezzo.services", name=name)
        if not found:
            typer.echo(f"mezzo: the {name} is not installed here: install mezzo-{name}", err=True)
            raise typer.Exit(exit_codes.NOT_INSTALLED)
        main = next(iter(found)).load()
        raise typer.Exit(main(context.args))

    return start
