"""`mezzo registry|allocator|agent|gateway`: start a service that is installed beside the SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from mezzo.cli import exit_codes

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

SERVICES = {
    "registry": "Start a registry: the master, which holds the state of the cluster.",
    "allocator": "Start an allocator: it decides which framework is offered what.",
    "agent": "Start an agent: it runs tasks on this machine.",
    "gateway": "Start a gateway: HTTP for everything that speaks HTTP.",
}

# A service reads its own flags, `--help` among them.
ITS_OWN_FLAGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


class Service(TyperCommand):
    """Starts a service, which reads its own flags; a shell that completes words is told what they are."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options: while words are completed, those of the service."""
        if not ctx.resilient_parsing:
            return super().get_params(ctx)
        from mezzo.cli.service_flags import options_of

        return [*super().get_params(ctx), *options_of(f"mezzo_{self.name}")]


def add_to(app: typer.Typer) -> None:
    for name, text in SERVICES.items():
        add = app.command(name, cls=Service, help=text, context_settings=ITS_OWN_FLAGS, rich_help_panel="Services")
        add(_starter(name))


def require_installed(*names: str, distribution: str) -> None:
    """End with one line that says what to install, unless all these services are here.

    Raises:
        typer.Exit: one of them is not installed.
    """
    missing = [name for name in names if not _entry_points(name)]
    if missing:
        typer.echo(f"mezzo: not installed: {', '.join(missing)}; pip install {distribution}", err=True)
        raise typer.Exit(exit_codes.NOT_INSTALLED)


def _entry_points(name: str) -> EntryPoints:
    from importlib.metadata import entry_points

    return entry_points(group="mezzo.services", name=name)


def _starter(name: str) -> Callable[[typer.Context], None]:
    def start(context: typer.Context) -> None:
        require_installed(name, distribution=f"mezzo-{name}")
        main = next(iter(_entry_points(name))).load()
        raise typer.Exit(main(context.args))

    return start
