"""`mezzo completion`: what a shell has to be told to complete words of `mezzo`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import shell_complete


class Shell(StrEnum):
    """Shells that can complete words."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    context: typer.Context, shell: Annotated[Shell, typer.Argument(help="Shell to print the script for.")]
) -> None:
    """Print a script that has a shell complete words of mezzo.

    For bash and zsh: eval "$(mezzo completion bash)" in ~/.bashrc or ~/.zshrc, there after compinit.

    For fish: mezzo completion fish | source in ~/.config/fish/config.fish.
    """
    command = context.find_root().command
    raise typer.Exit(shell_complete(command, {}, "mezzo", "_MEZZO_COMPLETE", f"source_{shell}"))
