"""The flags of services, for completion, from the source of their configuration: importing it takes a second."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

CLASS, FUNCTION = "Config", "flag"


class Flag(NamedTuple):
    """A flag, and the first sentence of what it is for."""

    name: str
    help: str


def flags_of(package: str) -> list[Flag]:
    """The flags of the service that is this package; none where it is not installed."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return []
    source = Path(spec.submodule_search_locations[0]) / "config.py"
    return [*_flags(ast.parse(source.read_text())), Flag("config", "A TOML or JSON file of flags.")]


def _flags(module: ast.Module) -> Iterator[Flag]:
    """Each field of the class that is made by `flag(default, help, …)`."""
    for definition in module.body:
        if not isinstance(definition, ast.ClassDef) or definition.name != CLASS:
            continue
        for field in definition.body:
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(field.value, ast.Call)
                and getattr(field.value.func, "id", "") == FUNCTION
            ):
                yield Flag(field.target.id, _text(field.value.args[1:2]))


def _text(arguments: list[ast.expr]) -> str:
    for argument in arguments:
        if isinstance(argument, ast.Constant):
            return str(argument.value).partition(". ")[0]
        if isinstance(argument, ast.JoinedStr):
            # What is computed in it is not known here.
            parts = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in argument.values)
            return "".join(parts).partition(". ")[0]
    return ""


def options_of(package: str) -> list[Any]:
    """The flags as options of a command."""

    def start(**_: str) -> None:
        """Stand for the service: it is never called."""

    made = {flag.name: Annotated[str, typer.Option(f"--{flag.name}", help=flag.help)] for flag in flags_of(package)}
    start.__annotations__ = made
    vars(start)["__signature__"] = inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=of)
            for name, of in made.items()
        ]
    )
    app = typer.Typer(add_completion=False)
    app.command()(start)
    return list(typer.main.get_command(app).params)
