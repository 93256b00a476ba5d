"""Examples of each verb, written beside it: `--help` and docs/cli.md show them, and a test plays them on a cluster.

@examples(Example("mezzo kill web", "Kill the task whose id begins with web.", on=("web",)))
def kill(…): …

app.command("kill", cls=Verb)(kill.kill)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from typer.core import TyperCommand, TyperGroup

from mezzo.cli.output import console

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Example:
    """A line to type, and what comes of it."""

    line: str
    """For a shell; it begins with `mezzo`, but for what is piped into it."""
    says: str
    """One sentence: what the line is for."""
    shows: str = ""
    """A regular expression (of several lines) that is found in its output, standard error included."""
    on: tuple[str, ...] = ()
    """Names of tasks that run when the test plays the line; the page and the help do not show it."""
    code: int = 0
    """The exit code."""
    follows: bool = False
    """Whether it goes on until it is interrupted: the test does so once `shows` has been shown."""


def examples(*given: Example) -> Callable[[F], F]:
    """Give a verb's function its examples."""

    def attach(function: F) -> F:
        vars(function)["examples"] = given
        return function

    return attach


def examples_of(command: object) -> tuple[Example, ...]:
    """Those of a command that was made of such a function."""
    found: tuple[Example, ...] = getattr(getattr(command, "callback", None), "examples", ())
    return found


def _print_examples(command: object) -> None:
    screen = console()
    found = examples_of(command)
    if found:
        screen.print(" Examples:", style="bold")
    for example in found:
        screen.print(f"\n   # {example.says}", style="dim")
        screen.print(f"   {example.line}")
    if found:
        screen.print()


class Verb(TyperCommand):
    """A command whose help ends with its examples."""

    def format_help(self, *given: Any) -> None:
        """Print the help."""
        super().format_help(*given)
        _print_examples(self)


class VerbGroup(TyperGroup):
    """A command with commands of its own, whose help ends with examples."""

    def format_help(self, *given: Any) -> None:
        """Print the help."""
        super().format_help(*given)
        _print_examples(self)
