"""Asking the cluster. What that takes is imported once there is something to ask: `mezzo --help` asks nobody."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from mezzo.cli import exit_codes
from mezzo.cli.errors import print_error
from mezzo.cli.settings import Settings

if TYPE_CHECKING:
    from mezzo.cli.api import Api

T = TypeVar("T")


def ask(context: typer.Context, question: Callable[[Api], Coroutine[Any, Any, T]]) -> T:
    """Ask the cluster, and end the program with one clear line where that fails."""
    import asyncio

    from mezzo.cli.api import connect, exit_on_failure

    settings: Settings = context.obj

    async def answer() -> T:
        async with connect(settings) as api:
            return await question(api)

    with exit_on_failure(settings):
        return asyncio.run(answer())


def confirm(question: str, *, yes: bool) -> None:
    """Have a person confirm; a program, whose input is no terminal, is taken at its word. Ends with 1 on a no."""
    if yes or not sys.stdin.isatty() or typer.confirm(question, err=True):
        return
    print_error("nothing was done")
    raise typer.Exit(exit_codes.FAILED)
